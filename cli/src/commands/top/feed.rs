//! What is shown, as the API says it.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tenement_wire::InstanceName;
use tenement_wire::dto::{InstanceList, InstanceView, State, Tier};
use tenement_wire::logs::LogPage;
use tenement_wire::plain::{Colours, neutral};

use super::model::Wish;
use crate::client::{Agent, path_with};
use crate::error::Result;
use crate::output::clean;

/// How many instances are read at every look; with more, the whole list is read only so often.
const MANY: usize = 500;
const LIST: Duration = Duration::from_secs(15);
/// Lines of a log that are shown.
const LINES: u32 = 200;

/// What came from the other threads.
pub enum News {
    /// A look at the host.
    Look(Box<Snapshot>),
    /// The last lines of the instance whose log is shown.
    Lines(InstanceName, Vec<String>),
    /// The agent did not answer.
    Trouble(String),
    /// What became of a wish.
    Done(String),
}

/// What the feed shall do besides.
pub enum Ask {
    /// Read the log of this instance at every look, or none any more.
    Logs(Option<InstanceName>),
}

/// One look at the host.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Snapshot {
    /// The host as a whole.
    pub summary: Summary,
    /// Every instance.
    pub rows: Vec<Row>,
}

/// One instance. `null`: not counted, or it is down.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// `process:id`.
    pub name: InstanceName,
    /// What it is doing.
    pub state: State,
    /// How deep it lies.
    pub tier: Tier,
    /// Cores in use.
    pub cpu_cores: Option<f64>,
    /// Bytes.
    pub memory_bytes: Option<u64>,
    /// Requests a second.
    pub requests_per_second: Option<f64>,
    /// Requests open now.
    pub in_flight: u32,
    /// How often it was woken.
    pub wakes: u64,
}

/// `GET /metrics/summary`, as far as it is shown.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Summary {
    /// Instances that are registered.
    pub instances: u64,
    /// How many are in each state.
    pub states: BTreeMap<String, u64>,
    /// How many are in each tier.
    pub tiers: BTreeMap<String, u64>,
    /// Requests a second.
    pub requests_per_second: Option<f64>,
    /// Cores that all instances use.
    pub cpu_cores: Option<f64>,
    /// Memory of all instances.
    pub memory_bytes: Option<u64>,
    /// The host.
    pub host: Option<Host>,
}

/// The host, as its kernel has it.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Host {
    /// Load averages of 1, 5 and 15 minutes.
    pub load: Vec<f64>,
    /// Processors.
    pub cpus: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Memory that can be given to whoever asks for it.
    pub memory_available_bytes: Option<u64>,
    /// Seconds since it was booted.
    pub uptime_seconds: u64,
}

/// `GET /metrics/live`, as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Live {
    instances: Vec<LiveRow>,
}

#[derive(Debug, Deserialize)]
struct LiveRow {
    name: InstanceName,
    state: State,
    tier: Tier,
    requests_per_second: f64,
    cpu_cores: Option<f64>,
    memory_bytes: Option<u64>,
    in_flight: u32,
    wakes: u64,
}

/// One look; without the `live` figures of an agent that does not measure them.
pub fn snapshot(agent: &Agent, live: bool) -> Result<Snapshot> {
    let rows = list(agent)?;
    look(agent, rows, live)
}

fn look(agent: &Agent, mut rows: Vec<Row>, live: bool) -> Result<Snapshot> {
    let summary: Summary = agent.get("/metrics/summary")?;
    let found = if live { agent.get::<Live>("/metrics/live") } else { Ok(Live::default()) };
    let found = match found {
        // An agent of an older version, or one whose config measures nothing.
        Err(error) if matches!(&*error.code, "no_route" | "metrics_off") => Live::default(),
        other => other?,
    };
    let mut awake: BTreeMap<InstanceName, LiveRow> =
        found.instances.into_iter().map(|one| (one.name.clone(), one)).collect();
    for row in &mut rows {
        let Some(one) = awake.remove(&row.name) else { continue };
        let LiveRow { name, state, tier, requests_per_second, .. } = one;
        *row = Row {
            name,
            state,
            tier,
            cpu_cores: one.cpu_cores,
            memory_bytes: one.memory_bytes.or(row.memory_bytes),
            requests_per_second: Some(requests_per_second),
            in_flight: one.in_flight,
            wakes: one.wakes,
        };
    }
    Ok(Snapshot { summary, rows })
}

/// Every instance, from all pages.
fn list(agent: &Agent) -> Result<Vec<Row>> {
    let (mut rows, mut cursor) = (Vec::new(), None::<InstanceName>);
    loop {
        let given: Vec<_> = cursor.iter().map(|name| ("cursor", name.to_string())).collect();
        let page: InstanceList = agent.get(&path_with("/instances", &given))?;
        rows.extend(page.instances.into_iter().map(row));
        if page.next.is_none() || page.next == cursor {
            return Ok(rows);
        }
        cursor = page.next;
    }
}

fn row(view: InstanceView) -> Row {
    Row {
        name: view.name,
        state: view.state,
        tier: view.tier,
        cpu_cores: None,
        memory_bytes: view.memory_bytes,
        requests_per_second: None,
        in_flight: view.in_flight,
        wakes: view.wakes,
    }
}

/// Looks again and again, until nobody listens.
pub fn watch(agent: &Agent, interval: Duration, news: &Sender<News>, asks: &Receiver<Ask>) {
    let (mut rows, mut read): (Vec<Row>, Option<Instant>) = (Vec::new(), None);
    let mut log: Option<InstanceName> = None;
    loop {
        match asks.recv_timeout(interval) {
            Ok(Ask::Logs(of)) => log = of,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if let Some(name) = &log {
            let told = match lines(agent, name) {
                Ok(lines) => News::Lines(name.clone(), lines),
                Err(error) => News::Trouble(error.detail),
            };
            if news.send(told).is_err() {
                return;
            }
        }
        let looked = (|| {
            if rows.len() <= MANY || read.is_none_or(|read| read.elapsed() >= LIST) {
                (rows, read) = (list(agent)?, Some(Instant::now()));
            }
            look(agent, rows.clone(), true)
        })();
        let told = match looked {
            Ok(snapshot) => News::Look(Box::new(snapshot)),
            Err(error) => News::Trouble(error.detail),
        };
        if news.send(told).is_err() {
            return;
        }
    }
}

/// The last lines of a log, one for each row of a screen.
fn lines(agent: &Agent, name: &InstanceName) -> Result<Vec<String>> {
    let given = [("instance", name.to_string()), ("limit", LINES.to_string())];
    let page: LogPage = agent.get(&path_with("/logs", &given))?;
    let mut rows = Vec::new();
    for line in page.lines.iter().rev() {
        let time = line.timestamp.get(11..19).unwrap_or_default();
        for text in neutral(&line.message, Colours::Strip).lines() {
            rows.push(format!("{time} {:<6} {}", clean(&line.level), clean(text)));
        }
    }
    Ok(rows)
}

/// Does one wish after the other.
pub fn act(agent: &Agent, wishes: &Receiver<Wish>, news: &Sender<News>) {
    while let Ok(wish) = wishes.recv() {
        let (verb, name) = match wish {
            Wish::Wake(name) => ("wake", name),
            Wish::Sleep(name) => ("sleep", name),
            Wish::Quit | Wish::Logs(_) => continue,
        };
        let told = match agent.post::<InstanceView>(&format!("/instances/{name}/{verb}")) {
            Ok(view) => format!("{name} is {}", view.state.as_str()),
            Err(error) => format!("{verb} {name}: {}", error.detail),
        };
        if news.send(News::Done(clean(&told).into_owned())).is_err() {
            return;
        }
    }
}
