import { describe, expect, it } from 'vitest'
import { beginning, plain } from '../src/lib/text'

describe('what apps print', () => {
  it('loses its colours and other escape sequences', () => {
    expect(plain('\u001b[31mred\u001b[0m \u001b]0;title\u0007x \u001b[2J\u001b(By')).toBe('red x y')
    expect(plain('\u009b1mbold')).toBe('bold')
  })
  it('shows control characters and text that turns around or hides', () => {
    expect(plain('a\u0000b\u202ec\u200bd')).toBe('a\\u{0}b\\u{202e}c\\u{200b}d')
    expect(plain('x\u{e0041}')).toBe('x\\u{e0041}')
  })
  it('keeps tabs, lines and markup as they are: it is text and nothing else', () => {
    expect(plain('a\tb\r\nc <script>alert(1)</script>')).toBe('a\tb\nc <script>alert(1)</script>')
  })
  it('is cut where it is too long, and says how much is left out', () => {
    expect(beginning('abcdef', 4)).toEqual(['abcd', 2])
    expect(beginning('abcd', 4)).toEqual(['abcd', 0])
  })
})
