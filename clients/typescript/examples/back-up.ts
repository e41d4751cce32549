import { accepted, type Api, createClient, ended, type Execution, result } from "@wedsync/backup-client"

/** A client of somebody who has signed in: `token` is asked before each request, and gives one that is valid then. */
export function signIn(baseUrl: string, token: () => Promise<string>): Api {
  return createClient({ baseUrl, token })
}

/** Makes a configuration, runs it, and waits for the end. */
export async function backUp(api: Api, name: string, sourceLocation: string): Promise<Execution> {
  const configuration = await result(
    api,
    api.POST("/api/backup/configurations", {
      body: {
        name,
        sourceType: "directory",
        sourceLocation,
        storageDestinations: { local: { location: "local", required: true }, offsite: { location: "offsite" } },
      },
    }),
  )
  const request = await accepted(api, api.POST("/api/backup/execute", { body: { configurationId: configuration.id } }))
  if (request.execution === null) throw new Error("the run is not shown yet: ask for the request once more")
  const run = await ended(api, request.execution.id, { seconds: 600 })
  // It may have failed, or be degraded: a tier or something of the source lacks then.
  if (run.state !== "completed") throw new Error(`${run.state}: ${run.errorMessage}`)
  return run
}
