//! `command` and `args`: words for execve, never for a shell.

use super::node::{Node, Text, refuse_control};
use super::problems::Problems;

/// The words of a command. A string is split like a shell splits words: quotes and backslashes count,
/// nothing is expanded and nothing is run. An array is taken as it stands.
pub(super) fn words(node: &Node, problems: &mut Problems) -> Vec<Text> {
    let example = "\"node server.js\"";
    if node.elements().is_some() {
        let words = node.strings(false, example, problems);
        if node.elements().is_some_and(|elements| elements.is_empty()) {
            empty(node, problems);
        } else if words.first().is_some_and(|word| word.value.is_empty()) {
            problems.add(&words[0].at, "the program's name is empty", "write the program first");
        }
        return words;
    }
    // Line breaks are allowed here: a long command may be a multi-line string, and splitting eats them.
    let Some(text) = node.raw_string(example, problems) else { return Vec::new() };
    if let Some((offset, quote)) = open_quote(&text.value) {
        let at = text.part(offset, quote.len_utf8());
        let fix =
            format!("close it with another {quote}, or write \\{quote} for the character itself");
        problems.add(&at, format!("the quote {quote} is never closed"), fix);
        return Vec::new();
    }
    let words = shell_words::split(&text.value).unwrap_or_default();
    if words.is_empty() || words[0].is_empty() {
        empty(node, problems);
        return Vec::new();
    }
    if !words.iter().all(|word| refuse_control(word, &text.at, problems)) {
        return Vec::new();
    }
    let place = |word: String| {
        // A word without quotes and escapes stands in the text as it is, unless it stands there twice.
        let mut found = text.value.match_indices(&word);
        let only = found.next().filter(|_| found.next().is_none());
        let verbatim = only.and_then(|(i, _)| text.verbatim.map(|start| start + i));
        let at = match only {
            Some((i, _)) if !word.is_empty() => text.part(i, word.len()),
            _ => text.at.clone(),
        };
        Text { value: word, at, verbatim }
    };
    words.into_iter().map(place).collect()
}

fn empty(node: &Node, problems: &mut Problems) {
    problems.add(&node.at, "the command is empty", "write the program and its arguments");
}

/// The quote that is never closed, by the rules of [`shell_words::split`], and its byte offset.
fn open_quote(text: &str) -> Option<(usize, char)> {
    let mut open = None;
    let mut chars = text.char_indices();
    let mut word_start = true;
    while let Some((i, c)) = chars.next() {
        match (open, c) {
            (None, '#') if word_start => {
                chars.by_ref().find(|(_, c)| *c == '\n');
                continue;
            }
            (None | Some((_, '"')), '\\') => {
                chars.next();
            }
            (None, '\'' | '"') => open = Some((i, c)),
            (Some((_, quote)), c) if quote == c => open = None,
            _ => {}
        }
        word_start = open.is_none() && matches!(c, ' ' | '\t' | '\n');
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_open_quote_is_found() {
        assert_eq!(open_quote("a 'b c"), Some((2, '\'')));
        assert_eq!(open_quote("a 'b' \"c\\\" d"), Some((6, '"')));
        assert_eq!(open_quote(r"it\'s"), None);
        assert_eq!(open_quote("a # don't"), None);
    }

    proptest! {
        #[test]
        fn our_idea_of_an_open_quote_is_that_of_the_splitter(text in "[a '\"\\\\#\n$%é]{0,24}") {
            prop_assert_eq!(open_quote(&text).is_some(), shell_words::split(&text).is_err(), "{:?}", text);
        }

        #[test]
        fn quoted_words_come_back_as_they_were(words in prop::collection::vec("[^\x00]{0,12}", 1..6)) {
            let joined = shell_words::join(&words);
            prop_assert_eq!(shell_words::split(&joined).unwrap(), words);
        }
    }
}
