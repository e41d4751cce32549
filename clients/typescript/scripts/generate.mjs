// Types out of OpenAPI documents: reads {name: document} and prints {name: text}.
// Called by `python -m tests.contract.typescript_client`, which says what the documents are and where the texts go.
import { text } from "node:stream/consumers"
import openapiTS, { astToString } from "openapi-typescript"

const documents = JSON.parse(await text(process.stdin))
const texts = {}
for (const [name, document] of Object.entries(documents)) {
  texts[name] = astToString(await openapiTS(document, { alphabetize: false, emptyObjectsUnknown: true }))
}
process.stdout.write(JSON.stringify(texts))
