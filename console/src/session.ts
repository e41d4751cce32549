// Who has signed in. The token is kept for this tab alone, until it is closed or somebody signs out: in the tab's
// session storage, so that a reload does not ask for it again; never in an address, nor where other tabs find it.
import { createContext } from "preact"
import { useContext } from "preact/hooks"
import { type Api, createClient, ok, type Person, ProblemError, type Right } from "./api.ts"

const KEPT_AS = "wedsync-backup-token"

export interface Session {
  api: Api
  person: Person
  may(right: Right): boolean
  /** Another token of the same person, say with a second factor. Throws where it is refused, and nothing changes then. */
  renew(token: string): Promise<void>
  leave(): void
}

export function keptToken(): string | null {
  return sessionStorage.getItem(KEPT_AS)
}

export function forgetToken(): void {
  sessionStorage.removeItem(KEPT_AS)
}

/** Whose token it is. Throws the API's problem where it is none that is valid now. */
export async function signedIn(token: string): Promise<{ api: Api; person: Person }> {
  const api = clientOf(() => token)
  const person = await ok(api.GET("/api/backup/me"))
  sessionStorage.setItem(KEPT_AS, token)
  // From here on it is read anew for each request: a renewed one is used at once.
  return { api: clientOf(() => keptToken() ?? token), person }
}

function clientOf(token: () => string): Api {
  return createClient({ baseUrl: location.origin, token })
}

/** Whether a problem says that the sign-in has ended. */
export function isOver(problem: unknown): boolean {
  return problem instanceof ProblemError && problem.code === "unauthenticated"
}

export const SessionContext = createContext<Session | null>(null)

export function useSession(): Session {
  const session = useContext(SessionContext)
  if (session === null) throw new Error("nobody has signed in")
  return session
}
