// What happens, as it happens: the WebSocket with tickets, and on from where it stopped after a drop.
import { type Api, ok, pause } from "./client.ts"
import type { Facts, components } from "./generated/facts.ts"
import { ProblemError } from "./problem.ts"

type Frames = components["schemas"]
/** Something that is now true. `event` says what `fields` are; a newer server tells others, too. */
export type Fact = { [Event in keyof Facts]: Omit<Frames["FactFrame"], "event" | "fields"> & FactOf<Event> }[keyof Facts]
type FactOf<Event extends keyof Facts> = { event: Event; fields: Facts[Event] }
export type Snapshot = Frames["Snapshot"]
export type Message = Snapshot | Frames["Resumed"] | Fact | Frames["ProgressFrame"]
/** `{ all: true }`, or the ids of runs or configurations, of which there is one at least. */
export type About = { all: true } | { executions: string[] } | { configurations: string[] }

export interface Watch {
  signal?: AbortSignal
  /** The `resume` of the last message of an earlier watch: on from there, over restarts of everything. */
  resume?: string
  /** After how many drops in a row without a message in between it is given up; 10. */
  dropsMax?: number
}

/** The socket is closed, and to open it again would not help. */
export class WatchEnded extends Error {
  override readonly name = "WatchEnded"
  readonly closeCode: number

  constructor(closeCode: number, reason: string) {
    super(`the socket was closed: ${closeCode} ${reason}`.trimEnd())
    this.closeCode = closeCode
  }
}

const FINAL = new Set([1002, 1003, 1007, 1008, 1009, 4409])

/**
 * Messages in their order, each fact once: a snapshot first (or `resumed`), then what happens.
 *
 * After a drop it goes on behind the last message; where too much was missed a snapshot comes again, whose
 * `endedSince` says so. Each socket has a ticket of its own, got with the client's token of then, so that a token that
 * has ended (4401) is renewed by the client's `token`. A server that is away is asked again, for minutes. Where a
 * ticket is refused for good, or the subscription is: `ProblemError`.
 */
export async function* watch(api: Api, baseUrl: string, about: About, options: Watch = {}): AsyncGenerator<Message> {
  const { signal, dropsMax = 10 } = options
  let { resume } = options
  for (let drops = 0; ; ) {
    if (drops > 0) await pause(Math.min(30, 0.25 * 2 ** drops) * (0.5 + Math.random() / 2), signal)
    const ticket = await ticketOf(api, signal).catch((error: unknown) => {
      if (signal?.aborted || drops >= dropsMax || !isPassing(error)) throw error
      return null
    })
    if (ticket === null) {
      drops++
      continue
    }
    const address = new URL("/api/backup/monitoring", baseUrl)
    address.protocol = address.protocol.replace("http", "ws")
    address.searchParams.set("ticket", ticket)
    const socket = new Frame(address, { type: "subscribe", ...about, ...(resume === undefined ? {} : { resume }) })
    const giveUp = () => socket.close()
    signal?.addEventListener("abort", giveUp)
    try {
      for await (const message of socket.messages()) {
        if (message.type === "error") throw new ProblemError(message.problem)
        if ("resume" in message) resume = message.resume
        drops = 0
        yield message
      }
    } finally {
      signal?.removeEventListener("abort", giveUp)
      socket.close()
    }
    signal?.throwIfAborted()
    const { code, reason } = socket.closed
    drops++
    if (FINAL.has(code) || drops > dropsMax) throw new WatchEnded(code, reason)
  }
}

async function ticketOf(api: Api, signal: AbortSignal | undefined): Promise<string> {
  const given = await ok(api.POST("/api/backup/monitoring/ticket", signal === undefined ? {} : { signal }))
  return given.ticket
}

/** Whether it is as with a socket that drops: nobody answers (which `fetch` tells by a TypeError), or not now. */
function isPassing(error: unknown): boolean {
  return error instanceof TypeError || (error instanceof ProblemError && error.problem.retry === "later")
}

class Frame {
  closed = { code: 1006, reason: "" }
  readonly #socket: WebSocket
  readonly #heard: (Message | Frames["Failure"])[] = []
  #isOpen = true
  #wake: () => void = () => undefined

  constructor(address: URL, subscription: object) {
    this.#socket = new WebSocket(address)
    this.#socket.onopen = () => this.#socket.send(JSON.stringify(subscription))
    this.#socket.onmessage = ({ data }) => {
      this.#heard.push(JSON.parse(String(data)))
      this.#wake()
    }
    this.#socket.onclose = ({ code, reason }) => {
      this.closed = { code, reason }
      this.#isOpen = false
      this.#wake()
    }
  }

  close(): void {
    this.#socket.close()
  }

  async *messages(): AsyncGenerator<Message | Frames["Failure"]> {
    for (;;) {
      const next = this.#heard.shift()
      if (next !== undefined) yield next
      else if (!this.#isOpen) return
      else await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }
}
