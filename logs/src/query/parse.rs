//! From pieces to an expression. What stands side by side must all hold; `OR` binds weaker; `-` binds to
//! the one thing after it.

use super::lexer::{Kind, Piece, pieces};
use super::term::{bare, compared, part, pattern, quoted};
use super::{DEPTH_MAX, Expr, QUERY_MAX, QueryError, REGEX_MAX, TERMS_MAX};

/// Reads a query (`docs/LOGS.md` has the language). An empty one finds everything.
///
/// # Errors
/// Says which column is wrong, and what to write instead.
pub fn parse(text: &str) -> Result<Expr, QueryError> {
    if text.len() > QUERY_MAX {
        let message = format!("the query is longer than {QUERY_MAX} bytes");
        return Err(QueryError::new(text, QUERY_MAX, message, "look for less at once"));
    }
    let pieces = pieces(text)?;
    let mut parser = Parser { text, pieces: &pieces, next: 0, terms: 0, patterns: 0 };
    let expr = parser.either(0)?;
    // Only a `)` ends an expression early, and the lexer gives none that was not opened.
    Ok(expr.unwrap_or(Expr::All))
}

struct Parser<'a> {
    text: &'a str,
    pieces: &'a [Piece],
    next: usize,
    terms: usize,
    patterns: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Kind> {
        self.pieces.get(self.next).map(|piece| &piece.kind)
    }

    fn error(&self, at: usize, message: impl Into<String>, fix: &str) -> QueryError {
        QueryError::new(self.text, at, message, fix)
    }

    /// `all OR all …`; None if nothing stands there.
    fn either(&mut self, depth: usize) -> Result<Option<Expr>, QueryError> {
        let mut any = Vec::new();
        let mut last_or = None;
        loop {
            let at = self.pieces.get(self.next).map_or(self.text.len(), |piece| piece.at);
            let all = self.all(depth)?;
            let more = matches!(self.peek(), Some(Kind::Or));
            match (all, last_or) {
                (Some(expr), _) => any.push(expr),
                (None, None) if !more => return Ok(None),
                (None, or) => {
                    let fix = "put something on both sides, or write \"OR\" for the word";
                    return Err(self.error(or.unwrap_or(at), "OR has a side missing", fix));
                }
            }
            if !more {
                break;
            }
            last_or = Some(self.pieces[self.next].at);
            self.next += 1;
        }
        Ok(Some(if any.len() == 1 { any.remove(0) } else { Expr::Or(any) }))
    }

    /// Terms side by side.
    fn all(&mut self, depth: usize) -> Result<Option<Expr>, QueryError> {
        let mut all = Vec::new();
        while !matches!(self.peek(), None | Some(Kind::Or | Kind::Close)) {
            let at = self.next;
            let term = self.term(depth)?;
            // `a AND b` says what `a b` says.
            let and = matches!(&self.pieces[at].kind, Kind::Bare(word) if word == "AND");
            if !(and && !all.is_empty() && self.next < self.pieces.len()) {
                all.push(term);
            }
        }
        Ok(match all.len() {
            0 => None,
            1 => all.pop(),
            _ => Some(Expr::And(all)),
        })
    }

    /// One thing, or not that thing.
    fn term(&mut self, depth: usize) -> Result<Expr, QueryError> {
        let mut not = false;
        let mut at = self.pieces[self.next].at;
        while self.peek() == Some(&Kind::Not) {
            at = self.pieces[self.next].at;
            not = !not;
            self.next += 1;
        }
        let expr = match self.pieces.get(self.next) {
            None | Some(Piece { kind: Kind::Or | Kind::Close, .. }) => {
                let fix = "write what must not be there after it, or put it into quotes";
                return Err(self.error(at, "nothing follows that could be left out", fix));
            }
            Some(Piece { kind: Kind::Open, at }) => self.group(*at, depth)?,
            Some(_) => self.leaf()?,
        };
        Ok(if not { Expr::Not(Box::new(expr)) } else { expr })
    }

    fn group(&mut self, at: usize, depth: usize) -> Result<Expr, QueryError> {
        if depth >= DEPTH_MAX {
            let message = format!("more than {DEPTH_MAX} parentheses are inside each other");
            return Err(self.error(at, message, "write it flatter"));
        }
        self.next += 1;
        let inner = self.either(depth + 1)?;
        if self.peek() != Some(&Kind::Close) {
            let fix = "add a ), or put the text into quotes";
            return Err(self.error(at, "this ( is never closed", fix));
        }
        self.next += 1;
        let fix = "write something into it, or put it into quotes";
        inner.ok_or_else(|| self.error(at, "this pair of parentheses is empty", fix))
    }

    fn leaf(&mut self) -> Result<Expr, QueryError> {
        let Piece { at, kind } = &self.pieces[self.next];
        self.next += 1;
        self.terms += 1;
        if self.terms > TERMS_MAX {
            let message = format!("the query has more than {TERMS_MAX} terms");
            return Err(self.error(*at, message, "look for less at once"));
        }
        let made = match kind {
            Kind::Quoted(text) => quoted(text),
            Kind::Part(text) => part(text),
            Kind::Pattern(text, any_case) => {
                self.patterns += 1;
                if self.patterns > REGEX_MAX {
                    let message = format!("the query has more than {REGEX_MAX} patterns");
                    return Err(self.error(*at, message, "join them: /one|other/"));
                }
                pattern(text, *any_case)
            }
            Kind::Compared(name, sign, value, from) => {
                return compared(name, sign, value)
                    .map_err(|(message, fix)| QueryError::new(self.text, *from, message, fix));
            }
            Kind::Bare(word) => bare(word),
            // `term` takes these.
            Kind::Open | Kind::Close | Kind::Not | Kind::Or => Ok(Expr::All),
        };
        made.map_err(|(message, fix)| QueryError::new(self.text, *at, message, fix))
    }
}
