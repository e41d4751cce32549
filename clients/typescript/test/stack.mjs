// The examples against a running platform; `tests/system/test_typescript_client.py` starts it and reads the last line.
import { connect, createServer } from "node:net"
import assert from "node:assert/strict"
import { backUp, signIn } from "../examples/back-up.ts"
import { whatIsWrong } from "../examples/errors.ts"
import { completedRuns } from "../examples/lists.ts"
import { newerThan } from "../examples/unchanged.ts"
import { follow } from "../examples/watch.ts"
import { createClient, ok, ProblemError, watch } from "@wedsync/backup-client"

const { API, TOKEN, SOURCE } = process.env
let asked = 0
const api = signIn(API, async () => (asked++, TOKEN))

// Sign in, create, execute, wait; beside it progress and facts over the socket.
const lines = []
const isOver = () => lines.some((line) => line.startsWith("completed"))
const following = follow(api, API, (line) => lines.push(line), isOver)
while (lines.length === 0) await new Promise((resolve) => setTimeout(resolve, 20))
const first = await backUp(api, "Photos", SOURCE)
await following
assert.equal(lines[0], "0 runs go on")
assert.ok(lines.some((line) => line.startsWith("local has all of it: ")), lines)
assert.ok(asked > 3)

// A drop, and nobody there for a second: on from the last message, none twice and none left out.
const open = new Set()
const proxy = createServer((near) => {
  const far = connect(Number(new URL(API).port), "127.0.0.1")
  for (const [one, other] of [[near, far], [far, near]]) {
    one.pipe(other)
    one.on("error", () => other.destroy()).on("close", () => other.destroy())
  }
  open.add(near)
})
await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve))
const through = `http://127.0.0.1:${proxy.address().port}`
const far = createClient({ baseUrl: through, token: TOKEN, attempts: 1 })
const facts = []
const types = new Set()
const watching = (async () => {
  for await (const message of watch(far, through, { all: true })) {
    types.add(message.type)
    if (message.type === "fact") {
      facts.push(message)
      if (facts.length === 2) {
        proxy.close()
        for (const each of open) each.destroy()
        setTimeout(() => proxy.listen(Number(new URL(through).port), "127.0.0.1"), 1000)
      }
      if (message.event === "executor.backup-completed.v1") return
    }
  }
})()
while (types.size === 0) await new Promise((resolve) => setTimeout(resolve, 20))
const second = await backUp(api, "Contracts", SOURCE)
await watching
proxy.close()
assert.ok(types.has("resumed"), [...types])
assert.ok(open.size >= 2)
const told = facts.filter(({ executionId }) => executionId === second.id).map(({ event }) => event.split(".")[1])
assert.deepEqual(told.filter((name) => name !== "backup-requeued"), [
  ...["backup-accepted", "backup-preparing", "backup-uploading", "tier-uploaded", "tier-uploaded"],
  ...["backup-verifying", "backup-completed"],
])

// Lists, page by page; 304; an error with its code.
const runs = await completedRuns(api, 1)
assert.deepEqual(runs.map(({ id }) => id), [second.id, first.id])
const seen = await newerThan(api, first.id, null)
assert.equal(seen.run.state, "completed")
assert.equal(await newerThan(api, first.id, seen.etag), null)
const wrong = await whatIsWrong(api, "Nothing", "nowhere")
assert.match(wrong.sourceLocation, /^unknown-location: /)
const path = { configuration_id: first.configurationId }
const refused = await ok(api.DELETE("/api/backup/configurations/{configuration_id}", { params: { path } })).catch((e) => e)
assert.ok(refused instanceof ProblemError)
assert.equal(refused.code, "second-factor-needed")
assert.equal(refused.status, 403)
const stranger = await ok(signIn(API, async () => "nobody").GET("/api/backup/status")).catch((e) => e)
assert.equal(stranger.code, "unauthenticated")
console.log(JSON.stringify({ runs: runs.map(({ id }) => id), lines: lines.length }))
process.exit(0)
