// Runs: those that go on, as they go, with each tier's progress; those of before, as a calendar and as a list.
import { useEffect, useState } from "preact/hooks"
import { type Execution, ok } from "../api.ts"
import { useList, useLoaded } from "../loading.ts"
import { type Progress, useLiveRuns } from "../live.ts"
import { useConfigurations } from "../names.ts"
import { Bar, Card, Confirmed, Facts, Id, Listing, Outcome, Reading, State, Table, Tabs, When, Why } from "../parts/basics.tsx"
import { Calendar } from "../parts/calendar.tsx"
import { useWrite, Written } from "../parts/writing.tsx"
import { type Place, to } from "../router.ts"
import { useSession } from "../session.ts"
import { duration, number, percent, say, size, word } from "../speech.ts"

export function RunsPage({ at }: { at: Place }) {
  return at.id === null ? <Runs /> : <OneRun id={at.id} />
}

const KINDS = ["all", "completed", "degraded", "failed", "cancelled"] as const

function Runs() {
  const { api } = useSession()
  const live = useLiveRuns()
  const { nameOf } = useConfigurations()
  const [kind, choose] = useState<(typeof KINDS)[number]>("all")
  const list = useList(`runs-${kind}`, (cursor) => {
    const chosen = kind === "all" ? {} : kind === "degraded" ? { degraded: true } : { status: [kind] }
    return ok(api.GET("/api/backup/executions", { params: { query: { limit: 50, ...chosen, ...cursor } } }))
  })
  // What has just ended belongs into the list.
  useEffect(() => list.again(), [live.ended.length])
  return (
    <>
      <Card title={say("runs.live")}>
        {live.running.length === 0 ? (
          <p class="faint">{say(live.isOpen ? "runs.none" : "loading")}</p>
        ) : (
          <ul class="plain">
            {live.running.map((run) => (
              <li key={run.id}>
                <Going run={run} progress={live.progress.get(run.id)} name={nameOf(run.configurationId)} />
              </li>
            ))}
          </ul>
        )}
      </Card>
      <Calendar />
      <Card title={say("runs.before")}>
        <Tabs of={KINDS.map((each) => [each, word(each)] as const)} chosen={kind} choose={choose} name={say("state")} />
        <Listing
          of={list}
          id={(run) => run.id}
          caption={say("runs.before")}
          columns={[
            [say("started"), (run) => <a href={to("runs", run.id)}><When at={run.startedAt} /></a>],
            [say("configuration"), (run) => <a href={to("configurations", run.configurationId)}>{nameOf(run.configurationId)}</a>],
            [say("state"), (run) => (<><Outcome of={run} /> {run.error !== null && <code>{run.error.code}</code>}</>)],
            [say("why"), (run) => word(run.executionType)],
            [say("read"), (run) => size(run.sourceBytes)],
            [say("new"), (run) => size(run.newBytes)],
            [say("verified"), (run) => <State of={run.verificationStatus} />],
          ]}
        />
      </Card>
    </>
  )
}

/** A run that goes on: how far it is, and how far each tier is. */
function Going({ run, progress, name }: { run: Execution; progress: Progress | undefined; name: string }) {
  const done = progress?.bytesDone
  const all = progress?.bytesTotal ?? run.sizeEstimate
  return (
    <article class="going">
      <h3>
        <a href={to("runs", run.id)}>{name}</a> <State of={progress?.phase ?? run.state} tone="busy" />
      </h3>
      <Bar done={done} of={all} label={`${name}: ${say("read")}`} />
      <p class="faint">
        {size(done ?? 0)} / {size(all)}
        {progress?.bytesPerSecond !== undefined && ` · ${size(progress.bytesPerSecond)}/s`}
        {progress?.filesDone !== undefined && ` · ${say("files", { n: number(progress.filesDone) })}`}
        {progress?.etaSeconds != null && ` · ${say("left", { time: duration(progress.etaSeconds) })}`}
      </p>
      {run.waiting != null && (
        <p>
          <State of="waiting" /> <Why of={run.waiting} />
        </p>
      )}
      <ul class="tiers">
        {run.tiers.map((tier) => {
          const now = progress?.tiers?.find((each) => each.tier === tier.tier)
          return (
            <li key={tier.tier}>
              <span>{word(tier.tier)}</span> <State of={now?.state ?? tier.state} />
              <span class="faint"> {size(now?.uploadedBytes ?? tier.uploadedBytes ?? 0)}</span>
            </li>
          )
        })}
      </ul>
    </article>
  )
}

function OneRun({ id }: { id: string }) {
  const session = useSession()
  const live = useLiveRuns()
  const { nameOf } = useConfigurations()
  const params = { path: { execution_id: id } }
  const run = useLoaded(`run-${id}`, () => ok(session.api.GET("/api/backup/executions/{execution_id}", { params })))
  const [cancel, retry] = [useWrite(), useWrite()]
  const now = live.running.find((each) => each.id === id) ?? live.ended.find((each) => each.id === id)
  useEffect(() => run.again(), [now?.version])
  return (
    <Reading of={run}>
      {(read) => {
        const found = now !== undefined && now.version >= read.version ? now : read
        const isOver = found.finishedAt !== null
        return (
          <>
            {!isOver && <Going run={found} progress={live.progress.get(id)} name={nameOf(found.configurationId)} />}
            <Card title={nameOf(found.configurationId)}>
              <Facts
                of={[
                  [say("state"), <Outcome of={found} />],
                  [say("why"), word(found.executionType)],
                  [say("started"), <When at={found.startedAt} />],
                  [say("by"), found.startedBy],
                  [say("ended"), <When at={found.finishedAt} missing="not-yet" />],
                  [say("attempts"), number(found.attempts)],
                  [say("read"), size(found.sourceBytes)],
                  [say("new"), size(found.newBytes)],
                  [say("stored"), size(found.storedBytes)],
                  [say("files.word"), number(found.files)],
                  [say("speed"), found.bytesPerSecond === null ? say("unknown") : `${size(found.bytesPerSecond)}/s`],
                  [say("verified"), <State of={found.verificationStatus} />],
                  [say("follows"), <When at={found.followUpAt} missing="none" />],
                  ["ID", <code>{found.id}</code>],
                ]}
              />
              {found.error !== null && <p class="problem"><Why of={found.error} /></p>}
              {found.completionDetails?.code != null && <p class="problem"><Why of={found.completionDetails} /></p>}
              {found.waiting != null && <p><State of="waiting" /> <Why of={found.waiting} /></p>}
              {session.may("run-backups") && (
                <div class="actions">
                  {!isOver && <Confirmed label={say("runs.cancel")} question={say("runs.cancel?")} isBusy={cancel.isBusy} act={() => cancel.send(() => session.api.POST("/api/backup/executions/{execution_id}/cancel", { params }), run.again)} />}
                  {["failed", "cancelled"].includes(found.state) && <Confirmed label={say("runs.retry")} question={say("runs.retry?")} isBusy={retry.isBusy} act={() => retry.send(() => session.api.POST("/api/backup/executions/{execution_id}/retry", { params }), run.again)} />}
                  {found.state === "completed" && <a href={to("points", found.id)}>{say("points.look")}</a>}
                </div>
              )}
              <Written of={cancel} />
              <Written of={retry} />
            </Card>
            <Card title={say("tiers")}>
              <Table
                of={found.tiers}
                id={(tier) => tier.tier}
                caption={say("tiers")}
                columns={[
                  [say("tier"), (tier) => word(tier.tier)],
                  [say("state"), (tier) => <State of={tier.state} />],
                  [say("read-back"), (tier) => <State of={tier.verified ? "yes" : "no"} tone={tier.verified ? "good" : "warn"} />],
                  [say("uploaded"), (tier) => size(tier.uploadedBytes)],
                  [say("time"), (tier) => duration(tier.seconds)],
                  [say("log-entry"), (tier) => number(tier.logEntry)],
                  [say("snapshot"), (tier) => <Id of={tier.snapshotId} />],
                  [say("trouble"), (tier) => <Why of={tier} />],
                ]}
              />
            </Card>
            <Card title={say("phases")}>
              <Table
                of={found.phases}
                id={(phase) => phase.name + phase.startedAt}
                caption={say("phases")}
                columns={[
                  [say("phase"), (phase) => word(phase.name)],
                  [say("started"), (phase) => <When at={phase.startedAt} />],
                  [say("time"), (phase) => (phase.finishedAt === null ? say("not-yet") : duration(phase.seconds))],
                ]}
              />
            </Card>
            {found.completionDetails !== null && (
              <Card title={say("content")}>
                <Table
                  of={found.completionDetails.byClass}
                  id={(each) => each.contentClass}
                  caption={say("content")}
                  columns={[
                    [say("content"), (each) => word(each.contentClass)],
                    [say("read"), (each) => size(each.sourceBytes)],
                    [say("new"), (each) => size(each.newBytes)],
                    [say("stored"), (each) => size(each.storedBytes)],
                    [say("saved"), (each) => (each.newBytes === 0 ? say("none") : percent(1 - each.storedBytes / each.newBytes))],
                  ]}
                />
              </Card>
            )}
          </>
        )
      }}
    </Reading>
  )
}
