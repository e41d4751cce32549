// Drills: validations of recovery points, and tests of plans with the times that they have proven.
import { ok } from "../api.ts"
import { useList } from "../loading.ts"
import { useConfigurations } from "../names.ts"
import { Card, Confirmed, Listing, Outcome, State, When, Why } from "../parts/basics.tsx"
import { useWrite, Written } from "../parts/writing.tsx"
import { to } from "../router.ts"
import { useSession } from "../session.ts"
import { duration, number, say, size, word } from "../speech.ts"

export function ProofsPage() {
  const session = useSession()
  const { api } = session
  const { nameOf } = useConfigurations()
  const write = useWrite()
  const validations = useList("validations", (cursor) => ok(api.GET("/api/backup/recovery/validations", { params: { query: { limit: 50, ...cursor } } })))
  const tests = useList("tests", (cursor) => ok(api.GET("/api/backup/disaster-recovery/executions", { params: { query: { isTest: true, limit: 50, ...cursor } } })))
  return (
    <>
      <Card title={say("validations")}>
        <p class="faint">{say("validations.how")}</p>
        <Listing
          of={validations}
          id={(each) => each.id}
          caption={say("validations")}
          columns={[
            [say("started"), (each) => <When at={each.startedAt} />],
            [say("point"), (each) => <a href={to("points", each.recoveryPointId)}>{nameOf(each.configurationId)}</a>],
            [say("depth"), (each) => word(each.depth)],
            [say("state"), (each) => <Outcome of={each} />],
            [say("verdict"), (each) => <State of={each.result?.verdict} />],
            [say("tiers"), (each) => (each.result?.tiers ?? []).map((tier) => <span key={tier.tier + tier.location}>{word(tier.tier)} <State of={tier.verdict} /> <Why of={tier} /> </span>)],
            [say("read"), (each) => size(each.result?.readBytes)],
            [say("damaged"), (each) => number(each.result?.damages)],
            [say("trouble"), (each) => <Why of={each.error} />],
            [
              say("files.do"),
              (each) =>
                each.finishedAt === null &&
                session.may("validate") && (
                  <Confirmed label={say("validate.cancel")} question={say("validate.cancel?")} isBusy={write.isBusy} act={() => write.send(() => api.POST("/api/backup/recovery/validations/{validation_id}/cancel", { params: { path: { validation_id: each.id } } }), validations.again)} />
                ),
            ],
          ]}
        />
        <Written of={write} />
      </Card>
      <Card title={say("tests")}>
        <Listing
          of={tests}
          id={(each) => each.id}
          caption={say("tests")}
          columns={[
            [say("started"), (each) => <a href={to("disaster", each.planId, { execution: each.id })}><When at={each.startedAt} /></a>],
            [say("state"), (each) => <State of={each.state} />],
            [say("rto.proven"), (each) => (<>{duration(each.rtoSeconds)} {each.rtoMet !== null && <State of={each.rtoMet ? "met" : "unmet"} />}</>)],
            [say("losses"), (each) => (each.losses.length === 0 ? say("unknown") : duration(Math.max(...each.losses.map((loss) => loss.lostSeconds))))],
            [say("trouble"), (each) => <Why of={each.error} />],
          ]}
        />
      </Card>
    </>
  )
}
