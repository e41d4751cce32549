// A write of somebody: sent, taken down, answered by its owner; with a second factor where the API demands one.
import { useRef, useState } from "preact/hooks"
import { accepted, ok, ProblemError, type WriteRequest } from "../api.ts"
import { useSession } from "../session.ts"
import { say } from "../speech.ts"
import { Problem } from "./basics.tsx"

interface Answer {
  data?: unknown
  error?: unknown
  response: Response
}

export interface Write {
  isBusy: boolean
  problem: unknown
  /** What became of it, once its owner has said yes. */
  done: WriteRequest | null
  /** Send it. `then`: what follows its owner's yes. */
  send(ask: () => Promise<Answer>, then?: (request: WriteRequest | null) => void): void
  /** Send the same once more, as a new write. */
  repeat(): void
}

export function useWrite(): Write {
  const { api } = useSession()
  const [state, setState] = useState<{ isBusy: boolean; problem: unknown; done: WriteRequest | null }>({ isBusy: false, problem: null, done: null })
  const latest = useRef<(() => void) | null>(null)
  const send: Write["send"] = (ask, then) => {
    const attempt = () => {
      setState({ isBusy: true, problem: null, done: null })
      settled(ask).then(
        (done) => {
          setState({ isBusy: false, problem: null, done })
          then?.(done)
        },
        (problem: unknown) => setState({ isBusy: false, problem, done: null }),
      )
    }
    latest.current = attempt
    attempt()
  }
  const settled = async (ask: () => Promise<Answer>): Promise<WriteRequest | null> => {
    const said = await ok<unknown>(ask())
    const isRequest = typeof said === "object" && said !== null && "submittedAt" in said && "resource" in said
    return isRequest ? await accepted(api, said as WriteRequest, { seconds: 60 }) : null
  }
  return { ...state, send, repeat: () => latest.current?.() }
}

/** How a write goes: nothing, that it is under way, what is wrong (with a field for a second factor), or that it is done. */
export function Written({ of, done }: { of: Write; done?: string }) {
  if (of.isBusy) {
    return (
      <p role="status" class="faint">
        {say("write.busy")}
      </p>
    )
  }
  if (of.problem instanceof ProblemError && of.problem.code === "second-factor-needed") return <SecondFactor of={of} />
  if (of.problem !== null) return <Problem of={of.problem} />
  return of.done === null ? null : (
    <p role="status" class="state good">
      ✓ {done ?? say("write.done")}
    </p>
  )
}

/** The API wants a second factor of lately: a token that has one, and the same once more. */
function SecondFactor({ of }: { of: Write }) {
  const { renew } = useSession()
  const [token, setToken] = useState("")
  const [problem, setProblem] = useState<unknown>(null)
  const give = (event: Event) => {
    event.preventDefault()
    renew(token.trim()).then(of.repeat, setProblem)
  }
  return (
    <form class="factor" onSubmit={give}>
      <Problem of={of.problem} />
      <label>
        {say("factor.token")}
        <input type="password" autocomplete="off" required value={token} onInput={(event) => setToken(event.currentTarget.value)} />
      </label>
      <p class="faint">{say("factor.how")}</p>
      <button type="submit" class="strong">
        {say("factor.go")}
      </button>
      <Problem of={problem} />
    </form>
  )
}
