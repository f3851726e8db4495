//! The journal itself, through journalctl: when there is no agent, or it keeps no index.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use tenement_wire::InstanceName;

use super::LINES;
use crate::args::{Logs, Target, Which};
use crate::endpoint::Mode;
use crate::error::{CliError, Result};
use crate::output::{Output, clean};

/// How many `ten why` shows of an instance that has failed.
const WHY_LINES: u32 = 20;

/// Becomes journalctl: does not return if that could be started.
pub fn run(mode: Mode, out: Output, args: &Logs) -> Result<()> {
    let error = Command::new("journalctl").args(journalctl(mode, out, args)).exec();
    Err(CliError::failure(
        format!("can't run journalctl: {error}"),
        "the logs of instances are in the journal of systemd: install systemd, or add it to PATH",
    ))
}

fn journalctl(mode: Mode, out: Output, args: &Logs) -> Vec<OsString> {
    let which = &args.which;
    let mut words: Vec<String> = Vec::new();
    if mode == Mode::User {
        words.push("--user".into());
    }
    words.push(match (which.instance(), which.process()) {
        (Some(name), _) => format!("--unit={}", name.service_unit()),
        (None, Some(process)) => format!("--unit=ten-{process}@*.service"),
        (None, None) => "--unit=ten-*@*.service".into(),
    });
    words.push("--no-hostname".into());
    words.push(format!("--output={}", if out.json { "json" } else { "short-iso" }));
    if out.quiet {
        words.push("--quiet".into());
    }
    if args.follow {
        words.push("--follow".into());
    }
    if let Some(since) = &which.since {
        words.push(format!("--since={}", since_time(since)));
    }
    if let Some(until) = &which.until {
        words.push(format!("--until={}", since_time(until)));
    }
    if let Some(level) = &which.level {
        words.push(format!("--priority={}", if level == "error" { "err" } else { level }));
    }
    match (args.lines, &which.since) {
        (Some(lines), _) => words.push(format!("--lines={lines}")),
        (None, None) if !args.all => words.push(format!("--lines={LINES}")),
        (None, _) => {}
    }
    words.into_iter().map(OsString::from).collect()
}

/// The last lines of an instance's log, indented; or why they can't be read, and who can.
pub fn last_lines(mode: Mode, name: &InstanceName) -> String {
    if mode == Mode::Remote {
        return format!("  ten logs {name} shows them\n");
    }
    let args = Logs { which: only(name), lines: Some(WHY_LINES), ..Logs::default() };
    let words = journalctl(mode, Output { json: false, quiet: true }, &args);
    let ran = Command::new("journalctl").args(words).output();
    let text = match &ran {
        Ok(ran) if ran.status.success() => String::from_utf8_lossy(&ran.stdout).into_owned(),
        Ok(ran) => {
            format!("the journal can't be read: {}", String::from_utf8_lossy(&ran.stderr).trim())
        }
        Err(error) => format!("can't run journalctl: {error}"),
    };
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        // journalctl says nothing and succeeds for a user who may not read the host's journal.
        return format!(
            "  none that you may read: sudo journalctl -u {} -n {WHY_LINES}, or join the group \
             systemd-journal\n",
            name.service_unit()
        );
    }
    lines.iter().map(|line| format!("  {}\n", clean(line))).collect()
}

fn only(name: &InstanceName) -> Which {
    let target = Target { process: name.process().clone(), id: Some(name.id().clone()) };
    Which { target: Some(target), ..Which::default() }
}

/// A bare span such as `10m` means that long ago; the rest is systemd's own syntax (systemd.time(7)).
fn since_time(text: &str) -> String {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let span = !number.is_empty()
        && number.len() < text.len()
        && number.bytes().all(|b| b.is_ascii_digit());
    if span { format!("-{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(mode: Mode, json: bool, args: &Logs) -> String {
        let words = journalctl(mode, Output { json, quiet: false }, args);
        words.iter().map(|w| w.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn logs_name_the_unit_and_pass_on_what_was_asked() {
        let name: InstanceName = "api:prod".parse().unwrap();
        let mut args = Logs { which: only(&name), ..Logs::default() };
        assert_eq!(
            words(Mode::System, false, &args),
            "--unit=ten-api@prod.service --no-hostname --output=short-iso --lines=100"
        );
        args.follow = true;
        args.which.since = Some("10m".into());
        assert_eq!(
            words(Mode::User, true, &args),
            "--user --unit=ten-api@prod.service --no-hostname --output=json --follow --since=-10m"
        );
    }

    #[test]
    fn times_of_systemd_are_passed_on_as_they_are() {
        for text in ["yesterday", "2026-01-31 12:00", "10 min ago", "-1h", "now"] {
            assert_eq!(since_time(text), text);
        }
        assert_eq!(since_time("2h"), "-2h");
    }
}
