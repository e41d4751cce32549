// A write is answered at once, or by 202 and a request that its owner answers later; a run takes as long as it takes.
import { type Answer, type Api, ok, pause, read } from "./client.ts"
import type { components } from "./generated/api.ts"
import { ProblemError } from "./problem.ts"

export type WriteRequest = components["schemas"]["WriteRequest"]
export type Execution = components["schemas"]["Execution"]

export interface Patience {
  /** How long to wait at most; a `StillPending` then. Five minutes where not said. */
  seconds?: number
  signal?: AbortSignal
  /** Between two looks. One second. */
  everySeconds?: number
}

/** Nothing has failed and nothing has ended: what was waited for still goes on. */
export class StillPending<T> extends Error {
  override readonly name = "StillPending"
  readonly latest: T

  constructor(what: string, latest: T) {
    super(`${what} has not ended; it goes on`)
    this.latest = latest
  }
}

/** The request that a write was answered with, once its owner has accepted it. Throws the refusal. */
export async function accepted(
  api: Api,
  answer: WriteRequest | Promise<Answer<WriteRequest>>,
  patience: Patience = {},
): Promise<WriteRequest> {
  const begun = "id" in answer ? answer : await ok(answer)
  const path = { request_id: begun.id }
  const settled = await until(
    `the request ${begun.id}`,
    patience,
    begun,
    ({ state }) => state !== "pending",
    () => ok(api.GET("/api/backup/requests/{request_id}", { params: { path }, ...withSignal(patience) })),
  )
  if (settled.state === "accepted") return settled
  const { problem } = settled
  if (problem === null) throw new StillPending(`the request ${settled.id}`, settled)
  throw new ProblemError(problem)
}

/**
 * What a write has made or changed: of the answer itself, or, where that is a request, of what is there once the request
 * is accepted. Throws the refusal. Somebody may have changed it since: its version says so.
 */
export async function result<T>(
  api: Api,
  answer: Promise<Answer<T>>,
  patience: Patience = {},
): Promise<Exclude<T, WriteRequest>> {
  const said = await ok(answer)
  if (!isRequest(said)) return said as Exclude<T, WriteRequest>
  const { resource, id } = await accepted(api, said, patience)
  if (resource === null) throw new StillPending(`what the request ${id} asked for`, said)
  // Its path is one of the API's; which, the write has decided.
  return (await ok(api.GET(resource as "/api/backup/status", withSignal(patience)))) as Exclude<T, WriteRequest>
}

function isRequest(said: unknown): said is WriteRequest {
  return typeof said === "object" && said !== null && "submittedAt" in said && "resource" in said
}

/** A run, once it has ended: `completed` (perhaps `degraded`), `failed` or `cancelled`. Which of them is yours to judge. */
export async function ended(api: Api, executionId: string, patience: Patience = {}): Promise<Execution> {
  let etag: string | null = null
  let latest: Execution | undefined
  return (await until(
    `the run ${executionId}`,
    patience,
    undefined as Execution | undefined,
    (run) => run !== undefined && ["completed", "failed", "cancelled"].includes(run.state),
    async () => {
      const params = { path: { execution_id: executionId }, header: etag === null ? {} : { "If-None-Match": etag } }
      const found = await read(api.GET("/api/backup/executions/{execution_id}", { params, ...withSignal(patience) }))
      etag = found.etag
      if (found.isNew) latest = found.data
      return latest
    },
  )) as Execution
}

async function until<T>(
  what: string,
  { seconds = 300, everySeconds = 1, signal }: Patience,
  first: T,
  isOver: (latest: T) => boolean,
  look: () => Promise<T>,
): Promise<T> {
  const end = performance.now() + seconds * 1000
  for (let latest = first; ; latest = await look()) {
    if (isOver(latest)) return latest
    if (performance.now() >= end) throw new StillPending(what, latest)
    if (latest !== undefined) await pause(everySeconds, signal)
  }
}

function withSignal({ signal }: Patience): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal }
}
