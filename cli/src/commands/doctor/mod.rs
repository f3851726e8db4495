//! `ten doctor`: looks at everything that tenement needs of a host, and says how to mend it.
//!
//! Each check stands alone and none stops the others, so that one run shows all that is wrong.

mod agent;
mod alerts;
mod host;
mod reach;
mod tiers;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::config;
use crate::args::Global;
use crate::client::Agent;
use crate::endpoint::Mode;
use crate::error::{CliError, Result};
use crate::output::{BAD, BOLD, DIM, GOOD, Output, WARN, clean};

/// Longest wait for one answer of the agent or a server.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Works, with less than it could.
    Warn,
    /// Does not work.
    Fail,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at; stable, for scripts.
    pub name: &'static str,
    /// How it came out.
    pub status: Status,
    /// What was seen.
    pub detail: String,
    /// How to mend it. A check that is not ok always has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Check {
    /// As it should be.
    pub fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, detail: detail.into(), fix: None }
    }

    /// Works, with less than it could.
    pub fn warn(name: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, status: Status::Warn, detail: detail.into(), fix: Some(fix.into()) }
    }

    /// Does not work.
    pub fn fail(name: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, status: Status::Fail, detail: detail.into(), fix: Some(fix.into()) }
    }
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Check>,
}

/// Checks, prints, and fails if a check did.
pub fn run(global: &Global, out: Output) -> Result<()> {
    let endpoint = super::endpoint(global)?;
    let mode = endpoint.mode;
    let root = Path::new("/");
    let mut checks = vec![host::systemd(), host::cgroups(root)];
    checks.extend(host::bus(mode));
    if mode == Mode::System {
        checks.push(host::names(root));
        checks.push(host::secrets(root));
    }
    checks.extend(tiers::host(root));
    checks.push(tiers::passt(root));
    let client = Agent::new(endpoint, PATIENCE)?;
    checks.push(agent::socket(client.endpoint()));
    checks.push(agent::answers(&client));
    checks.push(agent::config_files(config::daemon(), mode));
    // Without an agent its config is unknown, and these would only repeat that it does not answer.
    if let Ok(view) = client.get::<tenement_wire::dto::ConfigView>("/config") {
        checks.push(agent::config_taken(&view));
        checks.extend(tiers::unmet(&view));
        if let Ok(state) = client.get::<tenement_wire::status::StateDatabase>("/state") {
            checks.push(agent::state(&state));
        }
        if let Ok(view) = client.get::<tenement_wire::alerts::AlertsView>("/alerts") {
            checks.push(alerts::alerts(&view));
        }
        checks.push(agent::data_dir(mode, Path::new(&view.data_dir)));
        checks.push(tiers::quota(root, Path::new(&view.data_dir)));
        checks.push(reach::port(view.port));
        checks.push(reach::domain(&view.domain));
    }
    let failed = checks.iter().filter(|check| check.status == Status::Fail).count();
    let report = Report { ok: failed == 0, checks };
    if out.json {
        out.json(&report)?;
    } else if !out.quiet {
        out.data(&text(&report.checks))?;
    }
    if report.ok {
        return Ok(());
    }
    Err(CliError::failure(
        format!("{failed} check{} failed", if failed == 1 { "" } else { "s" }),
        "mend what the lines marked fail say, from the top, then run ten doctor again",
    ))
}

fn text(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Check { name, status, detail, fix } in checks {
        let (style, word) = match status {
            Status::Ok => (GOOD, "ok  "),
            Status::Warn => (WARN, "warn"),
            Status::Fail => (BAD, "fail"),
        };
        let detail = clean(detail);
        text.push_str(&format!("{style}{word}{style:#}  {BOLD}{name:<width$}{BOLD:#}  {detail}\n"));
        if let Some(fix) = fix {
            let indent = " ".repeat(width + 8);
            text.push_str(&format!("{indent}{DIM}fix: {}{DIM:#}\n", clean(fix)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_the_fix_under_what_is_wrong() {
        let checks = [Check::ok("a", "fine"), Check::fail("long", "bad\x1b", "do x")];
        let plain = anstream::adapter::strip_str(&text(&checks)).to_string();
        assert_eq!(plain, "ok    a     fine\nfail  long  bad\\u{1b}\n            fix: do x\n");
    }
}
