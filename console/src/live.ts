// What happens, as it happens: one socket for the whole console, and what is known of the runs by it.
import { createContext } from "preact"
import { useContext, useEffect, useRef, useState } from "preact/hooks"
import { type Api, type Execution, ok, type Schemas, watch } from "./api.ts"

export type Progress = Schemas["Progress"]

export interface Live {
  /** Runs that go on, and those that have ended since the page was opened, the latest first. */
  running: Execution[]
  ended: Execution[]
  progress: ReadonlyMap<string, Progress>
  /** Grows with each fact: who shows a list reads it again. */
  facts: number
  isOpen: boolean
  problem: unknown
}

const NOTHING: Live = { running: [], ended: [], progress: new Map(), facts: 0, isOpen: false, problem: null }
const ENDED_KEPT = 50
// Recoveries and executions of plans have ids of their own there; a run that was refused is none.
const OF_A_RUN = /^executor\.(backup|tier)-(?!.*refused)/
const TRIED_AGAIN_SECONDS = 15
export const LiveContext = createContext<Live>(NOTHING)

export function useLiveRuns(): Live {
  return useContext(LiveContext)
}

function hasEnded(run: Execution): boolean {
  return ["completed", "failed", "cancelled"].includes(run.state)
}

/** The runs as they go. However many messages come, the page is drawn once a frame at most. */
export function useLive(api: Api): Live {
  const [shown, setShown] = useState(NOTHING)
  const runs = useRef(new Map<string, Execution>())
  useEffect(() => {
    const over = new AbortController()
    const progress = new Map<string, Progress>()
    const asked = new Set<string>()
    let facts = 0
    let isOpen = false
    let problem: unknown = null
    let frame = 0
    const draw = () => {
      if (frame !== 0) return
      frame = requestAnimationFrame(() => {
        frame = 0
        const all = [...runs.current.values()].sort((one, other) => other.startedAt.localeCompare(one.startedAt))
        setShown({
          running: all.filter((run) => !hasEnded(run)),
          ended: all.filter(hasEnded).slice(0, ENDED_KEPT),
          progress: new Map(progress),
          facts,
          isOpen,
          problem,
        })
      })
    }
    const put = (run: Execution) => {
      const known = runs.current.get(run.id)
      if (known === undefined || known.version <= run.version) runs.current.set(run.id, run)
      if (hasEnded(run)) progress.delete(run.id)
    }
    /** How a run is now. Several facts of one that come together are one question. */
    const look = (id: string) => {
      if (asked.has(id)) return
      asked.add(id)
      setTimeout(() => {
        asked.delete(id)
        const params = { path: { execution_id: id } }
        ok(api.GET("/api/backup/executions/{execution_id}", { params, signal: over.signal })).then((run) => (put(run), draw()), () => undefined)
      }, 200)
    }
    const follow = async () => {
      for await (const message of watch(api, location.origin, { all: true }, { signal: over.signal })) {
        isOpen = true
        problem = null
        if (message.type === "snapshot") {
          runs.current = new Map(message.executions.map((run) => [run.id, run]))
          progress.clear()
          for (const each of message.progress) progress.set(each.executionId, each)
        } else if (message.type === "progress") {
          progress.set(message.progress.executionId, message.progress)
        } else if (message.type === "fact") {
          facts++
          if (message.executionId !== null && OF_A_RUN.test(message.event)) look(message.executionId)
        }
        draw()
      }
    }
    const keepFollowing = async () => {
      while (!over.signal.aborted) {
        await follow().catch((wrong: unknown) => {
          problem = wrong
          isOpen = false
          if (!over.signal.aborted) draw()
        })
        await new Promise((resolve) => setTimeout(resolve, TRIED_AGAIN_SECONDS * 1000))
      }
    }
    void keepFollowing()
    return () => {
      over.abort()
      cancelAnimationFrame(frame)
    }
  }, [api])
  return shown
}
