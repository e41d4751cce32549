// Makes what the gateway serves out of `src`: `node build.mjs FOLDER`. The same bytes each time, and on each machine.
// Called by `python -m tests.contract.console`, which compares it with what is committed, or writes it.
import { createHash } from "node:crypto"
import { mkdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { build } from "esbuild"

const BANNER = `/* WedSync Backup, Apache-2.0. With preact (MIT, (c) 2015-present Jason Miller) and openapi-fetch (MIT, (c) 2023 Drew Powers). */`
const folder = process.argv[2]
await mkdir(folder, { recursive: true })

/** Bundles an entry; its name has a digest of what is in it, so that it can be kept for ever. */
async function bundled(entry, ending) {
  const { outputFiles } = await build({
    entryPoints: [join("src", entry)],
    bundle: true,
    minify: true,
    write: false,
    target: ["es2022"],
    format: "esm",
    conditions: ["wedsync:source"],
    banner: { [ending]: BANNER },
    legalComments: "none",
  })
  const content = outputFiles[0].contents
  const name = `console-${createHash("sha256").update(content).digest("hex").slice(0, 12)}.${ending}`
  await writeFile(join(folder, name), content)
  return name
}

const script = await bundled("main.tsx", "js")
const style = await bundled("style.css", "css")
const page = await readFile("src/index.html", "utf-8")
await writeFile(join(folder, "index.html"), page.replace("console.js", script).replace("console.css", style))
await writeFile(join(folder, "icon.svg"), await readFile("src/icon.svg"))
