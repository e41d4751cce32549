// The API as the console uses it: the project's own client, and the words of its types.
export {
  accepted,
  type Api,
  createClient,
  type Execution,
  type Message,
  ok,
  ProblemError,
  type Recovery,
  StillPending,
  watch,
  type WriteRequest,
} from "../../clients/typescript/src/index.ts"
import type { components } from "../../clients/typescript/src/index.ts"

export type Schemas = components["schemas"]
export type Person = Schemas["Person"]
export type Right = Person["rights"][number]
