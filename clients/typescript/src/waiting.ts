// A write is answered at once, or by 202 and a request that its owner answers later; a run takes as long as it takes.
import { type Answer, type Api, ok, pause, type Read, read } from "./client.ts"
import type { components } from "./generated/api.ts"
import { ProblemError } from "./problem.ts"

export type WriteRequest = components["schemas"]["WriteRequest"]
export type Execution = components["schemas"]["Execution"]
export type Recovery = components["schemas"]["RecoveryOperationView"]
export type Cleanup = components["schemas"]["RetentionCleanup"]

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
  const path = { execution_id: executionId }
  return await untilOver(`the run ${executionId}`, patience, (header) =>
    api.GET("/api/backup/executions/{execution_id}", { params: { path, header }, ...withSignal(patience) }),
  )
}

/** A recovery, once it has ended: `completed` (perhaps `degraded`), `failed` or `cancelled`. */
export async function recovered(api: Api, operationId: string, patience: Patience = {}): Promise<Recovery> {
  const path = { operation_id: operationId }
  return await untilOver(`the recovery ${operationId}`, patience, (header) =>
    api.GET("/api/backup/recovery/operations/{operation_id}", { params: { path, header }, ...withSignal(patience) }),
  )
}

/** A cleanup, once it has ended: `completed` (perhaps `degraded`) or `failed`. */
export async function cleanedUp(api: Api, cleanupId: string, patience: Patience = {}): Promise<Cleanup> {
  const path = { cleanup_id: cleanupId }
  return await untilOver(`the cleanup ${cleanupId}`, patience, (header) =>
    api.GET("/api/backup/retention/cleanups/{cleanup_id}", { params: { path, header }, ...withSignal(patience) }),
  )
}

type Known = { "If-None-Match"?: string }

/** What goes on, asked for with the ETag of what is known, until it has ended. */
async function untilOver<T extends { state: string }>(
  what: string,
  patience: Patience,
  look: (header: Known) => Promise<Answer<T>>,
): Promise<T> {
  let etag: string | null = null
  let latest: T | undefined
  const over = await until<T | undefined>(
    what,
    patience,
    undefined,
    (found) => found !== undefined && ["completed", "failed", "cancelled"].includes(found.state),
    async () => {
      const found: Read<T> = await read(look(etag === null ? {} : { "If-None-Match": etag }))
      etag = found.etag
      if (found.isNew) latest = found.data
      return latest
    },
  )
  return over as T
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
