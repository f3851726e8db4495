//! Tables for people: no borders, columns two spaces apart, aligned by what a terminal shows.

mod releases;

use std::fmt::Write as _;

use clap::builder::styling::Style;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use tenement_wire::SecretView;
use tenement_wire::dto::{InstanceView, State};
use tenement_wire::tasks::CronView;

use crate::human;
use crate::output::{BAD, BOLD, DIM, GOOD, WARN, clean};

pub use releases::{release, releases, role};

/// A table whose rows have one style each.
pub struct Listing {
    table: Table,
    styles: Vec<Style>,
}

impl Listing {
    /// An empty table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(headings.to_vec());
        Self { table, styles: vec![BOLD] }
    }

    /// Adds a row. Cells come from elsewhere, so they are cleaned here, once for every table.
    pub fn row(&mut self, style: Style, cells: &[String]) {
        self.table.add_row(cells.iter().map(|cell| clean(cell).into_owned()).collect::<Vec<_>>());
        self.styles.push(style);
    }

    /// The table as text.
    pub fn render(mut self) -> String {
        for column in self.table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let mut text = String::new();
        // Cleaned cells hold no newline and nothing is wrapped, so lines and rows are one to one.
        for (line, style) in self.table.lines().zip(&self.styles) {
            let _ = writeln!(text, "{style}{}{style:#}", line.trim_end());
        }
        text
    }
}

/// The table of `ten secret ls`.
pub fn secrets(secrets: &[SecretView], now: u64) -> String {
    let mut listing = Listing::new(&["NAME", "STORED", "SET", "ON DISK"]);
    for one in secrets {
        let disk = if one.encrypted { "encrypted" } else { "not encrypted" };
        let cells = [
            one.name.to_string(),
            human::bytes(one.stored_bytes),
            human::ago(now, one.set_ms),
            disk.to_owned(),
        ];
        listing.row(Style::new(), &cells);
    }
    listing.render()
}

/// The table of `ten cron ls`.
pub fn cron(jobs: &[CronView], now: u64) -> String {
    let mut listing = Listing::new(&["INSTANCE", "JOB", "SCHEDULE", "NEXT", "LAST", "RESULT"]);
    for one in jobs {
        let (style, result) = match (&one.error, one.last_result.as_deref()) {
            (Some(error), _) => (BAD, error.clone()),
            _ if one.running => (GOOD, "running".to_owned()),
            _ if !one.loaded => (WARN, "not loaded yet".to_owned()),
            (None, Some("success") | None) => {
                (Style::new(), one.last_result.clone().unwrap_or("-".into()))
            }
            (None, Some(how)) => (BAD, how.to_owned()),
        };
        let cells = [
            one.instance.to_string(),
            one.job.clone(),
            one.schedule.clone(),
            one.next_ms.map_or("-".into(), human::utc),
            one.last_ms.map_or("-".into(), |last| human::ago(now, last)),
            result,
        ];
        listing.row(style, &cells);
    }
    listing.render()
}

/// Aligned `key  value` lines.
pub fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (key, value) in pairs {
        let _ = writeln!(text, "{BOLD}{key:<width$}{BOLD:#}  {}", clean(value));
    }
    text
}

/// How a state looks.
pub fn state_style(state: State) -> Style {
    match state {
        State::Running => GOOD,
        State::Starting | State::Stopping => WARN,
        State::Failed => BAD,
        State::Asleep => DIM,
    }
}

/// What happens next if nobody uses it: `freezes in 40s`.
pub fn next_step(view: &InstanceView, now: u64) -> String {
    view.next_step.as_ref().map_or_else(dash, |next| {
        format!("{} in {}", next.step, human::span(next.at_ms.saturating_sub(now) / 1000))
    })
}

/// The table of `ten ps`; `wide` adds what few look for, before the URL.
pub fn instances(instances: &[InstanceView], now: u64, wide: bool) -> String {
    const NARROW: [&str; 9] =
        ["NAME", "STATE", "TIER", "HEALTH", "SINCE", "LAST USED", "OPEN", "MEMORY", "CPU"];
    const WIDE: [&str; 9] = [
        "RELEASE",
        "NEXT STEP",
        "PID",
        "TASKS",
        "RESTARTS",
        "WAKES",
        "LAST WAKE",
        "DISK R/W",
        "NET IN/OUT",
    ];
    let mut headings = NARROW.to_vec();
    if wide {
        headings.extend(WIDE);
    }
    headings.push("URL");
    let mut listing = Listing::new(&headings);
    for view in instances {
        let mut cells = vec![
            view.name.to_string(),
            view.state.as_str().to_owned(),
            view.tier.as_str().to_owned(),
            view.health.map_or_else(dash, |health| health.as_str().to_owned()),
            human::ago(now, view.since_ms),
            view.last_used_ms.map_or_else(dash, |then| human::ago(now, then)),
            view.in_flight.to_string(),
            view.memory_bytes.map_or_else(dash, human::bytes),
            view.usage.cpu_us.map_or_else(dash, |us| human::millis(us as f64 / 1000.0)),
        ];
        if wide {
            cells.push(release(view).unwrap_or_else(dash));
            cells.push(next_step(view, now));
            cells.extend(more(view));
        }
        cells.push(view.url.clone());
        listing.row(state_style(view.state), &cells);
    }
    listing.render()
}

fn more(view: &InstanceView) -> [String; 7] {
    let usage = &view.usage;
    let restarts = view.service.as_ref().map(|service| service.restarts.to_string());
    [
        view.pid.map_or_else(dash, |pid| pid.to_string()),
        usage.tasks.map_or_else(dash, |tasks| tasks.to_string()),
        restarts.unwrap_or_else(dash),
        view.wakes.to_string(),
        view.last_wake_ms.map_or_else(dash, human::millis),
        both(usage.io_read_bytes, usage.io_write_bytes, "", ""),
        both(usage.ip_in_bytes, usage.ip_out_bytes, "", ""),
    ]
}

/// Two directions of one thing: `1.5 MiB in, 20 MiB out`, or `1.5 MiB / 20 MiB` without words.
pub fn both(one: Option<u64>, other: Option<u64>, first: &str, second: &str) -> String {
    let (Some(one), Some(other)) = (one.map(human::bytes), other.map(human::bytes)) else {
        return dash();
    };
    match first {
        "" => format!("{one} / {other}"),
        _ => format!("{one} {first}, {other} {second}"),
    }
}

/// What a verb answers: where the instances are now.
pub fn outcome(instances: &[InstanceView]) -> String {
    let mut listing = Listing::new(&["NAME", "STATE", "URL"]);
    for view in instances {
        listing.row(
            state_style(view.state),
            &[view.name.to_string(), view.state.as_str().to_owned(), view.url.clone()],
        );
    }
    listing.render()
}

/// What stands for an unknown value.
pub fn dash() -> String {
    "-".to_owned()
}
