//! A command line as one variable, for [`super::ARGV`].
//!
//! Words are separated by one space; within a word `\\` stands for a backslash, `\s` for a space, and a
//! word that is only `\e` is empty, and `\n` and `\t` stand for a line break and a tab. So it stays readable in `systemctl show`.

/// The words as one text.
#[must_use]
pub fn encode<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let word = |word: &str| match word {
        "" => r"\e".to_owned(),
        _ => {
            word.replace('\\', r"\\").replace(' ', r"\s").replace('\n', r"\n").replace('\t', r"\t")
        }
    };
    words.into_iter().map(word).collect::<Vec<_>>().join(" ")
}

/// The words of [`encode`]'s text; `None` if it is none.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<String>> {
    text.split(' ').map(decode_word).collect()
}

fn decode_word(word: &str) -> Option<String> {
    if word == r"\e" {
        return Some(String::new());
    }
    let mut out = String::with_capacity(word.len());
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next()? {
                '\\' => '\\',
                's' => ' ',
                'n' => '\n',
                't' => '\t',
                _ => return None,
            },
            c => c,
        });
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_broken_text_is_no_command_line() {
        for bad in ["", "a  b", r"a\", r"\x", r"a\eb"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn words_come_back_as_they_were(words in prop::collection::vec("[\\\\ sent$;é\n\t]{0,6}", 1..6)) {
            let text = encode(words.iter().map(String::as_str));
            prop_assert_eq!(decode(&text), Some(words));
        }
    }
}
