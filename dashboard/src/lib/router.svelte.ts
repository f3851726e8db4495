// Where we are: the path and its query, kept in the address bar.

class Route {
  path = $state(location.pathname)
  query = $state.raw(new URLSearchParams(location.search))

  constructor() {
    addEventListener('popstate', () => this.read())
  }

  private read(): void {
    this.path = location.pathname
    this.query = new URLSearchParams(location.search)
  }

  /** Goes there, as a link does. */
  go(to: string): void {
    if (to !== location.pathname + location.search) history.pushState(null, '', to)
    this.read()
    document.getElementById('main')?.scrollTo(0, 0)
  }

  /** Changes the query in place; empty values go. */
  set(changes: Record<string, string>): void {
    const query = new URLSearchParams(location.search)
    for (const [name, value] of Object.entries(changes)) {
      if (value) query.set(name, value)
      else query.delete(name)
    }
    const text = query.toString()
    history.replaceState(null, '', location.pathname + (text ? `?${text}` : ''))
    this.query = query
  }
}

export const route = new Route()

/** Follows links to pages of ours without loading anything anew. */
export function links(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
  const link = (event.target as Element | null)?.closest?.('a')
  if (!link || link.target || link.origin !== location.origin || link.hasAttribute('download')) return
  event.preventDefault()
  route.go(link.pathname + link.search)
}
