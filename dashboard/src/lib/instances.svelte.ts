// All instances, live: one stream for all pages that show them.
import { api, ask, type Trouble } from './api'
import { follow, every } from './live.svelte'
import { ordered, take, type Row, type Rows, type Uses } from './rows'

class Instances {
  /** In order of name. */
  rows = $state.raw<Row[]>([])
  /** Whether the first rows are there. */
  ready = $state(false)
  /** Why the stream is refused, while it is. */
  trouble = $state.raw<Trouble | null>(null)
  /** What those that are awake use, as the agent measured it last. */
  uses = $state.raw<Uses>(new Map())
  private known = new Map<string, Row>()
  private users = 0
  private end: (() => void)[] = []

  /** Follows while somebody needs it; returns how to end it. For `$effect`. */
  use(): () => void {
    if (this.users++ === 0) this.begin()
    return () => {
      if (--this.users > 0) return
      this.end.forEach((end) => end())
      this.ready = false
      this.trouble = null
    }
  }

  private begin(): void {
    const each = (event: Rows) => {
      take(this.known, event)
      // The whole list is shown at once, but the first thousand as soon as they are there.
      if (event.more && this.ready) return
      this.rows = ordered(this.known)
      this.ready = true
    }
    const troubled = (trouble: Trouble | null) => (this.trouble = trouble)
    this.end = [follow<Rows>({ url: '/api/v1/instances/stream', each, troubled }), every(3000, () => this.measure())]
  }

  private async measure(): Promise<void> {
    const live = await ask(api.GET('/api/v1/metrics/live')).catch(() => null)
    if (live) this.uses = new Map(live.instances.map((one) => [one.name, one]))
  }
}

export const instances = new Instances()
