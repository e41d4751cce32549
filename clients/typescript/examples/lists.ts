import { type Api, type Execution, pages } from "@wedsync/backup-client"

/** All runs that have completed, the latest first, whatever the size of a page. */
export async function completedRuns(api: Api, limit = 100): Promise<Execution[]> {
  const runs: Execution[] = []
  const list = pages((cursor) =>
    api.GET("/api/backup/executions", { params: { query: { status: ["completed"], limit, ...cursor } } }),
  )
  for await (const run of list) runs.push(run)
  return runs
}
