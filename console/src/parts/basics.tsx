// The small pieces that every page is made of.
import type { ComponentChildren } from "preact"
import { useState } from "preact/hooks"
import { ProblemError, StillPending } from "../api.ts"
import type { Listed, Loaded } from "../loading.ts"
import { ago, moment, say, word } from "../speech.ts"
import type { Key } from "../words.ts"

export type Tone = "good" | "warn" | "bad" | "busy" | "plain"

const TONES: Record<string, Tone> = {
  completed: "good", healthy: "good", pass: "good", whole: "good", uploaded: "good", verified: "good", active: "good", granted: "good",
  allowed: "good", accepted: "good", met: "good", delivered: "good",
  degraded: "warn", behind: "warn", unproven: "warn", partial: "warn", "no-evidence": "warn", wait: "warn", waiting: "warn", open: "warn",
  paused: "warn", lacking: "warn", blocked: "warn", untested: "warn", unknown: "warn", "not-looked-at": "warn", "never-run": "warn",
  expired: "warn", aborted: "warn", placed: "warn",
  failed: "bad", failing: "bad", fail: "bad", damaged: "bad", denied: "bad", refused: "bad", "timed-out": "bad", unmet: "bad", go: "bad",
  initializing: "busy", preparing: "busy", backing_up: "busy", verifying: "busy", recovering: "busy", running: "busy", retrying: "busy",
  pending: "busy", uploading: "busy", cleaning: "busy", validating: "busy", repairing: "busy", erasing: "busy",
}
const SIGNS: Record<Tone, string> = { good: "✓", warn: "!", bad: "✕", busy: "…", plain: "" }

/** A state in a word, with a sign: nobody has to tell colours apart. */
export function State({ of, tone }: { of: string | null | undefined; tone?: Tone }) {
  const toned = tone ?? (of === null || of === undefined ? "warn" : (TONES[of] ?? "plain"))
  return (
    <span class={`state ${toned}`}>
      {SIGNS[toned] !== "" && <span aria-hidden="true">{SIGNS[toned]} </span>}
      {word(of)}
    </span>
  )
}

/** What a run, a recovery and the like has come to: a degraded one is not whole. */
export function Outcome({ of }: { of: { state: string; degraded?: boolean } }) {
  return <State of={of.state === "completed" && of.degraded ? "degraded" : of.state} />
}

export function Yes({ is }: { is: boolean | null | undefined }) {
  return <State of={is === null || is === undefined ? "unknown" : is ? "yes" : "no"} tone={is === null || is === undefined ? "warn" : is ? "good" : "bad"} />
}

/** A moment, and how long ago that was. */
export function When({ at, missing = "never" }: { at: string | null | undefined; missing?: Key }) {
  if (at === null || at === undefined) return <span class="faint">{say(missing)}</span>
  return (
    <time dateTime={at} title={at}>
      {moment(at)} <span class="faint">({ago(at)})</span>
    </time>
  )
}

/** The id of something, short, and whole to who points at it. */
export function Id({ of }: { of: string | null | undefined }) {
  if (of === null || of === undefined) return <span class="faint">{say("none")}</span>
  return <code title={of}>{of.length > 12 ? `…${of.slice(-8)}` : of}</code>
}

/** What is wrong: the API's code, what it is about, and what to do. */
export function Problem({ of, again }: { of: unknown; again?: () => void }) {
  if (of === null || of === undefined) return null
  const problem = of instanceof ProblemError ? of.problem : null
  return (
    <div class="problem" role="alert">
      <p>
        <strong>{problem?.title ?? say(of instanceof StillPending ? "problem.pending" : "problem.unreachable")}</strong>
        {problem !== null && <code>{problem.code}</code>}
      </p>
      <p>{problem?.detail ?? (of instanceof Error ? of.message : String(of))}</p>
      {problem !== null && problem.hint !== "" && <p class="hint">{problem.hint}</p>}
      {problem?.field != null && (
        <p>
          {say("problem.field")}: <code>{problem.field}</code>
        </p>
      )}
      {problem?.errors != null && problem.errors.length > 0 && (
        <ul>
          {problem.errors.map((each) => (
            <li key={each.field + each.code}>
              <code>{each.field}</code> <code>{each.code}</code> {each.detail}. {each.hint}
            </li>
          ))}
        </ul>
      )}
      {problem?.traceId != null && (
        <p class="faint">
          {say("problem.trace")} <code>{problem.traceId}</code>
        </p>
      )}
      {again !== undefined && (
        <button type="button" onClick={again}>
          {say("again")}
        </button>
      )}
    </div>
  )
}

/** A code with what to do about it, as many things of the API have it beside them. */
export function Why({ of }: { of: { code?: string | null; hint?: string | null; title?: string } | null | undefined }) {
  if (!of?.code) return null
  return (
    <span class="why">
      <code>{of.code}</code> {of.title} {of.hint}
    </span>
  )
}

/** What is read, once it is there: with what went wrong above it, and, where an earlier look is shown, that it is old. */
export function Reading<T>({ of, children }: { of: Loaded<T>; children: (data: T) => ComponentChildren }) {
  return (
    <>
      {of.problem !== null && <Problem of={of.problem} again={of.again} />}
      {of.data === null ? of.problem === null && <Busy /> : children(of.data)}
    </>
  )
}

export function Busy() {
  return (
    <p class="faint" role="status">
      {say("loading")}
    </p>
  )
}

/** A list as a table: what each column is called, and how an item fills it. */
export function Table<T>({ of, caption, columns, id, empty = "empty" }: {
  of: T[]
  caption: string
  columns: readonly (readonly [heading: string, cell: (item: T) => ComponentChildren])[]
  id: (item: T) => string
  empty?: Key
}) {
  if (of.length === 0) return <p class="faint">{say(empty)}</p>
  return (
    // Wider than a phone, it is scrolled by itself, with the keyboard as well.
    <div class="wide" tabIndex={0} role="region" aria-label={caption}>
      <table>
        <caption>{caption}</caption>
        <thead>
          <tr>
            {columns.map(([heading]) => (
              <th key={heading} scope="col">
                {heading}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {of.map((item) => (
            <tr key={id(item)}>
              {columns.map(([heading, cell]) => (
                <td key={heading}>{cell(item)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

/** The same of a list that is read page by page. */
export function Listing<T>({ of, ...table }: { of: Listed<T> } & Omit<Parameters<typeof Table<T>>[0], "of">) {
  return (
    <>
      {of.problem !== null && <Problem of={of.problem} again={of.again} />}
      {of.items === null ? of.problem === null && <Busy /> : <Table of={of.items} {...table} />}
      {of.more !== null && (
        <button type="button" disabled={of.isLoading} onClick={of.more}>
          {say("more")}
        </button>
      )}
    </>
  )
}

export function Facts({ of }: { of: readonly (readonly [name: string, value: ComponentChildren])[] }) {
  return (
    <dl>
      {of.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}

export function Card({ title, children, tone }: { title: string; children: ComponentChildren; tone?: Tone }) {
  return (
    <section class={`card ${tone ?? ""}`}>
      <h2>{title}</h2>
      {children}
    </section>
  )
}

/** A figure with its name, as large as it matters. */
export function Figure({ name, value, note }: { name: string; value: ComponentChildren; note?: ComponentChildren }) {
  return (
    <div class="figure">
      <div class="value">{value}</div>
      <div>{name}</div>
      {note !== undefined && <div class="faint">{note}</div>}
    </div>
  )
}

export function Bar({ done, of, label }: { done: number | null | undefined; of: number | null | undefined; label: string }) {
  if (done === null || done === undefined || of === null || of === undefined || of === 0) return <progress aria-label={label} />
  return <progress aria-label={label} max={of} value={Math.min(done, of)} />
}

export function Tabs<T extends string>({ of, chosen, choose, name }: {
  of: readonly (readonly [value: T, name: string])[]
  chosen: T
  choose: (value: T) => void
  name: string
}) {
  return (
    <div class="tabs" role="group" aria-label={name}>
      {of.map(([value, label]) => (
        <button key={value} type="button" aria-pressed={value === chosen} onClick={() => choose(value)}>
          {label}
        </button>
      ))}
    </div>
  )
}

/** Something that is asked for twice: the second press is the one that counts. */
export function Confirmed({ label, question, act, isBusy }: { label: string; question: string; act: () => void; isBusy: boolean }) {
  const [isAsked, ask] = useState(false)
  if (!isAsked) {
    return (
      <button type="button" disabled={isBusy} onClick={() => ask(true)}>
        {label}
      </button>
    )
  }
  return (
    <span class="confirm" role="group" aria-label={question}>
      <span>{question}</span>
      <button type="button" class="strong" disabled={isBusy} onClick={() => (ask(false), act())}>
        {label}
      </button>
      <button type="button" onClick={() => ask(false)}>
        {say("back")}
      </button>
    </span>
  )
}
