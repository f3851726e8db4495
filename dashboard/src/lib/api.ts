// The only way to the agent: typed by its OpenAPI document, with the session's cookie and its CSRF token.
import createClient from 'openapi-fetch'
import type { components, paths } from './generated/schema'

export type Schemas = components['schemas']

/** An answer that is no success, in the agent's own words. */
export class Trouble extends Error {
  status: number
  code: string
  hint: string | undefined
  request: string | undefined
  fields: { field: string; message: string }[]

  constructor(status: number, problem: unknown) {
    const said = (problem ?? {}) as Record<string, unknown>
    super(typeof said.detail === 'string' ? said.detail : status ? `The agent answered with ${status}` : 'The agent does not answer')
    this.status = status
    this.code = typeof said.code === 'string' ? said.code : 'unknown'
    this.hint = typeof said.hint === 'string' ? said.hint : undefined
    this.request = typeof said.request_id === 'string' ? said.request_id : undefined
    this.fields = Array.isArray(said.errors) ? (said.errors as Trouble['fields']) : []
  }
}

let csrf = ''
let lost: () => void = () => {}

/** The token that changes need, as the session says it. */
export function setCsrf(token: string): void {
  csrf = token
}

/** Who is told that the session has ended. */
export function onLost(told: () => void): void {
  lost = told
}

export const api = createClient<paths>({ baseUrl: '', credentials: 'same-origin' })

api.use({
  onRequest({ request }) {
    if (request.method !== 'GET' && csrf) request.headers.set('X-CSRF-Token', csrf)
    return request
  },
})

/** The data of an answer; throws a [`Trouble`] for everything else. */
export async function ask<T>(asked: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await asked.catch(() => {
    throw new Trouble(0, null)
  })
  if (response.ok) return data as T
  const trouble = new Trouble(response.status, error)
  if (trouble.code === 'unauthenticated') lost()
  throw trouble
}

/** What went wrong, as a [`Trouble`]. */
export function troubleOf(error: unknown): Trouble {
  if (error instanceof Trouble) return error
  const trouble = new Trouble(0, null)
  if (error instanceof Error) trouble.message = error.message
  return trouble
}
