// Where one is: `#/runs/ID?state=failed`. What follows `#` is never sent to a server.
import { useEffect, useState } from "preact/hooks"

export interface Place {
  page: string
  id: string | null
  query: URLSearchParams
}

export function placeOf(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?")
  const [page = "", id] = path.split("/")
  return { page: page || "overview", id: id === undefined || id === "" ? null : decodeURIComponent(id), query: new URLSearchParams(query) }
}

export function to(page: string, id?: string, query: Record<string, string> = {}): string {
  const asked = new URLSearchParams(query).toString()
  return `#/${page}${id === undefined ? "" : `/${encodeURIComponent(id)}`}${asked === "" ? "" : `?${asked}`}`
}

export function usePlace(): Place {
  const [hash, setHash] = useState(location.hash)
  useEffect(() => {
    const moved = () => setHash(location.hash)
    addEventListener("hashchange", moved)
    return () => removeEventListener("hashchange", moved)
  }, [])
  return placeOf(hash)
}
