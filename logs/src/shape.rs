//! From what was printed to a [`Line`](crate::line::Line): text, level, and which lines belong together. Pure.
//!
//! The prefix `<N>` of sd-daemon(3) is not looked at here: journald takes it off what comes by stdout and
//! stderr (`SyslogLevelPrefix=` is on for our units) and sets `PRIORITY=` from it; through its native
//! and syslog sockets the priority comes apart from the text, where a `<3>` means nothing.

pub mod group;
pub mod trace;

use crate::line::Level;

/// The most bytes of one line that are kept.
pub const TEXT_MAX: usize = 64 * 1024;

/// What stands at the end of a text that was longer.
pub const CUT: &str = " … [cut by tenement after 64 KiB; journalctl has the whole line]";

/// How far into a text a level is looked for.
const HEAD: usize = 160;

/// The text of a line from the bytes that were printed: valid UTF-8, not longer than [`TEXT_MAX`] and the
/// mark [`CUT`], without the newline at its end. What is no UTF-8, and NUL, becomes U+FFFD.
#[must_use]
pub fn text(bytes: &[u8]) -> Box<str> {
    let end = bytes.iter().rposition(|b| *b != b'\n').map_or(0, |last| last + 1);
    let bytes = &bytes[..end];
    let (bytes, cut) = match bytes.len() > TEXT_MAX {
        true => (&bytes[..char_start(bytes, TEXT_MAX)], true),
        false => (bytes, false),
    };
    let mut text = String::from_utf8_lossy(bytes);
    if memchr::memchr(0, text.as_bytes()).is_some() {
        text = text.replace('\0', "\u{fffd}").into();
    }
    match cut {
        true => format!("{text}{CUT}").into(),
        false => text.into(),
    }
}

/// The last place at or before `at` that does not lie within a character.
fn char_start(bytes: &[u8], at: usize) -> usize {
    (at.saturating_sub(3)..=at).rev().find(|&i| bytes[i] & 0xC0 != 0x80).unwrap_or(at)
}

/// The level of a line: the priority, and where that is the one that says nothing (6, which stdout has
/// by itself), what the text says of itself.
#[must_use]
pub fn level(priority: Option<u8>, text: &str) -> Level {
    match priority {
        Some(6) | None => guess(text).unwrap_or(Level::Info),
        Some(priority) => Level::from_priority(priority),
    }
}

/// What a text says of its level, where it says so in a form that nothing else has: the `"level"` of a JSON
/// line, `level=warn`, or a word such as `ERROR` before which there are only times, numbers and brackets.
#[must_use]
pub fn guess(text: &str) -> Option<Level> {
    let head = &text[..char_start_of(text, HEAD)];
    if head.starts_with('{') {
        return ["\"level\"", "\"severity\"", "\"lvl\"", "\"levelname\""]
            .iter()
            .find_map(|key| json_level(text, key));
    }
    if let Some(level) = ["level=", "lvl=", "severity="].iter().find_map(|key| pair(head, key)) {
        return Some(level);
    }
    if trace::head(head).is_some() {
        return Some(Level::Error);
    }
    marked(head)
}

fn char_start_of(text: &str, at: usize) -> usize {
    if text.len() <= at { text.len() } else { char_start(text.as_bytes(), at) }
}

/// The value of `key` among the first bytes of a JSON line: a word, or a number as pino and bunyan have.
fn json_level(text: &str, key: &str) -> Option<Level> {
    let head = &text[..char_start_of(text, 1024)];
    let rest = head[head.find(key)? + key.len()..].trim_start().strip_prefix(':')?.trim_start();
    if let Some(word) = rest.strip_prefix('"') {
        return word[..word.find('"')?].parse().ok();
    }
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some(match rest[..digits].parse::<u32>().ok()? {
        10 | 20 => Level::Debug,
        30 => Level::Info,
        40 => Level::Warn,
        50 => Level::Error,
        60 => Level::Crit,
        priority @ 0..=7 => Level::from_priority(u8::try_from(priority).ok()?),
        _ => return None,
    })
}

/// The level of `level=warn` or `level="warn"` where it stands as a word of its own.
fn pair(head: &str, key: &str) -> Option<Level> {
    let at = head.find(key)?;
    if head[..at].ends_with(|c: char| !c.is_whitespace()) {
        return None;
    }
    let value = head[at + key.len()..].trim_start_matches('"');
    let end = value.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(value.len());
    let whole = !value[end..].starts_with(|c: char| c.is_alphanumeric() || c == '-' || c == '_');
    whole.then(|| value[..end].parse().ok()).flatten()
}

/// A level in capitals (`ERROR`), or alone in brackets (`[error]`), before which no other word stands.
fn marked(head: &str) -> Option<Level> {
    let bytes = head.as_bytes();
    let (mut at, mut depth) = (0, 0_u32);
    while at < bytes.len() {
        match bytes[at] {
            0x1b => at = after_escape(bytes, at),
            b if b.is_ascii_alphanumeric() => {
                let word = &head[at..end_of_word(bytes, at)];
                let alone = depth > 0 && bytes.get(at + word.len()) == Some(&b']');
                if let Some(level) = word_level(word, alone) {
                    return Some(level);
                }
                let number = word.bytes().any(|b| b.is_ascii_digit());
                if !number && depth == 0 {
                    return None;
                }
                at += word.len();
            }
            b => {
                match b {
                    b'[' | b'(' => depth += 1,
                    b']' | b')' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                at += 1;
            }
        }
    }
    None
}

fn end_of_word(bytes: &[u8], at: usize) -> usize {
    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    bytes[at..].iter().position(|b| !word(b)).map_or(bytes.len(), |len| at + len)
}

/// Behind an ANSI sequence such as `ESC [ 3 1 m`.
fn after_escape(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at + 1) != Some(&b'[') {
        return at + 1;
    }
    let last = bytes[at + 2..].iter().position(|b| (0x40..=0x7e).contains(b));
    last.map_or(bytes.len(), |len| at + 3 + len)
}

fn word_level(word: &str, alone: bool) -> Option<Level> {
    let capitals = word.bytes().all(|b| b.is_ascii_uppercase());
    match word {
        _ if !capitals && !alone => None,
        "ERROR" | "WARN" | "WARNING" | "FATAL" | "CRITICAL" | "CRIT" | "EMERG" | "ALERT"
        | "NOTICE" | "INFO" | "DEBUG" | "TRACE" | "PANIC" => word.parse().ok(),
        _ if alone && word.len() > 2 => word.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_journalds_unless_that_says_nothing() {
        assert_eq!(level(Some(3), "INFO all is well"), Level::Error);
        assert_eq!(level(Some(6), "all is well"), Level::Info);
        assert_eq!(level(Some(6), "ERROR: disk on fire"), Level::Error);
        assert_eq!(level(None, "x"), Level::Info);
    }

    #[test]
    fn a_text_that_names_its_level_is_believed() {
        for (text, level) in [
            ("ERROR disk on fire", Level::Error),
            ("WARNING:root:careful", Level::Warn),
            ("[ERROR] x", Level::Error),
            ("2026/11/21 12:00:00 [error] 7#7: *1 open() failed", Level::Error),
            ("2026-11-21T12:00:00.123Z  WARN app::x: slow", Level::Warn),
            ("[2026-11-21T12:00:00Z DEBUG app] x", Level::Debug),
            ("2026-11-21 12:00:00,123 [main] FATAL c.f.App - bye", Level::Crit),
            ("\x1b[2m2026-11-21T12:00:00Z\x1b[0m \x1b[31mERROR\x1b[0m app: x", Level::Error),
            ("time=2026 level=warn msg=x", Level::Warn),
            ("level=\"error\" msg=x", Level::Error),
            (r#"{"ts":1,"level":"warn","msg":"x"}"#, Level::Warn),
            (r#"{"level":50,"time":1,"msg":"x"}"#, Level::Error),
            (r#"{"severity": "CRITICAL"}"#, Level::Crit),
            ("Traceback (most recent call last):", Level::Error),
            ("panic: runtime error: index out of range", Level::Error),
        ] {
            assert_eq!(guess(text), Some(level), "{text}");
        }
    }

    #[test]
    fn a_text_that_only_speaks_of_errors_is_not() {
        for text in [
            "no ERROR so far",
            "GET /error 200",
            "Error count: 0",
            "retries=3 loglevel=error",
            r#"{"msg":"the level is error"}"#,
            "he said: level=warning-ish? no: xlevel=warn",
            "",
            "\x1b[",
        ] {
            assert_eq!(guess(text), None, "{text}");
        }
    }

    #[test]
    fn a_text_is_valid_bounded_and_marked_where_it_was_cut() {
        assert_eq!(&*text(b"plain\n"), "plain");
        assert_eq!(&*text(b"a\xff\0b\n\n"), "a\u{fffd}\u{fffd}b");
        let long = "é".repeat(10 << 20);
        let cut = text(&long.as_bytes()[1..]);
        assert!(cut.ends_with(CUT) && cut.len() <= TEXT_MAX + CUT.len() + 8, "{}", cut.len());
        assert!(!cut[3..].contains('\u{fffd}'), "not cut within a character");
        assert_eq!(text(&vec![b'x'; TEXT_MAX]).len(), TEXT_MAX);
    }
}
