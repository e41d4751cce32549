// What went wrong, as an error with the code that docs/api.md lists.
import type { Codes } from "./generated/facts.ts"
import type { components } from "./generated/api.ts"

export type Problem = components["schemas"]["Problem"]
/** A code of the API's catalogue. A newer server may have others, so a `switch` wants a `default`. */
export type Code = keyof Codes | (string & {})

/** An answer of the API that is no success. Go by `code`, which never changes its meaning, and by `problem.retry`. */
export class ProblemError extends Error {
  override readonly name = "ProblemError"
  /** `unreadable-answer`, where what answered was not the API (a proxy, say): `problem.detail` has what it said. */
  readonly code: Code
  readonly status: number
  readonly problem: Problem
  /** After how many seconds the same request may succeed; null where nobody said. */
  readonly retryAfterSeconds: number | null

  constructor(problem: Problem, retryAfterSeconds: number | null = null) {
    super(`${problem.code}: ${problem.detail} ${problem.hint}`.trimEnd())
    this.code = problem.code
    this.status = problem.status
    this.problem = problem
    this.retryAfterSeconds = retryAfterSeconds
  }

  /** What an answer with an error status says. */
  static of(said: unknown, response: Response): ProblemError {
    const seconds = secondsUntil(response)
    if (isProblem(said)) return new ProblemError(said, seconds)
    const detail = typeof said === "string" ? said.slice(0, 500) : ""
    return new ProblemError(
      {
        type: "about:blank",
        title: "The answer is not one of the API",
        status: response.status,
        detail: detail || `HTTP ${response.status} without a problem`,
        code: "unreadable-answer",
        retry: response.status >= 500 ? "later" : "never",
        hint: "Look at what stands between this client and the API.",
        traceId: response.headers.get("X-Trace-Id"),
        instance: null,
        field: null,
        errors: null,
        context: null,
      },
      seconds,
    )
  }
}

/** `Retry-After`, in seconds; null where it is not there or not a number. */
export function secondsUntil(response: Response): number | null {
  const said = response.headers.get("Retry-After")
  return said !== null && /^\d{1,9}$/.test(said) ? Number(said) : null
}

function isProblem(said: unknown): said is Problem {
  if (typeof said !== "object" || said === null) return false
  const { code, detail, status } = said as Record<string, unknown>
  return typeof code === "string" && typeof detail === "string" && typeof status === "number"
}
