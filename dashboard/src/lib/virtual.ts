// Which rows of a long list are in sight. Pure arithmetic: heights in pixels, rows of one height.

export interface Window {
  /** The first row to draw. */
  first: number
  /** The row after the last. */
  end: number
  /** Where the first one begins. */
  top: number
  /** Height of all rows. */
  height: number
}

/** The rows that are in sight, and `margin` more on both sides. */
export function visible(rows: number, row: number, scrolled: number, view: number, margin = 6): Window {
  const height = rows * row
  // A list that has become shorter is scrolled beyond its end until the browser notices.
  const from = Math.max(0, Math.min(scrolled, height - view))
  const first = Math.max(0, Math.floor(from / row) - margin)
  const end = Math.min(rows, Math.ceil((from + view) / row) + margin)
  return { first, end, top: first * row, height }
}

/** Where to scroll so that `index` is in sight; what is in sight already stays where it is. */
export function reveal(index: number, row: number, scrolled: number, view: number): number {
  const top = index * row
  if (top < scrolled) return top
  if (top + row > scrolled + view) return top + row - view
  return scrolled
}
