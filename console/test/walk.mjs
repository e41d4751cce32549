// Opens every page of the console on a running platform, as somebody would, in a browser of this machine: no error on
// the console, nothing that the policy refused, no request to elsewhere, nothing serious that axe finds, in light and
// dark, wide and narrow, English and German. Prints what it measured.
// Before that it walks the main way: a configuration, a backup of it as it goes, a look into it, and one file of it back.
//   API, BROWSER; TOKEN (an owner's and auditor's), FACTOR (the same with a second factor), VIEWER; SOURCE, TARGET:
//   locations; SHOTS: where pictures go, if anywhere
import assert from "node:assert/strict"
import { readFile } from "node:fs/promises"
import { chromium } from "playwright-core"

const { API, TOKEN, FACTOR, VIEWER, SOURCE, TARGET, BROWSER, SHOTS } = process.env
const axe = await readFile(new URL("../node_modules/axe-core/axe.min.js", import.meta.url), "utf-8")
const PAGES = ["overview", "runs", "points", "recoveries", "configurations", "storage", "disaster", "proofs", "compliance", "access"]
const browser = await chromium.launch({ executablePath: BROWSER, args: ["--no-sandbox", "--no-proxy-server"] })
const wrong = []

/** A tab in which whatever goes wrong is noted. */
async function tab(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: "en-GB", timezoneId: "Europe/Berlin", ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(90_000)
  page.on("console", (message) => message.type() === "error" && wrong.push(`console: ${message.text()} ${message.location().url}`))
  page.on("pageerror", (error) => wrong.push(`page: ${error.message}`))
  page.on("request", (request) => request.url().startsWith(API) || wrong.push(`outside: ${request.url()}`))
  return page
}

async function signIn(page, token) {
  await page.goto(`${API}/console`)
  await page.getByLabel("Token").fill(token)
  await page.getByRole("button", { name: /Sign in|Anmelden/ }).click()
  await page.getByRole("navigation", { name: /Pages|Seiten/ }).waitFor()
}

/** Goes to a page by its link and waits until all of it is read. */
async function open(page, hash) {
  await page.evaluate((to) => (location.hash = to), `#/${hash}`)
  await settled(page)
}

async function settled(page) {
  await page.waitForFunction(() => !/Reading …|Wird gelesen …/.test(document.querySelector("main").textContent), null, { timeout: 90_000 })
  const problems = await page.getByRole("alert").allTextContents()
  if (problems.length > 0) wrong.push(`${page.url()}: ${problems.join(" | ")}`)
}

async function accessible(page, name) {
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] }))
  for (const each of violations) {
    if (["serious", "critical"].includes(each.impact)) wrong.push(`axe, ${name}: ${each.id}: ${each.nodes.map((node) => node.html.slice(0, 120)).slice(0, 3).join(" ; ")}`)
  }
}

/** Nothing is wider than a phone but what scrolls by itself. */
async function fits(page, name) {
  const wide = await page.evaluate(() => {
    const width = document.documentElement.clientWidth
    if (document.documentElement.scrollWidth <= width) return null
    return [...document.querySelectorAll("body *")].filter((each) => each.getBoundingClientRect().right > width && each.parentElement?.closest(".wide, nav ul") === null).map((each) => each.outerHTML.slice(0, 80))
  })
  if (wide !== null) wrong.push(`${name} is wider than the window: ${wide.join(" ; ")}`)
}

async function choose(page, label, value) {
  await page.getByRole("combobox", { name: label }).selectOption(value)
}

/** A configuration, a backup, a look into it, one file back: all by hand, to where the console says that it is equal. */
async function walk(page) {
  await open(page, "configurations")
  await choose(page, "Begin from", { index: 1 })
  await page.getByLabel("Name", { exact: true }).fill("Photos of the console")
  await choose(page, "Source", SOURCE)
  await page.getByRole("button", { name: "Make a configuration" }).click()
  await page.getByRole("link", { name: "Photos of the console" }).click()
  await page.getByRole("button", { name: "Back up now" }).click()
  await page.waitForURL(/#\/runs\//)
  // It is told by the socket: nobody reloads.
  await page.getByRole("link", { name: "Look into its recovery point" }).click({ timeout: 120_000 })
  await page.getByRole("button", { name: "Restore: IMG_4711.jpg" }).click()
  await choose(page, "Target", TARGET)
  await page.getByText("What matches 1 paths or patterns, of 2 files").waitFor()
  await page.getByRole("button", { name: "Restore", exact: true }).click()
  await page.getByRole("group", { name: "It begins at once." }).getByRole("button", { name: "Restore" }).click()
  // The API wants a second factor, which the first token has not.
  await page.getByText("second-factor-needed").waitFor()
  wrong.length = 0
  await page.getByLabel("A token with a second factor").fill(FACTOR)
  await page.getByRole("button", { name: "Use it, and do it" }).click()
  await page.waitForURL(/#\/recoveries\//)
  await page.getByText("verified", { exact: false }).first().waitFor({ timeout: 120_000 })
  await page.waitForFunction(() => document.querySelector("main dd")?.textContent.includes("completed"), null, { timeout: 120_000 })
}

const figures = {}
try {
  const page = await tab()
  let transferred = 0
  const network = await page.context().newCDPSession(page)
  await network.send("Network.enable")
  network.on("Network.loadingFinished", ({ encodedDataLength }) => (transferred += encodedDataLength))
  await page.goto(`${API}/console`)
  await page.getByLabel("Token").waitFor()
  figures.transferredBytes = transferred
  figures.firstPaintMs = await page.evaluate(() => Math.round(performance.getEntriesByName("first-contentful-paint")[0].startTime))
  await accessible(page, "sign-in")
  await signIn(page, TOKEN)
  assert.equal(await page.evaluate(() => location.href.includes("ey") || JSON.stringify(localStorage).includes("ey")), false, "the token is kept nowhere but in the tab")
  await walk(page)
  for (const name of PAGES) {
    await open(page, name)
    await accessible(page, name)
    if (SHOTS && name === "overview") await page.screenshot({ path: `${SHOTS}/${name}.png` })
  }

  // One of each kind, by the links of the lists.
  for (const [list, title] of [["runs", "Phases"], ["points", "What lies in it"], ["configurations", "Would it be backed up?"], ["recoveries", "Read from"]]) {
    await open(page, list)
    await page.locator("main table a").first().click()
    await page.getByText(title, { exact: true }).first().waitFor()
    await settled(page)
    await accessible(page, `one of ${list}`)
    if (SHOTS && list === "points") await page.screenshot({ path: `${SHOTS}/point.png`, fullPage: true })
  }

  // Who reloads is still there, and who signs out is not.
  await page.reload()
  await page.getByRole("navigation", { name: "Pages" }).waitFor()
  await page.getByRole("button", { name: "Sign out" }).click()
  await page.getByLabel("Token").waitFor()
  assert.equal(await page.evaluate(() => sessionStorage.length), 0)

  // A phone in the dark, in German.
  const phone = await tab({ viewport: { width: 360, height: 740 }, colorScheme: "dark", locale: "de-DE", reducedMotion: "reduce" })
  await signIn(phone, TOKEN)
  for (const name of PAGES) {
    await open(phone, name)
    // The same parts as before, in other colours: some pages have all of them.
    if (["overview", "points", "storage"].includes(name)) await accessible(phone, `${name} on a phone`)
    await fits(phone, `${name} on a phone`)
  }
  await open(phone, "overview")
  assert.equal(await phone.evaluate(() => document.documentElement.lang), "de")
  if (SHOTS) await phone.screenshot({ path: `${SHOTS}/phone.png` })

  // Who may only look is offered nothing else.
  const viewer = await tab()
  await signIn(viewer, VIEWER)
  assert.equal(await viewer.getByRole("link", { name: "Access log" }).count(), 0)
  await open(viewer, "configurations")
  await viewer.locator("main table a").first().click()
  await viewer.getByText("Would it be backed up?").waitFor()
  assert.equal(await viewer.getByRole("button", { name: /Back up now|Pause|Retire|Test it/ }).count(), 0)

  // A token that is none says so, with its code.
  const stranger = await tab()
  await stranger.goto(`${API}/console`)
  const before = wrong.length
  await stranger.getByLabel("Token").fill("nothing")
  await stranger.keyboard.press("Enter")
  await stranger.getByText("unauthenticated", { exact: true }).waitFor()
  // The browser notes a 401 as an error on its console; it is what was meant to come.
  wrong.splice(before)
} finally {
  await browser.close()
}
assert.deepEqual(wrong, [])
process.stdout.write(`${JSON.stringify(figures)}\n`)
