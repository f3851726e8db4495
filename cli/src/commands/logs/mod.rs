//! `ten logs`: from the agent's index; from the journal itself when there is no agent.

mod ask;
mod export;
mod follow;
mod journal;
mod show;
mod tables;

pub use journal::last_lines;
use tenement_wire::logs::{LogLine, LogPage, LogsStopped};

use crate::args::{Logs, LogsAction};
use crate::client::Agent;
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use ask::path;
use show::Printer;

/// How many lines are shown if nothing says how many.
const LINES: u32 = 100;
/// How many lines the agent gives at once.
const PAGE: u32 = 1000;

/// Shows lines, or does what the verb says.
pub fn run(agent: &Agent, out: Output, args: &Logs) -> Result<()> {
    match &args.action {
        Some(LogsAction::Usage) => return tables::usage(agent, out),
        Some(LogsAction::Sql { sql }) => return tables::sql(agent, out, sql),
        Some(LogsAction::Histogram { which, buckets }) => {
            return tables::histogram(agent, out, which, *buckets);
        }
        Some(LogsAction::Export { which, format, output }) => {
            return export::run(agent, which, *format, output.as_deref());
        }
        None => {}
    }
    let mut printer = Printer::new(out, args);
    let shown = if args.follow {
        follow::run(agent, out, args, &mut printer)
    } else if args.all || (args.which.since.is_some() && args.lines.is_none()) {
        export::show(agent, args, &mut printer)
    } else {
        newest(agent, out, args, &mut printer)
    };
    match shown {
        Err(error)
            if journal_helps(&error)
                && agent.endpoint().remote.is_none()
                && !printer.has_printed() =>
        {
            if args.which.search.is_some() {
                let hint = "without it, try journalctl with --grep=… and TENEMENT_INSTANCE=…";
                let detail = format!("a search needs the agent and its index: {}", error.detail);
                return Err(CliError { detail, hint: Some(hint.to_owned()), ..error });
            }
            out.say(&format!("{}; this is from the journal itself, by journalctl:", error.detail));
            journal::run(agent.endpoint().mode, out, args)
        }
        other => other,
    }
}

/// No agent, one that we may not ask, one without an index, or one from before it had any.
fn journal_helps(error: &CliError) -> bool {
    matches!(error.kind, Kind::Unreachable)
        || matches!(&*error.code, "permission_denied" | "no_route" | "logs_off")
}

/// The newest lines, shown from old to new.
fn newest(agent: &Agent, out: Output, args: &Logs, printer: &mut Printer) -> Result<()> {
    let wanted = args.lines.unwrap_or(LINES);
    let mut lines: Vec<LogLine> = Vec::new();
    let mut before: Option<u64> = None;
    let mut stopped = None;
    while lines.len() < wanted as usize {
        let limit = (wanted - lines.len() as u32).min(PAGE);
        let mut more = vec![("limit", limit.to_string())];
        more.extend(before.map(|seq| ("before", seq.to_string())));
        let page: LogPage = agent.get(&path("/logs", &args.which, &more))?;
        stopped = page.stopped;
        lines.extend(page.lines);
        match page.next {
            Some(next) if stopped.is_none() && before.is_none_or(|last| next < last) => {
                before = Some(next);
            }
            _ => break,
        }
    }
    for line in lines.iter().rev() {
        printer.line(line);
    }
    printer.flush()?;
    note_stop(out, stopped);
    Ok(())
}

/// Says that there may be more. A search that stopped early is not one that found nothing.
fn note_stop(out: Output, stopped: Option<LogsStopped>) {
    let what = match stopped {
        None => return,
        Some(LogsStopped::Time) => "its time was over",
        Some(LogsStopped::Memory) => "it had read as much as it may",
    };
    out.say(&format!(
        "the search stopped early ({what}): there may be more. Narrow it with an instance, --since or --until"
    ));
}
