// What apps print, made harmless and readable. What comes out is text and only ever shown as text.

// CSI, OSC (ended by BEL or ST) and the other escape sequences of ECMA-48; also the 8-bit CSI.
// eslint-disable-next-line no-control-regex
const ESCAPES = /\u001b\[[0-?]*[ -/]*[@-~]|\u009b[0-?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|\u001b[PX^_][^\u001b]*(?:\u001b\\)?|\u001b[ -/]*[0-~]/g
// Control characters but tab and newline, and what turns or hides text (bidirectional marks, zero widths, tags).
// eslint-disable-next-line no-control-regex
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu

/** Without escape sequences; what is left of control and invisible characters is written as `\u{1b}`. */
export function plain(text: string): string {
  const clean = text.replace(ESCAPES, '').replace(/\r\n/g, '\n')
  return clean.replace(HIDDEN, (c) => `\\u{${c.codePointAt(0)!.toString(16)}}`)
}

/** Longest text of a line that is shown before somebody asks for the rest. */
export const SHOWN = 4000

/** The beginning of a long text, and how much is left out. */
export function beginning(text: string, max = SHOWN): [string, number] {
  return text.length <= max ? [text, 0] : [text.slice(0, max), text.length - max]
}
