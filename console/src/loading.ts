// What a page reads: shown when it is there, read again now and then while somebody looks, and never older than said.
import { useCallback, useEffect, useRef, useState } from "preact/hooks"

export interface Loaded<T> {
  data: T | null
  /** What went wrong with the latest look; `data` is of an earlier one then. */
  problem: unknown
  isLoading: boolean
  again(): void
}

/** `key`: what is read, in a word: another one is read anew, and what was there of the old one is not shown. */
export function useLoaded<T>(key: string, load: () => Promise<T>, everySeconds?: number): Loaded<T> {
  const [state, setState] = useState<{ key: string; data: T | null; problem: unknown; isLoading: boolean }>({
    key,
    data: null,
    problem: null,
    isLoading: true,
  })
  const [turn, setTurn] = useState(0)
  const latest = useRef(load)
  latest.current = load
  useEffect(() => {
    let isCurrent = true
    setState((now) => (now.key === key ? { ...now, isLoading: true } : { key, data: null, problem: null, isLoading: true }))
    latest.current().then(
      (data) => isCurrent && setState({ key, data, problem: null, isLoading: false }),
      (problem: unknown) => isCurrent && setState((now) => ({ ...now, problem, isLoading: false })),
    )
    return () => {
      isCurrent = false
    }
  }, [key, turn])
  const again = useCallback(() => setTurn((now) => now + 1), [])
  useEffect(() => {
    if (everySeconds === undefined) return
    const timer = setInterval(() => document.visibilityState === "visible" && again(), everySeconds * 1000)
    return () => clearInterval(timer)
  }, [everySeconds, again])
  const isOfKey = state.key === key
  return { data: isOfKey ? state.data : null, problem: isOfKey ? state.problem : null, isLoading: state.isLoading || !isOfKey, again }
}

/** A list that is read page by page, as far as somebody wants to see. */
export interface Listed<T> extends Omit<Loaded<T[]>, "data"> {
  items: T[] | null
  more: (() => void) | null
}

export function useList<T>(
  key: string,
  page: (cursor: { cursor?: string }) => Promise<{ items: T[]; nextCursor?: string | null }>,
): Listed<T> {
  const first = useLoaded(key, () => page({}))
  const [rest, setRest] = useState<{ of: unknown; items: T[]; next: string | null; problem: unknown; isLoading: boolean } | null>(null)
  // What was read behind a first page that was read anew since may overlap with it.
  const behind = rest !== null && rest.of === first.data ? rest : null
  const next = behind === null ? (first.data?.nextCursor ?? null) : behind.next
  const more = () => {
    if (next === null || behind?.isLoading) return
    const before = behind?.items ?? []
    setRest({ of: first.data, items: before, next, problem: null, isLoading: true })
    page({ cursor: next }).then(
      (found) => setRest({ of: first.data, items: [...before, ...found.items], next: found.nextCursor ?? null, problem: null, isLoading: false }),
      (problem: unknown) => setRest({ of: first.data, items: before, next, problem, isLoading: false }),
    )
  }
  return {
    items: first.data === null ? null : [...first.data.items, ...(behind?.items ?? [])],
    problem: first.problem ?? behind?.problem ?? null,
    isLoading: first.isLoading || (behind?.isLoading ?? false),
    again: first.again,
    more: next === null ? null : more,
  }
}
