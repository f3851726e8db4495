import { beforeAll, expect, it, vi } from 'vitest'
import type * as History from '../src/lib/history.svelte'

vi.mock('../src/lib/api', () => ({ api: {}, ask: () => {} }))
vi.mock('../src/lib/live.svelte', () => ({ every: () => () => {} }))
let history: typeof History
beforeAll(async () => {
  vi.stubGlobal('$state', Object.assign((value: unknown) => value, { raw: (value: unknown) => value }))
  history = await import('../src/lib/history.svelte')
})

it('a step without anything is zero, and one that is under way is left out', () => {
  const minute = 60_000
  const point = (at: number, requests: number) => ({ at: at * minute, requests, errors: 0, wakes: 0 })
  const past = { step_seconds: 60, points: [point(100, 5), point(103, 7), point(105, 1)] }
  const filled = history.filled(past, '1h', 105 * minute + 20_000)
  expect(filled.at(-1)!.at).toBe(103 * minute)
  expect(filled.filter((one) => one.requests).map((one) => one.requests)).toEqual([5, 7])
  expect(filled.find((one) => one.at === 101 * minute)!.requests).toBe(0)
})
