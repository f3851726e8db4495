// Streams of the agent (server-sent events). A browser has six connections to a host over HTTP/1.1, so a page that
// nobody sees holds none: its streams close with the tab and go on where they were when it is looked at again.
import { untrack } from 'svelte'
import { Trouble } from './api'
import { session } from './session.svelte'

export interface Follow<T> {
  /** Path and query of the stream. */
  url: string
  /** Each event, parsed. */
  each: (data: T) => void
  /** Some were lost: a reader that was too slow. */
  missed?: (count: number) => void
  /** Told why it is refused, with each try; and null once there is a connection. */
  troubled?: (trouble: Trouble | null) => void
  /** Whether `after` continues where it was; without it, it begins anew. */
  resumes?: boolean
}

/** How the streams of this page are. */
class Line {
  /** Streams that have a connection, and those that want one. */
  open = $state(0)
  wanted = $state(0)

  get state(): 'live' | 'connecting' | 'idle' {
    if (this.wanted === 0) return 'idle'
    return this.open >= this.wanted ? 'live' : 'connecting'
  }
}

export const line = new Line()

const PAUSE_MIN = 500
const PAUSE_MAX = 15_000

/** Follows a stream until the function that it returns is called. An effect that calls it depends on nothing here. */
export function follow<T>(what: Follow<T>): () => void {
  return untrack(() => begin(what))
}

function begin<T>(what: Follow<T>): () => void {
  let source: EventSource | null = null
  let isOpen = false
  let last = ''
  let pause = PAUSE_MIN
  let over = false
  let timer: ReturnType<typeof setTimeout> | undefined
  line.wanted++

  const mark = (open: boolean) => {
    if (open !== isOpen) line.open += open ? 1 : -1
    isOpen = open
  }
  const shut = () => {
    clearTimeout(timer)
    source?.close()
    source = null
    mark(false)
  }
  const connect = () => {
    shut()
    const url = new URL(what.url, location.origin)
    if (what.resumes && last) {
      url.searchParams.delete('tail')
      url.searchParams.delete('since')
      url.searchParams.set('after', last)
    }
    source = new EventSource(url)
    source.onopen = () => {
      mark(true)
      pause = PAUSE_MIN
      what.troubled?.(null)
    }
    source.onmessage = (event: MessageEvent<string>) => {
      if (event.lastEventId) last = event.lastEventId
      what.each(JSON.parse(event.data) as T)
    }
    source.addEventListener('missed', (event) => {
      what.missed?.((JSON.parse((event as MessageEvent<string>).data) as { count: number }).count)
    })
    source.onerror = () => {
      mark(false)
      if (source?.readyState !== EventSource.CLOSED) return
      // It was refused: perhaps the session has ended, perhaps there is no room. Who asks learns which.
      again()
    }
  }
  const retry = async () => {
    // An EventSource tells nobody why it was refused: who asks for the same learns it. One that is open by now is not read.
    const look = new AbortController()
    const answer = await fetch(what.url, { headers: { Accept: 'text/event-stream' }, signal: look.signal }).catch(() => null)
    const problem: unknown = answer && !answer.ok ? await answer.json().catch(() => null) : null
    look.abort()
    // Meanwhile the page may have been left, or its tab hidden, or seen again, which connects by itself.
    if (over || document.hidden || source?.readyState !== EventSource.CLOSED) return
    if (answer?.status === 401) return void session.find().then(() => (session.ended = session.view == null))
    if (answer && !answer.ok) {
      what.troubled?.(new Trouble(answer.status, problem))
      again()
    } else connect()
  }
  const again = () => {
    timer = setTimeout(() => void retry(), pause)
    pause = Math.min(pause * 2, PAUSE_MAX)
  }
  const seen = () => (document.hidden ? shut() : connect())

  document.addEventListener('visibilitychange', seen)
  if (!document.hidden) connect()
  return () => {
    over = true
    document.removeEventListener('visibilitychange', seen)
    shut()
    line.wanted--
  }
}

/** Runs `work` now and every `ms`, while somebody looks; returns how to end it. */
export function every(ms: number, work: () => unknown): () => void {
  const run = () => {
    if (!document.hidden) work()
  }
  untrack(run)
  const timer = setInterval(run, ms)
  document.addEventListener('visibilitychange', run)
  return () => {
    clearInterval(timer)
    document.removeEventListener('visibilitychange', run)
  }
}

/** The present, to the second, for "12 s ago". */
class Now {
  ms = $state(Date.now())

  constructor() {
    setInterval(() => {
      if (!document.hidden) this.ms = Date.now()
    }, 1000)
  }
}

export const now = new Now()
