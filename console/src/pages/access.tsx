// Who did what, and its proof: each item is an entry of the audit log, and is checked here, not only told.
import { useState } from "preact/hooks"
import { ok, type Schemas } from "../api.ts"
import { useList, useLoaded } from "../loading.ts"
import { Card, Facts, Listing, Problem, Reading, State, Tabs, When } from "../parts/basics.tsx"
import { rootOf } from "../proof.ts"
import { useSession } from "../session.ts"
import { number, say, word } from "../speech.ts"

const OUTCOMES = ["all", "allowed", "denied"] as const

export function AccessPage() {
  const { api } = useSession()
  const [outcome, choose] = useState<(typeof OUTCOMES)[number]>("all")
  const log = useLoaded("audit-log", () => ok(api.GET("/api/backup/security/audit-log")))
  const list = useList(`access-${outcome}`, (cursor) =>
    ok(api.GET("/api/backup/security/access-logs", { params: { query: { limit: 50, ...(outcome === "all" ? {} : { outcome }), ...cursor } } })),
  )
  return (
    <>
      <Card title={say("audit-log")}>
        <Reading of={log}>
          {(found) => (
            <Facts
              of={[
                [say("audit-log.name"), <code>{found.origin}</code>],
                [say("audit-log.size"), number(found.size)],
                [say("audit-log.root"), <code class="long">{found.rootHash}</code>],
                [say("audit-log.key"), found.verifierKey === null ? say("unknown") : <code class="long">{found.verifierKey}</code>],
                [say("audit-log.checkpoint"), found.checkpoint === null ? say("none") : <pre>{found.checkpoint}</pre>],
              ]}
            />
          )}
        </Reading>
      </Card>
      <Tabs of={OUTCOMES.map((each) => [each, word(each)] as const)} chosen={outcome} choose={choose} name={say("outcome")} />
      <Listing
        of={list}
        id={(each) => String(each.index)}
        caption={say("page.access")}
        columns={[
          [say("when"), (each) => <When at={each.time} />],
          [say("who"), (each) => each.actor],
          [say("action"), (each) => each.action],
          [say("outcome"), (each) => (<><State of={each.outcome} /> {each.code != null && <code>{each.code}</code>} {(each.repeats ?? 1) > 1 && `×${number(each.repeats)}`}</>)],
          [say("second-factor"), (each) => word(each.secondFactor == null ? null : each.secondFactor ? "yes" : "no")],
          [say("address"), (each) => each.address ?? say("unknown")],
          [say("about"), (each) => each.about ?? ""],
          [say("proof"), (each) => <Proof of={each} />],
        ]}
      />
    </>
  )
}

/** Asks for the proof of an entry and calculates it: whether the log's signed root has this very entry in it. */
function Proof({ of }: { of: Schemas["Access"] }) {
  const { api } = useSession()
  const [found, setFound] = useState<"proven" | "contradicted" | null>(null)
  const [problem, setProblem] = useState<unknown>(null)
  const check = async () => {
    const proof = await ok(api.GET("/api/backup/security/audit-log/entries/{index}/proof", { params: { path: { index: of.index } } }))
    const root = await rootOf(proof)
    // The checkpoint is a signed note: its third line is the root.
    const signed = proof.checkpoint.split("\n")[2]
    setFound(root === signed && proof.eventId === of.eventId ? "proven" : "contradicted")
  }
  if (problem !== null) return <Problem of={problem} />
  if (found !== null) return <State of={found} tone={found === "proven" ? "good" : "bad"} />
  return (
    <button type="button" aria-label={`${say("proof.check")} ${of.index}`} onClick={() => check().catch(setProblem)}>
      {say("proof.check")}
    </button>
  )
}
