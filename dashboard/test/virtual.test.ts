import { describe, expect, it } from 'vitest'
import { reveal, visible } from '../src/lib/virtual'

describe('a list of which only a part is drawn', () => {
  it('draws what is in sight with a margin', () => {
    expect(visible(10_000, 40, 4000, 600, 5)).toEqual({ first: 95, end: 120, top: 3800, height: 400_000 })
  })
  it('never draws beyond its ends', () => {
    expect(visible(10, 40, 0, 600, 5)).toEqual({ first: 0, end: 10, top: 0, height: 400 })
    const atTheEnd = visible(100, 40, 3400, 600, 5)
    expect(atTheEnd.end).toBe(100)
  })
  it('draws its end when it has become shorter than it is scrolled', () => {
    const { first, end } = visible(20, 40, 400_000, 400, 2)
    expect([first, end]).toEqual([8, 20])
  })
  it('draws few rows, however many there are', () => {
    for (const rows of [0, 1, 1000, 1_000_000]) {
      const { first, end } = visible(rows, 40, rows * 20, 600)
      expect(end - first).toBeLessThan(40)
    }
  })
  it('scrolls no further than it must to show a row', () => {
    expect(reveal(0, 40, 100, 400)).toBe(0)
    expect(reveal(5, 40, 100, 400)).toBe(100)
    expect(reveal(20, 40, 100, 400)).toBe(440)
  })
})
