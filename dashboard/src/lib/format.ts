// Numbers, times and texts for people. Pure: the present is passed in.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/** `1.5 GiB`; an em dash for what is not known. */
export function bytes(value: number | null | undefined): string {
  if (value == null) return '–'
  let at = 0
  while (value >= 1024 && at < UNITS.length - 1) {
    value /= 1024
    at++
  }
  return `${at === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[at]}`
}

/** `12,345`, and `1.2M` from a million on. */
export function count(value: number | null | undefined): string {
  if (value == null) return '–'
  if (value >= 1e9) return `${(value / 1e9).toFixed(1)}G`
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)}M`
  return value.toLocaleString('en-GB', { maximumFractionDigits: value < 10 ? 2 : 0 })
}

/** `1 instance`, `2 instances`. */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`
}

/** A length of time in seconds: `0.8 ms`, `12 s`, `5 min`, `3 h 20 min`, `4 d`. */
export function duration(seconds: number | null | undefined): string {
  if (seconds == null) return '–'
  if (seconds < 1e-3) return `${Math.round(seconds * 1e6)} µs`
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.01 ? 1 : 0)} ms`
  if (seconds < 60) return `${Math.floor(seconds)} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`
  const days = Math.floor(hours / 24)
  return days < 7 && hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`
}

/** How long ago that was: `now`, `12 s ago`. */
export function ago(ms: number | null | undefined, now: number): string {
  if (!ms) return 'never'
  const seconds = Math.max(0, (now - ms) / 1000)
  return seconds < 2 ? 'now' : `${duration(seconds)} ago`
}

const two = (value: number) => String(value).padStart(2, '0')

/** `14:03:09`, in the time zone of whoever looks. */
export function clock(ms: number): string {
  const at = new Date(ms)
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`
}

/** `21 Nov 14:03:09`. */
export function moment(ms: number): string {
  const at = new Date(ms)
  const month = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'][at.getMonth()]
  return `${at.getDate()} ${month} ${clock(ms)}`
}

/** Milliseconds of a line's timestamp, `14:03:09.123`. */
export function exact(timestamp: string): string {
  const ms = Date.parse(timestamp)
  if (Number.isNaN(ms)) return timestamp
  return `${clock(ms)}.${String(Math.floor(ms) % 1000).padStart(3, '0')}`
}

/** A limit by its name, as the config has it: bytes, thousandths of a core, seconds, counts. */
export function limit(name: string, value: number): string {
  if (name === 'cpu') return `${value / 1000} ${value === 1000 ? 'core' : 'cores'}`
  if (/^(memory|disk|swap)|_bytes$|^io_(read|write)(_max)?$/.test(name)) return bytes(value)
  if (name === 'runtime_max') return duration(value)
  return count(value)
}

/** `memory_max` as words. */
export function words(name: string): string {
  return name.replaceAll('_', ' ')
}
