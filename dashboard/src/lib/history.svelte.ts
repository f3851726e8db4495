// What was measured over time, of one instance or of all.
import { every } from './live.svelte'

export interface Point {
  at: number
  requests: number
  errors: number
  wakes: number
  cpu_seconds?: number | null
  memory_bytes?: number | null
  latency_p50_seconds?: number | null
  latency_p99_seconds?: number | null
  running?: number | null
  frozen?: number | null
  sleeping?: number | null
  load?: number | null
  host_memory_bytes?: number | null
}

export interface Past {
  step_seconds: number
  points: Point[]
}

export const SPANS = { '1h': 'Hour', '24h': 'Day', '7d': 'Week', '30d': 'Month' } as const
export type Span = keyof typeof SPANS

const SECONDS: Record<Span, number> = { '1h': 3600, '24h': 86_400, '7d': 604_800, '30d': 2_592_000 }

export class History {
  past = $state.raw<Past | null>(null)
  /** Set if the agent has none, or does not answer. */
  missing = $state(false)

  /** Keeps it up to date; returns how to end that. */
  follow(span: Span, instance?: string): () => void {
    const query = new URLSearchParams({ since: span, ...(instance ? { instance } : {}) })
    let wanted = true
    const end = every(15_000, async () => {
      const answer = await fetch(`/api/v1/metrics/history?${query}`).catch(() => null)
      const past = answer?.ok ? ((await answer.json()) as Past) : null
      if (!wanted) return
      this.missing = !past
      if (past) this.past = { ...past, points: filled(past, span, Date.now()) }
    })
    return () => {
      wanted = false
      end()
    }
  }
}

/** Every step of the span: those in which nothing happened are zero, so that a line shows the pause. */
export function filled(past: Past, span: Span, now: number): Point[] {
  const step = past.step_seconds * 1000
  const known = new Map(past.points.map((point) => [Math.floor(point.at / step), point]))
  // The step that is under way has too little of everything, and the one before may not be written yet.
  const over = Math.floor(now / step) - 1
  const last = known.has(over) ? over : over - 1
  const first = Math.max(last - Math.floor(SECONDS[span] / past.step_seconds), Math.min(...known.keys(), last - 10))
  const points: Point[] = []
  for (let at = first; at <= last; at++) {
    points.push(known.get(at) ?? { at: at * step, requests: 0, errors: 0, wakes: 0 })
  }
  return points
}
