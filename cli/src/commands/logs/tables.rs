//! `ten logs usage` and `ten logs sql`.

use clap::builder::styling::Style;
use tenement_wire::logs::{LogsCell, LogsSql, LogsTable, LogsUsage};

use super::note_stop;
use crate::client::Agent;
use crate::error::Result;
use crate::human;
use crate::output::Output;
use crate::table::Listing;

/// Bytes and days of each instance, then the whole.
pub fn usage(agent: &Agent, out: Output) -> Result<()> {
    let usage: LogsUsage = agent.get("/logs/usage")?;
    if out.json {
        return out.json(&usage);
    }
    let now = human::now_ms();
    let mut listing = Listing::new(&["INSTANCE", "SIZE", "LINES", "DAYS", "OLDEST", "NEWEST"]);
    for one in &usage.instances {
        let cells = [
            format!("{}:{}", one.process, one.instance_id),
            human::bytes(one.bytes),
            one.lines.to_string(),
            one.days.to_string(),
            human::ago(now, one.oldest_ms),
            human::ago(now, one.newest_ms),
        ];
        listing.row(Style::new(), &cells);
    }
    if !usage.instances.is_empty() {
        out.data(&listing.render())?;
    }
    out.say(&format!(
        "{} on disk for {} lines of {} days",
        human::bytes(usage.bytes),
        usage.lines,
        usage.days.len()
    ));
    Ok(())
}

/// The rows that a statement gives.
pub fn sql(agent: &Agent, out: Output, sql: &str) -> Result<()> {
    let table: LogsTable = agent.post_json("/logs/sql", &LogsSql { sql: sql.to_owned() })?;
    if out.json {
        return out.json(&table);
    }
    let headings: Vec<&str> = table.columns.iter().map(String::as_str).collect();
    let mut listing = Listing::new(&headings);
    for row in &table.rows {
        listing.row(Style::new(), &row.iter().map(cell).collect::<Vec<_>>());
    }
    out.data(&listing.render())?;
    note_stop(out, table.stopped);
    Ok(())
}

fn cell(value: &LogsCell) -> String {
    match value {
        LogsCell::Null(()) => String::new(),
        LogsCell::Integer(number) => number.to_string(),
        LogsCell::Real(number) => number.to_string(),
        LogsCell::Text(text) => text.clone(),
    }
}
