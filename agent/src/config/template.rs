//! Placeholders in the config's texts, such as `{port}`.
//!
//! `{word}` is replaced and must be known; `{{word}}` stands for `{word}` itself, and so does `${word}`,
//! which is how shells and apps write variables. Every other brace is just a brace, so that JSON can be
//! an argument.

/// What may stand in braces. `name` means the same as `process`.
pub const KNOWN: [&str; 7] = ["process", "name", "id", "data_dir", "socket", "port", "release"];

/// What the placeholders of one instance stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vars<'a> {
    /// `{process}` and `{name}`.
    pub process: &'a str,
    /// `{id}`.
    pub id: &'a str,
    /// `{data_dir}`: that of the settings, parent of all.
    pub data_dir: &'a str,
    /// `{socket}`.
    pub socket: &'a str,
    /// `{port}`.
    pub port: &'a str,
    /// `{release}`: the directory of the instance's release.
    pub release: &'a str,
}

impl Vars<'_> {
    fn get(&self, word: &str) -> Option<&str> {
        Some(match word {
            "process" | "name" => self.process,
            "id" => self.id,
            "data_dir" => self.data_dir,
            "socket" => self.socket,
            "port" => self.port,
            "release" => self.release,
            _ => return None,
        })
    }
}

/// A piece of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'t> {
    /// Text that stands for itself.
    Text(&'t str),
    /// The word of a placeholder, and the byte offset of its brace.
    Placeholder(&'t str, usize),
}

/// The pieces of `template`, in order.
pub fn pieces(template: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &template[at..];
        if rest.is_empty() {
            return None;
        }
        let (piece, len) = first_piece(template, at);
        at += len;
        Some(piece)
    })
}

/// The piece at `at` (which is before the end), with the bytes that it takes.
fn first_piece(template: &str, at: usize) -> (Piece<'_>, usize) {
    let rest = &template[at..];
    if let Some(inner) = rest.strip_prefix("{{") {
        let len = word_len(inner);
        if len > 0 && inner[len..].starts_with("}}") {
            return (Piece::Text(&rest[1..len + 3]), len + 4);
        }
    }
    if let Some(inner) = rest.strip_prefix('{') {
        let len = word_len(inner);
        let dollar = template[..at].ends_with('$');
        if len > 0 && inner[len..].starts_with('}') && !dollar {
            return (Piece::Placeholder(&inner[..len], at), len + 2);
        }
    }
    let skip = usize::from(rest.starts_with('{'));
    let len = rest[skip..].find('{').map_or(rest.len(), |i| i + skip);
    (Piece::Text(&rest[..len]), len)
}

fn word_len(text: &str) -> usize {
    let word = |(i, c): &(usize, char)| {
        c.is_ascii_alphabetic() || *c == '_' || (*i > 0 && c.is_ascii_digit())
    };
    text.char_indices().take_while(word).count()
}

/// Whether `template` holds the placeholder `{word}`.
#[must_use]
pub fn mentions(template: &str, word: &str) -> bool {
    pieces(template).any(|piece| matches!(piece, Piece::Placeholder(w, _) if w == word))
}

/// `template` with every placeholder replaced. The config has been checked, so none is unknown; one
/// that were would stay as it is written. What is put in is never looked at again.
#[must_use]
pub fn fill(template: &str, vars: &Vars) -> String {
    let mut out = String::with_capacity(template.len());
    for piece in pieces(template) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Placeholder(word, _) => match vars.get(word) {
                Some(value) => out.push_str(value),
                None => {
                    out.push('{');
                    out.push_str(word);
                    out.push('}');
                }
            },
        }
    }
    out
}
