// What is protected, and what is not: the 3-2-1-1-0 verdict of each source, with what speaks for it.
import { useEffect } from "preact/hooks"
import { ok, type Schemas } from "../api.ts"
import { useLoaded } from "../loading.ts"
import { useLiveRuns } from "../live.ts"
import { type Configuration, useConfigurations } from "../names.ts"
import { Card, Figure, Reading, State, Table, When } from "../parts/basics.tsx"
import { to } from "../router.ts"
import { useSession } from "../session.ts"
import { ago, day, dayOf, number, say, size, word } from "../speech.ts"

type Status = Schemas["Status"]

export function OverviewPage() {
  const { api } = useSession()
  const live = useLiveRuns()
  const status = useLoaded("status", () => ok(api.GET("/api/backup/status")), 10)
  // Facts come in bursts: it is read anew with every tenth, and every ten seconds anyway.
  useEffect(() => status.again(), [Math.floor(live.facts / 10)])
  const configurations = useConfigurations(30)
  return (
    <>
      <Reading of={status}>{(found) => <AtAGlance of={found} nameOf={configurations.nameOf} />}</Reading>
      <Reading of={configurations}>
        {(found) => {
          const kept = found.filter((each) => each.state !== "retired")
          return (
            <>
              <Weddings of={kept} />
              <Card title={say("overview.sources")}>
                <Table
                  of={kept}
                  id={(each) => each.id}
                  caption={say("overview.sources")}
                  empty="overview.nothing"
                  columns={[
                    [say("configuration"), (each) => <a href={to("configurations", each.id)}>{each.name ?? say("unreadable")}</a>],
                    ["3-2-1-1-0", (each) => <Verdict of={each.protection} />],
                    [say("health"), (each) => <State of={each.health} />],
                    [say("last-point"), (each) => <When at={each.lastRecoveryPoint?.completedAt} />],
                    [say("next-run"), (each) => (each.nextRun === null ? <span class="faint">{word(each.nextRunReason)}</span> : <When at={each.nextRun} />)],
                    [say("changed-since"), (each) => each.changedSince?.join(", ") || <span class="faint">{say("none")}</span>],
                  ]}
                />
              </Card>
            </>
          )
        }}
      </Reading>
    </>
  )
}

function AtAGlance({ of, nameOf }: { of: Status; nameOf: (id: string) => string }) {
  const { configurations, verdict, last24Hours: last, oldestUnprotectedSource: oldest, queue } = of
  return (
    <>
      <Card title={say(verdict.satisfied ? "overview.kept" : configurations.total === 0 ? "overview.nothing" : "overview.not-kept")} tone={verdict.satisfied ? "good" : "bad"}>
        <ul class="rules">
          {verdict.rules.map((rule) => (
            <li key={rule.rule}>
              <State of={rule.rule} tone={rule.satisfied ? "good" : "bad"} />
              {!rule.satisfied && <span class="faint"> {say("overview.failing", { n: number(rule.failingConfigurations) })}</span>}
            </li>
          ))}
        </ul>
        <p class="faint">
          {say("as-of")} <When at={of.asOf} />
        </p>
      </Card>
      <div class="figures">
        <Figure name={say("overview.healthy")} value={`${number(configurations.healthy)} / ${number(configurations.total)}`} note={say("overview.health", { degraded: number(configurations.degraded), failing: number(configurations.failing), never: number(configurations.neverRun), paused: number(configurations.paused) })} />
        <Figure name={say("overview.running")} value={number(of.running.length)} note={queue.oldestSince === null ? say("overview.queue", { n: number(queue.waiting) }) : `${say("overview.queue", { n: number(queue.waiting) })}, ${ago(queue.oldestSince)}`} />
        <Figure name={say("overview.day")} value={number(last.completed)} note={say("overview.day-note", { degraded: number(last.degraded), failed: number(last.failed), read: size(last.sourceBytes), stored: size(last.storedBytes) })} />
        <Figure
          name={say("overview.oldest")}
          value={oldest === null ? say("none") : ago(oldest.since)}
          note={oldest === null ? undefined : <a href={to("configurations", oldest.configurationId)}>{nameOf(oldest.configurationId)}</a>}
        />
      </div>
      <Card title={say("overview.tiers")}>
        <Table
          of={of.tiers}
          id={(each) => each.tier}
          caption={say("overview.tiers")}
          columns={[
            [say("tier"), (each) => word(each.tier)],
            [say("state"), (each) => <State of={each.verdict} />],
            [say("configurations"), (each) => number(each.configurations)],
            [say("overview.owed"), (each) => number(each.catchUpsOwed)],
            [say("overview.uploaded"), (each) => <When at={each.lastUploadedAt} />],
            [say("overview.failed"), (each) => (<><When at={each.lastFailedAt} /> {each.lastFailureCode !== null && <code>{each.lastFailureCode}</code>}</>)],
          ]}
        />
      </Card>
    </>
  )
}

/** The rules of one source, each with its evidence. */
export function Verdict({ of }: { of: Schemas["SourceProtection"] }) {
  return (
    <details>
      <summary>
        <State of={of.satisfied ? "kept" : "not-kept-rules"} tone={of.satisfied ? "good" : "bad"} />
      </summary>
      <ul class="rules">
        {of.rules.map((rule) => (
          <li key={rule.rule}>
            <State of={rule.rule} tone={rule.satisfied ? "good" : "bad"} />{" "}
            <span class="faint">{rule.evidence.length === 0 ? say("no-evidence") : rule.evidence.map(word).join(", ")}</span>
          </li>
        ))}
      </ul>
    </details>
  )
}

/** The weddings that are ahead, the next one first: what must not be lost then. */
function Weddings({ of }: { of: Configuration[] }) {
  const today = dayOf(Date.now())
  const ahead = of
    .filter((each) => each.weddingDate !== null && each.weddingDate >= today)
    .sort((one, other) => (one.weddingDate ?? "").localeCompare(other.weddingDate ?? ""))
    .slice(0, 10)
  if (ahead.length === 0) return null
  return (
    <Card title={say("overview.weddings")}>
      <ul class="plain">
        {ahead.map((each) => (
          <li key={each.id}>
            <strong>{day(each.weddingDate)}</strong> <a href={to("configurations", each.id)}>{each.name ?? say("unreadable")}</a>{" "}
            {each.isWeddingCritical && <span class="state plain">{say("critical")}</span>} <State of={each.protection.satisfied ? "kept" : "not-kept-rules"} tone={each.protection.satisfied ? "good" : "bad"} />
          </li>
        ))}
      </ul>
    </Card>
  )
}
