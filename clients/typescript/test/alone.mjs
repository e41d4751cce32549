// What the hand-written part does without a platform: a server here answers as it is told.
import assert from "node:assert/strict"
import { createServer } from "node:http"
import { accepted, cleanedUp, createClient, ended, newKey, ok, ProblemError, recovered, result, StillPending } from "@wedsync/backup-client"

let answers = []
const seen = []
const server = createServer((request, response) => {
  let body = ""
  request.on("data", (piece) => (body += piece)).on("end", () => {
    seen.push({ method: request.method, path: request.url, headers: request.headers, body })
    const answer = answers.shift() ?? { status: 500, body: "nothing was prepared" }
    if (answer.drop) return request.socket.destroy()
    response.writeHead(answer.status, { "Content-Type": "application/json", ...answer.headers })
    response.end(typeof answer.body === "string" ? answer.body : answer.body && JSON.stringify(answer.body))
  })
})
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
const baseUrl = `http://127.0.0.1:${server.address().port}`
const api = createClient({ baseUrl, token: "t", longestWaitSeconds: 0.05 })
const problem = (status, code) => ({ type: "urn:x", title: "t", status, detail: "d", code, retry: "never", hint: "h" })
const given = (...those) => ((answers = those), (seen.length = 0))
const caught = (promise) => promise.then(() => assert.fail("it did not fail"), (error) => error)
const execute = (params) => api.POST("/api/backup/execute", { body: { configurationId: "c" }, ...params })

// What got no answer, or "later", is sent again with the same key and body; another write has another key.
given({ drop: true }, { status: 503, headers: { "Retry-After": "0" } }, { status: 202, body: { id: "r" } })
assert.deepEqual(await ok(execute()), { id: "r" })
assert.equal(new Set(seen.map(({ headers }) => headers["idempotency-key"])).size, 1)
assert.deepEqual(seen.map(({ body }) => body), Array(3).fill('{"configurationId":"c"}'))
const key = seen[0].headers["idempotency-key"]
assert.match(key, /^[0-9a-f-]{36}$/)
assert.equal(seen[0].headers.authorization, "Bearer t")
given({ status: 202, body: { id: "r" } })
await execute()
assert.notEqual(seen[0].headers["idempotency-key"], key)
// One of the caller's own is kept.
const own = newKey()
given({ status: 202, body: { id: "r" } })
await execute({ params: { header: { "Idempotency-Key": own } } })
assert.equal(seen[0].headers["idempotency-key"], own)
// A read has none, and a list in a query is several parameters.
given({ status: 200, body: { items: [], nextCursor: null } })
await api.GET("/api/backup/executions", { params: { query: { status: ["failed", "completed"] } } })
assert.equal(seen[0].headers["idempotency-key"], undefined)
assert.equal(seen[0].path, "/api/backup/executions?status=failed&status=completed")

// Who is told to wait longer than one wants to is told at once, and three times are enough.
given({ status: 429, headers: { "Retry-After": "60" }, body: problem(429, "too-many-requests") })
let error = await caught(ok(api.GET("/api/backup/status")))
assert.ok(error instanceof ProblemError)
assert.deepEqual([error.code, error.status, error.retryAfterSeconds, seen.length], ["too-many-requests", 429, 60, 1])
const away = { status: 503, headers: { "Retry-After": "0" }, body: problem(503, "unavailable") }
given(away, away, away, away)
assert.equal((await caught(ok(api.GET("/api/backup/status")))).code, "unavailable")
assert.equal(seen.length, 3)
given({ drop: true }, { drop: true }, { drop: true })
assert.ok((await caught(ok(api.GET("/api/backup/status")))) instanceof TypeError)
assert.equal(seen.length, 3)
// Any other error is told once, and what is no problem is told as what it is.
given({ status: 502, headers: { "Content-Type": "text/html" }, body: "<h1>Bad gateway</h1>" })
error = await caught(ok(api.GET("/api/backup/status")))
assert.deepEqual([error.code, error.status, error.problem.detail], ["unreadable-answer", 502, "<h1>Bad gateway</h1>"])
assert.equal(seen.length, 1)
given({ status: 500, body: "" })
assert.equal((await caught(ok(api.GET("/api/backup/status")))).code, "unreadable-answer")
// Given up by the caller: nothing is sent again.
const controller = new AbortController()
given({ drop: true })
const giving = caught(ok(api.GET("/api/backup/status", { signal: controller.signal })))
controller.abort(new Error("enough"))
await giving
assert.ok(seen.length <= 1)

// A request is waited for; its refusal is the error of the write.
const request = (state, more = {}) => ({ id: "r", kind: "k", state, resource: null, submittedAt: "t", problem: null, ...more })
const soon = { seconds: 5, everySeconds: 0.001 }
given({ status: 202, body: request("pending") }, { status: 200, body: request("pending") },
  { status: 200, body: request("accepted", { resource: "/api/backup/executions/e" }) })
assert.equal((await accepted(api, execute(), soon)).resource, "/api/backup/executions/e")
assert.deepEqual(seen.map(({ path }) => path).slice(1), Array(2).fill("/api/backup/requests/r"))
given({ status: 202, body: request("pending") }, { status: 200, body: request("refused", { problem: problem(409, "run-already-open") }) })
assert.equal((await caught(accepted(api, execute(), soon))).code, "run-already-open")
given({ status: 202, body: request("pending") }, { status: 200, body: request("pending") })
error = await caught(accepted(api, execute(), { seconds: 0 }))
assert.ok(error instanceof StillPending)
assert.equal(error.latest.id, "r")
// What was made: of the answer, or of what the request has led to.
const body = { name: "n", sourceType: "directory", sourceLocation: "s", storageDestinations: {} }
given({ status: 201, body: { id: "c", name: "n" } })
assert.equal((await result(api, api.POST("/api/backup/configurations", { body }))).id, "c")
given({ status: 202, body: request("pending") }, { status: 200, body: request("accepted", { resource: "/api/backup/configurations/c" }) },
  { status: 200, body: { id: "c", name: "n" } })
assert.equal((await result(api, api.POST("/api/backup/configurations", { body }), soon)).name, "n")
assert.equal(seen.at(-1).path, "/api/backup/configurations/c")
// A run is asked for with the ETag of what is known, until it has ended, however.
given({ status: 200, headers: { ETag: '"1"' }, body: { id: "e", state: "preparing" } }, { status: 304, headers: { ETag: '"1"' } },
  { status: 200, headers: { ETag: '"2"' }, body: { id: "e", state: "failed" } })
assert.equal((await ended(api, "e", soon)).state, "failed")
assert.deepEqual(seen.map(({ headers }) => headers["if-none-match"]), [undefined, '"1"', '"1"'])
for (const [wait, place] of [[recovered, "recovery/operations/x"], [cleanedUp, "retention/cleanups/x"]]) {
  given({ status: 200, headers: { ETag: '"1"' }, body: { state: "preparing" } }, { status: 200, body: { state: "completed" } })
  assert.equal((await wait(api, "x", soon)).state, "completed")
  assert.deepEqual(seen.map(({ path }) => path), Array(2).fill(`/api/backup/${place}`))
}
server.close()
console.log("well")
