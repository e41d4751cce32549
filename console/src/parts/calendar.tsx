// The last five weeks, a day each: how many runs it had, and the worst that one of them came to; a day missed is seen.
import { ok, type Execution } from "../api.ts"
import { useLoaded } from "../loading.ts"
import { useSession } from "../session.ts"
import { currentLanguage, day, dayOf, number, say, word } from "../speech.ts"
import { Card, Reading, type Tone } from "./basics.tsx"

const DAYS = 35
const RUNS_MAX = 500
const DAY = 86_400_000

interface Day {
  date: string
  runs: Execution[]
}

export function Calendar() {
  const { api } = useSession()
  const loaded = useLoaded("calendar", async () => {
    const from = new Date(Date.now() - (DAYS - 1) * DAY).toISOString()
    const runs: Execution[] = []
    let cursor: string | null = null
    do {
      const query = { limit: 100, from, ...(cursor === null ? {} : { cursor }) }
      const answer: { items: Execution[]; nextCursor?: string | null } = await ok(api.GET("/api/backup/executions", { params: { query } }))
      runs.push(...answer.items)
      cursor = answer.nextCursor ?? null
    } while (cursor !== null && runs.length < RUNS_MAX)
    return { runs, isWhole: cursor === null }
  })
  return (
    <Card title={say("calendar")}>
      <Reading of={loaded}>
        {({ runs, isWhole }) => (
          <>
            <ol class="calendar">
              {daysOf(runs).map((each) => (
                <li key={each.date} class={toneOf(each.runs)} title={tellOf(each)}>
                  <span aria-hidden="true">{Number(each.date.slice(8))}</span>
                  <span class="hidden">{tellOf(each)}</span>
                </li>
              ))}
            </ol>
            <p class="faint">{say(isWhole ? "calendar.key" : "calendar.part", { n: number(RUNS_MAX) })}</p>
          </>
        )}
      </Reading>
    </Card>
  )
}

function daysOf(runs: Execution[]): Day[] {
  const days = new Map<string, Execution[]>()
  for (let back = DAYS - 1; back >= 0; back--) days.set(dayOf(Date.now() - back * DAY), [])
  for (const run of runs) days.get(dayOf(run.startedAt))?.push(run)
  return [...days].map(([date, found]) => ({ date, runs: found }))
}

function toneOf(runs: Execution[]): Tone {
  if (runs.some((run) => run.state === "failed")) return "bad"
  if (runs.some((run) => run.degraded)) return "warn"
  return runs.some((run) => run.state === "completed") ? "good" : "plain"
}

function tellOf({ date, runs }: Day): string {
  const counts = new Map<string, number>()
  for (const run of runs) {
    const came = run.degraded ? "degraded" : run.state
    counts.set(came, (counts.get(came) ?? 0) + 1)
  }
  const told = new Intl.ListFormat(currentLanguage()).format([...counts].map(([state, n]) => `${number(n)} ${word(state)}`))
  return `${day(date)}: ${runs.length === 0 ? say("calendar.none") : told}`
}
