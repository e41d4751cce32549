// What can be restored: the recovery points of each source over time, what lies in one, and asking for it back.
import { useState } from "preact/hooks"
import { ok, type Schemas } from "../api.ts"
import { useList, useLoaded } from "../loading.ts"
import { useConfigurations } from "../names.ts"
import { Card, Confirmed, Facts, Id, Listing, Reading, State, When } from "../parts/basics.tsx"
import { Files } from "../parts/files.tsx"
import { Timeline } from "../parts/timeline.tsx"
import { useWrite, Written } from "../parts/writing.tsx"
import { type Place, to } from "../router.ts"
import { useSession } from "../session.ts"
import { number, say, size, word } from "../speech.ts"

type Point = Schemas["RecoveryPoint"]

export function PointsPage({ at }: { at: Place }) {
  return at.id === null ? <Points of={at.query.get("configuration")} /> : <OnePoint id={at.id} />
}

/** How well a point is kept: damaged where a validation found it so, lacking where a tier did not take it. */
function Standing({ of }: { of: Point }) {
  if (of.goneAt != null) return <State of="gone" tone="plain" />
  if ((of.lastDamaged ?? []).length > 0) return <State of="damaged" />
  return <State of={of.lacking.length > 0 ? "lacking" : (of.lastProven ?? []).length > 0 ? "proven" : "unproven"} tone={of.lacking.length > 0 ? "warn" : (of.lastProven ?? []).length > 0 ? "good" : "plain"} />
}

function Points({ of }: { of: string | null }) {
  const { api } = useSession()
  const configurations = useConfigurations()
  const [chosen, choose] = useState(of ?? "")
  const list = useList(`points-${chosen}`, (cursor) =>
    ok(api.GET("/api/backup/recovery-points", { params: { query: { limit: 100, ...(chosen === "" ? {} : { configurationId: chosen }), ...cursor } } })),
  )
  return (
    <>
      <label class="line">
        {say("configuration")}
        <select value={chosen} onChange={(event) => choose(event.currentTarget.value)}>
          <option value="">{say("all")}</option>
          {(configurations.data ?? []).map((each) => (
            <option key={each.id} value={each.id}>
              {each.name ?? say("unreadable")}
            </option>
          ))}
        </select>
      </label>
      {list.items !== null && list.items.length > 0 && (
        <Card title={say("points.timeline")}>
          <Timeline of={list.items} nameOf={configurations.nameOf} isWhole={list.more === null} />
        </Card>
      )}
      <Card title={say("points.list")}>
        <Listing
          of={list}
          id={(point) => point.id}
          caption={say("points.list")}
          empty="points.none"
          columns={[
            [say("completed-at"), (point) => <a href={to("points", point.id)}><When at={point.completedAt} /></a>],
            [say("configuration"), (point) => configurations.nameOf(point.configurationId)],
            [say("state"), (point) => <Standing of={point} />],
            [say("tiers"), (point) => point.tiers.map(word).join(", ")],
            [say("files.word"), (point) => number(point.files)],
            [say("bytes"), (point) => size(point.sourceBytes)],
            [say("holds"), (point) => number((point.heldBy ?? []).length)],
          ]}
        />
      </Card>
    </>
  )
}

function OnePoint({ id }: { id: string }) {
  const session = useSession()
  const { nameOf } = useConfigurations()
  const [scope, setScope] = useState<string[]>([])
  const validate = useWrite()
  const point = useLoaded(`point-${id}`, () => ok(session.api.GET("/api/backup/recovery-points/{recovery_point_id}", { params: { path: { recovery_point_id: id } } })))
  return (
    <Reading of={point}>
      {(found) => (
        <>
          <Card title={nameOf(found.configurationId)}>
            <Facts
              of={[
                [say("completed-at"), <When at={found.completedAt} />],
                [say("state"), <Standing of={found} />],
                [say("tiers"), found.tiers.map(word).join(", ")],
                [say("lacking"), found.lacking.length === 0 ? say("none") : found.lacking.map((each) => <span key={each.tier}>{word(each.tier)} <code>{each.code}</code> </span>)],
                [say("files.word"), number(found.files)],
                [say("bytes"), size(found.sourceBytes)],
                [say("points.unreadable"), number(found.unreadableFiles)],
                [say("points.proven"), <Proofs of={found.lastProven ?? []} />],
                [say("points.damaged"), <Proofs of={found.lastDamaged ?? []} />],
                [say("holds"), (found.heldBy ?? []).length === 0 ? say("none") : (found.heldBy ?? []).map((hold) => <Id key={hold} of={hold} />)],
                [say("points.gone"), found.goneAt == null ? say("no") : <><When at={found.goneAt} /> {(found.goneBecause ?? []).map(word).join(", ")}</>],
                [say("run"), <a href={to("runs", found.id)}><Id of={found.id} /></a>],
              ]}
            />
            {session.may("validate") && found.goneAt == null && (
              <div class="actions">
                {(["sample", "whole"] as const).map((depth) => (
                  <Confirmed
                    key={depth}
                    label={say(`validate.${depth}`)}
                    question={say("validate?")}
                    isBusy={validate.isBusy}
                    act={() => validate.send(() => session.api.POST("/api/backup/recovery/validate", { body: { recoveryPointId: id, depth } }))}
                  />
                ))}
                <a href={to("proofs")}>{say("page.proofs")}</a>
              </div>
            )}
            <Written of={validate} done={say("validate.begun")} />
          </Card>
          {found.goneAt == null && (
            <>
              <Card title={say("files.title")}>
                <Files point={id} chosen={scope} choose={session.may("recover") ? setScope : null} />
              </Card>
              {session.may("recover") && <Recover point={found} scope={scope} setScope={setScope} />}
            </>
          )}
        </>
      )}
    </Reading>
  )
}

function Proofs({ of }: { of: Schemas["TierProof"][] }) {
  if (of.length === 0) return <>{say("none")}</>
  return (
    <ul class="plain">
      {of.map((each) => (
        <li key={each.tier + each.location}>
          {word(each.tier)} ({word(each.depth)}): <When at={each.at} />
        </li>
      ))}
    </ul>
  )
}

const CONFLICTS = ["refuse", "skip", "overwrite", "rename"] as const

/** Asking for a recovery: what, where to, and what becomes of what is there, told before it is asked for. */
function Recover({ point, scope, setScope }: { point: Point; scope: string[]; setScope: (scope: string[]) => void }) {
  const { api } = useSession()
  const write = useWrite()
  const locations = useLoaded("locations", () => ok(api.GET("/api/backup/locations")))
  const [target, setTarget] = useState("")
  const [path, setPath] = useState("")
  const [conflict, setConflict] = useState<(typeof CONFLICTS)[number]>("refuse")
  const targets = (locations.data?.items ?? []).filter((each) => each.roles.includes("target"))
  const ask = () =>
    write.send(
      () => api.POST("/api/backup/recovery/initiate", { body: { recoveryPointId: point.id, targetLocation: target, targetPath: path, conflictPolicy: conflict, ...(scope.length === 0 ? {} : { scope }) } }),
      (request) => {
        const id = request?.resource?.split("/").pop()
        if (id !== undefined) location.hash = to("recoveries", id)
      },
    )
  return (
    <Card title={say("recover.title")}>
      <Reading of={locations}>
        {() =>
          targets.length === 0 ? (
            <p class="faint">{say("recover.no-target")}</p>
          ) : (
            <div class="form">
              <label>
                {say("recover.target")}
                <select value={target} onChange={(event) => setTarget(event.currentTarget.value)}>
                  <option value="">{say("choose")}</option>
                  {targets.map((each) => (
                    <option key={each.name}>{each.name}</option>
                  ))}
                </select>
              </label>
              <label>
                {say("recover.path")}
                <input value={path} onInput={(event) => setPath(event.currentTarget.value)} />
              </label>
              <label>
                {say("recover.conflict")}
                <select value={conflict} onChange={(event) => setConflict(CONFLICTS.find((each) => each === event.currentTarget.value) ?? "refuse")}>
                  {CONFLICTS.map((each) => (
                    <option key={each} value={each}>
                      {say(`conflict.${each}`)}
                    </option>
                  ))}
                </select>
              </label>
              <label>
                {say("recover.scope")}
                <textarea rows={3} value={scope.join("\n")} onInput={(event) => setScope(event.currentTarget.value.split("\n").filter((line) => line !== ""))} />
              </label>
              {target !== "" && (
                <p role="status">
                  {say(scope.length === 0 ? "recover.preview-all" : "recover.preview-part", { files: number(point.files), bytes: size(point.sourceBytes), parts: number(scope.length), target: path === "" ? target : `${target}/${path}` })} {say(`conflict.${conflict}`)}.
                </p>
              )}
              <Confirmed label={say("recover.go")} question={say("recover?")} isBusy={write.isBusy || target === ""} act={ask} />
              <Written of={write} />
            </div>
          )
        }
      </Reading>
    </Card>
  )
}
