// What was measured over time, of one instance or of all.
import { api, ask, type Schemas } from './api'
import { every } from './live.svelte'

type Past = Schemas['MetricsHistory']
/** A step; what is not known of it is left out. */
export type Point = Partial<Schemas['MetricsPoint']> & { at: number; requests: number; errors: number; wakes: number }

export const SPANS = { '1h': 'Hour', '24h': 'Day', '7d': 'Week', '30d': 'Month' } as const
export type Span = keyof typeof SPANS

const SECONDS: Record<Span, number> = { '1h': 3600, '24h': 86_400, '7d': 604_800, '30d': 2_592_000 }

export class History {
  past = $state.raw<{ step_seconds: number; points: Point[] } | null>(null)
  /** Set if the agent has none, or does not answer. */
  missing = $state(false)

  /** Keeps it up to date; returns how to end that. */
  follow(span: Span, instance?: string): () => void {
    const query = { since: span, ...(instance ? { instance } : {}) }
    let wanted = true
    const end = every(15_000, async () => {
      const past = await ask(api.GET('/api/v1/metrics/history', { params: { query } })).catch(() => null)
      if (!wanted) return
      this.missing = !past
      if (past) this.past = { step_seconds: past.step_seconds, points: filled(past, span, Date.now()) }
    })
    return () => {
      wanted = false
      end()
    }
  }
}

/** Every step of the span: those in which nothing happened are zero, so that a line shows the pause. */
export function filled(past: Pick<Past, 'step_seconds'> & { points: Point[] }, span: Span, now: number): Point[] {
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
