// In which language and time zone things are said. Both are somebody's choice, kept by the browser; first its own.
import { VALUES } from "./values.ts"
import { type Key, WORDS } from "./words.ts"

export type Language = "en" | "de"
export const LANGUAGES: readonly Language[] = ["en", "de"]
const COLUMN: Record<Language, 0 | 1> = { en: 0, de: 1 }
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]

let language: Language = chosenLanguage()
let zone: string = localStorage.getItem("wedsync-backup-time-zone") ?? here()
document.documentElement.lang = language

function chosenLanguage(): Language {
  const kept = localStorage.getItem("wedsync-backup-language")
  if (kept === "en" || kept === "de") return kept
  return navigator.languages.find((each) => /^(en|de)\b/.test(each))?.startsWith("de") ? "de" : "en"
}

export function here(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone
}

export function currentLanguage(): Language {
  return language
}

export function currentZone(): string {
  return zone
}

/** The language as somebody's own country writes it, where the browser says which. */
function locale(): string {
  return navigator.languages.find((each) => each.startsWith(language)) ?? language
}

export function speak(chosen: Language): void {
  language = chosen
  localStorage.setItem("wedsync-backup-language", chosen)
  document.documentElement.lang = chosen
}

export function tellTimeOf(chosen: string): void {
  zone = chosen
  localStorage.setItem("wedsync-backup-time-zone", chosen)
}

/** A sentence; `{name}` in it is put in place. */
export function say(key: Key, values: Record<string, string | number> = {}): string {
  return WORDS[key][COLUMN[language]].replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole))
}

/** A word of the API as people read it; one that a newer server has is shown as it is. */
export function word(value: string | null | undefined): string {
  if (value === null || value === undefined || value === "") return say("unknown")
  return VALUES[value]?.[COLUMN[language]] ?? value
}

export function number(value: number | null | undefined, options: Intl.NumberFormatOptions = {}): string {
  return value === null || value === undefined ? say("unknown") : new Intl.NumberFormat(locale(), options).format(value)
}

export function size(bytes: number | null | undefined): string {
  if (bytes === null || bytes === undefined) return say("unknown")
  let value = bytes
  let unit = 0
  for (; Math.abs(value) >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024
  return `${number(value, { maximumFractionDigits: unit === 0 || value >= 100 ? 0 : 1 })} ${UNITS[unit]}`
}

export function percent(share: number): string {
  return number(share, { style: "percent", maximumFractionDigits: 0 })
}

export function moment(time: string | null | undefined, missing: Key = "never"): string {
  if (time === null || time === undefined) return say(missing)
  return new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeStyle: "short", timeZone: zone }).format(new Date(time))
}

export function day(date: string | null | undefined): string {
  if (date === null || date === undefined) return say("none")
  // A date without a time is the same day everywhere.
  const at = date.length === 10 ? { timeZone: "UTC" } : { timeZone: zone }
  return new Intl.DateTimeFormat(locale(), { dateStyle: "medium", ...at }).format(new Date(date))
}

/** The day of a moment, as `2026-11-29`, in the chosen time zone. */
export function dayOf(time: string | number): string {
  return new Intl.DateTimeFormat("en-CA", { timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit" }).format(new Date(time))
}

/** How long ago, or in how long. */
export function ago(time: string, now = Date.now()): string {
  const seconds = (new Date(time).getTime() - now) / 1000
  const relative = new Intl.RelativeTimeFormat(locale(), { numeric: "auto", style: "long" })
  for (const [unit, length] of [["day", 86_400], ["hour", 3600], ["minute", 60]] as const) {
    if (Math.abs(seconds) >= length) return relative.format(Math.round(seconds / length), unit)
  }
  return relative.format(Math.round(seconds), "second")
}

export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return say("unknown")
  if (seconds < 60) return `${number(seconds, { maximumFractionDigits: seconds < 10 ? 1 : 0 })} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
  const hours = Math.floor(seconds / 3600)
  return hours < 48 ? `${hours} h ${Math.round((seconds % 3600) / 60)} min` : say("days", { n: number(Math.round(hours / 24)) })
}
