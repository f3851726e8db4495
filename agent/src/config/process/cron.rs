//! `[process.X.cron.NAME]`: jobs that run in an instance at set times, also while it sleeps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tenement_wire::{InstanceId, TaskTag};
use toml::de::DeValue;

use super::super::node::{Fields, Node};
use super::super::problems::Problems;
use super::super::settings::set;
use super::super::{calendar, command, quantity, template};
use super::check_placeholders;

const KEYS: [&str; 7] =
    ["schedule", "command", "args", "instances", "timeout", "jitter", "persistent"];

/// The most jobs of a process: each is two units for each of its instances.
const JOBS_MAX: usize = 20;
const SECOND: Duration = Duration::from_secs(1);
const WEEK: Duration = Duration::from_secs(7 * 86_400);
const DAY: Duration = Duration::from_secs(86_400);

/// One job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronJob {
    /// When it is due, as systemd.time(7) writes it (`OnCalendar=`).
    pub schedule: String,
    /// The program and its arguments, with placeholders.
    pub command: Vec<String>,
    /// Which instances have it; `None`: all.
    pub instances: Option<BTreeSet<InstanceId>>,
    /// How long it may run.
    pub timeout: Duration,
    /// Each instance is late by a time of its own, up to this.
    pub jitter: Duration,
    /// Whether one that was missed, because the host was down, is caught up.
    pub persistent: bool,
}

impl CronJob {
    /// Whether the instance with this id has it.
    #[must_use]
    pub fn is_of(&self, id: &InstanceId) -> bool {
        self.instances.as_ref().is_none_or(|instances| instances.contains(id))
    }
}

/// Reads the table of jobs.
pub(super) fn read(node: &Node, problems: &mut Problems) -> BTreeMap<String, CronJob> {
    let mut jobs = BTreeMap::new();
    for (name, node) in Fields::of(node, problems).0 {
        if let Err(error) = TaskTag::cron(&name) {
            let fix = "write a short name such as [process.api.cron.nightly]";
            problems.add(&node.key, error.to_string(), fix);
        }
        if let Some(job) = job(&name, &node, problems) {
            jobs.insert(name, job);
        }
    }
    if jobs.len() > JOBS_MAX {
        let message = format!("{} scheduled jobs are more than {JOBS_MAX}", jobs.len());
        problems.add(&node.key, message, "let one job do several things");
    }
    jobs
}

fn job(name: &str, node: &Node, problems: &mut Problems) -> Option<CronJob> {
    let fields = Fields::of(node, problems);
    fields.refuse_unknown(&format!("the job `{}`", name.escape_default()), &KEYS, problems);
    let schedule = fields.get("schedule").and_then(|node| schedule(node, problems));
    let mut words = match fields.get("command") {
        Some(node) => command::words(node, problems),
        None => Vec::new(),
    };
    if let (false, Some(args)) = (words.is_empty(), fields.get("args")) {
        words.extend(args.strings(false, "[\"--verbose\"]", problems));
    }
    for word in &words {
        check_placeholders(word, &template::KNOWN, problems);
    }
    for key in ["schedule", "command"] {
        if fields.get(key).is_none() && matches!(node.value, DeValue::Table(_)) {
            let fix = "add schedule = \"*-*-* 03:00:00\" and command = \"./backup.sh\"";
            problems.add(&node.key, format!("the job `{name}` has no {key}"), fix);
        }
    }
    let mut instances = None;
    set(&fields, "instances", &mut instances, problems, |node, problems| Some(of(node, problems)));
    let (mut timeout, mut jitter, mut persistent) = (DAY, Duration::ZERO, true);
    set(&fields, "timeout", &mut timeout, problems, |node, problems| {
        quantity::duration(node, SECOND, problems).and_then(|d| at_most(node, d, WEEK, problems))
    });
    set(&fields, "jitter", &mut jitter, problems, |node, problems| {
        quantity::duration(node, Duration::ZERO, problems)
            .and_then(|d| at_most(node, d, DAY, problems))
    });
    set(&fields, "persistent", &mut persistent, problems, Node::boolean);
    let command = words.into_iter().map(|word| word.value).collect::<Vec<_>>();
    let schedule = schedule.filter(|_| !command.is_empty())?;
    Some(CronJob { schedule, command, instances, timeout, jitter, persistent })
}

fn schedule(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.string("\"*-*-* 03:00:00\"", problems)?;
    match calendar::fault(&text.value) {
        None => Some(text.value),
        Some(why) => {
            let fix = "write it as systemd.time(7) does: \"daily\", \"Mon..Fri 08:30\", \"*-*-* 03:00:00\", \"*:0/15\"";
            problems.add(&text.at, format!("`schedule` {why}"), fix);
            None
        }
    }
}

/// `"all"`, or a list of ids.
fn of(node: &Node, problems: &mut Problems) -> Option<BTreeSet<InstanceId>> {
    if matches!(node.value, DeValue::String(text) if text == "all") {
        return None;
    }
    let mut ids = BTreeSet::new();
    for text in node.strings(false, "\"all\", or [\"prod\"]", problems) {
        match InstanceId::new(&text.value) {
            Ok(id) => drop(ids.insert(id)),
            Err(error) => {
                problems.add(&text.at, error.to_string(), "write an id such as \"prod\"");
            }
        }
    }
    Some(ids)
}

fn at_most(
    node: &Node,
    duration: Duration,
    most: Duration,
    problems: &mut Problems,
) -> Option<Duration> {
    if duration <= most {
        return Some(duration);
    }
    let name = problems.text(&node.key).to_owned();
    let most = most.as_secs() / 86_400;
    problems.add(
        &node.at,
        format!("`{name}` is longer than {most} d"),
        format!("write at most \"{most}d\""),
    );
    None
}
