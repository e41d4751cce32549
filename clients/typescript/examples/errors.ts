import { type Api, ProblemError, result } from "@wedsync/backup-client"

/** Makes a configuration; what is wrong with which field, where it cannot be made. */
export async function whatIsWrong(api: Api, name: string, sourceLocation: string): Promise<Record<string, string>> {
  const storageDestinations = { local: { location: "local" } }
  const body = { name, sourceType: "directory", sourceLocation, storageDestinations } as const
  try {
    await result(api, api.POST("/api/backup/configurations", { body }))
    return {}
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error
    switch (error.code) {
      case "unknown-location":
      case "invalid-field":
        return Object.fromEntries((error.problem.errors ?? []).map(({ field, code, hint }) => [field, `${code}: ${hint}`]))
      default:
        throw error // its `code`, `problem.hint` and `problem.traceId` are what support wants to hear
    }
  }
}
