//! `history`: how the state of an instance changed.

use tenement_wire::status::{History, HistoryEntry};

use crate::args;
use crate::client::Agent;
use crate::error::Result;
use crate::human;
use crate::output::{DIM, Output};
use crate::table::Listing;

/// Shows the newest changes, newest first.
pub fn run(agent: &Agent, out: Output, args: &args::History) -> Result<()> {
    let name = &args.name;
    let history: History = agent.get(&format!("/instances/{name}/history?limit={}", args.lines))?;
    if out.json {
        return out.json(&history);
    }
    if history.dropped > 0 {
        out.say(&format!(
            "{} changes (of any instance) could not be kept since the agent started: see its log",
            history.dropped
        ));
    }
    if history.entries.is_empty() {
        out.say("nothing is known of it yet");
        return Ok(());
    }
    if out.quiet {
        return Ok(());
    }
    let mut listing = Listing::new(&["TIME", "", "FROM", "TO", "CAUSE"]);
    let now = human::now_ms();
    for entry in &history.entries {
        let HistoryEntry { time_ms, from, to, cause } = entry;
        let cells = [
            human::utc(*time_ms),
            human::ago(now, *time_ms),
            from.clone(),
            to.clone(),
            cause.as_str().to_owned(),
        ];
        listing.row(DIM, &cells);
    }
    out.data(&listing.render())
}

/// The last few in one line each, for `ten show`. An agent that is older than `ten` has none.
pub fn last(agent: &Agent, name: &tenement_wire::InstanceName) -> Vec<String> {
    let Ok(history) = agent.get::<History>(&format!("/instances/{name}/history?limit=5")) else {
        return Vec::new();
    };
    let now = human::now_ms();
    let line = |e: &HistoryEntry| {
        let cause = e.cause.as_str();
        format!("{} → {} ({cause}), {}", e.from, e.to, human::ago(now, e.time_ms))
    };
    history.entries.iter().map(line).collect()
}
