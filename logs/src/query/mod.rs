//! What is looked for: an expression over the text, level and fields of a line.
//!
//! User text becomes an [`Expr`] once, at the border; nothing else ever sees it. In particular no part of
//! it reaches FTS or SQL but as a bound parameter or a quoted token.

//!
//! ```text
//!  text ──► lexer: words, quotes, patterns, marks, each with its column ──► parse: an Expr, bounded ──► matches
//! ```

mod error;
mod fields;
mod lexer;
mod matches;
mod parse;
mod term;
#[cfg(test)]
mod tests;

pub use error::QueryError;
pub use parse::parse;

use crate::line::Level;

/// Longest query, in bytes.
pub const QUERY_MAX: usize = 4096;
/// Most terms in one query.
pub const TERMS_MAX: usize = 64;
/// Most parentheses inside each other.
pub const DEPTH_MAX: usize = 16;
/// Most regular expressions in one query.
pub const REGEX_MAX: usize = 8;

/// A parsed query.
#[derive(Debug, Clone)]
pub enum Expr {
    /// Every line.
    All,
    /// A whole word, any case.
    Word(String),
    /// A word that begins so, any case.
    Prefix(String),
    /// These words directly one after the other, any case.
    Phrase(Vec<String>),
    /// The text holds exactly this, any case.
    Substring(String),
    /// The text matches.
    Regex(regex::Regex),
    /// The level is at least this bad, or as the comparison says.
    Level(Compare, Level),
    /// A field of a structured (JSON or `key=value`) line, or a journal field, has this value.
    Field(String, String),
    /// Not that.
    Not(Box<Expr>),
    /// All of them.
    And(Vec<Expr>),
    /// One of them.
    Or(Vec<Expr>),
}

/// How a level is compared. "Greater" is worse: `level>=warn` finds warnings and errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// `=`
    Is,
    /// `>=`
    AtLeast,
    /// `>`
    Above,
    /// `<=`
    AtMost,
    /// `<`
    Below,
}
