//! `ten logs usage`, `ten logs histogram` and `ten logs sql`.

use clap::builder::styling::Style;
use tenement_wire::logs::{LogBucket, LogHistogram, LogsCell, LogsSql, LogsTable, LogsUsage};

use super::{ask, note_stop};
use crate::args::Which;
use crate::client::Agent;
use crate::error::Result;
use crate::human;
use crate::output::Output;
use crate::table::Listing;

/// How long the longest bar of a histogram is, in characters.
const BAR: u64 = 20;

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

/// How many lines of each level there are in each part of the time.
pub fn histogram(agent: &Agent, out: Output, which: &Which, buckets: u32) -> Result<()> {
    let path = ask::path("/logs/histogram", which, &[("buckets", buckets.to_string())]);
    let counted: LogHistogram = agent.get(&path)?;
    if out.json {
        return out.json(&counted);
    }
    let mut listing = Listing::new(&["FROM", "ERROR", "WARN", "INFO", "DEBUG", ""]);
    let all = |one: &LogBucket| one.error + one.warn + one.info + one.debug;
    let most = counted.buckets.iter().map(all).max().unwrap_or(0).max(1);
    for one in &counted.buckets {
        let counts = [one.error, one.warn, one.info, one.debug].map(|n| n.to_string());
        let bar = "#".repeat((all(one) * BAR).div_ceil(most) as usize);
        let cells: Vec<String> =
            std::iter::once(human::utc(one.at_ms)).chain(counts).chain([bar]).collect();
        listing.row(Style::new(), &cells);
    }
    out.data(&listing.render())?;
    note_stop(out, counted.stopped);
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
