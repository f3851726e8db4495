// What just happened, said for a few seconds.
import { Trouble } from './api'

export interface Toast {
  id: number
  kind: 'ok' | 'bad'
  text: string
  hint: string | undefined
}

class Toasts {
  all = $state.raw<Toast[]>([])
  private next = 1

  say(text: string): void {
    this.add({ id: this.next++, kind: 'ok', text, hint: undefined }, 4000)
  }

  warn(error: unknown): void {
    const text = error instanceof Error ? error.message : String(error)
    this.add({ id: this.next++, kind: 'bad', text, hint: error instanceof Trouble ? error.hint : undefined }, 10_000)
  }

  drop(id: number): void {
    this.all = this.all.filter((toast) => toast.id !== id)
  }

  private add(toast: Toast, ms: number): void {
    this.all = [...this.all.slice(-3), toast]
    setTimeout(() => this.drop(toast.id), ms)
  }
}

export const toasts = new Toasts()
