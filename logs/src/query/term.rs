//! One term: from a piece of text to what must be found.

use regex::RegexBuilder;

use super::{Compare, Expr};
use crate::line::Level;
use crate::token::words;

/// What is wrong, and what to write instead.
type Trouble = (String, String);

/// How large a compiled pattern may be, in bytes. It bounds the time per byte of text, too: the regex
/// crate takes at most (size of the program × length of the text) steps.
const PATTERN_SIZE: usize = 128 * 1024;
/// Memory of the lazy automaton of one pattern, in bytes.
const PATTERN_CACHE: usize = 1024 * 1024;
/// How deep a pattern may be nested.
const PATTERN_DEPTH: u32 = 50;

/// The words of `text` one after the other; if it has none, exactly this text.
pub(super) fn quoted(text: &str) -> Result<Expr, Trouble> {
    let mut found: Vec<_> = words(text).map(str::to_owned).collect();
    match found.len() {
        0 => part(text),
        1 => Ok(Expr::Word(found.remove(0))),
        _ => Ok(Expr::Phrase(found)),
    }
}

/// Exactly this text anywhere.
pub(super) fn part(text: &str) -> Result<Expr, Trouble> {
    if text.is_empty() {
        let message = "there is no text to look for".to_owned();
        return Err((message, "write some: ~part or \"some words\"".to_owned()));
    }
    Ok(Expr::Substring(text.to_owned()))
}

/// Text without quotes: words, `prefix*`, `*part*`, or all of them for a lone `*`.
pub(super) fn bare(text: &str) -> Result<Expr, Trouble> {
    let inner = text.trim_matches('*');
    if inner.is_empty() {
        return Ok(Expr::All);
    }
    if inner.contains('*') {
        let message = "a * stands only at the end of a word, or around it".to_owned();
        let fix = format!("write a pattern, /{}/, or \"quotes\"", regex_for(inner));
        return Err((message, fix));
    }
    if text.starts_with('*') {
        return part(inner);
    }
    if text.ends_with('*') { prefix(inner) } else { quoted(inner) }
}

/// A word that begins so. With punctuation in it (`10.0.0.*`), the words before its end must be there and
/// the text as a whole.
fn prefix(text: &str) -> Result<Expr, Trouble> {
    let mut found: Vec<_> = words(text).map(str::to_owned).collect();
    if found.len() == 1 && found[0].len() == text.len() {
        return Ok(Expr::Prefix(found.remove(0)));
    }
    let ends_in_word = text.ends_with(crate::token::is_word_char);
    if ends_in_word {
        found.pop();
    }
    let mut all = vec![part(text)?];
    if !found.is_empty() {
        all.push(quoted(&found.join(" "))?);
    }
    Ok(if all.len() == 1 { all.remove(0) } else { Expr::And(all) })
}

/// A pattern that someone who wrote `a*b` may have meant.
fn regex_for(text: &str) -> String {
    text.split('*').map(regex::escape).collect::<Vec<_>>().join(".*").replace('/', "\\/")
}

/// A regular expression of the `regex` crate: it takes linear time, so nothing a user writes can hang.
pub(super) fn pattern(text: &str, any_case: bool) -> Result<Expr, Trouble> {
    let built = RegexBuilder::new(text)
        .case_insensitive(any_case)
        .multi_line(true)
        .size_limit(PATTERN_SIZE)
        .dfa_size_limit(PATTERN_CACHE)
        .nest_limit(PATTERN_DEPTH)
        .build();
    match built {
        Ok(regex) => Ok(Expr::Regex(regex)),
        Err(regex::Error::CompiledTooBig(_)) => {
            let message = "this pattern is too large".to_owned();
            Err((message, "make its repetitions smaller, such as {1,10}".to_owned()))
        }
        Err(error) => {
            // The crate draws the place over several lines; the last one says what is wrong.
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let message = format!("this pattern can't be read: {last}");
            Err((message, "correct it, or put the text into quotes".to_owned()))
        }
    }
}

/// `level>=warn`, `field=value`, `field!=value`.
pub(super) fn compared(name: &str, sign: &str, value: &str) -> Result<Expr, Trouble> {
    let not = |expr| if sign == "!=" { Expr::Not(Box::new(expr)) } else { expr };
    if name == "level" {
        let compare = match sign {
            ">=" => Compare::AtLeast,
            ">" => Compare::Above,
            "<=" => Compare::AtMost,
            "<" => Compare::Below,
            _ => Compare::Is,
        };
        let level: Level = value.parse().map_err(|message| {
            (format!("the level {message}"), "write it such as level>=warn".to_owned())
        })?;
        return Ok(not(Expr::Level(compare, level)));
    }
    if !matches!(sign, "=" | "!=") {
        let message = format!("{sign} works for level only");
        return Err((message, format!("write {name}=value, or \"quotes\" around the text")));
    }
    Ok(not(Expr::Field(name.to_owned(), value.to_owned())))
}
