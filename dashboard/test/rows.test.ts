import { describe, expect, it } from 'vitest'
import { look, ordered, select, sums, take, type Row } from '../src/lib/rows'

const row = (name: string, more: Partial<Row> = {}): Row => ({ name, state: 'asleep', tier: 'stopped', since_ms: 1, in_flight: 0, wakes: 0, ...more }) as Row
const names = (rows: Row[]) => rows.map((row) => row.name)

describe('the list of instances', () => {
  const rows = [
    row('api:a', { state: 'running', tier: 'running', in_flight: 2 }),
    row('api:b', { tier: 'frozen' }),
    row('web:a', { state: 'failed' }),
    row('web:b', { state: 'running', tier: 'running', health: 'unhealthy' }),
  ]
  const all = { text: '', filter: 'all', sort: 'name', down: false } as const

  it('tells apart what people tell apart', () => {
    expect(rows.map(look)).toEqual(['running', 'frozen', 'failed', 'unwell'])
    expect(look(row('x:y', { state: 'running', tier: 'reclaimed' }))).toBe('reclaimed')
    expect(look(row('x:y', { state: 'starting', tier: 'running' }))).toBe('starting')
    expect(sums(rows).failed).toBe(1)
  })
  it('finds by every word, in any case', () => {
    expect(names(select(rows, { ...all, text: 'A web' }, new Map()))).toEqual(['web:a'])
  })
  it('filters by what they do', () => {
    expect(names(select(rows, { ...all, filter: 'problems' }, new Map()))).toEqual(['web:a', 'web:b'])
    expect(names(select(rows, { ...all, filter: 'frozen' }, new Map()))).toEqual(['api:b'])
  })
  it('puts the worst first when ordered by state, and can turn every order around', () => {
    expect(names(select(rows, { ...all, sort: 'state' }, new Map()))).toEqual(['web:a', 'web:b', 'api:a', 'api:b'])
    expect(names(select(rows, { ...all, sort: 'open', down: true }, new Map()))[0]).toBe('api:a')
    const uses = new Map([['web:b', { memory_bytes: 9 }]])
    expect(names(select(rows, { ...all, sort: 'memory', down: true }, uses))[0]).toBe('web:b')
  })
  it('never changes the list that it is given', () => {
    const before = names(rows)
    select(rows, { ...all, sort: 'state', down: true }, new Map())
    expect(names(rows)).toEqual(before)
  })
  it('takes what the stream says: new ones, changed ones, those that are gone, and all anew', () => {
    const known = new Map<string, Row>()
    take(known, { fresh: true, more: false, rows: [rows[2]!, rows[0]!], gone: [] })
    take(known, { fresh: false, more: false, rows: [row('api:a'), row('api-x:a')], gone: ['web:a'] })
    expect(names(ordered(known))).toEqual(['api:a', 'api-x:a'])
    expect(known.get('api:a')!.state).toBe('asleep')
    take(known, { fresh: true, more: false, rows: [], gone: [] })
    expect(known.size).toBe(0)
  })
})
