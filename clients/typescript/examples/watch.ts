import { type Api, watch } from "@wedsync/backup-client"

/** Tells what becomes of the organisation's runs until `isEnough` says so. */
export async function follow(api: Api, baseUrl: string, tell: (line: string) => void, isEnough: () => boolean) {
  for await (const message of watch(api, baseUrl, { all: true })) {
    if (message.type === "snapshot") tell(`${message.executions.length} runs go on`)
    if (message.type === "progress") tell(`${message.progress.phase}: ${message.progress.bytesDone} bytes`)
    if (message.type === "fact") {
      switch (message.event) {
        case "executor.tier-uploaded.v1":
          tell(`${message.fields.tier} has all of it: ${message.fields.uploadedBytes} bytes`)
          break
        case "executor.backup-completed.v1":
          tell(`completed${message.fields.degraded ? ", and something lacks" : ""}`)
          break
        default: // others, and those of a newer server
      }
    }
    if (isEnough()) return
  }
}
