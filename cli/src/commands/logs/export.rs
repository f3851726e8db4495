//! All lines that match, from old to new: as they are, or for a person.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use tenement_wire::logs::LogLine;

use super::ask::path;
use super::show::{Printer, json_safe};
use crate::args::{Form, Logs, Which};
use crate::client::Agent;
use crate::error::{CliError, Result};

/// `ten logs export`.
pub fn run(agent: &Agent, which: &Which, form: Form, output: Option<&Path>) -> Result<()> {
    let name = match form {
        Form::Json => "json",
        Form::Text => "text",
        Form::Export => "export",
    };
    let path = path("/logs/export", which, &[("format", name.to_owned())]);
    let Some(file) = output else {
        let terminal = io::stdout().is_terminal();
        if terminal && form == Form::Export {
            let hint = "write it to a file: --output FILE, or > FILE";
            return Err(CliError::usage("this format is not for a terminal", hint));
        }
        if terminal && form == Form::Json {
            return agent.lines(&path, None, None, &mut |line| say(json_safe(line).as_bytes()));
        }
        let mut out = io::stdout().lock();
        return agent.stream(&path, None, None, &mut |bytes| written(out.write_all(&bytes)));
    };
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .map_err(|error| CliError::file("create", file, &error))?;
    let written = agent.stream(&path, None, None, &mut |bytes| {
        out.write_all(&bytes).map_err(|error| CliError::file("write", file, &error))
    });
    written.and_then(|()| out.sync_all().map_err(|error| CliError::file("write", file, &error)))
}

/// `ten logs --all`, and `--since` without a number of lines.
pub fn show(agent: &Agent, args: &Logs, printer: &mut Printer) -> Result<()> {
    let Some(lines) = args.lines else {
        let path = path("/logs/export", &args.which, &[("format", "json".to_owned())]);
        let shown = agent.lines(&path, None, None, &mut |text| {
            printer.line(&read(text)?);
            printer.relieve()
        });
        return printer.flush().and(shown);
    };
    Err(CliError::usage(format!("--lines {lines} does not go with --all"), "leave one out"))
}

/// A line of the agent's JSON.
pub fn read(text: &str) -> Result<LogLine> {
    serde_json::from_str(text).map_err(|error| {
        CliError::failure(
            format!("a line of the agent's answer can't be understood: {error}"),
            "ten and tenementd may be of different versions: compare them with ten version",
        )
    })
}

fn say(line: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    written(out.write_all(line).and_then(|()| out.write_all(b"\n")))
}

/// A reader that went away is no error.
fn written(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.map_err(|error| {
            CliError::failure(format!("can't write to stdout: {error}"), "check where it goes")
        }),
    }
}
