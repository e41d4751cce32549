// Recovery points on a line of time, one line for each source: where there is none for long, there is a gap to see.
import type { Schemas } from "../api.ts"
import { day, moment, say } from "../speech.ts"

type Point = Schemas["RecoveryPoint"]
const WIDTH = 1000
const LINE = 34
const EDGE = 12

export function Timeline({ of, nameOf, isWhole }: { of: Point[]; nameOf: (id: string) => string; isWhole: boolean }) {
  const sources = new Map<string, Point[]>()
  for (const point of of) sources.set(point.configurationId, [...(sources.get(point.configurationId) ?? []), point])
  const first = Math.min(...of.map((point) => Date.parse(point.completedAt)))
  const now = Date.now()
  const xOf = (time: number) => EDGE + ((time - first) / Math.max(now - first, 1)) * (WIDTH - 2 * EDGE)
  return (
    <>
      {[...sources].map(([id, points]) => {
        const told = say("points.line", { name: nameOf(id), n: points.length, last: moment(points[0]?.completedAt) })
        return (
          <figure key={id} class="timeline">
            <figcaption>{told}</figcaption>
            <svg viewBox={`0 0 ${WIDTH} ${LINE}`} role="img" aria-label={told} preserveAspectRatio="none">
              <line x1={EDGE} x2={WIDTH - EDGE} y1={LINE / 2} y2={LINE / 2} />
              {points.map((point) => (
                <rect key={point.id} class={(point.lastDamaged ?? []).length > 0 ? "bad" : point.lacking.length > 0 ? "warn" : "good"} x={xOf(Date.parse(point.completedAt)) - 3} y={5} width={6} height={LINE - 10} rx={2}>
                  <title>{moment(point.completedAt)}</title>
                </rect>
              ))}
            </svg>
          </figure>
        )
      })}
      <p class="faint ends">
        <span>{day(new Date(first).toISOString())}</span>
        <span>{say(isWhole ? "now" : "points.part")}</span>
      </p>
    </>
  )
}
