// What a page or a program uses.
export type { components, operations, paths } from "./generated/api.ts"
export type { Codes, Facts } from "./generated/facts.ts"
export { type Answer, type Api, createClient, newKey, ok, type Options, pages, type Read, read, type Token } from "./client.ts"
export { type Code, type Problem, ProblemError } from "./problem.ts"
export { accepted, cleanedUp, ended, recovered, result, StillPending } from "./waiting.ts"
export type { Cleanup, Execution, Patience, Recovery, WriteRequest } from "./waiting.ts"
export { type About, type Fact, type Message, type Snapshot, type Watch, watch, WatchEnded } from "./monitoring.ts"
