import { describe, expect, it } from 'vitest'
import { ago, bytes, count, duration, exact, limit, plural } from '../src/lib/format'

describe('numbers for people', () => {
  it('gives sizes in binary units, and a dash for what is not known', () => {
    expect([0, 1023, 1024, 1536, 5 * 2 ** 20, 2 ** 40 * 3000].map(bytes)).toEqual(['0 B', '1023 B', '1.0 KiB', '1.5 KiB', '5.0 MiB', '3000 TiB'])
    expect(bytes(null)).toBe('–')
  })
  it('groups digits and shortens millions', () => {
    expect([0, 0.5, 12.3, 9999, 1_234_567].map(count)).toEqual(['0', '0.5', '12', '9,999', '1.2M'])
  })
  it('tells one from many', () => {
    expect(plural(1, 'instance')).toBe('1 instance')
    expect(plural(0, 'instance')).toBe('0 instances')
  })
  it('gives times in at most two units', () => {
    expect([0.000002, 0.0042, 0.25, 59.9, 60, 3600, 12_000, 86_400 * 2, 86_400 * 1.5].map(duration)).toEqual([
      '2 µs', '4.2 ms', '250 ms', '59 s', '1 min', '1 h', '3 h 20 min', '2 d', '1 d 12 h',
    ])
  })
  it('tells how long ago something was, also by a clock that is a little ahead', () => {
    expect(ago(1000, 31_000)).toBe('30 s ago')
    expect(ago(31_000, 30_000)).toBe('now')
    expect(ago(null, 1)).toBe('never')
  })
  it('writes limits in the units of the config', () => {
    expect(limit('cpu', 1500)).toBe('1.5 cores')
    expect(limit('memory_max', 2 ** 28)).toBe('256 MiB')
    expect(limit('tasks_max', 20)).toBe('20')
  })
  it('keeps a time that it can not read', () => {
    expect(exact('never')).toBe('never')
    expect(exact('2026-01-31T12:00:00.123456Z')).toMatch(/:00:00\.123$/)
  })
})
