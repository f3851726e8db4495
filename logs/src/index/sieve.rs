//! A quick look at a whole block's text, before its lines are taken apart: where could the query match at all?
//!
//! Most lines of most blocks are not wanted. A line is only built and verified if it holds what every match
//! must hold. This is to lines what [`super::need`] is to blocks: it decides about speed, never about truth.

use std::ops::Range;

use super::block::{Block, Entry};
use crate::query::Expr;
use crate::token::words;

/// What every matching text holds, in any case.
#[derive(Debug)]
pub struct Sieve {
    holds: Option<Needle>,
}

impl Sieve {
    /// What `expr` needs.
    #[must_use]
    pub fn of(expr: &Expr) -> Self {
        let holds = needle(expr).map(|text| Needle::new(&text));
        Self { holds }
    }

    /// Calls `found` with every line of `block` that may match, in order.
    pub fn pass(&self, block: &Block, mut found: impl FnMut(&Entry)) {
        let Some(holds) = self.holds.as_ref().filter(|_| !has_odd_case(&block.text)) else {
            block.entries.iter().for_each(found);
            return;
        };
        let mut entries = block.entries.as_slice();
        for hit in holds.places(block.text.as_bytes()) {
            let skipped = entries.partition_point(|entry| entry.text.end <= hit.start);
            entries = &entries[skipped..];
            let Some((entry, rest)) = entries.split_first() else { return };
            // A hit before this entry is in one that was found already; one that begins in one line and
            // ends in the next says nothing about either.
            if hit.start >= entry.text.start && hit.end <= entry.text.end {
                found(entry);
                entries = rest;
            }
        }
    }
}

/// ASCII text that is looked for in any case, by jumping from one of its rarest byte to the next.
#[derive(Debug)]
struct Needle {
    text: Vec<u8>,
    rarest: usize,
}

impl Needle {
    fn new(text: &str) -> Self {
        let text = text.to_ascii_lowercase().into_bytes();
        let rarest = (0..text.len()).min_by_key(|&at| frequency(text[at])).unwrap_or(0);
        Self { text, rarest }
    }

    fn places<'a>(&'a self, haystack: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
        let byte = self.text.get(self.rarest).copied().unwrap_or_default();
        memchr::memchr2_iter(byte, byte.to_ascii_uppercase(), haystack).filter_map(move |at| {
            let start = at.checked_sub(self.rarest)?;
            let end = start + self.text.len();
            haystack.get(start..end)?.eq_ignore_ascii_case(&self.text).then_some(start..end)
        })
    }
}

/// How often a byte is met in logs, roughly: a greater number is more often.
fn frequency(byte: u8) -> usize {
    const RARE_TO_COMMON: &[u8] =
        b"zqjxkvbyw%~^`@#$!?*+<>|&\\pfgumhcld;()'[]{}rnsioate9876543,_-=/\":.210 ";
    RARE_TO_COMMON.iter().position(|&common| common == byte).unwrap_or(0)
}

/// Letters whose lower case is not one letter, or is one in ASCII, so that ways to ignore case may differ
/// about them: the dotted capital I, the long s and the Kelvin sign. And JSON's characters written as numbers. A block
/// that holds one is looked at line by line.
fn has_odd_case(text: &str) -> bool {
    let holds = |part: &str| memchr::memmem::find(text.as_bytes(), part.as_bytes()).is_some();
    holds("\\u")
        || (!text.is_ascii() && (["\u{130}", "\u{17f}", "\u{212a}"].into_iter().any(holds)))
}

/// The longest piece of plain ASCII that every match holds.
fn needle(expr: &Expr) -> Option<String> {
    let plain = |text: &str| (text.is_ascii() && !text.is_empty()).then(|| text.to_owned());
    let longest = |needles: &mut dyn Iterator<Item = String>| needles.max_by_key(String::len);
    match expr {
        Expr::Word(word) | Expr::Prefix(word) => longest(&mut words(word).filter_map(plain)),
        Expr::Phrase(phrase) => {
            longest(&mut phrase.iter().flat_map(|word| words(word)).filter_map(plain))
        }
        Expr::Substring(part) => plain(part),
        Expr::And(exprs) => longest(&mut exprs.iter().filter_map(needle)),
        Expr::Field(_, value)
            if value.parse::<f64>().is_err() && !value.contains(['\\', '"', '/']) =>
        {
            longest(&mut words(value).filter_map(plain))
        }
        Expr::All
        | Expr::Regex(_)
        | Expr::Level(..)
        | Expr::Field(..)
        | Expr::Not(_)
        | Expr::Or(_) => None,
    }
}
