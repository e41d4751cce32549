// The steps of a plan as a graph, from left to right: what waits for what, and, of an execution, where each step is.
import { say, word } from "../speech.ts"

export interface Step {
  id: string
  kind: string
  after: string[]
  state: string | null
}

const WIDE = 150
const HIGH = 44
const APART = 46
const BELOW = 16

export function Graph({ of, name }: { of: Step[]; name: string }) {
  const depth = depths(of)
  const columns: Step[][] = []
  for (const step of of) (columns[depth.get(step.id) ?? 0] ??= []).push(step)
  const places = new Map<string, { x: number; y: number }>()
  columns.forEach((steps, column) => steps.forEach((step, row) => places.set(step.id, { x: column * (WIDE + APART), y: row * (HIGH + BELOW) })))
  const width = columns.length * (WIDE + APART) - APART
  const height = Math.max(...columns.map((steps) => steps.length)) * (HIGH + BELOW) - BELOW
  const told = `${name}: ${of.map((step) => `${step.id} (${word(step.kind)}${step.state === null ? "" : `, ${word(step.state)}`})`).join("; ")}`
  return (
    <div class="wide" tabIndex={0} role="region" aria-label={say("graph")}>
      <svg class="graph" width={width + 4} height={height + 4} viewBox={`-2 -2 ${width + 4} ${height + 4}`} role="img" aria-label={told}>
        {of.flatMap((step) =>
          step.after.map((before) => {
            const [from, end] = [places.get(before), places.get(step.id)]
            if (from === undefined || end === undefined) return null
            const [x1, y1, x2, y2] = [from.x + WIDE, from.y + HIGH / 2, end.x, end.y + HIGH / 2]
            return <path key={`${before}-${step.id}`} d={`M${x1} ${y1}C${x1 + APART / 2} ${y1} ${x2 - APART / 2} ${y2} ${x2} ${y2}`} />
          }),
        )}
        {of.map((step) => {
          const { x, y } = places.get(step.id) ?? { x: 0, y: 0 }
          return (
            <g key={step.id} class={`step ${step.state ?? ""}`} transform={`translate(${x} ${y})`}>
              <rect width={WIDE} height={HIGH} rx={8} />
              <text x={10} y={18}>
                {step.id.slice(0, 18)}
              </text>
              <text x={10} y={35} class="kind">
                {word(step.kind)}
                {step.state !== null && ` · ${word(step.state)}`}
              </text>
            </g>
          )
        })}
      </svg>
    </div>
  )
}

/** How many steps go before each, along the longest way. Plans have no circles; of one this would end all the same. */
function depths(steps: Step[]): Map<string, number> {
  const found = new Map(steps.map((step) => [step.id, 0]))
  for (let round = 0; round < steps.length; round++) {
    for (const step of steps) found.set(step.id, Math.max(0, ...step.after.map((before) => (found.get(before) ?? -1) + 1)))
  }
  return found
}
