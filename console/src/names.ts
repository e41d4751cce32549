// Configurations by their ids: nearly every page names some.
import { useSession } from "./session.ts"
import { type Loaded, useLoaded } from "./loading.ts"
import { ok, type Schemas } from "./api.ts"
import { say } from "./speech.ts"

export type Configuration = Schemas["Configuration"]
const PAGES_MAX = 10

export interface Configurations extends Loaded<Configuration[]> {
  nameOf(id: string | null | undefined): string
}

/** The organisation's configurations, up to a thousand. */
export function useConfigurations(everySeconds?: number): Configurations {
  const { api } = useSession()
  const loaded = useLoaded("configurations", async () => {
    const found: Configuration[] = []
    let cursor: string | null | undefined
    for (let page = 0; page < PAGES_MAX && cursor !== null; page++) {
      const query = { limit: 100, ...(cursor === undefined ? {} : { cursor }) }
      const answer = await ok(api.GET("/api/backup/configurations", { params: { query } }))
      found.push(...answer.items)
      cursor = answer.nextCursor ?? null
    }
    return found
  }, everySeconds)
  const nameOf = (id: string | null | undefined) => {
    if (id === null || id === undefined) return say("none")
    const found = loaded.data?.find((each) => each.id === id)
    return found === undefined ? `…${id.slice(-8)}` : (found.name ?? say("unreadable"))
  }
  return { ...loaded, nameOf }
}
