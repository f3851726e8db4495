//! Values of the merged config with their places, and the checks that every key shares.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::problems::{At, Problems, suggest};

/// The longest string that the config may hold, in bytes: far below what execve(2) takes for one
/// argument (MAX_ARG_STRLEN, 128 KiB).
const STRING_MAX: usize = 32 * 1024;

/// One value and where it, and its key, were written.
#[derive(Clone)]
pub(super) struct Node<'a> {
    pub(super) key: At,
    pub(super) at: At,
    pub(super) value: &'a DeValue<'a>,
    /// It is an element of the array that `key` names.
    pub(super) element: bool,
}

/// The entries of one table by key. Keys that differ only in file are one table after merging.
#[derive(Clone, Default)]
pub(super) struct Fields<'a>(pub(super) BTreeMap<String, Node<'a>>);

/// A checked string and where its text starts.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) value: String,
    pub(super) at: At,
    /// Byte offset of the first character in the file, if the text stands there as it is (without
    /// escapes), so that a position within can be pointed at.
    pub(super) verbatim: Option<usize>,
}

impl Text {
    /// The place of `len` bytes from `offset` of the value, or of the whole value.
    pub(super) fn part(&self, offset: usize, len: usize) -> At {
        match self.verbatim {
            Some(start) => {
                At { file: self.at.file, start: start + offset, end: start + offset + len }
            }
            None => self.at.clone(),
        }
    }
}

impl<'a> Fields<'a> {
    /// The entries of `node` if it is a table.
    pub(super) fn of(node: &Node<'a>, problems: &mut Problems) -> Self {
        let DeValue::Table(table) = node.value else {
            let found = node.kind();
            let name = problems.text(&node.key).to_owned();
            problems.add(
                &node.at,
                format!("`{name}` must be a table, and this is {found}"),
                "write it as a table: a line with the name in [brackets], keys below it",
            );
            return Self::default();
        };
        let file = node.at.file;
        Self(table.iter().map(|(k, v)| (k.get_ref().to_string(), Node::new(file, k, v))).collect())
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node<'a>> {
        self.0.get(key)
    }

    /// Notes every key that is not in `known`.
    pub(super) fn refuse_unknown(&self, whose: &str, known: &[&str], problems: &mut Problems) {
        for (key, node) in self.0.iter().filter(|(key, _)| !known.contains(&key.as_str())) {
            let key = key.escape_default();
            let fix = suggest(&key.to_string(), known);
            problems.add(&node.key, format!("{whose} has no key `{key}`"), fix);
        }
    }
}

impl<'a> Node<'a> {
    pub(super) fn new(
        file: usize,
        key: &toml::Spanned<std::borrow::Cow<'a, str>>,
        value: &'a toml::Spanned<DeValue<'a>>,
    ) -> Self {
        let at = |span: std::ops::Range<usize>| At { file, start: span.start, end: span.end };
        Self { key: at(key.span()), at: at(value.span()), value: value.get_ref(), element: false }
    }

    /// What kind of value it is, with its article.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        }
    }

    fn refuse_kind(&self, wanted: &str, example: &str, problems: &mut Problems) {
        let name = problems.text(&self.key).to_owned();
        let of = if self.element { "each element of " } else { "" };
        let message = format!("{of}`{name}` must be {wanted}, and this is {}", self.kind());
        let fix = match self.element {
            true => "write text in quotes".to_owned(),
            false => format!("such as {name} = {example}"),
        };
        problems.add(&self.at, message, fix);
    }

    /// Any string, control characters and all; only `command`, which is split first, wants that.
    pub(super) fn raw_string(&self, example: &str, problems: &mut Problems) -> Option<Text> {
        let DeValue::String(value) = self.value else {
            self.refuse_kind("a string", example, problems);
            return None;
        };
        if value.len() > STRING_MAX {
            let message =
                format!("this string has {} bytes, and {STRING_MAX} is the most", value.len());
            problems.add(&self.at, message, "put long text in a file and pass its path");
            return None;
        }
        let written = problems.text(&self.at);
        let verbatim = (written.len() == value.len() + 2
            && written[1..].starts_with(value.as_ref()))
        .then_some(self.at.start + 1);
        Some(Text { value: value.to_string(), at: self.at.clone(), verbatim })
    }

    /// A string without control characters: any string may end up in a unit, an app or a header.
    pub(super) fn string(&self, example: &str, problems: &mut Problems) -> Option<Text> {
        let text = self.raw_string(example, problems)?;
        refuse_control(&text.value, &text.at, problems).then_some(text)
    }

    pub(super) fn boolean(&self, problems: &mut Problems) -> Option<bool> {
        let DeValue::Boolean(value) = self.value else {
            self.refuse_kind("true or false", "true", problems);
            return None;
        };
        Some(*value)
    }

    /// An integer from `min` to `max`.
    pub(super) fn integer(&self, min: u64, max: u64, problems: &mut Problems) -> Option<u64> {
        let DeValue::Integer(value) = self.value else {
            let example = format!("{min}, from {min} to {max} and without quotes");
            self.refuse_kind("an integer", &example, problems);
            return None;
        };
        let parsed = i128::from_str_radix(value.as_str(), value.radix()).ok();
        let parsed = parsed.and_then(|n| u64::try_from(n).ok()).filter(|n| (min..=max).contains(n));
        if parsed.is_none() {
            let name = problems.text(&self.key).to_owned();
            let message = format!("`{name}` must be from {min} to {max}");
            problems.add(&self.at, message, format!("write a number from {min} to {max}"));
        }
        parsed
    }

    /// The elements of an array.
    pub(super) fn elements(&self) -> Option<Vec<Self>> {
        let DeValue::Array(array) = self.value else { return None };
        let file = self.at.file;
        let element = |value: &'a toml::Spanned<DeValue<'a>>| {
            let span = value.span();
            let at = At { file, start: span.start, end: span.end };
            Self { key: self.key.clone(), at, value: value.get_ref(), element: true }
        };
        Some(array.iter().map(element).collect())
    }

    /// An array of strings; with `or_one`, a string alone is an array of one.
    pub(super) fn strings(
        &self,
        or_one: bool,
        example: &str,
        problems: &mut Problems,
    ) -> Vec<Text> {
        match (self.elements(), self.value) {
            (Some(elements), _) => {
                elements.iter().filter_map(|node| node.string("\"text\"", problems)).collect()
            }
            (None, DeValue::String(_)) if or_one => {
                self.string(example, problems).into_iter().collect()
            }
            _ => {
                let wanted = if or_one { "a string or an array" } else { "an array of strings" };
                self.refuse_kind(wanted, example, problems);
                Vec::new()
            }
        }
    }
}

/// Whether `value` holds no control character; notes it otherwise. A line break in a text that reaches
/// systemd is written raw into a drop-in and can start a section of its own there.
pub(super) fn refuse_control(value: &str, at: &At, problems: &mut Problems) -> bool {
    let Some(control) = value.chars().find(|c| crate::plan::is_control(*c)) else { return true };
    problems.add(
        at,
        format!("control character U+{:04X} in a string", u32::from(control)),
        "remove it; only printable text may reach units, apps and headers",
    );
    false
}
