//! A quick look at a whole block's text, before its lines are taken apart: where could the query match at all?
//!
//! Most lines of most blocks are not wanted. A line is only built and verified if it holds what every match
//! must hold. This is to lines what [`super::need`] is to blocks: it decides about speed, never about truth.

use regex::{Regex, RegexBuilder};

use super::block::{Block, Entry};
use crate::query::Expr;
use crate::token::words;

/// What every matching text holds, in any case.
#[derive(Debug)]
pub struct Sieve {
    holds: Option<Regex>,
}

impl Sieve {
    /// What `expr` needs.
    #[must_use]
    pub fn of(expr: &Expr) -> Self {
        let holds = needle(expr).and_then(|needle| {
            RegexBuilder::new(&regex::escape(&needle)).case_insensitive(true).build().ok()
        });
        Self { holds }
    }

    /// Calls `found` with every line of `block` that may match, in order.
    pub fn pass(&self, block: &Block, mut found: impl FnMut(&Entry)) {
        let Some(holds) = self.holds.as_ref().filter(|_| !has_odd_case(&block.text)) else {
            block.entries.iter().for_each(found);
            return;
        };
        let mut from = 0;
        let mut entries = block.entries.as_slice();
        while let Some(hit) = holds.find_at(&block.text, from) {
            let skipped = entries.partition_point(|entry| entry.text.end <= hit.start());
            entries = &entries[skipped..];
            let Some((entry, rest)) = entries.split_first() else { return };
            // A hit that begins in one line and ends in the next says nothing about either.
            if hit.end() <= entry.text.end {
                found(entry);
                entries = rest;
                from = entry.text.end;
            } else {
                from = hit.start()
                    + block.text[hit.start()..].chars().next().map_or(1, char::len_utf8);
            }
        }
    }
}

/// Letters whose lower case is not one letter, or is one in ASCII, so that ways to ignore case may differ
/// about them: the dotted capital I and the Kelvin sign. And JSON's characters written as numbers. A block
/// that holds one is looked at line by line.
fn has_odd_case(text: &str) -> bool {
    let holds = |part: &str| memchr::memmem::find(text.as_bytes(), part.as_bytes()).is_some();
    holds("\\u") || (!text.is_ascii() && (holds("\u{130}") || holds("\u{212a}")))
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
