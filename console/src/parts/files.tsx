// What lies in a recovery point, a folder at a time, as a worker reads it on the tiers at that moment.
import { useState } from "preact/hooks"
import { ok, type Schemas } from "../api.ts"
import { useList, useLoaded } from "../loading.ts"
import { useSession } from "../session.ts"
import { say, size, word } from "../speech.ts"
import { Listing, Reading, State, Table, When } from "./basics.tsx"
import { to } from "../router.ts"

type Entry = Schemas["PointEntry"]

/** `choose`: what is added to the scope of a recovery; null for who may ask for none. */
export function Files({ point, chosen, choose }: { point: string; chosen: string[]; choose: ((scope: string[]) => void) | null }) {
  const { api } = useSession()
  const [path, setPath] = useState("")
  const [wanted, setWanted] = useState("")
  const [file, setFile] = useState<string | null>(null)
  const [isWhole, setWhole] = useState(true)
  const list = useList(`entries-${point}-${path}`, async (cursor) => {
    const query = { limit: 200, ...(path === "" ? {} : { path }), ...cursor }
    const found = await ok(api.GET("/api/backup/recovery-points/{recovery_point_id}/entries", { params: { path: { recovery_point_id: point }, query } }))
    setWhole(found.isWhole)
    return found
  })
  const open = (folder: string) => (setPath(folder), setWanted(""), setFile(null))
  const pathOf = (entry: Entry) => (path === "" ? entry.name : `${path}/${entry.name}`)
  const parts = path === "" ? [] : path.split("/")
  const shown = list.items === null ? null : list.items.filter((each) => each.name.toLowerCase().includes(wanted.toLowerCase()))
  return (
    <>
      <nav aria-label={say("files.where")} class="crumbs">
        <button type="button" class="link" onClick={() => open("")}>
          {say("files.root")}
        </button>
        {parts.map((part, depth) => (
          <span key={depth}>
            {" / "}
            <button type="button" class="link" onClick={() => open(parts.slice(0, depth + 1).join("/"))}>
              {part}
            </button>
          </span>
        ))}
      </nav>
      <label class="line">
        {say("files.search")}
        <input type="search" value={wanted} onInput={(event) => setWanted(event.currentTarget.value)} />
      </label>
      {wanted !== "" && list.more !== null && <p class="faint">{say("files.partly")}</p>}
      {!isWhole && <p class="state warn">! {say("files.not-whole")}</p>}
      <Listing
        of={{ ...list, items: shown }}
        id={(entry) => entry.name + (entry.nameBytes ?? "")}
        caption={say("files.title")}
        columns={[
          [
            say("name"),
            (entry) =>
              entry.kind === "folder" && entry.nameBytes == null ? (
                <button type="button" class="link" onClick={() => open(pathOf(entry))}>
                  {entry.name}/
                </button>
              ) : (
                <span>
                  {entry.name}
                  {entry.target != null && <span class="faint"> → {entry.target}</span>}
                </span>
              ),
          ],
          [say("kind"), (entry) => word(entry.kind)],
          [say("bytes"), (entry) => (entry.kind === "folder" ? "" : size(entry.size))],
          [say("modified"), (entry) => <When at={entry.modifiedAt} missing="unknown" />],
          [
            say("files.do"),
            (entry) =>
              // A name that cannot be printed is asked for by its bytes, which the API takes and a person cannot type.
              entry.nameBytes != null ? null : (
                <span class="actions">
                  {entry.kind === "file" && (
                    <button type="button" aria-label={`${say("files.versions")}: ${entry.name}`} onClick={() => setFile(pathOf(entry))}>
                      {say("files.versions")}
                    </button>
                  )}
                  {choose !== null && !chosen.includes(pathOf(entry)) && (
                    <button type="button" aria-label={`${say("files.choose")}: ${entry.name}`} onClick={() => choose([...chosen, pathOf(entry)])}>
                      {say("files.choose")}
                    </button>
                  )}
                </span>
              ),
          ],
        ]}
      />
      {file !== null && <Versions point={point} path={file} />}
    </>
  )
}

function Versions({ point, path }: { point: string; path: string }) {
  const { api } = useSession()
  const query = { path, limit: 20 }
  const versions = useLoaded(`versions-${point}-${path}`, () =>
    ok(api.GET("/api/backup/recovery-points/{recovery_point_id}/versions", { params: { path: { recovery_point_id: point }, query } })),
  )
  return (
    <section>
      <h3>{say("files.versions-of", { path })}</h3>
      <Reading of={versions}>
        {(found) => (
          <Table
            of={found.items}
            id={(each) => each.recoveryPointId}
            caption={say("files.versions")}
            columns={[
              [say("point"), (each) => <a href={to("points", each.recoveryPointId)}><When at={each.completedAt} /></a>],
              [say("files.there"), (each) => <State of={each.isThere === null ? "unknown" : each.isThere ? "yes" : "no"} tone={each.isThere === null ? "warn" : "plain"} />],
              [say("files.changed"), (each) => word(each.isChanged === null ? null : each.isChanged ? "yes" : "no")],
              [say("bytes"), (each) => size(each.size)],
              [say("modified"), (each) => <When at={each.modifiedAt} missing="unknown" />],
              [say("trouble"), (each) => (each.code === null ? "" : <code>{each.code}</code>)],
            ]}
          />
        )}
      </Reading>
      {versions.data?.nextCursor != null && <p class="faint">{say("files.older")}</p>}
    </section>
  )
}
