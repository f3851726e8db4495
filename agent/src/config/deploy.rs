//! `[process.X.deploy]`: how releases of a process are made, and how its instances move to them.

use std::time::Duration;

use super::node::{Fields, Node};
use super::problems::Problems;
use super::process::check_placeholders;
use super::settings::set;
use super::{command, quantity};

const KEYS: [&str; 17] = [
    "build",
    "build_timeout",
    "build_memory_max",
    "build_tmp_max",
    "build_network",
    "upload_max",
    "keep",
    "release_command",
    "release_timeout",
    "batch",
    "drain_timeout",
    "canary",
    "canary_step",
    "canary_requests",
    "canary_errors",
    "canary_latency",
    "auto_rollback",
];

/// What a build and a release's command may mention: they run in the release, and listen nowhere.
const PLACE: [&str; 5] = ["process", "name", "id", "data_dir", "release"];
const BUILD_PLACE: [&str; 3] = ["process", "name", "release"];

const SECOND: Duration = Duration::from_secs(1);
const SIZE_MAX: u64 = 1 << 40;
const MEMORY_MIN: u64 = 16 << 20;

/// How releases of a process are made and rolled out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deploy {
    /// The command that builds a release, in its directory; none if empty.
    pub build: Vec<String>,
    /// How long a build may take.
    pub build_timeout: Duration,
    /// Memory of a build, in bytes.
    pub build_memory_max: u64,
    /// Bytes in the `/tmp` of a build, which is memory.
    pub build_tmp_max: u64,
    /// Whether a build reaches the network.
    pub build_network: bool,
    /// Bytes of an upload, and of what comes out of it (ten times as many).
    pub upload_max: u64,
    /// Releases kept beside those in use and pinned.
    pub keep: u32,
    /// A command run for each instance before it moves to another release (migrations); none if empty.
    pub release_command: Vec<String>,
    /// How long that may take.
    pub release_timeout: Duration,
    /// Instances that are restarted side by side.
    pub batch: u32,
    /// How long requests and streams under way may go on when an instance is replaced; `stop_timeout` by default.
    pub drain_timeout: Option<Duration>,
    /// Shares of the requests, in per cent, that a canary gets step by step.
    pub canary: Vec<u32>,
    /// How long each step takes.
    pub canary_step: Duration,
    /// Requests to the canary before it is judged.
    pub canary_requests: u32,
    /// By how many percentage points its share of errors may exceed that of the others.
    pub canary_errors: u32,
    /// How many per cent of the others' p95 latency its own may reach.
    pub canary_latency: u32,
    /// Whether a release that doesn't become healthy is taken back by itself.
    pub auto_rollback: bool,
}

impl Default for Deploy {
    fn default() -> Self {
        Self {
            build: Vec::new(),
            build_timeout: Duration::from_secs(900),
            build_memory_max: 2 << 30,
            build_tmp_max: 1 << 30,
            build_network: true,
            upload_max: 1 << 30,
            keep: 5,
            release_command: Vec::new(),
            release_timeout: Duration::from_secs(600),
            batch: 1,
            drain_timeout: None,
            canary: vec![5, 25, 50, 100],
            canary_step: Duration::from_secs(600),
            canary_requests: 20,
            canary_errors: 5,
            canary_latency: 200,
            auto_rollback: true,
        }
    }
}

/// The table `deploy` of a process, or what holds without one.
pub(super) fn read(process: &Fields, problems: &mut Problems) -> Deploy {
    let mut deploy = Deploy::default();
    let Some(node) = process.get("deploy") else { return deploy };
    let fields = Fields::of(node, problems);
    fields.refuse_unknown("table `deploy`", &KEYS, problems);
    words(&fields, "build", &BUILD_PLACE, &mut deploy.build, problems);
    words(&fields, "release_command", &PLACE, &mut deploy.release_command, problems);
    for (key, slot) in [
        ("build_timeout", &mut deploy.build_timeout),
        ("release_timeout", &mut deploy.release_timeout),
        ("canary_step", &mut deploy.canary_step),
    ] {
        set(&fields, key, slot, problems, |node, problems| {
            quantity::duration(node, SECOND, problems)
        });
    }
    set(&fields, "drain_timeout", &mut deploy.drain_timeout, problems, |node, problems| {
        quantity::duration(node, Duration::ZERO, problems).map(Some)
    });
    for (key, min, slot) in [
        ("build_memory_max", MEMORY_MIN, &mut deploy.build_memory_max),
        ("build_tmp_max", 1 << 20, &mut deploy.build_tmp_max),
        ("upload_max", 1 << 20, &mut deploy.upload_max),
    ] {
        set(&fields, key, slot, problems, |node, problems| {
            quantity::size(node, min, SIZE_MAX, problems)
        });
    }
    for (key, low, high, slot) in [
        ("keep", 0, 1_000, &mut deploy.keep),
        ("batch", 1, 1_000, &mut deploy.batch),
        ("canary_requests", 1, 1_000_000, &mut deploy.canary_requests),
        ("canary_errors", 0, 100, &mut deploy.canary_errors),
        ("canary_latency", 100, 100_000, &mut deploy.canary_latency),
    ] {
        set(&fields, key, slot, problems, |node, problems| {
            node.integer(low, high, problems).and_then(|n| u32::try_from(n).ok())
        });
    }
    for (key, slot) in
        [("build_network", &mut deploy.build_network), ("auto_rollback", &mut deploy.auto_rollback)]
    {
        set(&fields, key, slot, problems, |node, problems| node.boolean(problems));
    }
    set(&fields, "canary", &mut deploy.canary, problems, steps);
    deploy
}

fn words(
    fields: &Fields,
    key: &str,
    known: &[&str],
    slot: &mut Vec<String>,
    problems: &mut Problems,
) {
    let Some(node) = fields.get(key) else { return };
    let words = command::words(node, problems);
    words.iter().for_each(|word| check_placeholders(word, known, problems));
    *slot = words.into_iter().map(|word| word.value).collect();
}

/// Growing shares, the last of which is everything.
fn steps(node: &Node, problems: &mut Problems) -> Option<Vec<u32>> {
    let fix = "write growing per cents that end with 100, such as [5, 25, 50, 100]";
    let Some(elements) = node.elements() else {
        problems.add(&node.at, format!("`canary` is {}, not a list", node.kind()), fix);
        return None;
    };
    let mut steps = Vec::new();
    for element in elements {
        steps.push(u32::try_from(element.integer(1, 100, problems)?).ok()?);
    }
    if steps.last() != Some(&100) || !steps.is_sorted_by(|a, b| a < b) {
        problems.add(&node.at, "`canary` does not grow to 100", fix);
        return None;
    }
    Some(steps)
}
