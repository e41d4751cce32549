// Configurations: what is backed up, where to and when, how well it is kept, and what was changed of it.
import { useState } from "preact/hooks"
import { ok, type Schemas } from "../api.ts"
import { useList, useLoaded } from "../loading.ts"
import { type Configuration, useConfigurations } from "../names.ts"
import { Card, Confirmed, Facts, Listing, Problem, Reading, State, Table, When, Why } from "../parts/basics.tsx"
import { useWrite, Written } from "../parts/writing.tsx"
import { type Place, to } from "../router.ts"
import { useSession } from "../session.ts"
import { day, duration, number, say, size, word } from "../speech.ts"
import { Verdict } from "./overview.tsx"

export function ConfigurationsPage({ at }: { at: Place }) {
  return at.id === null ? <All /> : <One id={at.id} />
}

function whenItRuns(schedule: Schemas["Schedule"] | null): string {
  if (schedule === null) return say("no-schedule")
  return `${schedule.cron ?? word(schedule.frequency)} (${schedule.timeZone ?? "UTC"})`
}

function All() {
  const session = useSession()
  const configurations = useConfigurations(30)
  return (
    <>
      <Reading of={configurations}>
        {(found) => (
          <Table
            of={found}
            id={(each) => each.id}
            caption={say("page.configurations")}
            empty="overview.nothing"
            columns={[
              [say("name"), (each) => <a href={to("configurations", each.id)}>{each.name ?? say("unreadable")}</a>],
              [say("state"), (each) => <State of={each.state} />],
              [say("health"), (each) => <State of={each.health} />],
              [say("source"), (each) => `${word(each.sourceType)}: ${each.sourceLocation}`],
              [say("tiers"), (each) => tiersOf(each).map(([tier]) => word(tier)).join(", ")],
              [say("schedule"), (each) => whenItRuns(each.schedule)],
              [say("next-run"), (each) => (each.nextRun === null ? <span class="faint">{word(each.nextRunReason)}</span> : <When at={each.nextRun} />)],
            ]}
          />
        )}
      </Reading>
      {session.may("configure") && <Make made={configurations.again} />}
    </>
  )
}

function tiersOf({ storageDestinations }: Configuration): [string, Schemas["Destination"]][] {
  return Object.entries(storageDestinations).filter((each): each is [string, Schemas["Destination"]] => each[1] != null)
}

/** A new one, from what the API offers to begin with. */
function Make({ made }: { made: () => void }) {
  const { api } = useSession()
  const templates = useLoaded("templates", () => ok(api.GET("/api/backup/configurations/templates")))
  const locations = useLoaded("locations", () => ok(api.GET("/api/backup/locations")))
  const write = useWrite()
  const [chosen, choose] = useState("")
  const [name, setName] = useState("")
  const [source, setSource] = useState("")
  const [path, setPath] = useState("")
  const template = templates.data?.items.find((each) => each.id === chosen)
  const sources = (locations.data?.items ?? []).filter((each) => each.roles.includes("source"))
  const send = (event: Event) => {
    event.preventDefault()
    const form = template?.configuration
    if (form == null) return
    const body = { ...form, name, ...(source === "" ? {} : { sourceLocation: source }), sourceIdentifier: path }
    write.send(() => api.POST("/api/backup/configurations", { body }), made)
  }
  return (
    <Card title={say("configurations.make")}>
      <Problem of={locations.problem} again={locations.again} />
      <Reading of={templates}>
        {(found) => (
          <form class="form" onSubmit={send}>
            <label>
              {say("configurations.template")}
              <select required value={chosen} onChange={(event) => choose(event.currentTarget.value)}>
                <option value="">{say("choose")}</option>
                {found.items.map((each) => (
                  <option key={each.id} value={each.id}>
                    {each.title}
                  </option>
                ))}
              </select>
            </label>
            {template !== undefined && <p>{template.description}</p>}
            {template !== undefined && template.unmet.length > 0 && (
              <ul>
                {template.unmet.map((each) => (
                  <li key={each.field}>
                    <State of="lacking" /> <code>{each.field}</code> {each.meaning}
                  </li>
                ))}
              </ul>
            )}
            {template?.configuration != null && (
              <>
                <label>
                  {say("name")}
                  <input required maxLength={200} value={name} onInput={(event) => setName(event.currentTarget.value)} />
                </label>
                <label>
                  {say("source")}
                  <select value={source} onChange={(event) => setSource(event.currentTarget.value)}>
                    <option value="">{template.configuration.sourceLocation}</option>
                    {sources.map((each) => (
                      <option key={each.name}>{each.name}</option>
                    ))}
                  </select>
                </label>
                <label>
                  {say("configurations.path")}
                  <input value={path} onInput={(event) => setPath(event.currentTarget.value)} />
                </label>
                <button type="submit" class="strong" disabled={write.isBusy}>
                  {say("configurations.make")}
                </button>
              </>
            )}
            <Written of={write} />
          </form>
        )}
      </Reading>
    </Card>
  )
}

function One({ id }: { id: string }) {
  const session = useSession()
  const { api } = session
  const params = { path: { configuration_id: id } }
  const loaded = useLoaded(`configuration-${id}`, () => ok(api.GET("/api/backup/configurations/{configuration_id}", { params })), 15)
  const test = useLoaded(`test-${id}`, () => ok(api.GET("/api/backup/configurations/{configuration_id}/test", { params })))
  const history = useList(`history-${id}`, (cursor) => ok(api.GET("/api/backup/configurations/{configuration_id}/history", { params: { ...params, query: { limit: 20, ...cursor } } })))
  const write = useWrite()
  const changed = () => (loaded.again(), history.again(), test.again())
  return (
    <Reading of={loaded}>
      {(found) => (
        <>
          <Card title={found.name ?? say("unreadable")} tone={found.protection.satisfied ? "good" : "bad"}>
            <Facts
              of={[
                ["3-2-1-1-0", <Verdict of={found.protection} />],
                [say("state"), <State of={found.state} />],
                [say("health"), <State of={found.health} />],
                [say("changed-since"), found.changedSince?.join(", ") || say("none")],
                [say("last-run"), found.lastRun === null ? say("never") : <a href={to("runs", found.lastRun.executionId)}><When at={found.lastRun.startedAt} /></a>],
                [say("last-point"), found.lastRecoveryPoint === null ? say("never") : <a href={to("points", found.lastRecoveryPoint.executionId)}><When at={found.lastRecoveryPoint.completedAt} /></a>],
                [say("all-points"), <a href={to("points", undefined, { configuration: id })}>{say("page.points")}</a>],
                [say("source"), `${word(found.sourceType)}: ${found.sourceLocation}${found.sourceIdentifier ? `/${found.sourceIdentifier}` : ""}`],
                [say("schedule"), whenItRuns(found.schedule)],
                [say("next-run"), found.nextRun === null ? word(found.nextRunReason) : <When at={found.nextRun} />],
                [say("missed"), found.lastMissed == null ? say("none") : <><When at={found.lastMissed.dueAt} /> <Why of={found.lastMissed} /></>],
                [say("wedding"), found.weddingDate === null ? say("none") : `${day(found.weddingDate)}${found.isWeddingCritical ? ` (${say("critical")})` : ""}`],
                [say("left-out"), found.exclude === null ? say("unreadable") : found.exclude.join(", ") || say("none")],
                [say("tags"), found.tags.join(", ") || say("none")],
                [say("version"), number(found.version)],
              ]}
            />
            {found.state !== "retired" && (
              <div class="actions">
                {session.may("run-backups") && found.state === "active" && (
                  <button type="button" class="strong" disabled={write.isBusy} onClick={() => write.send(() => api.POST("/api/backup/execute", { body: { configurationId: id } }), (request) => request?.execution != null && (location.hash = to("runs", request.execution.id)))}>
                    {say("run-now")}
                  </button>
                )}
                {session.may("test") && (
                  <button type="button" disabled={write.isBusy} onClick={() => write.send(() => api.POST("/api/backup/configurations/{configuration_id}/test", { params }), changed)}>
                    {say("test-now")}
                  </button>
                )}
                {session.may("configure") && found.state === "active" && <Confirmed label={say("pause")} question={say("pause?")} isBusy={write.isBusy} act={() => write.send(() => api.POST("/api/backup/configurations/{configuration_id}/pause", { params }), changed)} />}
                {session.may("configure") && found.state === "paused" && (
                  <button type="button" disabled={write.isBusy} onClick={() => write.send(() => api.POST("/api/backup/configurations/{configuration_id}/resume", { params }), changed)}>
                    {say("resume")}
                  </button>
                )}
                {session.may("configure") && <Confirmed label={say("retire")} question={say("retire?")} isBusy={write.isBusy} act={() => write.send(() => api.DELETE("/api/backup/configurations/{configuration_id}", { params }), changed)} />}
              </div>
            )}
            <Written of={write} />
          </Card>
          <Card title={say("tiers")}>
            <Table
              of={tiersOf(found)}
              id={([tier]) => tier}
              caption={say("tiers")}
              columns={[
                [say("tier"), ([tier]) => word(tier)],
                [say("location"), ([, each]) => each.location],
                [say("required"), ([, each]) => word(each.required === true ? "yes" : "no")],
                [say("lock-days"), ([, each]) => number(each.lockDays ?? 0)],
              ]}
            />
          </Card>
          <Card title={say("test")}>
            <Reading of={test}>{(latest) => <Test of={latest} />}</Reading>
          </Card>
          <Card title={say("history")}>
            <Listing
              of={history}
              id={(each) => String(each.version)}
              caption={say("history")}
              columns={[
                [say("version"), (each) => number(each.version)],
                [say("change"), (each) => word(each.change)],
                [say("changed"), (each) => each.changed.join(", ") || say("none")],
                [say("by"), (each) => each.changedBy],
                [say("when"), (each) => <When at={each.changedAt} />],
              ]}
            />
          </Card>
        </>
      )}
    </Reading>
  )
}

function Test({ of }: { of: Schemas["ConfigurationTest"] }) {
  return (
    <>
      <p>
        <State of={of.verdict} /> <When at={of.testedAt} />
      </p>
      {of.estimate != null && (
        <p class="faint">
          {say("estimate", { bytes: size(of.estimate.sourceBytes), time: duration(of.estimate.seconds) })}
        </p>
      )}
      {(of.findings ?? []).length > 0 && (
        <Table
          of={of.findings ?? []}
          id={(each) => each.check + (each.tier ?? "")}
          caption={say("test")}
          columns={[
            [say("check"), (each) => word(each.check)],
            [say("tier"), (each) => (each.tier == null ? "" : word(each.tier))],
            [say("state"), (each) => <State of={each.verdict} />],
            [say("trouble"), (each) => <Why of={each} />],
          ]}
        />
      )}
    </>
  )
}
