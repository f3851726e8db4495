//! Collects the problems of a config with their places.

use tenement_wire::dto::ConfigProblem;

/// One config file, already read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path, as problems name it.
    pub name: String,
    /// What it holds.
    pub text: String,
}

impl SourceFile {
    /// A file of this name and text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }
}

/// A stretch of one file, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At {
    pub(super) file: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The longest offending text that a problem quotes, in characters.
const QUOTE_MAX: usize = 80;

/// The longest line that a problem carries, in characters.
const LINE_MAX: usize = 400;

/// The most problems that one run reports; beyond it nobody reads on.
const REPORT_MAX: usize = 200;

/// The files and what is wrong with them so far.
pub(super) struct Problems<'a> {
    files: &'a [SourceFile],
    found: Vec<(usize, ConfigProblem)>,
    /// Some file could not be read to its end: what it would define is unknown.
    pub(super) syntax_broken: bool,
}

impl<'a> Problems<'a> {
    pub(super) fn new(files: &'a [SourceFile]) -> Self {
        Self { files, found: Vec::new(), syntax_broken: false }
    }

    /// The text at `at`.
    pub(super) fn text(&self, at: &At) -> &'a str {
        self.files[at.file].text.get(at.start..at.end).unwrap_or_default()
    }

    /// Notes a problem: what is wrong, and what to write instead.
    pub(super) fn add(&mut self, at: &At, message: impl Into<String>, fix: impl Into<String>) {
        let mut problem = self.blank(at);
        problem.message = message.into();
        problem.fix = fix.into();
        self.found.push((at.file, problem));
    }

    /// `file:line:column` of `at`, to mention it in another problem.
    pub(super) fn place(&self, at: &At) -> String {
        let blank = self.blank(at);
        format!("{}:{}:{}", blank.file, blank.line, blank.column)
    }

    /// A problem at `at` that doesn't say yet what is wrong.
    pub(super) fn blank(&self, at: &At) -> ConfigProblem {
        let file = &self.files[at.file];
        let text = &file.text;
        let start = floor_boundary(text, at.start);
        let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |i| start + i);
        let end = floor_boundary(text, at.end.max(start)).min(line_end);
        let count = |s: &str| u32::try_from(s.chars().count()).unwrap_or(u32::MAX);
        ConfigProblem {
            file: file.name.clone(),
            line: count(&text[..line_start].replace(|c| c != '\n', "")) + 1,
            column: count(&text[line_start..start]) + 1,
            text: printable(text[start..end.max(start)].trim_end(), QUOTE_MAX),
            source: printable(text[line_start..line_end].trim_end(), LINE_MAX),
            message: String::new(),
            fix: String::new(),
        }
    }

    /// Fails with all problems, in order of place, if there are any.
    pub(super) fn finish(mut self) -> Result<(), Vec<ConfigProblem>> {
        if self.found.is_empty() {
            return Ok(());
        }
        self.found.sort_by(|(f, a), (g, b)| {
            (f, a.line, a.column, &a.message).cmp(&(g, b.line, b.column, &b.message))
        });
        self.found.dedup();
        self.found.truncate(REPORT_MAX);
        Err(self.found.into_iter().map(|(_, problem)| problem).collect())
    }
}

/// At most `max` characters, and none that a terminal would act on.
fn printable(text: &str, max: usize) -> String {
    let safe = |c: char| {
        let hides = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if (c.is_control() && c != '\t') || hides { char::REPLACEMENT_CHARACTER } else { c }
    };
    text.chars().take(max).map(safe).collect()
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The known word that is nearest to `word`, if it is near enough to be meant.
pub(super) fn nearest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    let near = |candidate: &&'w str| {
        let distance =
            strsim::damerau_levenshtein(&word.to_lowercase().replace('-', "_"), candidate);
        (distance <= 1 + candidate.len() / 4).then_some((distance, *candidate))
    };
    known.iter().filter_map(near).min().map(|(_, candidate)| candidate)
}

/// ``did you mean `x`?`` or the list of what is known.
pub(super) fn suggest(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}
