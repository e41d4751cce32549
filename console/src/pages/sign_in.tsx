// Signing in: with a token of the identity provider, as the command line of the embedded platform gives it.
import { useState } from "preact/hooks"
import { Choices } from "../app.tsx"
import { Problem } from "../parts/basics.tsx"
import { say } from "../speech.ts"

export function SignIn({ enter, isTrying, problem, chosen }: { enter: (token: string) => void; isTrying: boolean; problem: unknown; chosen: () => void }) {
  const [token, setToken] = useState("")
  const submit = (event: Event) => {
    event.preventDefault()
    enter(token.trim())
  }
  return (
    <main id="content" class="sign-in" tabIndex={-1}>
      <h1>WedSync Backup</h1>
      <form onSubmit={submit}>
        <label>
          {say("sign-in.token")}
          <input type="password" autocomplete="off" required value={token} aria-describedby="how" onInput={(event) => setToken(event.currentTarget.value)} />
        </label>
        <button type="submit" class="strong" disabled={isTrying}>
          {say("sign-in.go")}
        </button>
        {isTrying && <p role="status">{say("sign-in.busy")}</p>}
        <Problem of={problem} />
        <div id="how" class="faint">
          <p>{say("sign-in.embedded")}</p>
          <pre>wedsync-backup token --role owner --second-factor</pre>
          <p>{say("sign-in.elsewhere")}</p>
          <p>{say("sign-in.kept")}</p>
        </div>
      </form>
      <Choices chosen={chosen} />
    </main>
  )
}
