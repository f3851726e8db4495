import { expect, it, vi } from 'vitest'

vi.mock('../src/lib/api', () => ({ api: {}, ask: () => {} }))
import { sentences } from '../src/lib/ailments'

const DAY = 86_400_000
const NOW = 100 * DAY
type Given = Parameters<typeof sentences>
const tell = (backups: object[], certificates: object[] = [], jobs: object[] = []) =>
  sentences(backups as Given[0], certificates as Given[1], jobs as Given[2], NOW)

it('names what failed, and only some of many', () => {
  const bad = (name: string) => ({ name, failures: 1, error: 'the disk is full' })
  expect(tell([{ name: 'api:a', failures: 0 }])).toEqual([])
  expect(tell(['a', 'b', 'c', 'd', 'e'].map(bad))).toEqual(['The last backup of a, b, c and 2 more failed: the disk is full'])
  expect(tell([], [], [{ job: 'night', instance: 'api:a', last_result: 'exit-code 3' }, { job: 'day', instance: 'api:a', last_result: 'success' }])).toEqual([
    '1 scheduled job failed: night of api:a.',
  ])
})

it('tells of a certificate that nobody renews, and not of one that is renewed each week', () => {
  const life = (name: string, from: number, to: number) => ({ name, from_ms: NOW + from * DAY, expires_ms: NOW + to * DAY })
  expect(tell([], [life('week', -3, 4), life('long', -30, 60), life('year', -350, 15)])).toEqual([])
  expect(tell([], [life('week', -6, 1), life('long', -80, 10)])).toHaveLength(2)
})
