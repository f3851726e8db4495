//! Text of a tenant made harmless for a terminal.
//!
//! What an app prints is shown to an operator. Escape sequences could retitle the window, answer as if
//! typed, or overwrite earlier lines; bidirectional and invisible characters could make a line read as
//! something else. All of these come out as visible escapes (`\u{1b}`); newlines and tabs stay.

use std::borrow::Cow;

/// What becomes of the colours that an app printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// They are taken out.
    Strip,
    /// They stay (SGR sequences alone), and are reset at the end of each line.
    Keep,
}

/// Longest colour sequence that counts as one, in bytes.
const SGR_MAX: usize = 64;
const RESET: &str = "\x1b[0m";

/// `text` without anything that steers a terminal or hides itself.
#[must_use]
pub fn neutral(text: &str, colours: Colours) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut coloured = false;
    while let Some(c) = rest.chars().next() {
        let length = sgr(rest);
        let (piece, after) = rest.split_at(length.unwrap_or(c.len_utf8()));
        rest = after;
        if length.is_some() {
            if colours == Colours::Keep {
                safe.push_str(piece);
                coloured = true;
            }
            continue;
        }
        let ends_line = c == '\n' || (c == '\r' && (rest.is_empty() || rest.starts_with('\n')));
        if ends_line && std::mem::take(&mut coloured) {
            safe.push_str(RESET);
        }
        if c == '\r' && ends_line {
            continue;
        }
        if steers(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    if coloured {
        safe.push_str(RESET);
    }
    Cow::Owned(safe)
}

/// Whether a character does something else than standing there. The sources: ECMA-48 (controls), Unicode
/// standard annex 9 (bidirectional marks), and the default-ignorable characters that draw nothing.
#[must_use]
pub fn steers(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        c if c.is_ascii() => c.is_ascii_control(),
        c => {
            c.is_control()
                || matches!(c,
                    '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                    | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
                    | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
        }
    }
}

/// The length of the colour sequence (ECMA-48 SGR: `ESC [ digits ; : m`) at the beginning of `text`.
fn sgr(text: &str) -> Option<usize> {
    let body = text.strip_prefix("\x1b[")?;
    let end = body.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':')?;
    (body[end..].starts_with('m') && end <= SGR_MAX).then_some(end + 3)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_are_taken_out_or_kept_and_reset() {
        let text = "\x1b[1;31mred\x1b[m and\nplain \x1b[32mgreen";
        assert_eq!(neutral(text, Colours::Strip), "red and\nplain green");
        let kept = "\x1b[1;31mred\x1b[m and\x1b[0m\nplain \x1b[32mgreen\x1b[0m";
        assert_eq!(neutral(text, Colours::Keep), kept);
    }

    #[test]
    fn what_steers_a_terminal_is_shown_instead() {
        for (text, wanted) in [
            ("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            ("\x1b[2J", "\\u{1b}[2J"),
            ("\x1b[?1049h", "\\u{1b}[?1049h"),
            ("\x1b[5n", "\\u{1b}[5n"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\x1bPq\x1b\\", "\\u{1b}Pq\\u{1b}\\"),
            ("50%\r100%\r\n", "50%\\u{d}100%\n"),
            ("a\u{8}b\u{7f}", "a\\u{8}b\\u{7f}"),
            ("user\u{202e}txt.exe", "user\\u{202e}txt.exe"),
            ("pass\u{200b}word\u{feff}", "pass\\u{200b}word\\u{feff}"),
            ("\u{2066}x\u{2069}", "\\u{2066}x\\u{2069}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(neutral(text, Colours::Strip), wanted);
            assert_eq!(neutral(text, Colours::Keep), wanted);
        }
        assert!(matches!(neutral("naïve ✓\t日本", Colours::Strip), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn nothing_that_steers_comes_through(text in "[\u{1b}\\[\\]mJ;0-9\u{9b}\r\n\u{7}\u{202e}\u{200b}a]{0,40}") {
            let plain = neutral(&text, Colours::Strip);
            prop_assert!(!plain.contains(steers), "{plain:?}");
            let mut kept = neutral(&text, Colours::Keep).into_owned();
            while let Some(at) = kept.find('\x1b') {
                let length = sgr(&kept[at..]);
                prop_assert!(length.is_some(), "{kept:?}");
                kept.replace_range(at..at + length.unwrap_or(1), "");
            }
            prop_assert!(!kept.contains(steers), "{kept:?}");
        }
    }
}
