// Who is logged in, and what they may do.
import { api, ask, onLost, setCsrf, Trouble, type Schemas } from './api'

type View = Schemas['SessionView']

const SCOPES = ['read', 'operator', 'admin']

/** Remembers that somebody has logged in here, and nothing else: an agent that is asked by nobody has nothing to refuse. */
const MARK = 'logged-in'

function marked(): boolean {
  try {
    return localStorage.getItem(MARK) != null
  } catch {
    return true
  }
}

function mark(is: boolean): void {
  try {
    if (is) localStorage.setItem(MARK, '1')
    else localStorage.removeItem(MARK)
  } catch {
    // Then it is asked each time.
  }
}

class Session {
  view = $state.raw<View | null>(null)
  /** Whether it is not known yet. */
  asking = $state(true)
  /** Set if somebody who was logged in is not any more. */
  ended = $state(false)
  trouble = $state.raw<Trouble | null>(null)

  constructor() {
    onLost(() => {
      if (!this.view) return
      this.ended = true
      this.forget()
    })
  }

  /** Whether this token may do what needs `scope`. */
  may(scope: 'read' | 'operator' | 'admin'): boolean {
    return SCOPES.indexOf(this.view?.scope ?? '') >= SCOPES.indexOf(scope)
  }

  /** Whether it sees the whole host, and not only a process or an instance. */
  get seesHost(): boolean {
    return this.view != null && this.view.process == null && this.view.instance == null
  }

  async find(): Promise<void> {
    this.trouble = null
    if (!marked()) {
      this.asking = false
      return
    }
    this.asking = true
    try {
      this.begin(await ask(api.GET('/api/v1/session')))
    } catch (error) {
      if (error instanceof Trouble && error.status === 401) mark(false)
      this.forget()
      if (error instanceof Trouble && error.status !== 401) this.trouble = error
    } finally {
      this.asking = false
    }
  }

  async login(token: string, code: string | undefined): Promise<void> {
    this.begin(await ask(api.POST('/api/v1/session', { body: { token, ...(code ? { code } : {}) } })))
    this.ended = false
  }

  async logout(everywhere = false): Promise<void> {
    await ask(everywhere ? api.DELETE('/api/v1/sessions') : api.DELETE('/api/v1/session'))
    mark(false)
    this.forget()
  }

  private begin(view: View): void {
    setCsrf(view.session?.csrf ?? '')
    mark(true)
    this.view = view
  }

  private forget(): void {
    setCsrf('')
    this.view = null
  }
}

export const session = new Session()
