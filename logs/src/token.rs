//! Words: what the index files a line under, and what a query means by "a word".
//!
//! One rule for both sides, or a search would miss lines: a word is a run of letters, digits and `_`,
//! in any script. Case is folded letter by letter ([`fold`]).

use std::borrow::Cow;

/// What the index keeps of a word, bytes. Of a longer one (a base64 blob) it keeps the beginning, so such
/// a word is found too, and then verified against the text like every other hit.
pub const KEY_MAX: usize = 64;

/// The words of `text`, as they stand in it.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = skip(rest, false);
        let tail = &rest[start..];
        let length = skip(tail, true);
        rest = &tail[length..];
        (length > 0).then(|| &tail[..length])
    })
}

/// Whether a character is part of words.
#[must_use]
pub fn is_word_char(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// How many bytes at the beginning of `text` are all of words, or all not.
fn skip(text: &str, of_words: bool) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte < 0x80 {
            if (byte == b'_' || byte.is_ascii_alphanumeric()) != of_words {
                return at;
            }
            at += 1;
        } else {
            let Some(c) = text[at..].chars().next() else { return at };
            if c.is_alphanumeric() != of_words {
                return at;
            }
            at += c.len_utf8();
        }
    }
    at
}

/// `text` in the one case in which words are compared: lower case letter by letter, where the two small
/// sigmas are one letter and the long s is an s, so that what a case-insensitive regex calls equal is equal.
#[must_use]
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte < 0x80 && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(text);
    }
    let mut folded = String::with_capacity(text.len());
    fold_into(text, &mut folded);
    Cow::Owned(folded)
}

/// Appends [`fold`] of `text`.
pub fn fold_into(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            'ς' => out.push('σ'),
            'ſ' => out.push('s'),
            c if c.is_ascii() => out.push(c.to_ascii_lowercase()),
            c => out.extend(c.to_lowercase()),
        }
    }
}

/// What the index files a word under: folded, and no longer than [`KEY_MAX`].
#[must_use]
pub fn key(word: &str) -> Cow<'_, str> {
    match fold(word) {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..floor(text)]),
        Cow::Owned(mut text) => {
            text.truncate(floor(&text));
            Cow::Owned(text)
        }
    }
}

/// The last place within [`KEY_MAX`] where `text` may be cut.
fn floor(text: &str) -> usize {
    if text.len() <= KEY_MAX {
        return text.len();
    }
    (0..=KEY_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{KEY_MAX, fold, key, words};

    #[test]
    fn words_are_runs_of_letters_digits_and_underscores_in_any_script() {
        let found: Vec<_> = words("  GET /v1/users_all?id=7 Größe=日本 ☂x").collect();
        assert_eq!(found, ["GET", "v1", "users_all", "id", "7", "Größe", "日本", "x"]);
        assert_eq!(words("☂ -- ").count(), 0);
    }

    #[test]
    fn case_does_not_matter_in_any_script() {
        assert_eq!(fold("GRÖSSE"), fold("grösse"));
        assert_eq!(fold("ΟΔΟΣ"), fold("οδος"));
        assert_eq!(fold("plain_1"), "plain_1");
    }

    #[test]
    fn a_long_word_is_filed_under_its_beginning() {
        let long = "é".repeat(100);
        assert_eq!(key(&long).len(), KEY_MAX);
        assert!(key(&format!("a{long}")).len() < KEY_MAX + 1);
    }
}
