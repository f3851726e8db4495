//! `ten logs -f`: the stream of the agent.

use tenement_wire::logs::LogsMissed;

use super::ask::path;
use super::export::read;
use super::show::Printer;
use super::{LINES, PAGE};
use crate::args::Logs;
use crate::client::Agent;
use crate::commands::follow;
use crate::error::Result;
use crate::output::Output;

/// Shows new lines until Ctrl-C.
pub fn run(agent: &Agent, out: Output, args: &Logs, printer: &mut Printer) -> Result<()> {
    let more = match (&args.which.since, args.lines) {
        (Some(_), None) => Vec::new(),
        (_, lines) => vec![("tail", lines.unwrap_or(LINES).min(PAGE).to_string())],
    };
    let path = path("/logs/stream", &args.which, &more);
    follow::run(agent, out, &path, None, &mut |event, data| {
        if event != "missed" {
            printer.line(&read(data)?);
            return printer.flush();
        }
        if let Ok(missed) = serde_json::from_str::<LogsMissed>(data) {
            out.say(&format!(
                "{} lines were left out: they came faster than they were read",
                missed.count
            ));
        }
        Ok(())
    })
}
