//! Env files: `NAME=value` lines, as systemd's `EnvironmentFile=` and most `.env` files have them.
//!
//! Quotes group and are removed, `\` escapes within double quotes, nothing is expanded. A value ends
//! with its line.

/// The variables of one env file, in order.
///
/// # Errors
/// The number of the first bad line, from 1, and what is wrong with it. The line itself is not quoted:
/// it may be a secret.
pub(crate) fn parse(text: &str) -> Result<Vec<(String, String)>, (usize, &'static str)> {
    let mut variables = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, raw) = line.split_once('=').ok_or((index + 1, "has no `=`"))?;
        let value = value(raw.trim()).map_err(|why| (index + 1, why))?;
        variables.push((name.trim_end().to_owned(), value));
    }
    Ok(variables)
}

fn value(raw: &str) -> Result<String, &'static str> {
    let mut chars = raw.chars();
    match chars.next() {
        Some('\'') => {
            let inner = chars.as_str();
            inner.strip_suffix('\'').filter(|s| !s.contains('\'')).map(str::to_owned)
        }
        Some('"') => double_quoted(chars.as_str()),
        _ => Some(raw.to_owned()),
    }
    .ok_or("has a quote that is not closed at its end")
}

fn double_quoted(rest: &str) -> Option<String> {
    let mut value = String::with_capacity(rest.len());
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return chars.as_str().is_empty().then_some(value),
            '\\' => match chars.next()? {
                escaped @ ('"' | '\\' | '$' | '`') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_as_written_but_for_quotes() {
        let text = "# note\nA=1\n\nexport B = \"x \\\"y\\\" $HOME\"\nC='a\\n'\nD=a=b # c\nE=\n";
        let expected =
            [("A", "1"), ("B", "x \"y\" $HOME"), ("C", "a\\n"), ("D", "a=b # c"), ("E", "")];
        let expected = expected.map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(parse(text), Ok(expected.to_vec()));
    }

    #[test]
    fn a_bad_line_is_named_by_number_and_never_quoted() {
        assert_eq!(parse("A=1\nsecret\n"), Err((2, "has no `=`")));
        for bad in ["A=\"x", "A='x", "A='x'y'", "A=\"x\"y", "A=\"\\"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
