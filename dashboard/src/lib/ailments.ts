// What is wrong beside the instances themselves: backups, certificates and scheduled jobs that failed.
import { api, ask, type Schemas } from './api'
import { plural } from './format'

type Backup = Schemas['BackupState']
type Certificate = Schemas['CertificateView']
type Job = Schemas['CronView']

/** A certificate that has no more than this left of its life was to be renewed long ago. */
const LEFT = 1 / 4
const FORTNIGHT = 14 * 86_400_000
/** Names in one sentence. */
const NAMED = 3

function of(names: string[]): string {
  const more = names.length - NAMED
  return names.slice(0, NAMED).join(', ') + (more > 0 ? ` and ${more} more` : '')
}

/** A sentence for each kind of trouble. */
export function sentences(backups: Backup[], certificates: Certificate[], jobs: Job[], now: number): string[] {
  const unsaved = backups.filter((one) => one.error && one.failures > 0)
  const failed = jobs.filter((one) => one.error || (one.last_result && one.last_result !== 'success'))
  const ends = (one: Certificate) => {
    if (one.expires_ms == null) return false
    const left = one.expires_ms - now
    return left < FORTNIGHT && left < (one.expires_ms - (one.from_ms ?? 0)) * LEFT
  }
  const old = certificates.filter((one) => one.error || ends(one))
  return [
    ...(unsaved.length ? [`The last backup of ${of(unsaved.map((one) => one.name))} failed: ${unsaved[0]?.error}`] : []),
    ...(failed.length ? [`${plural(failed.length, 'scheduled job')} failed: ${of(failed.map((one) => `${one.job} of ${one.instance}`))}.`] : []),
    ...old.map((one) => (one.error ? `The certificate of ${one.name} has trouble: ${one.error}` : `The certificate of ${one.name} ends soon, and nobody has renewed it.`)),
  ]
}

/** Asks for all of them. What this token may not see, or an older agent does not know, is not told. */
export async function ailments(): Promise<string[]> {
  const [backups, certificates, jobs] = await Promise.all([
    ask(api.GET('/api/v1/backups')).then((list) => list.backups, () => []),
    ask(api.GET('/api/v1/tls/certificates')).then((list) => list.certificates, () => []),
    ask(api.GET('/api/v1/cron')).catch(() => []),
  ])
  return sentences(backups, certificates, jobs, Date.now())
}
