import { afterEach, beforeEach, expect, it, vi } from 'vitest'

vi.mock('../src/lib/session.svelte', () => ({ session: {} }))

/** A browser's EventSource, as far as it is used. */
class Source {
  static CLOSED = 2
  static all: Source[] = []
  readyState = 0
  onopen = () => {}
  onmessage = () => {}
  onerror = () => {}
  constructor(readonly url: URL) {
    Source.all.push(this)
  }
  addEventListener() {}
  close() {
    this.readyState = Source.CLOSED
  }
  /** The agent answers with something that is no stream. */
  refuse() {
    this.readyState = Source.CLOSED
    this.onerror()
  }
}

let asked: { answer: (response: unknown) => void }[]
beforeEach(() => {
  vi.useFakeTimers()
  Source.all = []
  asked = []
  vi.stubGlobal('EventSource', Source)
  vi.stubGlobal('location', { origin: 'http://x' })
  vi.stubGlobal('document', { hidden: false, addEventListener() {}, removeEventListener() {} })
  vi.stubGlobal('fetch', () => new Promise((answer) => asked.push({ answer })))
})
afterEach(() => vi.useRealTimers())

const problem = { ok: false, status: 429, json: async () => ({ detail: 'Too many lists are open.' }) }

it('tells why a stream is refused, asks again, and says when it is open', async () => {
  const { follow } = await import('../src/lib/live.svelte')
  const told: (string | null)[] = []
  const end = follow({ url: '/s', each: () => {}, troubled: (trouble) => told.push(trouble && trouble.message) })
  Source.all[0]?.refuse()
  await vi.advanceTimersByTimeAsync(1000)
  asked[0]?.answer(problem)
  await vi.advanceTimersByTimeAsync(5000)
  expect(told).toEqual(['Too many lists are open.'])
  asked[1]?.answer({ ok: true, status: 200 })
  await vi.advanceTimersByTimeAsync(0)
  expect(Source.all).toHaveLength(2)
  Source.all[1]?.onopen()
  expect(told).toEqual(['Too many lists are open.', null])
  end()
})

it('opens no stream for a page that was left while it asked why', async () => {
  const { follow } = await import('../src/lib/live.svelte')
  const end = follow({ url: '/s', each: () => {} })
  Source.all[0]?.refuse()
  await vi.advanceTimersByTimeAsync(1000)
  end()
  asked[0]?.answer({ ok: true, status: 200 })
  await vi.advanceTimersByTimeAsync(60_000)
  expect(Source.all).toHaveLength(1)
})
