// The API's operations, typed by its OpenAPI document; here is only what a generator cannot know.
import createFetchClient, { type Client, type Middleware } from "openapi-fetch"
import type { paths } from "./generated/api.ts"
import { ProblemError, secondsUntil } from "./problem.ts"

export type Api = Client<paths, "application/json">
/** A bearer token, or what gives one that is valid now. */
export type Token = string | (() => string | Promise<string>)

export interface Options {
  /** Where the API is, without a path: `https://backup.example.com`. */
  baseUrl: string
  token: Token
  /** How often a request is sent that got no answer, or 429 or 503: the same, with the same key. 3 where not said. */
  attempts?: number
  /** The longest wait before it is sent again, in seconds: who is told to wait longer is told at once. 10. */
  longestWaitSeconds?: number
  fetch?: (request: Request) => Promise<Response>
}

/**
 * A client. `GET`, `POST`, `PUT` and `DELETE` take the paths of the API (`/api/backup/…`).
 *
 * A write without an `Idempotency-Key` gets one. What got no answer is sent again with the same key: it is one write,
 * whatever happened to the first.
 */
export function createClient(options: Options): Api {
  const api = createFetchClient<paths>({ baseUrl: options.baseUrl, fetch: again(options) })
  api.use(headers(options.token))
  return api
}

function headers(token: Token): Middleware {
  return {
    async onRequest({ request }) {
      request.headers.set("Authorization", `Bearer ${await tokenOf(token)}`)
      const isWrite = !["GET", "HEAD"].includes(request.method)
      if (isWrite && !request.headers.has("Idempotency-Key")) request.headers.set("Idempotency-Key", newKey())
      return request
    },
  }
}

/** A key for a write. Keep it beside what is to be written, where the write has to outlive this page. */
export function newKey(): string {
  return crypto.randomUUID()
}

export async function tokenOf(token: Token): Promise<string> {
  return typeof token === "string" ? token : await token()
}

function again({ attempts = 3, longestWaitSeconds = 10, fetch = globalThis.fetch }: Options) {
  return async (request: Request): Promise<Response> => {
    for (let attempt = 1; ; attempt++) {
      const isLast = attempt >= attempts
      let waitSeconds: number
      try {
        const response = await fetch(isLast ? request : request.clone())
        if (isLast || (response.status !== 429 && response.status !== 503)) return response
        waitSeconds = secondsUntil(response) ?? 2 ** (attempt - 1)
        if (waitSeconds > longestWaitSeconds) return response
        await response.body?.cancel()
      } catch (error) {
        if (isLast || request.signal.aborted) throw error
        waitSeconds = Math.min(2 ** (attempt - 1), longestWaitSeconds)
      }
      await pause(waitSeconds, request.signal)
    }
  }
}

/** Wait; rejects with the signal's reason where it is given up meanwhile. */
export function pause(seconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop)
      resolve()
    }, seconds * 1000)
    if (signal?.aborted) stop()
    else signal?.addEventListener("abort", stop, { once: true })
  })
}

/** An answer as openapi-fetch gives it. */
export type Answer<T> = { data?: T; error?: unknown; response: Response }

/** What an operation answers; a `ProblemError` where it answers that something is wrong. */
export async function ok<T>(answer: Promise<Answer<T>>): Promise<T> {
  const { data, error, response } = await answer
  if (!response.ok) throw ProblemError.of(error, response)
  return data as T
}

export type Read<T> = { isNew: true; data: T; etag: string | null } | { isNew: false; etag: string | null }

/** The same of a read that has sent an `If-None-Match`: what is there, or that it is what you have (304). */
export async function read<T>(answer: Promise<Answer<T>>): Promise<Read<T>> {
  const { data, error, response } = await answer
  const etag = response.headers.get("ETag")
  if (response.status === 304) return { isNew: false, etag }
  if (!response.ok) throw ProblemError.of(error, response)
  return { isNew: true, data: data as T, etag }
}

interface Page<T> {
  items: T[]
  nextCursor: string | null
}

/** All of a list, page by page: `for await (const run of pages(cursor => api.GET(…)))`. */
export async function* pages<T>(
  page: (cursor: { cursor?: string }) => Promise<Answer<Page<T>>>,
): AsyncGenerator<T, void, undefined> {
  for (let cursor: { cursor?: string } = {}; ; ) {
    const { items, nextCursor } = await ok(page(cursor))
    yield* items
    if (nextCursor === null) return
    cursor = { cursor: nextCursor }
  }
}
