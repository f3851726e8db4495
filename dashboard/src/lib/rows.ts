// The list of instances: search, filter, order, sums. Pure.
import type { components } from './generated/schema'

export type Row = components['schemas']['InstanceRow']
export type Rows = components['schemas']['InstanceRows']

/** What somebody sees at a glance; each has a word, a colour and a shape. */
export type Look = 'failed' | 'unwell' | 'starting' | 'stopping' | 'running' | 'reclaimed' | 'frozen' | 'parked' | 'asleep'

export const LOOKS: Look[] = ['failed', 'unwell', 'starting', 'stopping', 'running', 'reclaimed', 'frozen', 'parked', 'asleep']

type Glance = Pick<Row, 'state' | 'tier'> & { health?: Row['health'] | null }

export function look(row: Glance): Look {
  if (row.state === 'failed' || row.health === 'failed') return 'failed'
  if (row.health === 'unhealthy' || row.health === 'degraded') return 'unwell'
  if (row.state === 'starting' || row.state === 'stopping') return row.state
  if (row.tier === 'reclaimed' || row.tier === 'frozen' || row.tier === 'parked') return row.tier
  return row.state === 'running' ? 'running' : 'asleep'
}

/** The filters above the list, and what they let through. */
export const FILTERS = {
  all: LOOKS,
  running: ['running', 'reclaimed', 'starting', 'stopping', 'unwell'],
  frozen: ['frozen', 'parked'],
  asleep: ['asleep'],
  problems: ['failed', 'unwell'],
} satisfies Record<string, Look[]>

export type Filter = keyof typeof FILTERS
export type Sort = 'name' | 'state' | 'since' | 'used' | 'open' | 'memory' | 'cpu'

/** What an instance uses now, by its name; only of those that are awake. */
export type Uses = Map<string, Partial<components['schemas']['InstanceLive']>>

export interface Question {
  text: string
  filter: Filter
  sort: Sort
  down: boolean
}

/** Every word must be in the name; case never matters. */
export function matches(row: Row, words: string[]): boolean {
  return words.every((word) => row.name.includes(word))
}

export function select(rows: readonly Row[], question: Question, uses: Uses): Row[] {
  const words = question.text.toLowerCase().split(/\s+/).filter(Boolean)
  const looks = new Set<Look>(FILTERS[question.filter])
  const all = question.filter === 'all'
  const found = rows.filter((row) => (all || looks.has(look(row))) && matches(row, words))
  const key = keyOf(question.sort, uses)
  // The rows come in order of name, and sorting keeps the order of equals.
  if (key) found.sort((a, b) => key(a) - key(b))
  return question.down ? found.reverse() : found
}

function keyOf(sort: Sort, uses: Uses): ((row: Row) => number) | null {
  switch (sort) {
    case 'name':
      return null
    case 'state':
      return (row) => LOOKS.indexOf(look(row))
    case 'since':
      return (row) => -row.since_ms
    case 'used':
      return (row) => -(row.last_used_ms ?? 0)
    case 'open':
      return (row) => row.in_flight
    case 'memory':
      return (row) => uses.get(row.name)?.memory_bytes ?? -1
    case 'cpu':
      return (row) => uses.get(row.name)?.cpu_cores ?? -1
  }
}

/** How many there are of each look. */
export function sums(rows: readonly Row[]): Record<Look, number> {
  const sums = Object.fromEntries(LOOKS.map((look) => [look, 0])) as Record<Look, number>
  for (const row of rows) sums[look(row)]++
  return sums
}

/** Takes what an event of the stream says; `known` is changed. */
export function take(known: Map<string, Row>, event: Rows): void {
  if (event.fresh) known.clear()
  for (const name of event.gone) known.delete(name)
  for (const row of event.rows) known.set(row.name, row)
}

/** In order of name, as the agent has it: by process, then by id. */
export function ordered(known: Map<string, Row>): Row[] {
  const keyed = [...known.values()].map((row) => [row.name.replace(':', '\u0000'), row] as const)
  keyed.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0))
  return keyed.map(([, row]) => row)
}
