//! Whether a line is what a query looks for (the smallest version, until `query` brings its own).

use crate::line::{Level, Line};
use crate::query::{Compare, Expr};
use crate::token::{fold, words};

impl Expr {
    /// Whether `line` is what this looks for.
    #[must_use]
    pub fn matches(&self, line: &Line) -> bool {
        match self {
            Self::All => true,
            Self::Word(word) => words(&line.text).any(|found| fold(found) == fold(word)),
            Self::Prefix(prefix) => {
                words(&line.text).any(|found| fold(found).starts_with(&*fold(prefix)))
            }
            Self::Phrase(phrase) => {
                let found: Vec<_> = words(&line.text).map(fold).collect();
                let phrase: Vec<_> = phrase.iter().map(|word| fold(word)).collect();
                !phrase.is_empty() && found.windows(phrase.len()).any(|window| window == phrase)
            }
            Self::Substring(part) => fold(&line.text).contains(&*fold(part)),
            Self::Regex(regex) => regex.is_match(&line.text),
            Self::Level(compare, level) => compare_levels(*compare, line.level, *level),
            Self::Field(name, value) => line.text.contains(&format!("{name}={value}")),
            Self::Not(expr) => !expr.matches(line),
            Self::And(all) => all.iter().all(|expr| expr.matches(line)),
            Self::Or(any) => any.iter().any(|expr| expr.matches(line)),
        }
    }
}

fn compare_levels(compare: Compare, found: Level, wanted: Level) -> bool {
    match compare {
        Compare::Is => found == wanted,
        Compare::AtLeast => found <= wanted,
        Compare::Above => found < wanted,
        Compare::AtMost => found >= wanted,
        Compare::Below => found > wanted,
    }
}
