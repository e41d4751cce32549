// Recoveries: what was asked back, how far it is, and whether what came was read back and found equal.
import { useEffect } from "preact/hooks"
import { ok } from "../api.ts"
import { useList, useLoaded } from "../loading.ts"
import { useConfigurations } from "../names.ts"
import { Bar, Card, Confirmed, Facts, Listing, Outcome, Reading, State, Table, When, Why } from "../parts/basics.tsx"
import { useWrite, Written } from "../parts/writing.tsx"
import { type Place, to } from "../router.ts"
import { useSession } from "../session.ts"
import { duration, number, say, size, word } from "../speech.ts"

export function RecoveriesPage({ at }: { at: Place }) {
  return at.id === null ? <Recoveries /> : <OneRecovery id={at.id} />
}

function Recoveries() {
  const { api } = useSession()
  const { nameOf } = useConfigurations()
  const list = useList("recoveries", (cursor) => ok(api.GET("/api/backup/recovery/operations", { params: { query: { limit: 50, ...cursor } } })))
  return (
    <>
      <p class="faint">
        {say("recoveries.how")} <a href={to("points")}>{say("page.points")}</a>
      </p>
      <Listing
        of={list}
        id={(each) => each.id}
        caption={say("page.recoveries")}
        columns={[
          [say("started"), (each) => <a href={to("recoveries", each.id)}><When at={each.startedAt} /></a>],
          [say("configuration"), (each) => nameOf(each.configurationId)],
          [say("state"), (each) => <Outcome of={each} />],
          [say("recover.target"), (each) => each.targetLocation + (each.targetPath ? `/${each.targetPath}` : "")],
          [say("verified"), (each) => <State of={each.verificationStatus} />],
          [say("bytes"), (each) => size(each.result?.totals.bytes)],
          [say("trouble"), (each) => <Why of={each.error} />],
        ]}
      />
    </>
  )
}

function OneRecovery({ id }: { id: string }) {
  const session = useSession()
  const { nameOf } = useConfigurations()
  const params = { path: { operation_id: id } }
  const recovery = useLoaded(`recovery-${id}`, () => ok(session.api.GET("/api/backup/recovery/operations/{operation_id}", { params })))
  const cancel = useWrite()
  const isOver = recovery.data?.finishedAt != null
  useEffect(() => {
    if (isOver) return
    const timer = setInterval(recovery.again, 1500)
    return () => clearInterval(timer)
  }, [isOver])
  return (
    <Reading of={recovery}>
      {(found) => (
        <Card title={nameOf(found.configurationId)}>
          {!isOver && <Bar done={found.progress?.bytesDone} of={found.progress?.bytesTotal} label={say("page.recoveries")} />}
          <Facts
            of={[
              [say("state"), <Outcome of={found} />],
              [say("verified"), <State of={found.verificationStatus} />],
              [say("started"), <When at={found.startedAt} />],
              [say("ended"), <When at={found.finishedAt} missing="not-yet" />],
              [say("by"), found.initiatedBy],
              [say("point"), <a href={to("points", found.recoveryPointId)}>{`…${found.recoveryPointId.slice(-8)}`}</a>],
              [say("recover.target"), found.targetLocation + (found.targetPath ? `/${found.targetPath}` : "")],
              [say("recover.scope"), found.scope === null ? say("unreadable") : found.scope.length === 0 ? say("all") : found.scope.join(", ")],
              [say("recover.conflict"), say(`conflict.${found.conflictPolicy}`)],
              [say("bytes"), size(found.result?.totals.bytes ?? found.progress?.bytesDone)],
              [say("files.word"), number(found.result?.totals.files ?? found.progress?.filesDone)],
              [say("time"), duration(found.result?.seconds)],
              [say("read-from"), found.result === null ? say("not-yet") : (found.result.totals.readFrom ?? []).map((each) => `${word(each.tier)} ${size(each.bytes)}`).join(", ")],
            ]}
          />
          {found.error !== null && <p class="problem"><Why of={found.error} /></p>}
          {found.result?.code != null && <p class="problem"><Why of={found.result} /></p>}
          {found.waiting != null && <p><State of="waiting" /> <Why of={found.waiting} /></p>}
          {(found.result?.totals.troubles ?? []).length > 0 && (
            <Table of={found.result?.totals.troubles ?? []} id={(each) => each.reason} caption={say("trouble")} columns={[[say("trouble"), (each) => word(each.reason)], [say("number"), (each) => number(each.entries)]]} />
          )}
          {!isOver && session.may("recover") && <Confirmed label={say("recover.cancel")} question={say("recover.cancel?")} isBusy={cancel.isBusy} act={() => cancel.send(() => session.api.POST("/api/backup/recovery/operations/{operation_id}/cancel", { params }), recovery.again)} />}
          <Written of={cancel} />
        </Card>
      )}
    </Reading>
  )
}
