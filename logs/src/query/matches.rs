//! Whether a line is what a query looks for. Pure; the index verifies every hit with it, so the common
//! case (ASCII words and text) neither allocates nor folds the line.

use super::{Compare, Expr, fields};
use crate::line::{Level, Line};
use crate::token::{fold, is_word_char, words};

impl Expr {
    /// Whether `line` is what this looks for.
    #[must_use]
    pub fn matches(&self, line: &Line) -> bool {
        self.holds(line.level, &line.text)
    }

    /// Whether a line of this level and text is what this looks for.
    #[must_use]
    pub fn holds(&self, level: Level, text: &str) -> bool {
        match self {
            Self::All => true,
            Self::Word(word) => has_word(text, word, false),
            Self::Prefix(word) => has_word(text, word, true),
            Self::Phrase(phrase) => has_phrase(text, phrase),
            Self::Substring(part) => has_part(text, part),
            Self::Regex(regex) => regex.is_match(text),
            Self::Level(compare, wanted) => compare.holds(level, *wanted),
            Self::Field(name, value) => fields::has(text, name, value),
            Self::Not(expr) => !expr.holds(level, text),
            Self::And(all) => all.iter().all(|expr| expr.holds(level, text)),
            Self::Or(any) => any.iter().any(|expr| expr.holds(level, text)),
        }
    }
}

impl Compare {
    /// Whether a line of level `found` passes. Worse is greater, and its number smaller.
    #[must_use]
    pub fn holds(self, found: Level, wanted: Level) -> bool {
        match self {
            Self::Is => found == wanted,
            Self::AtLeast => found <= wanted,
            Self::Above => found < wanted,
            Self::AtMost => found >= wanted,
            Self::Below => found > wanted,
        }
    }
}

fn has_word(text: &str, word: &str, prefix: bool) -> bool {
    if word.is_ascii() && text.is_ascii() {
        return places(text, word).any(|(at, end)| {
            !text[..at].ends_with(is_word_char)
                && (prefix || !text[end..].starts_with(is_word_char))
        });
    }
    let wanted = fold(word);
    words(text).any(|found| {
        let found = fold(found);
        if prefix { found.starts_with(&*wanted) } else { found == wanted }
    })
}

fn has_phrase(text: &str, phrase: &[String]) -> bool {
    let Some((first, others)) = phrase.split_first() else { return true };
    // Each place where the first word stands begins a walk of its own, no longer than the phrase.
    if !has_word(text, first, false) {
        return false;
    }
    let wanted: Vec<_> = others.iter().map(|word| fold(word)).collect();
    let first = fold(first);
    let mut rest = words(text);
    std::iter::from_fn(move || {
        let found = rest.next()?;
        let after = &text[offset(text, found) + found.len()..];
        Some((found, after))
    })
    .any(|(found, after)| {
        let mut next = words(after);
        fold(found) == first
            && wanted.iter().all(|word| next.next().is_some_and(|found| fold(found) == *word))
    })
}

/// Where `part`, a piece of `text`, begins in it.
fn offset(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

fn has_part(text: &str, part: &str) -> bool {
    if part.is_ascii() && text.is_ascii() {
        return places(text, part).next().is_some();
    }
    fold(text).contains(&*fold(part))
}

/// Every place (begin, end) where the ASCII text `part` stands in the ASCII text `text`, in any case. It jumps from one
/// occurrence of the rarest byte of `part` to the next.
fn places(text: &str, part: &str) -> impl Iterator<Item = (usize, usize)> {
    let (haystack, needle) = (text.as_bytes(), part.as_bytes());
    let rarest = (0..needle.len()).min_by_key(|&at| frequency(needle[at])).unwrap_or(0);
    let byte = needle.get(rarest).copied().unwrap_or(0);
    memchr::memchr2_iter(byte.to_ascii_lowercase(), byte.to_ascii_uppercase(), haystack).filter_map(
        move |at| {
            let from = at.checked_sub(rarest)?;
            let end = from + needle.len();
            let found = haystack.get(from..end)?;
            found.eq_ignore_ascii_case(needle).then_some((from, end))
        },
    )
}

/// How often a byte is met in logs, roughly: a greater number is more often.
fn frequency(byte: u8) -> usize {
    const RARE_TO_COMMON: &[u8] =
        b"zqjxkvbyw%~^`@#$!?*+<>|&\\pfgumhcld;()'[]{}rnsioate9876543,_-=/\":.210 ";
    let lower = byte.to_ascii_lowercase();
    RARE_TO_COMMON.iter().position(|&common| common == lower).unwrap_or(0)
}
