// Events as they happen.
import { api, ask, troubleOf, type Schemas, type Trouble } from './api'
import { follow } from './live.svelte'

export type Happening = Schemas['Event']

export interface Wanted {
  kind?: string
  text?: string
  instance?: string
}

/** Events of the past and, above them, those that come. */
export class Happenings {
  all = $state.raw<Happening[]>([])
  ready = $state(false)
  trouble = $state.raw<Trouble | null>(null)
  next = $state<number | null>(null)
  private wanted: Wanted = {}

  /** Begins with the newest and follows; returns how to end that. For `$effect`. */
  follow(wanted: Wanted, limit = 100): () => void {
    this.wanted = wanted
    this.ready = false
    this.trouble = null
    let end: (() => void) | null = null
    let over = false
    this.page(limit, null).then(
      (page) => {
        if (over) return
        this.all = page.events
        this.next = page.next ?? null
        this.ready = true
        const query = new URLSearchParams({ ...(wanted as Record<string, string>), after: String(page.events[0]?.id ?? 0) })
        const each = (event: Happening) => {
          if (event.id > (this.all[0]?.id ?? 0)) this.all = [event, ...this.all].slice(0, 2000)
        }
        end = follow<Happening>({ url: `/api/v1/events/stream?${query}`, each, resumes: true })
      },
      (error: unknown) => {
        if (over) return
        this.trouble = troubleOf(error)
        this.ready = true
      },
    )
    return () => {
      over = true
      end?.()
    }
  }

  /** The page before the oldest. */
  async older(): Promise<void> {
    const wanted = this.wanted
    const page = await this.page(200, this.next)
    // Somebody has asked for something else meanwhile: these are not of that.
    if (wanted !== this.wanted) return
    this.all = [...this.all, ...page.events]
    this.next = page.next ?? null
  }

  private page(limit: number, before: number | null) {
    return ask(api.GET('/api/v1/events', { params: { query: { ...this.wanted, limit, ...(before ? { before } : {}) } } }))
  }
}
