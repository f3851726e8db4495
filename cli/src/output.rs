//! Where output goes and how it looks: data to stdout, chatter and errors to stderr, JSON if asked
//! for, colour only on a terminal without NO_COLOR (`anstream` decides).

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;
use serde_json::json;

use crate::error::{CliError, Result};

/// Emphasis of a name or a heading.
pub const BOLD: Style = Style::new().bold();
/// Of less importance.
pub const DIM: Style = Style::new().dimmed();
/// Fine.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// To be looked at.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// Broken.
pub const BAD: Style = AnsiColor::Red.on_default();

/// How to print.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// Print the data as JSON.
    pub json: bool,
    /// Print names only, or nothing.
    pub quiet: bool,
}

impl Output {
    /// Prints `text` as data, with a newline at its end.
    pub fn data(&self, text: &str) -> Result<()> {
        let mut out = anstream::stdout().lock();
        let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        written(write!(out, "{text}{newline}").and_then(|()| out.flush()))
    }

    /// Empties the terminal; does nothing to a file or a pipe.
    pub fn clear(&self) -> Result<()> {
        let mut out = io::stdout().lock();
        if !out.is_terminal() {
            return Ok(());
        }
        written(out.write_all(b"\x1b[H\x1b[2J"))
    }

    /// Prints `value` as indented JSON.
    pub fn json(&self, value: &impl Serialize) -> Result<()> {
        self.data(&serde_json::to_string_pretty(value).map_err(|e| {
            CliError::failure(format!("can't write JSON: {e}"), "please report this")
        })?)
    }

    /// Says something that is not data.
    pub fn say(&self, text: &str) {
        if !self.quiet && !self.json {
            // A closed stderr must not turn a success into a failure.
            let _ = writeln!(anstream::stderr().lock(), "{text}");
        }
    }

    /// Prints an error, its bad fields and its hint.
    pub fn error(&self, error: &CliError) {
        let text = if self.json { error_json(error) } else { error_text(error) };
        let _ = writeln!(anstream::stderr().lock(), "{text}");
    }
}

fn error_json(error: &CliError) -> String {
    json!({
        "code": error.code,
        "detail": error.detail,
        "hint": error.hint,
        "request_id": error.request_id,
        "errors": error.fields,
        "exit_code": error.exit_code(),
    })
    .to_string()
}

fn error_text(error: &CliError) -> String {
    let bold_bad = BAD.bold();
    let mut text = format!("{bold_bad}error{bold_bad:#}: {}", clean(&error.detail));
    for field in &error.fields {
        let _ =
            write!(text, "\n  {BOLD}{}{BOLD:#}: {}", clean(&field.field), clean(&field.message));
    }
    if let Some(hint) = &error.hint {
        let _ = write!(text, "\n{GOOD}hint{GOOD:#}: {}", clean(hint));
    }
    text
}

/// Text from elsewhere, with what could steer a terminal or reorder a line made visible.
pub fn clean(text: &str) -> Cow<'_, str> {
    // A cell or a message is one line: what would break it counts, too.
    let steers = |c: char| matches!(c, '\n' | '\t') || tenement_wire::plain::steers(c);
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if steers(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// A reader that went away (`ten ps | head -1`) is no error, and it ends the program at once, as
/// SIGPIPE does to others: `--watch` would otherwise go on for nobody.
fn written(result: io::Result<()>) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => {
            Err(CliError::failure(format!("can't write to stdout: {e}"), "check where it goes"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_the_server_never_reach_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\n\u{9b}c\u{202e}d"), "a\\u{1b}[2Jb\\n\\u{9b}c\\u{202e}d");
        assert_eq!(clean("in\u{200b}visible"), "in\\u{200b}visible");
        assert!(matches!(clean("naïve ✓"), Cow::Borrowed(_)));
    }
}
