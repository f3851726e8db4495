//! What a block must hold, at the least, for one of its lines to be found: the part of a query that FTS can
//! answer. It only ever narrows down; each line is then verified with [`Expr::matches`].

use crate::line::Level;
use crate::query::{Compare, Expr};
use crate::search::Scope;
use crate::token::{is_word_char, key, words};

/// The shortest beginning of a word that is looked up. One or two characters begin so many words that
/// reading the blocks is faster.
const PREFIX_MIN: usize = 3;
/// Words of one query that are looked up; the others are only verified.
const TERMS_MAX: usize = 32;

/// A necessary condition on the tokens of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// None.
    Any,
    /// This token.
    Token(String),
    /// A token that begins so.
    Prefix(String),
    /// All of these.
    And(Vec<Need>),
    /// One of these.
    Or(Vec<Need>),
}

impl Need {
    /// What `expr` needs.
    #[must_use]
    pub fn of(expr: &Expr) -> Self {
        match expr {
            Expr::All | Expr::Regex(_) | Expr::Level(..) | Expr::Not(_) => Self::Any,
            Expr::Field(name, value) => Self::of_field(name, value),
            Expr::Word(word) => Self::word(word),
            Expr::Phrase(phrase) => Self::all(phrase.iter().map(|word| Self::word(word))),
            Expr::Prefix(prefix) if is_word(prefix) => Self::beginning(prefix),
            Expr::Prefix(_) => Self::Any,
            Expr::Substring(part) => Self::of_substring(part),
            Expr::And(exprs) => Self::all(exprs.iter().map(Self::of)),
            Expr::Or(exprs) => {
                let needs: Vec<_> = exprs.iter().map(Self::of).collect();
                if needs.is_empty() || needs.contains(&Self::Any) {
                    Self::Any
                } else {
                    Self::Or(needs)
                }
            }
        }
    }

    fn token(word: &str) -> Self {
        Self::Token(key(word).into_owned())
    }

    fn word(word: &str) -> Self {
        if is_word(word) { Self::token(word) } else { Self::Any }
    }

    fn all(needs: impl Iterator<Item = Self>) -> Self {
        let mut needs: Vec<_> = needs.filter(|need| *need != Self::Any).take(TERMS_MAX).collect();
        match needs.len() {
            0 => Self::Any,
            1 => needs.remove(0),
            _ => Self::And(needs),
        }
    }

    fn beginning(word: &str) -> Self {
        if word.chars().count() < PREFIX_MIN {
            Self::Any
        } else {
            Self::Prefix(key(word).into_owned())
        }
    }

    /// The words of the field's name and value, which stand in the text as they are, unless it is JSON with
    /// characters written as numbers. A number may be written in several ways, except for plain digits.
    fn of_field(name: &str, value: &str) -> Self {
        let plain = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\/".contains(&byte))
        };
        let ambiguous =
            value.parse::<f64>().is_ok() && !value.bytes().all(|byte| byte.is_ascii_digit());
        if !plain(name) || !plain(value) || ambiguous {
            return Self::Any;
        }
        match Self::all(words(name).chain(words(value)).map(Self::token)) {
            Self::Any => Self::Any,
            as_is => Self::Or(vec![as_is, Self::Token(ESCAPED.to_owned())]),
        }
    }

    /// The words that stand whole within `part`: plain ASCII between plain ASCII, about whose case and
    /// borders there are no two opinions. The last one, if nothing follows it, is the beginning of a word.
    fn of_substring(part: &str) -> Self {
        let bytes = part.as_bytes();
        let plain = |at: usize| {
            bytes.get(at).is_some_and(|byte| byte.is_ascii() && !is_word_char(char::from(*byte)))
        };
        let needs = words(part).map(|word| {
            let start = word.as_ptr() as usize - part.as_ptr() as usize;
            let end = start + word.len();
            match word.is_ascii() && start > 0 && plain(start - 1) {
                true if end == bytes.len() => Self::beginning(word),
                true if plain(end) => Self::token(word),
                _ => Self::Any,
            }
        });
        Self::all(needs)
    }

    /// With what `scope` needs on top, unless the blocks are found without FTS.
    #[must_use]
    pub fn within(self, scope: &Scope) -> Self {
        match scope {
            Scope::All => self,
            Scope::Instance(_) if self == Self::Any => self,
            Scope::Instance(name) => {
                Self::all([Self::Token(instance_token(name)), self].into_iter())
            }
            Scope::Process(process) => {
                Self::all([Self::Token(process_token(process)), self].into_iter())
            }
        }
    }

    /// As an FTS5 query: nothing but quoted tokens, `*`, `AND`, `OR` and parentheses. None if it needs nothing.
    #[must_use]
    pub fn to_fts(&self) -> Option<String> {
        let mut out = String::new();
        self.write(&mut out);
        (!out.is_empty()).then_some(out)
    }

    fn write(&self, out: &mut String) {
        let (needs, word) = match self {
            Self::Any => return,
            Self::Token(token) => return quote(token, out),
            Self::Prefix(token) => {
                quote(token, out);
                return out.push('*');
            }
            Self::And(needs) => (needs, " AND "),
            Self::Or(needs) => (needs, " OR "),
        };
        for (at, need) in needs.iter().enumerate() {
            out.push_str(if at == 0 { "(" } else { word });
            need.write(out);
        }
        out.push(')');
    }
}

/// Whether it is one word and nothing else, so that it is filed under its key.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_word_char)
}

/// `"token"`. No token holds a quote, as it is no word character; doubling it costs nothing.
fn quote(token: &str, out: &mut String) {
    out.push('"');
    out.push_str(&token.replace('"', "\"\""));
    out.push('"');
}

/// The token of blocks whose text holds a `\u`, behind which JSON may hide any word.
pub const ESCAPED: &str = "u:";

/// The token every block of an instance carries. No word of a text holds a colon.
pub fn instance_token(name: &tenement_wire::InstanceName) -> String {
    format!("i:{}:{}", name.process(), name.id())
}

/// The token every block of a process carries.
pub fn process_token(process: &str) -> String {
    format!("p:{process}")
}

/// The levels, a bit each, that a line may have to be found.
#[must_use]
pub fn levels(expr: &Expr) -> u8 {
    match expr {
        Expr::Level(compare, level) => {
            let worse = at_least(*level);
            let bit = 1 << level.priority();
            match compare {
                Compare::Is => bit,
                Compare::AtLeast => worse,
                Compare::Above => worse & !bit,
                Compare::AtMost => !worse | bit,
                Compare::Below => !worse,
            }
        }
        Expr::And(exprs) => exprs.iter().map(levels).fold(u8::MAX, |all, one| all & one),
        Expr::Or(exprs) if !exprs.is_empty() => {
            exprs.iter().map(levels).fold(0, |all, one| all | one)
        }
        _ => u8::MAX,
    }
}

/// The levels at least as bad as `level`, a bit each.
#[must_use]
pub fn at_least(level: Level) -> u8 {
    u8::MAX >> (7 - level.priority())
}
