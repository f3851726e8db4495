//! Lines as a person reads them, or as JSON. Nothing that a tenant printed can steer the terminal.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::IsTerminal as _;

use clap::builder::styling::Style;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use tenement_wire::logs::{LogLine, LogSource};
use tenement_wire::plain::{Colours, neutral, steers};

use crate::args::Logs;
use crate::error::Result;
use crate::output::{BAD, DIM, Output, WARN};

/// What is gathered before it is written, in bytes.
const BATCH: usize = 64 * 1024;
/// The widest an instance column grows, in characters.
const NAME_MAX: usize = 32;

/// Prints lines; what it has gathered is written by [`Printer::flush`].
pub struct Printer {
    out: Output,
    zone: TimeZone,
    colours: Colours,
    names: bool,
    /// JSON lines are taken apart for a person; a program gets them as they were printed.
    apart: bool,
    width: usize,
    text: String,
    printed: bool,
}

impl Printer {
    /// The instance column is there unless one instance was asked for.
    pub fn new(out: Output, args: &Logs) -> Self {
        Self {
            out,
            zone: TimeZone::system(),
            colours: if args.ansi { Colours::Keep } else { Colours::Strip },
            names: args.which.instance().is_none(),
            apart: std::io::stdout().is_terminal() && !args.raw,
            width: 0,
            text: String::new(),
            printed: false,
        }
    }

    /// Whether anything was written yet.
    pub fn has_printed(&self) -> bool {
        self.printed
    }

    /// Adds a line.
    pub fn line(&mut self, line: &LogLine) {
        if self.out.json {
            let json = serde_json::to_string(line).unwrap_or_default();
            self.text.push_str(&json_safe(&json));
            self.text.push('\n');
        } else {
            self.write(line);
        }
    }

    /// Writes what was gathered.
    pub fn flush(&mut self) -> Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        self.printed = true;
        let text = std::mem::take(&mut self.text);
        self.out.data(&text)
    }

    /// Writes what was gathered if it is much.
    pub fn relieve(&mut self) -> Result<()> {
        if self.text.len() < BATCH { Ok(()) } else { self.flush() }
    }

    fn write(&mut self, line: &LogLine) {
        let apart = line.fields.as_ref().filter(|_| self.apart && !self.out.quiet);
        let message = match apart {
            Some(fields) => Cow::Owned(apart_text(fields)),
            None => neutral(&line.message, self.colours),
        };
        if self.out.quiet {
            let _ = writeln!(self.text, "{message}");
            return;
        }
        let style = style(line);
        let time = self.time(&line.timestamp);
        let level = neutral(&line.level, Colours::Strip);
        let _ = write!(self.text, "{DIM}{time}{DIM:#} {style}{level:<6}{style:#} ");
        if self.names {
            let name = format!("{}:{}", line.process, line.instance_id);
            let name = neutral(&name, Colours::Strip);
            self.width = self.width.max(name.chars().count().min(NAME_MAX));
            let _ = write!(self.text, "{name:<0$} ", self.width);
        }
        for (at, part) in message.lines().enumerate() {
            let indent = if at == 0 { "" } else { "    " };
            // The app's own colours would end at ours.
            match self.colours {
                Colours::Strip => {
                    let _ = writeln!(self.text, "{indent}{style}{part}{style:#}");
                }
                Colours::Keep => {
                    let _ = writeln!(self.text, "{indent}{part}");
                }
            }
        }
        if message.is_empty() {
            self.text.push('\n');
        }
    }

    /// The time as the clock here shows it, to the millisecond.
    fn time(&self, timestamp: &str) -> String {
        match timestamp.parse::<Timestamp>() {
            Ok(at) => {
                let at = at.to_zoned(self.zone.clone());
                format!(
                    "{} {:.3}",
                    at.date(),
                    at.time().round(jiff::Unit::Millisecond).unwrap_or(at.time())
                )
            }
            Err(_) => neutral(timestamp, Colours::Strip).into_owned(),
        }
    }
}

/// Members that the columns beside the message say already.
const SAID: [&str; 8] =
    ["level", "lvl", "severity", "time", "timestamp", "ts", "@timestamp", "datetime"];
/// Members that hold the message itself.
const MESSAGE: [&str; 3] = ["message", "msg", "event"];

/// The members of a JSON line as a person reads them: the message, then `name=value` of the others.
fn apart_text(fields: &Map<String, Value>) -> String {
    let message = MESSAGE.into_iter().find(|name| fields.get(*name).is_some_and(Value::is_string));
    let mut text = String::new();
    if let Some(Value::String(message)) = message.and_then(|name| fields.get(name)) {
        text.push_str(&neutral(message, Colours::Strip));
    }
    for (name, value) in fields {
        if Some(name.as_str()) == message || SAID.contains(&name.as_str()) {
            continue;
        }
        let value = match value {
            Value::String(word) if is_word(word) => word.clone(),
            other => other.to_string(),
        };
        if !text.is_empty() {
            text.push(' ');
        }
        let _ = write!(text, "{}=", neutral(name, Colours::Strip));
        text.push_str(&neutral(&value, Colours::Strip));
    }
    text
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"' || c.is_control())
}

fn style(line: &LogLine) -> Style {
    match (line.source, line.level.as_str()) {
        (_, "emerg" | "alert" | "crit" | "error") => BAD,
        (LogSource::Marker, _) | (_, "warn") => WARN,
        (LogSource::Systemd, _) | (_, "debug") => DIM,
        _ => Style::new(),
    }
}

/// JSON with everything that could steer a terminal written as `\u....`: it means the same to a program.
pub fn json_safe(json: &str) -> Cow<'_, str> {
    if !json.contains(steers) {
        return json.into();
    }
    let mut safe = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if steers(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    safe.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(json: &str) -> String {
        apart_text(&tenement_wire::logs::fields(json).expect("an object"))
    }

    #[test]
    fn a_json_line_is_taken_apart_for_a_person() {
        assert_eq!(
            apart(r#"{"level":"warn","msg":"slow query","ms":812,"user":{"id":5},"path":"/a b"}"#),
            r#"slow query ms=812 path="/a b" user={"id":5}"#
        );
        assert_eq!(apart(r#"{"n":1}"#), "n=1");
    }

    #[test]
    fn members_can_not_steer_a_terminal() {
        let text = apart("{\"msg\":\"a\\u001b[2Jb\",\"\\u001b]0;x\":\"\\u202e\"}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }
}
