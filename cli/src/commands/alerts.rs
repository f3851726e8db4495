//! `ten alerts`: where alerts go, and a test.

use tenement_wire::alerts::{AlertTried, AlertsView};

use crate::args::{Alerts, AlertsAction};
use crate::client::Agent;
use crate::error::{CliError, Kind, Result};
use crate::human;
use crate::output::{Output, clean};
use crate::table;

/// Does what the verb says.
pub fn run(agent: &Agent, out: Output, args: &Alerts) -> Result<()> {
    match args.action {
        None => show(agent, out),
        Some(AlertsAction::Test) => test(agent, out),
    }
}

fn show(agent: &Agent, out: Output) -> Result<()> {
    let view: AlertsView = agent.get("/alerts")?;
    if out.json {
        return out.json(&view);
    }
    let Some(receiver) = &view.receiver else {
        out.say("no alerts are sent: add [alerts] with url and secret_file to the config");
        return Ok(());
    };
    let last = view.last.as_ref().map_or_else(|| "none yet".to_owned(), tried);
    out.data(&table::pairs(&[
        ("receiver", clean(receiver).into_owned()),
        ("sent", view.sent.to_string()),
        ("waiting", view.waiting.to_string()),
        ("given up", view.failed.to_string()),
        ("not sent, being one of many", view.suppressed.to_string()),
        ("last", last),
    ]))
}

fn test(agent: &Agent, out: Output) -> Result<()> {
    let answer: AlertTried = agent.post("/alerts/test")?;
    if out.json {
        out.json(&answer)?;
    }
    if !answer.taken {
        return Err(CliError::new(
            Kind::Failure,
            "alert_not_taken",
            format!("the alert was not taken: {}", said(&answer)),
            "see [alerts] in the config, and the receiver's own log",
        ));
    }
    out.say(&format!("the receiver took it: {}", said(&answer)));
    Ok(())
}

/// When, and how it went.
pub fn tried(tried: &AlertTried) -> String {
    let went = if tried.taken { "taken" } else { "not taken" };
    format!("{went} {}: {}", human::ago(human::now_ms(), tried.time_ms), said(tried))
}

fn said(tried: &AlertTried) -> String {
    match tried.status {
        Some(status) => format!("{status} {}", clean(&tried.said)).trim_end().to_owned(),
        None => clean(&tried.said).into_owned(),
    }
}
