//! The config as TOML, with comments that explain it.

use std::fmt::Write as _;
use std::path::Path;

use tenement_wire::ProcessName;

use super::App;

/// Words of a command that the config fills in.
const PLACEHOLDERS: [&str; 2] = ["{socket}", "{port}"];

/// The whole file.
pub fn render(name: &ProcessName, directory: &Path, app: &App) -> String {
    let mut text = format!(
        "# {name}: a {} app. Put this into /etc/tenement/conf.d/{name}.toml, then:\n\
         #   ten config check && ten config reload && ten spawn {name}:1\n\n\
         [process.{name}]\n",
        app.kind
    );
    for note in &app.notes {
        let _ = writeln!(text, "# {note}");
    }
    let words: Vec<String> = app
        .command
        .iter()
        .map(|word| {
            if PLACEHOLDERS.contains(&word.as_str()) { word.clone() } else { quote(&literal(word)) }
        })
        .collect();
    let _ = writeln!(text, "command = {}", string(&words.join(" ")));
    if let Some(listen) = app.listen {
        let _ = writeln!(text, "listen = {}", string(listen));
    }
    let shown = directory.to_string_lossy();
    if ["/home/", "/root/"].iter().any(|closed| shown.starts_with(closed)) {
        text.push_str(
            "# Instances run as users of their own, who can't look into home directories: copy the\n\
             # app to a place such as /srv.\n",
        );
    }
    if shown.chars().any(|c| c.is_whitespace() || "\"'\\%:".contains(c)) {
        text.push_str(
            "# This path can't be used as it is: systemd gives blanks, quotes, \\, % and : a meaning.\n\
             # Copy the app to a path without them.\n",
        );
    }
    let _ = writeln!(text, "directory = {}", string(&literal(&shown)));
    text.push_str(
        "# Each instance has a directory of its own for its data; the app finds it in $DATA_DIR.\n\
         # env = { KEY = \"value\" }\n\
         # Without a request for this long it sleeps; the next request wakes it. 0 = never.\n\
         idle_timeout = \"5m\"\n",
    );
    text
}

/// Braces that are part of a name, not a placeholder.
fn literal(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

/// A TOML basic string.
fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A word that stays one when the command is split as a shell splits words.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-=:@{},+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_are_quoted_for_both_the_shell_splitter_and_toml() {
        assert_eq!(quote("/srv/my app/it's"), r"'/srv/my app/it'\''s'");
        assert_eq!(literal("/srv/{x}"), "/srv/{{x}}");
        assert_eq!(string("a\"b\\c\n"), r#""a\"b\\c\u000A""#);
    }
}
