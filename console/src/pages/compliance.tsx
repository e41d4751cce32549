// Compliance: every framework as its latest audit found it, control by control, with the evidence. No legal advice.
import { ok, type Schemas } from "../api.ts"
import { useList, useLoaded } from "../loading.ts"
import { Card, Figure, Id, Listing, Reading, State, Table, When } from "../parts/basics.tsx"
import { useWrite, Written } from "../parts/writing.tsx"
import { type Place, to } from "../router.ts"
import { useSession } from "../session.ts"
import { number, say, word } from "../speech.ts"

export function CompliancePage({ at }: { at: Place }) {
  return at.id === null ? <Frameworks /> : <Report id={at.id} />
}

function Frameworks() {
  const session = useSession()
  const { api } = session
  const status = useLoaded("compliance", () => ok(api.GET("/api/backup/compliance/status")))
  const reports = useList("reports", (cursor) => ok(api.GET("/api/backup/compliance/reports", { params: { query: { limit: 20, ...cursor } } })))
  const erasures = useList("erasures", (cursor) => ok(api.GET("/api/backup/compliance/erasures", { params: { query: { limit: 20, ...cursor } } })))
  const write = useWrite()
  return (
    <>
      <p class="faint">{say("compliance.no-advice")}</p>
      <Reading of={status}>
        {(found) => (
          <div class="figures">
            {found.frameworks.map((each) => (
              <Framework key={each.framework} of={each} />
            ))}
          </div>
        )}
      </Reading>
      {session.may("audit") && (
        <div class="actions">
          <button type="button" class="strong" disabled={write.isBusy} onClick={() => write.send(() => api.POST("/api/backup/compliance/audit", { body: {} }), () => (status.again(), reports.again()))}>
            {say("compliance.audit")}
          </button>
        </div>
      )}
      <Written of={write} />
      <Card title={say("reports")}>
        <Listing
          of={reports}
          id={(each) => each.id}
          caption={say("reports")}
          columns={[
            [say("compliance.as-of"), (each) => <a href={to("compliance", each.id)}><When at={each.at} /></a>],
            [say("frameworks"), (each) => each.frameworks.map(word).join(", ")],
            [say("passed"), (each) => number(each.counts.passed)],
            [say("failed"), (each) => number(each.counts.failed)],
            [say("no-evidence"), (each) => number(each.counts.noEvidence)],
            [say("by"), (each) => each.requestedBy ?? say("unknown")],
          ]}
        />
      </Card>
      <Card title={say("erasures")}>
        <Listing
          of={erasures}
          id={(each) => each.id}
          caption={say("erasures")}
          columns={[
            [say("received"), (each) => <When at={each.receivedAt} />],
            [say("law"), (each) => word(each.law)],
            [say("state"), (each) => <State of={each.state} />],
            [say("due"), (each) => (<><When at={each.dueAt} /> {each.isOverdue ? <State of="overdue" tone="bad" /> : each.isDueSoon && <State of="due" tone="warn" />}</>)],
            [say("obstacles"), (each) => <ul class="plain">{each.obstacles.map((obstacle) => <li key={obstacle.code + obstacle.about}><code>{obstacle.code}</code> {obstacle.hint}</li>)}</ul>],
            [say("receipt"), (each) => word(each.hasReceipt ? "yes" : "no")],
          ]}
        />
      </Card>
    </>
  )
}

function Framework({ of }: { of: Schemas["FrameworkStatus"] }) {
  const counts = of.counts
  if (counts === null) return <Figure name={word(of.framework)} value={<State of="unknown" />} note={say("compliance.never")} />
  return (
    <Figure
      name={word(of.framework)}
      value={`${number(counts.score)} / 100`}
      note={
        <>
          {say("compliance.counts", { passed: number(counts.passed), failed: number(counts.failed), none: number(counts.noEvidence) })}
          {of.reportId !== null && (
            <>
              {" "}
              <a href={to("compliance", of.reportId)}>{say("report")}</a>
            </>
          )}
        </>
      }
    />
  )
}

function Report({ id }: { id: string }) {
  const { api } = useSession()
  const report = useLoaded(`report-${id}`, () => ok(api.GET("/api/backup/compliance/reports/{audit_id}", { params: { path: { audit_id: id } } })))
  return (
    <Reading of={report}>
      {(found) => (
        <Card title={say("report")}>
          <p>
            {say("compliance.told", { size: number(found.logSize) })} <code>{found.logRoot ?? say("unknown")}</code>
          </p>
          <Table
            of={found.results}
            id={(each) => each.control}
            caption={say("report")}
            columns={[
              [say("control"), (each) => (<><strong>{each.control}</strong><br />{each.citation ?? say("unknown")}<br /><span class="faint">{each.asked}</span></>)],
              [say("verdict"), (each) => <State of={each.verdict} />],
              [say("reason"), (each) => each.because],
              [say("severity"), (each) => word(each.severity)],
              [say("remedy"), (each) => each.remedy ?? ""],
              [
                say("evidence"),
                (each) => (
                  <details>
                    <summary>{number(each.examined)}</summary>
                    <p class="faint">{each.query}</p>
                    {each.evidence.map((event) => (
                      <span key={event}>
                        <Id of={event} />{" "}
                      </span>
                    ))}
                  </details>
                ),
              ],
            ]}
          />
        </Card>
      )}
    </Reading>
  )
}
