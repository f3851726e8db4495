import { beforeAll, describe, expect, it, vi } from 'vitest'
import type * as Logs from '../src/lib/logs.svelte'

// The store follows streams in a page; here only its pure parts are asked.
vi.mock('../src/lib/live.svelte', () => ({ follow: () => () => {}, every: () => () => {} }))
vi.mock('../src/lib/api', () => ({ api: {}, ask: () => {}, troubleOf: () => {} }))
let logs: typeof Logs
beforeAll(async () => {
  vi.stubGlobal('$state', Object.assign((value: unknown) => value, { raw: (value: unknown) => value }))
  logs = await import('../src/lib/logs.svelte')
})

describe('lines of a log', () => {
  const line = (seq: number) => ({ seq }) as Logs.LogLine
  it('are asked for by instance or by process, and empty fields ask for nothing', () => {
    const ask = { search: ' timeout ', whose: 'api:prod', level: '', since: '1h', until: '' }
    expect(logs.parameters(ask)).toEqual({ search: 'timeout', instance: 'api:prod', since: '1h' })
    expect(logs.parameters({ ...ask, whose: 'api' })).toEqual({ search: 'timeout', process: 'api', since: '1h' })
  })
  it('come each once, and the oldest go when there are too many', () => {
    const all = logs.joined([line(1), line(2)], [line(2), line(3), line(4)], 3)
    expect(all.map((line) => line.seq)).toEqual([2, 3, 4])
  })
  it('stay the same list when nothing is new', () => {
    const before = [line(1)]
    expect(logs.joined(before, [line(1)])).toBe(before)
  })
})
