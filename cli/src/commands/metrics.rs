//! `ten metrics`: what the agent counts, and what it has measured.

use std::collections::BTreeMap;

use clap::builder::styling::Style;
use jiff::tz::TimeZone;
use tenement_wire::dto::MetricsSummary;
use tenement_wire::metrics::{MetricsHistory, MetricsPoint};

use crate::args;
use crate::client::{Agent, path_with};
use crate::error::Result;
use crate::human;
use crate::output::{Output, clean};
use crate::table::{Listing, dash, pairs};

/// Prints the counts since the agent was started.
pub fn run(agent: &Agent, out: Output) -> Result<()> {
    let all: MetricsSummary = agent.get("/metrics/summary")?;
    if out.json {
        return out.json(&all);
    }
    if out.quiet {
        return Ok(());
    }
    let traffic = &all.traffic;
    out.data(&pairs(&[
        ("instances", format!("{}{}", all.instances, words(&all.states))),
        ("tiers", words(&all.tiers).trim_start_matches(": ").to_owned()),
        ("processes", all.processes.to_string()),
        ("wakes", all.wakes.to_string()),
        ("open now", all.in_flight.to_string()),
        (
            "connections",
            format!("{}, {} refused", traffic.connections, traffic.connections_refused),
        ),
        ("requests", format!("{}, {} refused", traffic.requests, traffic.requests_refused)),
        ("failures", format!("{}, {} retries", traffic.failures, traffic.retries)),
        ("upgrades", traffic.upgrades.to_string()),
        ("now", now(&all)),
        ("host", host(&all)),
        ("handshakes failed", traffic.handshakes_failed.to_string()),
        ("spans", format!("{} sent, {} dropped", traffic.spans_sent, traffic.spans_dropped)),
        (
            "access log",
            format!("{} lines, {} dropped", traffic.access_lines, traffic.access_lines_dropped),
        ),
        ("logs", logs(&all)),
        (
            "state database",
            all.store_trouble.as_deref().map_or("ok".to_owned(), |t| clean(t).to_string()),
        ),
    ]))
}

fn now(all: &MetricsSummary) -> String {
    let (Some(rate), Some(cores)) = (all.requests_per_second, all.cpu_cores) else { return dash() };
    let memory = human::bytes(all.memory_bytes.unwrap_or(0));
    format!("{rate:.1} requests/s, {cores:.2} cores, {memory}")
}

fn host(all: &MetricsSummary) -> String {
    let Some(host) = &all.host else { return dash() };
    let load = host.load.first().copied().unwrap_or(0.0);
    let of = human::bytes(host.memory_bytes);
    match host.memory_available_bytes {
        Some(free) => format!("load {load:.2}, {} of {of} free", human::bytes(free)),
        None => format!("load {load:.2}, {of} of memory"),
    }
}

fn words(counts: &BTreeMap<String, u64>) -> String {
    let list: Vec<String> = counts.iter().map(|(word, n)| format!("{n} {word}")).collect();
    if list.is_empty() { String::new() } else { format!(": {}", list.join(", ")) }
}

fn logs(all: &MetricsSummary) -> String {
    match (all.logs_bytes, all.logs_lines) {
        (Some(bytes), Some(lines)) => format!("{lines} lines, {}", human::bytes(bytes)),
        _ => dash(),
    }
}

/// Prints what was measured, step by step, the oldest first.
pub fn history(agent: &Agent, out: Output, args: &args::MetricsHistory) -> Result<()> {
    let zone = TimeZone::system().iana_name().map(str::to_owned);
    let given = [
        ("instance", args.name.as_ref().map(ToString::to_string)),
        ("since", args.since.clone()),
        ("until", args.until.clone()),
        ("step", args.step.map(|seconds| seconds.to_string())),
        // Times are meant as the clock of whoever types them shows them.
        ("zone", zone.filter(|_| args.since.is_some() || args.until.is_some())),
    ];
    let given: Vec<_> =
        given.into_iter().filter_map(|(field, value)| Some((field, value?))).collect();
    let all: MetricsHistory = agent.get(&path_with("/metrics/history", &given))?;
    if out.json {
        return out.json(&all);
    }
    if all.points.is_empty() {
        out.say("nothing was measured in that time");
        return Ok(());
    }
    let mut listing = Listing::new(&[
        "FROM", "REQUESTS", "ERRORS", "WAKES", "ACTIVE", "CPU", "MEMORY", "P50", "P99", "RUNNING",
    ]);
    for point in &all.points {
        listing.row(Style::new(), &cells(point));
    }
    out.data(&listing.render())
}

fn cells(point: &MetricsPoint) -> [String; 10] {
    let seconds = |value: Option<f64>| value.map_or_else(dash, |s| format!("{s:.1}s"));
    let latency = |value: Option<f64>| value.map_or_else(dash, |s| human::millis(s * 1000.0));
    [
        human::utc(point.at),
        point.requests.to_string(),
        point.errors.to_string(),
        point.wakes.to_string(),
        seconds(Some(point.active_seconds)),
        seconds(point.cpu_seconds),
        point.memory_bytes.map_or_else(dash, human::bytes),
        latency(point.latency_p50_seconds),
        latency(point.latency_p99_seconds),
        point.running.map_or_else(dash, |n| n.to_string()),
    ]
}
