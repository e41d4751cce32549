// Plans for a disaster: whether each would work today, its steps as a graph, and its executions and tests as they go.
import { useEffect, useState } from "preact/hooks"
import { ok, type Schemas } from "../api.ts"
import { useList, useLoaded } from "../loading.ts"
import { useConfigurations } from "../names.ts"
import { Card, Confirmed, Facts, Listing, Reading, State, Table, When, Why, Yes } from "../parts/basics.tsx"
import { Graph } from "../parts/graph.tsx"
import { useWrite, Written } from "../parts/writing.tsx"
import { type Place, to } from "../router.ts"
import { useSession } from "../session.ts"
import { duration, number, say, word } from "../speech.ts"

type Plan = Schemas["DisasterRecoveryPlan"]
type Executed = Schemas["DisasterRecoveryExecution"]

export function DisasterPage({ at }: { at: Place }) {
  if (at.id === null) return <Plans />
  return at.query.get("execution") === null ? <OnePlan id={at.id} /> : <OneExecution plan={at.id} id={at.query.get("execution") ?? ""} />
}

function minutes(value: number | null): string {
  return value === null ? say("not-proven") : duration(value * 60)
}

function Plans() {
  const { api } = useSession()
  const list = useList("plans", (cursor) => ok(api.GET("/api/backup/disaster-recovery/status", { params: { query: { limit: 50, ...cursor } } })))
  return (
    <>
      <Listing
        of={list}
        id={(each) => each.planId}
        caption={say("page.disaster")}
        columns={[
          [say("plan"), (each) => <a href={to("disaster", each.planId)}>{each.planName ?? say("unreadable")}</a>],
          [say("verdict"), (each) => <State of={each.verdict} />],
          [say("rto"), (each) => minutes(each.configured.rtoMinutes)],
          [say("rto.proven"), (each) => minutes(each.provenRtoMinutes)],
          [say("rto.predicted"), (each) => duration(each.predictedRto?.seconds)],
          [say("rpo"), (each) => minutes(each.configured.rpoMinutes)],
          [say("rpo.proven"), (each) => minutes(each.provenRpoMinutes)],
          [say("rpo.now"), (each) => (each.lostNowMinutes === null ? say("unknown") : duration(each.lostNowMinutes * 60))],
          [say("last-test"), (each) => <When at={each.lastTestAt} />],
          [say("next-test"), (each) => <When at={each.nextTestAt} missing="none" />],
        ]}
      />
      <Templates made={list.again} />
    </>
  )
}

/** What the API offers for each disaster, made of what the organisation has. */
function Templates({ made }: { made: () => void }) {
  const session = useSession()
  const templates = useLoaded("plan-templates", () => ok(session.api.GET("/api/backup/disaster-recovery/plans/templates")))
  const write = useWrite()
  if (!session.may("plan-disaster-recovery")) return null
  return (
    <Card title={say("plan.make")}>
      <Reading of={templates}>
        {(found) => (
          <Table
            of={found.items}
            id={(each) => each.id}
            caption={say("plan.make")}
            columns={[
              [say("plan"), (each) => (<>{each.title}<br /><span class="faint">{each.description}</span></>)],
              [say("plan.unmet"), (each) => <ul>{each.unmet.map((note) => <li key={note.field + note.meaning}><code>{note.field}</code> {note.meaning}</li>)}</ul>],
              [
                say("files.do"),
                ({ plan }) =>
                  plan !== null && (
                    <button type="button" disabled={write.isBusy} onClick={() => write.send(() => session.api.POST("/api/backup/disaster-recovery/plans", { body: plan }), made)}>
                      {say("plan.take")}
                    </button>
                  ),
              ],
            ]}
          />
        )}
      </Reading>
      <Written of={write} />
    </Card>
  )
}

function OnePlan({ id }: { id: string }) {
  const session = useSession()
  const { api } = session
  const { nameOf } = useConfigurations()
  const params = { path: { plan_id: id } }
  const plan = useLoaded(`plan-${id}`, () => ok(api.GET("/api/backup/disaster-recovery/plans/{plan_id}", { params })))
  const runbook = useLoaded(`runbook-${id}`, () => ok(api.GET("/api/backup/disaster-recovery/plans/{plan_id}/runbook", { params })))
  const status = useLoaded("plan-status", () => ok(api.GET("/api/backup/disaster-recovery/status", { params: { query: { limit: 100 } } })))
  const executions = useList(`executions-${id}`, (cursor) => ok(api.GET("/api/backup/disaster-recovery/executions", { params: { query: { planId: id, limit: 20, ...cursor } } })))
  const write = useWrite()
  const stands = status.data?.items.find((each) => each.planId === id)
  const begun = (request: Schemas["WriteRequest"] | null) => {
    executions.again()
    const execution = request?.resource?.split("/").pop()
    if (execution !== undefined) location.hash = to("disaster", id, { execution })
  }
  return (
    <Reading of={plan}>
      {(found) => (
        <>
          <Card title={found.planName ?? say("unreadable")}>
            <Facts
              of={[
                [say("verdict"), <State of={stands?.verdict} />],
                [say("kind"), word(found.planType)],
                [say("rto"), minutes(found.recoveryObjectives.rtoMinutes)],
                [say("rpo"), minutes(found.recoveryObjectives.rpoMinutes)],
                [say("scope"), found.scope.configurationIds.map(nameOf).join(", ")],
                [say("next-test"), <When at={found.nextTestAt} missing="none" />],
                [say("missed"), found.lastMissedTest == null ? say("none") : <><When at={found.lastMissedTest.dueAt} /> <Why of={found.lastMissedTest} /></>],
                [say("version"), number(found.version)],
              ]}
            />
            <Graph of={stepsOf(found, null)} name={found.planName ?? ""} />
            <div class="actions">
              {session.may("rehearse") && <Confirmed label={say("plan.test")} question={say("plan.test?")} isBusy={write.isBusy} act={() => write.send(() => api.POST("/api/backup/disaster-recovery/test", { body: { planId: id } }), begun)} />}
              {session.may("fail-over") && <Confirmed label={say("plan.execute")} question={say("plan.execute?")} isBusy={write.isBusy} act={() => write.send(() => api.POST("/api/backup/disaster-recovery/execute", { body: { planId: id } }), begun)} />}
            </div>
            <Written of={write} />
          </Card>
          {stands !== undefined && (
            <Card title={say("findings")}>
              <Table
                of={stands.findings}
                id={(each) => each.check + (each.about ?? "")}
                caption={say("findings")}
                columns={[
                  [say("check"), (each) => word(each.check)],
                  [say("verdict"), (each) => <State of={each.verdict} />],
                  [say("about"), (each) => each.about ?? ""],
                  [say("hint"), (each) => each.hint],
                ]}
              />
              {stands.unknown.length > 0 && <p class="state warn">! {say("plan.unknown")}: {stands.unknown.map(word).join(", ")}</p>}
            </Card>
          )}
          <Card title={say("executions")}>
            <Listing
              of={executions}
              id={(each) => each.id}
              caption={say("executions")}
              columns={[
                [say("started"), (each) => <a href={to("disaster", id, { execution: each.id })}><When at={each.startedAt} /></a>],
                [say("kind"), (each) => say(each.isTest ? "plan.is-test" : "plan.is-real")],
                [say("state"), (each) => <State of={each.state} />],
                [say("rto.proven"), (each) => (<>{duration(each.rtoSeconds)} {each.rtoMet !== null && <State of={each.rtoMet ? "met" : "unmet"} />}</>)],
                [say("rpo"), (each) => (each.rpoMet === null ? say("unknown") : <State of={each.rpoMet ? "met" : "unmet"} />)],
                [say("trouble"), (each) => <Why of={each.error} />],
              ]}
            />
          </Card>
          <Card title={say("runbook")}>
            <Reading of={runbook}>{(text) => <pre class="runbook">{text.text}</pre>}</Reading>
          </Card>
        </>
      )}
    </Reading>
  )
}

function stepsOf(plan: Plan, execution: Executed | null) {
  return plan.procedures.map((step) => ({
    id: step.id,
    kind: step.kind,
    after: step.after,
    state: execution?.steps.find((each) => each.id === step.id)?.state ?? null,
  }))
}

function OneExecution({ plan: planId, id }: { plan: string; id: string }) {
  const session = useSession()
  const { api } = session
  const params = { path: { execution_id: id } }
  const plan = useLoaded(`plan-${planId}`, () => ok(api.GET("/api/backup/disaster-recovery/plans/{plan_id}", { params: { path: { plan_id: planId } } })))
  const execution = useLoaded(`dr-${id}`, () => ok(api.GET("/api/backup/disaster-recovery/executions/{execution_id}", { params })))
  const write = useWrite()
  const [isOver, setOver] = useState(false)
  useEffect(() => setOver(execution.data?.finishedAt != null), [execution.data])
  useEffect(() => {
    if (isOver) return
    const timer = setInterval(execution.again, 2000)
    return () => clearInterval(timer)
  }, [isOver])
  const ask = (verb: "pause" | "resume" | "abort") => () => write.send(() => api.POST(`/api/backup/disaster-recovery/executions/{execution_id}/${verb}`, { params }), execution.again)
  return (
    <Reading of={execution}>
      {(found) => (
        <Card title={say(found.isTest ? "plan.is-test" : "plan.is-real")}>
          <p>
            <a href={to("disaster", planId)}>{plan.data?.planName ?? say("plan")}</a>
          </p>
          <Facts
            of={[
              [say("state"), <State of={found.state} />],
              [say("started"), <When at={found.startedAt} />],
              [say("by"), found.startedBy],
              [say("ended"), <When at={found.finishedAt} missing="not-yet" />],
              [say("paused"), word(found.isPaused ? "yes" : "no")],
              [say("rto.proven"), <>{duration(found.rtoSeconds)} <Yes is={found.rtoMet} /></>],
              [say("rpo"), <Yes is={found.rpoMet} />],
            ]}
          />
          {found.error !== null && <p class="problem"><code>{found.error.stepId}</code> <Why of={found.error} /></p>}
          {plan.data !== null && <Graph of={stepsOf(plan.data, found)} name={plan.data.planName ?? ""} />}
          <Table
            of={found.steps}
            id={(step) => step.id}
            caption={say("steps")}
            columns={[
              [say("step"), (step) => step.id],
              [say("kind"), (step) => word(step.kind)],
              [say("state"), (step) => <State of={step.state} />],
              [say("started"), (step) => <When at={step.begunAt} missing="not-yet" />],
              [say("ended"), (step) => <When at={step.endedAt} missing="not-yet" />],
              [say("trouble"), (step) => <Why of={step} />],
              [
                say("files.do"),
                (step) =>
                  found.waitsFor.includes(step.id) &&
                  session.may("fail-over") && (
                    <Confirmed label={say("grant")} question={say("plan.approve?")} isBusy={write.isBusy} act={() => write.send(() => api.POST("/api/backup/disaster-recovery/executions/{execution_id}/approve", { params, body: { stepId: step.id } }), execution.again)} />
                  ),
              ],
            ]}
          />
          {!isOver && session.may(found.isTest ? "rehearse" : "fail-over") && (
            <div class="actions">
              {found.isPaused ? <Confirmed label={say("resume")} question={say("resume?")} isBusy={write.isBusy} act={ask("resume")} /> : <Confirmed label={say("pause")} question={say("plan.pause?")} isBusy={write.isBusy} act={ask("pause")} />}
              <Confirmed label={say("plan.abort")} question={say("plan.abort?")} isBusy={write.isBusy} act={ask("abort")} />
            </div>
          )}
          <Written of={write} />
        </Card>
      )}
    </Reading>
  )
}
