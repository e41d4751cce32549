// The frame around every page: who has signed in, where one can go, in which language and time zone.
import type { ComponentType } from "preact"
import { useEffect, useMemo, useRef, useState } from "preact/hooks"
import type { Api, Person, Right } from "./api.ts"
import { LiveContext, useLive } from "./live.ts"
import { AccessPage } from "./pages/access.tsx"
import { CompliancePage } from "./pages/compliance.tsx"
import { ConfigurationsPage } from "./pages/configurations.tsx"
import { DisasterPage } from "./pages/disaster.tsx"
import { OverviewPage } from "./pages/overview.tsx"
import { PointsPage } from "./pages/points.tsx"
import { ProofsPage } from "./pages/proofs.tsx"
import { RecoveriesPage } from "./pages/recoveries.tsx"
import { RunsPage } from "./pages/runs.tsx"
import { SignIn } from "./pages/sign_in.tsx"
import { StoragePage } from "./pages/storage.tsx"
import { type Place, to, usePlace } from "./router.ts"
import { forgetToken, isOver, keptToken, type Session, SessionContext, signedIn, useSession } from "./session.ts"
import { currentLanguage, currentZone, here, LANGUAGES, say, speak, tellTimeOf } from "./speech.ts"
import type { Key } from "./words.ts"

export type Page = ComponentType<{ at: Place }>

/** The pages by their worth. A page is offered to who may read what it shows. */
const PAGES: readonly (readonly [name: string, title: Key, page: Page, right: Right])[] = [
  ["overview", "page.overview", OverviewPage, "read"],
  ["runs", "page.runs", RunsPage, "read"],
  ["points", "page.points", PointsPage, "read"],
  ["recoveries", "page.recoveries", RecoveriesPage, "read"],
  ["configurations", "page.configurations", ConfigurationsPage, "read"],
  ["storage", "page.storage", StoragePage, "read"],
  ["disaster", "page.disaster", DisasterPage, "read"],
  ["proofs", "page.proofs", ProofsPage, "read"],
  ["compliance", "page.compliance", CompliancePage, "read"],
  ["access", "page.access", AccessPage, "read-access-logs"],
]

export function App() {
  const [signed, setSigned] = useState<{ api: Api; person: Person } | null>(null)
  const [isTrying, setTrying] = useState(keptToken() !== null)
  const [problem, setProblem] = useState<unknown>(null)
  const [, setSpoken] = useState(0)
  const enter = (token: string) => {
    setTrying(true)
    setProblem(null)
    signedIn(token).then(
      (found) => (setSigned(found), setTrying(false)),
      (wrong: unknown) => {
        // A token that has ended is of no use any more; one that could not be judged now may be good.
        if (isOver(wrong)) forgetToken()
        setProblem(wrong)
        setTrying(false)
      },
    )
  }
  useEffect(() => {
    const kept = keptToken()
    if (kept !== null) enter(kept)
  }, [])
  const session = useMemo<Session | null>(
    () =>
      signed && {
        ...signed,
        may: (right) => signed.person.rights.includes(right),
        renew: async (token) => {
          const found = await signedIn(token)
          // Lists that are shown go on: the client that they were read with reads the token anew.
          setSigned({ api: signed.api, person: found.person })
        },
        leave: () => {
          forgetToken()
          setSigned(null)
        },
      },
    [signed],
  )
  const refresh = () => setSpoken((now) => now + 1)
  return (
    <SessionContext.Provider value={session}>
      <a class="skip" href="#content">
        {say("skip")}
      </a>
      {session === null ? <SignIn enter={enter} isTrying={isTrying} problem={problem} chosen={refresh} /> : <Inside refresh={refresh} />}
    </SessionContext.Provider>
  )
}

function Inside({ refresh }: { refresh: () => void }) {
  const session = useSession()
  const live = useLive(session.api)
  const at = usePlace()
  const offered = PAGES.filter(([, , , right]) => session.may(right))
  const [name, title, Shown] = offered.find(([each]) => each === at.page) ?? PAGES[0]!
  const heading = useRef<HTMLHeadingElement>(null)
  const isFirst = useRef(true)
  useEffect(() => {
    document.title = `${say(title)} · WedSync Backup`
    // Who goes on by keyboard or hears the page begins at its heading; the first page takes no focus from anybody.
    if (!isFirst.current) heading.current?.focus()
    isFirst.current = false
  }, [name, at.id])
  return (
    <LiveContext.Provider value={live}>
      <header>
        <strong class="mark">WedSync Backup</strong>
        <span class="who">
          {session.person.organisation} · {session.person.roles.join(", ")}
        </span>
        <Choices chosen={refresh} />
        <button type="button" onClick={session.leave}>
          {say("leave")}
        </button>
      </header>
      <div class="inside">
        <nav aria-label={say("pages")}>
          <ul>
            {offered.map(([each, label]) => (
              <li key={each}>
                <a href={to(each)} aria-current={each === name ? "page" : undefined}>
                  {say(label)}
                  {each === "runs" && live.running.length > 0 && <span class="count">{live.running.length}</span>}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <main id="content" tabIndex={-1}>
          <h1 ref={heading} tabIndex={-1}>
            {say(title)}
          </h1>
          {live.problem !== null && <p class="state warn">! {say("live.away")}</p>}
          <Shown at={at} />
        </main>
      </div>
    </LiveContext.Provider>
  )
}

/** Language and time zone. */
export function Choices({ chosen }: { chosen: () => void }) {
  return (
    <span class="choices">
      <select aria-label={say("language")} value={currentLanguage()} onChange={(event) => (speak(event.currentTarget.value === "de" ? "de" : "en"), chosen())}>
        {LANGUAGES.map((each) => (
          <option key={each} value={each}>
            {each === "de" ? "Deutsch" : "English"}
          </option>
        ))}
      </select>
      <select aria-label={say("time-zone")} value={currentZone()} onChange={(event) => (tellTimeOf(event.currentTarget.value), chosen())}>
        {[...new Set([here(), currentZone(), "UTC"])].map((each) => (
          <option key={each}>{each}</option>
        ))}
      </select>
    </span>
  )
}
