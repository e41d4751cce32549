import { type Api, read } from "@wedsync/backup-client"

/** A run, read again: null where it is still what the `ETag` was of. */
export async function newerThan(api: Api, executionId: string, etag: string | null) {
  const params = { path: { execution_id: executionId }, header: etag === null ? {} : { "If-None-Match": etag } }
  const found = await read(api.GET("/api/backup/executions/{execution_id}", { params }))
  return found.isNew ? { run: found.data, etag: found.etag } : null
}
