// Lines of a search, and those that come.
import { api, ask, troubleOf, type Schemas, type Trouble } from './api'
import { follow } from './live.svelte'

export type LogLine = Schemas['LogLine']
export type Histogram = Schemas['LogHistogram']

/** What is asked; empty texts ask for nothing. */
export interface Ask {
  search: string
  /** `api` or `api:prod`. */
  whose: string
  level: string
  since: string
  until: string
}

/** Lines that are kept: more would make the page slow, and a search finds the rest. */
export const KEPT = 3000
const PAGE = 200

/** The parameters of `ask` as the API takes them. */
export function parameters(ask: Ask): Record<string, string> {
  const whose = ask.whose.trim()
  const found: Record<string, string> = {
    search: ask.search.trim(),
    level: ask.level,
    since: ask.since,
    until: ask.until,
    [whose.includes(':') ? 'instance' : 'process']: whose,
  }
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value))
}

/** `lines` and `more` in order and each once; the oldest go if there are too many. */
export function joined(lines: LogLine[], more: LogLine[], max = KEPT): LogLine[] {
  const last = lines.at(-1)?.seq ?? 0
  const fresh = more.filter((line) => line.seq > last)
  const all = fresh.length ? [...lines, ...fresh] : lines
  return all.length > max ? all.slice(all.length - max) : all
}

export class Lines {
  /** From old to new. */
  lines = $state.raw<LogLine[]>([])
  ready = $state(false)
  trouble = $state.raw<Trouble | null>(null)
  /** Set if there are older ones; ask with it. */
  before = $state<number | null>(null)
  /** Why the search stopped early, if it did. */
  stopped = $state<string | null>(null)
  missed = $state(0)
  private asked: Record<string, string> = {}
  private waiting: LogLine[] = []
  private frame = 0

  /** Shows the newest lines, and with `live` those that come; returns how to end it. For `$effect`. */
  follow(what: Ask, live: boolean, limit = PAGE): () => void {
    this.begin(what)
    let end: (() => void) | null = null
    let over = false
    this.page(limit, null).then(
      (page) => {
        if (over) return
        this.lines = page.lines.reverse()
        this.settle(page)
        if (live) end = this.stream()
      },
      (error: unknown) => {
        if (!over) this.fail(error)
      },
    )
    return () => {
      over = true
      end?.()
      cancelAnimationFrame(this.frame)
      this.frame = 0
      this.waiting = []
    }
  }

  /** Shows a line with those around it. */
  around(what: Ask, seq: number): () => void {
    this.begin({ ...what, since: '', until: '' })
    let over = false
    const later = ask(api.GET('/api/v1/logs', { params: { query: { ...this.asked, after: seq, order: 'oldest', limit: PAGE } } })) as Promise<Schemas['LogPage']>
    Promise.all([this.page(PAGE, seq + 1), later]).then(
      ([page, later]) => {
        if (over) return
        this.lines = [...page.lines.reverse(), ...later.lines]
        this.settle(page)
      },
      (error: unknown) => {
        if (!over) this.fail(error)
      },
    )
    return () => (over = true)
  }

  async older(): Promise<void> {
    const asked = this.asked
    const page = await this.page(PAGE, this.before)
    // Somebody has asked for something else meanwhile: these are not of that.
    if (asked !== this.asked) return
    this.lines = [...page.lines.reverse(), ...this.lines]
    this.settle(page)
  }

  private begin(what: Ask): void {
    this.asked = parameters(what)
    this.ready = false
    this.trouble = null
    this.missed = 0
  }

  private settle(page: Schemas['LogPage']): void {
    this.before = page.next ?? null
    this.stopped = page.stopped ?? null
    this.ready = true
  }

  private fail(error: unknown): void {
    this.trouble = troubleOf(error)
    this.lines = []
    this.ready = true
  }

  private stream(): () => void {
    const last = this.lines.at(-1)?.seq
    const { since: _, ...asked } = this.asked
    const query = new URLSearchParams({ ...asked, ...(last ? { after: String(last) } : { tail: '50' }) })
    return follow<LogLine>({
      url: `/api/v1/logs/stream?${query}`,
      resumes: true,
      // A busy log sends thousands of lines a second: they are shown once in a frame.
      each: (line) => {
        this.waiting.push(line)
        if (this.waiting.length > 2 * KEPT) this.waiting.splice(0, KEPT)
        this.frame ||= requestAnimationFrame(() => {
          this.frame = 0
          this.lines = joined(this.lines, this.waiting)
          this.waiting = []
        })
      },
      missed: (count) => (this.missed += count),
    })
  }

  private page(limit: number, before: number | null) {
    return ask(api.GET('/api/v1/logs', { params: { query: { ...this.asked, limit, ...(before ? { before } : {}) } } })) as Promise<Schemas['LogPage']>
  }
}
