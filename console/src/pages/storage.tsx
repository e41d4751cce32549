// Storage: how much is kept where, how it grows and what it costs, what must stay, and what a cleanup would let go.
import { useState } from "preact/hooks"
import { ok, type Schemas } from "../api.ts"
import { type Listed, useList, useLoaded } from "../loading.ts"
import { useConfigurations } from "../names.ts"
import { Card, Confirmed, Figure, Id, Listing, Outcome, Reading, State, Table, When, Why, Yes } from "../parts/basics.tsx"
import { useWrite, Written } from "../parts/writing.tsx"
import { to } from "../router.ts"
import { useSession } from "../session.ts"
import { day, duration, number, percent, say, size, word } from "../speech.ts"

export function StoragePage() {
  const { api } = useSession()
  const { nameOf } = useConfigurations()
  const overview = useLoaded("storage", () => ok(api.GET("/api/backup/storage/overview")))
  const tiers = useLoaded("storage-tiers", () => ok(api.GET("/api/backup/storage/tiers")))
  return (
    <>
      <Reading of={overview}>
        {(found) => (
          <>
            <div class="figures">
              <Figure name={say("storage.kept")} value={size(found.keptBytes)} note={say("storage.points", { n: number(found.totals.points) })} />
              <Figure name={say("storage.locked")} value={size(found.lockedBytes)} />
              <Figure name={say("storage.logical")} value={size(found.totals.logicalBytes)} note={found.totals.compressionRatio === null ? undefined : say("storage.ratio", { n: number(found.totals.compressionRatio, { maximumFractionDigits: 2 }) })} />
              <Figure name={say("storage.cost")} value={found.cost === null ? say("unknown") : number(found.cost.monthly, { style: "currency", currency: found.cost.currency })} note={found.cost === null ? say("storage.no-prices") : `${day(found.cost.priceDate)}${found.cost.isPartial ? `, ${say("storage.partial")}` : ""}`} />
            </div>
            <Unknown of={found.unknown} />
            <Card title={say("storage.growth")}>
              <Growth of={found.growth} />
              <Table
                of={found.forecast}
                id={(each) => String(each.inDays)}
                caption={say("storage.forecast")}
                columns={[
                  [say("storage.in-days"), (each) => number(each.inDays)],
                  [say("storage.kept"), (each) => size(each.keptBytes)],
                ]}
              />
            </Card>
            <Card title={say("configurations")}>
              <Table
                of={found.configurations}
                id={(each) => each.configurationId}
                caption={say("configurations")}
                columns={[
                  [say("configuration"), (each) => <a href={to("configurations", each.configurationId)}>{nameOf(each.configurationId)}</a>],
                  [say("page.points"), (each) => number(each.points)],
                  [say("storage.logical"), (each) => size(each.logicalBytes)],
                  [say("new"), (each) => size(each.newBytes)],
                  [say("stored"), (each) => size(each.storedBytes)],
                ]}
              />
              {found.configurationsMore > 0 && <p class="faint">{say("storage.more", { n: number(found.configurationsMore) })}</p>}
            </Card>
          </>
        )}
      </Reading>
      <Card title={say("storage.places")}>
        <Reading of={tiers}>
          {(found) => (
            <Table
              of={found.items}
              id={(each) => each.location ?? ""}
              caption={say("storage.places")}
              columns={[
                [say("location"), (each) => each.location ?? say("unknown")],
                [say("tiers"), (each) => each.tiers.map(word).join(", ")],
                [say("storage.kept"), (each) => size(each.keptBytes)],
                [say("storage.locked"), (each) => (<>{size(each.lockedBytes)} {each.lockedUntil !== null && <When at={each.lockedUntil} />}</>)],
                [say("storage.free"), (each) => size(each.freeBytes)],
                [say("overview.uploaded"), (each) => <When at={each.uploadedAt} />],
                [say("points.proven"), (each) => <When at={each.provenAt} />],
                [say("storage.errors"), (each) => (each.errorRate === null ? say("unknown") : percent(each.errorRate))],
                [say("storage.cost"), (each) => number(each.monthlyCost, { maximumFractionDigits: 2 })],
                [say("state"), (each) => (each.isFailing ? <><State of="failing" /> <code>{each.failureCode}</code></> : <State of="not-failing" tone="good" />)],
              ]}
            />
          )}
        </Reading>
      </Card>
      <Holds />
      <Preview nameOf={nameOf} />
      <Cleanups />
      <Work />
    </>
  )
}

function Unknown({ of }: { of: string[] }) {
  return of.length === 0 ? null : (
    <details class="card">
      <summary>
        <State of="unknown" /> {say("storage.unknown", { n: number(of.length) })}
      </summary>
      <ul>
        {of.map((each) => (
          <li key={each}>{word(each)}</li>
        ))}
      </ul>
    </details>
  )
}

const GROWTH_DAYS = 30
const DAY = 86_400_000

/** What all tiers took, a bar a day, also of the days that had nothing. */
function Growth({ of }: { of: Schemas["StorageDay"][] }) {
  if (of.length === 0) return <p class="faint">{say("empty")}</p>
  const most = Math.max(...of.map((each) => each.uploadedBytes), 1)
  const first = Math.min(Date.parse(of[0]?.day ?? ""), Date.now() - (GROWTH_DAYS - 1) * DAY)
  const width = 1000 / (Math.floor((Date.now() - first) / DAY) + 1)
  const told = `${day(of[0]?.day)} – ${day(of.at(-1)?.day)}: ${size(of.reduce((sum, each) => sum + each.uploadedBytes, 0))}`
  return (
    <figure>
      <figcaption>{told}</figcaption>
      <svg class="growth" viewBox="0 0 1000 100" role="img" aria-label={told} preserveAspectRatio="none">
        {of.map((each) => (
          <rect key={each.day} x={Math.floor((Date.parse(each.day) - first) / DAY + 0.5) * width} y={100 - (each.uploadedBytes / most) * 100} width={Math.max(width - 1, 1)} height={(each.uploadedBytes / most) * 100}>
            <title>{`${day(each.day)}: ${size(each.uploadedBytes)}, −${size(each.freedBytes)}`}</title>
          </rect>
        ))}
      </svg>
    </figure>
  )
}

function Holds() {
  const session = useSession()
  const list: Listed<Schemas["Hold"]> = useList("holds", (cursor) => ok(session.api.GET("/api/backup/retention/holds", { params: { query: { limit: 50, ...cursor } } })))
  const approvals = useLoaded("approvals", () => ok(session.api.GET("/api/backup/approvals", { params: { query: { status: ["open"] } } })))
  const write = useWrite()
  const again = () => (list.again(), approvals.again())
  return (
    <Card title={say("holds")}>
      <Listing
        of={list}
        id={(each) => each.id}
        caption={say("holds")}
        columns={[
          [say("matter"), (each) => each.matter ?? say("unreadable")],
          [say("reason"), (each) => each.reason ?? say("unreadable")],
          [say("state"), (each) => <State of={each.state} />],
          [say("holds.kept"), (each) => number(each.kept)],
          [say("holds.late"), (each) => number(each.tooLate)],
          [say("holds.review"), (each) => (<>{day(each.reviewAt)} {each.isReviewDue && <State of="due" tone="warn" />}</>)],
          [say("by"), (each) => each.placedBy],
          [say("files.do"), (each) => session.may("clean-up") && each.state === "placed" && <Confirmed label={say("holds.release")} question={say("holds.release?")} isBusy={write.isBusy} act={() => write.send(() => session.api.POST("/api/backup/retention/holds/{hold_id}/release", { params: { path: { hold_id: each.id } } }), again)} />],
        ]}
      />
      <Reading of={approvals}>
        {(found) =>
          found.items.length === 0 ? null : (
            <Table
              of={found.items}
              id={(each) => each.id}
              caption={say("approvals")}
              columns={[
                [say("approvals"), (each) => word(each.operation)],
                [say("by"), (each) => each.askedBy],
                [say("expires"), (each) => <When at={each.expiresAt} />],
                [
                  say("files.do"),
                  (each) =>
                    // Nobody grants what they asked for themselves.
                    session.may("approve") && each.askedBy !== session.person.actor && (
                      <span class="actions">
                        <Confirmed label={say("grant")} question={say("grant?")} isBusy={write.isBusy} act={() => write.send(() => session.api.POST("/api/backup/approvals/{approval_id}/approve", { params: { path: { approval_id: each.id } } }), again)} />
                        <Confirmed label={say("deny")} question={say("deny?")} isBusy={write.isBusy} act={() => write.send(() => session.api.POST("/api/backup/approvals/{approval_id}/deny", { params: { path: { approval_id: each.id } } }), again)} />
                      </span>
                    ),
                ],
              ]}
            />
          )
        }
      </Reading>
      <Written of={write} />
    </Card>
  )
}

/** What a cleanup would let go, by a policy that is there; nothing is changed by looking. */
function Preview({ nameOf }: { nameOf: (id: string) => string }) {
  const { api } = useSession()
  const policies = useLoaded("policies", () => ok(api.GET("/api/backup/retention/policies", { params: { query: { limit: 100 } } })))
  const [policy, setPolicy] = useState("")
  const preview = useLoaded(`preview-${policy}`, () => ok(api.POST("/api/backup/retention/preview", { body: policy === "" ? {} : { retentionPolicyId: policy } })))
  return (
    <Card title={say("preview")}>
      <Reading of={policies}>
        {(found) => (
          <label class="line">
            {say("policy")}
            <select value={policy} onChange={(event) => setPolicy(event.currentTarget.value)}>
              <option value="">{say("policy.own")}</option>
              {found.items.map((each) => (
                <option key={each.id} value={each.id}>
                  {each.name ?? say("unreadable")}
                </option>
              ))}
            </select>
          </label>
        )}
      </Reading>
      <Reading of={preview}>
        {(found) => (
          <>
            <p>
              {say("preview.told", { keep: number(found.keep), wait: number(found.wait), go: number(found.go), overdue: number(found.overdue), bytes: size(found.freedBytes) })} <When at={found.judgedAt} />
            </p>
            <Unknown of={found.unknown} />
            <Table
              of={found.items}
              id={(each) => each.recoveryPointId}
              caption={say("preview")}
              columns={[
                [say("point"), (each) => <a href={to("points", each.recoveryPointId)}><When at={each.completedAt} /></a>],
                [say("configuration"), (each) => nameOf(each.configurationId)],
                [say("verdict"), (each) => <State of={each.verdict} />],
                [say("reason"), (each) => each.reasons.map((reason) => reason.words).join("; ")],
                [say("stored"), (each) => size(each.storedBytes)],
              ]}
            />
            {found.nextCursor != null && <p class="faint">{say("preview.more")}</p>}
          </>
        )}
      </Reading>
    </Card>
  )
}

function Cleanups() {
  const session = useSession()
  const list = useList("cleanups", (cursor) => ok(session.api.GET("/api/backup/retention/cleanups", { params: { query: { limit: 20, ...cursor } } })))
  const write = useWrite()
  return (
    <Card title={say("cleanups")}>
      <Listing
        of={list}
        id={(each) => each.id}
        caption={say("cleanups")}
        columns={[
          [say("started"), (each) => <When at={each.startedAt} />],
          [say("state"), (each) => <Outcome of={each} />],
          [say("trial"), (each) => word(each.dryRun ? "yes" : "no")],
          [say("cleanups.gone"), (each) => number(each.result?.gone ?? each.gone)],
          [say("cleanups.freed"), (each) => size(each.result?.freedBytes)],
          [say("by"), (each) => each.initiatedBy],
          [say("trouble"), (each) => <Why of={each.error} />],
        ]}
      />
      {session.may("clean-up") && (
        <div class="actions">
          <button type="button" disabled={write.isBusy} onClick={() => write.send(() => session.api.POST("/api/backup/retention/cleanup", { body: { dryRun: true } }), list.again)}>
            {say("cleanups.try")}
          </button>
          <Confirmed label={say("cleanups.go")} question={say("cleanups.go?")} isBusy={write.isBusy} act={() => write.send(() => session.api.POST("/api/backup/retention/cleanup", { body: { dryRun: false } }), list.again)} />
        </div>
      )}
      <Written of={write} />
    </Card>
  )
}

/** Repairs and optimisations, as they were asked for. */
function Work() {
  const { api } = useSession()
  const repairs = useList("repairs", (cursor) => ok(api.GET("/api/backup/storage/repairs", { params: { query: { limit: 20, ...cursor } } })))
  const optimizations = useList("optimizations", (cursor) => ok(api.GET("/api/backup/storage/optimizations", { params: { query: { limit: 20, ...cursor } } })))
  return (
    <>
      <Card title={say("repairs")}>
        <Listing
          of={repairs}
          id={(each) => each.id}
          caption={say("repairs")}
          columns={[
            [say("started"), (each) => <When at={each.startedAt} />],
            [say("state"), (each) => <Outcome of={each} />],
            [say("trial"), (each) => word(each.dryRun ? "yes" : "no")],
            [say("damaged"), (each) => number(each.places.reduce((sum, place) => sum + (place.damaged ?? 0), 0))],
            [say("repaired"), (each) => number(each.places.reduce((sum, place) => sum + (place.repaired ?? 0), 0))],
            [say("trouble"), (each) => (<><Why of={each.error} />{each.places.map((place) => <Why key={place.location} of={place} />)}</>)],
          ]}
        />
      </Card>
      <Card title={say("optimizations")}>
        <Listing
          of={optimizations}
          id={(each) => each.id}
          caption={say("optimizations")}
          columns={[
            [say("started"), (each) => <When at={each.startedAt} />],
            [say("state"), (each) => <Outcome of={each} />],
            [say("trial"), (each) => word(each.dryRun ? "yes" : "no")],
            [say("saved"), (each) => size(each.result?.savedBytes)],
            [say("whole"), (each) => <Yes is={each.result === null ? null : !each.result.isPartialMeasure} />],
            [say("time"), (each) => duration(each.result?.seconds)],
            [say("trouble"), (each) => (<><Why of={each.error} /> <Id of={each.requestId} /></>)],
          ]}
        />
      </Card>
    </>
  )
}
