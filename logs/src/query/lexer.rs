//! A query cut into pieces, each with its place.
//!
//! Marks mean something only where a piece begins, so that pasted log text (`main()`, `a-b`, `/api/v1/users`)
//! stays text: `(` and `-` count only at the beginning of a piece, `)` only if a `(` is open, and a `/` only
//! if a second one ends the piece.

use super::QueryError;

/// One piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Byte where it begins.
    pub at: usize,
    /// What it is.
    pub kind: Kind,
}

/// What a piece is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// `(`
    Open,
    /// `)`
    Close,
    /// `-` or `NOT` before something.
    Not,
    /// `OR`
    Or,
    /// `"text"`, without the quotes.
    Quoted(String),
    /// `~text` or `~"text"`, without the mark.
    Part(String),
    /// `/pattern/`, and whether an `i` follows.
    Pattern(String, bool),
    /// `name=value` and the like: name, comparison, value, byte where the value begins.
    Compared(String, &'static str, String, usize),
    /// Anything else, as it stands.
    Bare(String),
}

const COMPARISONS: [&str; 6] = [">=", "<=", "!=", "=", ">", "<"];

/// Cuts `text` into pieces.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, QueryError> {
    let mut lexer = Lexer { text, at: 0, open: 0 };
    let mut found = Vec::new();
    while let Some(piece) = lexer.next()? {
        found.push(piece);
    }
    Ok(found)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    open: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn next(&mut self) -> Result<Option<Piece>, QueryError> {
        self.at += self.rest().len() - self.rest().trim_start().len();
        let at = self.at;
        let Some(first) = self.rest().chars().next() else { return Ok(None) };
        let second = self.rest().chars().nth(1);
        let kind = match first {
            '(' => {
                self.at += 1;
                self.open += 1;
                Kind::Open
            }
            ')' if self.open > 0 => {
                self.at += 1;
                self.open -= 1;
                Kind::Close
            }
            '-' if second.is_some_and(|c| c != '-' && !c.is_whitespace()) => {
                self.at += 1;
                Kind::Not
            }
            '"' => Kind::Quoted(self.quoted()?),
            '~' if second == Some('"') => {
                self.at += 1;
                Kind::Part(self.quoted()?)
            }
            '~' => {
                self.at += 1;
                Kind::Part(self.bare())
            }
            _ => match self.pattern() {
                Some(pattern) => pattern,
                None => self.word()?,
            },
        };
        Ok(Some(Piece { at, kind }))
    }

    /// The text between two quotes; `\"` and `\\` stand for themselves.
    fn quoted(&mut self) -> Result<String, QueryError> {
        let from = self.at;
        let mut value = String::new();
        let mut escaped = false;
        for (place, c) in self.rest().char_indices().skip(1) {
            match c {
                '"' | '\\' if escaped => value.push(c),
                '\\' => {
                    escaped = true;
                    continue;
                }
                '"' => {
                    self.at = from + place + 1;
                    return Ok(value);
                }
                c if escaped => value.extend(['\\', c]),
                c => value.push(c),
            }
            escaped = false;
        }
        let (message, fix) = ("this quote is never closed", "add a \" at its end, or write \\\"");
        Err(QueryError::new(self.text, from, message, fix))
    }

    /// `/pattern/` or `/pattern/i`, if a piece of that form stands here; a path is none.
    fn pattern(&mut self) -> Option<Kind> {
        let body = self.rest().strip_prefix('/')?;
        let mut escaped = false;
        let end = body.char_indices().find_map(|(place, c)| {
            let ends = c == '/' && !escaped;
            escaped = c == '\\' && !escaped;
            ends.then_some(place)
        })?;
        let (pattern, after) = (&body[..end], &body[end + 1..]);
        let any_case = after.starts_with('i');
        let beyond = after[usize::from(any_case)..].chars().next();
        let ends = beyond.is_none_or(|c| c.is_whitespace() || (c == ')' && self.open > 0));
        if pattern.is_empty() || !ends {
            return None;
        }
        let kind = Kind::Pattern(pattern.replace("\\/", "/"), any_case);
        self.at += pattern.len() + 2 + usize::from(any_case);
        Some(kind)
    }

    /// Up to white space, or to the `)` of a group that is open. Parentheses of its own are part of it.
    fn bare(&mut self) -> String {
        let mut own = 0_usize;
        let ends = |(_, c): &(usize, char)| match *c {
            '(' => {
                own += 1;
                false
            }
            ')' if own > 0 => {
                own -= 1;
                false
            }
            ')' => self.open > 0,
            c => c.is_whitespace(),
        };
        let end = self.text[self.at..].char_indices().find(ends).map_or(self.rest().len(), |e| e.0);
        let value = self.rest()[..end].to_owned();
        self.at += end;
        value
    }

    /// `OR`, `NOT`, a comparison, or text.
    fn word(&mut self) -> Result<Kind, QueryError> {
        if let Some((name, sign)) = comparison(self.rest()) {
            let (name, from) = (name.to_owned(), self.at + name.len() + sign.len());
            self.at = from;
            let value = if self.rest().starts_with('"') { self.quoted()? } else { self.bare() };
            return Ok(Kind::Compared(name, sign, value, from));
        }
        let word = self.bare();
        Ok(match word.as_str() {
            "OR" => Kind::Or,
            "NOT" => Kind::Not,
            _ => Kind::Bare(word),
        })
    }
}

/// The name and sign of `name=`, `level>=` … at the beginning of `text`. A name is what JSON keys usually are:
/// letters, digits, `_`, and `.`, `-`, `@` between them.
fn comparison(text: &str) -> Option<(&str, &'static str)> {
    let of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '@');
    let end = text.find(|c: char| !of_name(c))?;
    let (name, rest) = text.split_at(end);
    let sign = COMPARISONS.into_iter().find(|sign| rest.starts_with(sign))?;
    let begins = name.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '@'));
    let ends = name.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    (begins && ends).then_some((name, sign))
}
