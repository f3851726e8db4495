//! When the agent gives up on an instance, and how it finds out that one is unwell.

use std::time::Duration;

use super::node::{Fields, Node};
use super::problems::Problems;
use super::quantity;
use super::settings::set;

/// The keys of a process and of `[settings.defaults]`.
pub(super) const KEYS: [&str; 7] = [
    "health_interval",
    "health_timeout",
    "healthy_threshold",
    "unhealthy_threshold",
    "max_restarts",
    "restart_window",
    "breaker_threshold",
];

/// The shortest pause between checks: a typing error must not make the agent a load of its own.
const CHECK_MIN: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(1);
/// The longest pause and window: crashes are remembered as long.
const DAY: Duration = Duration::from_secs(86_400);

/// The supervision of a process, beside its `health` path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supervision {
    /// From one health check of an instance to the next.
    pub health_interval: Duration,
    /// How long one check may take.
    pub health_timeout: Duration,
    /// Good checks in a row until it counts as healthy.
    pub healthy_threshold: u32,
    /// Bad checks in a row until it counts as unhealthy.
    pub unhealthy_threshold: u32,
    /// Restarts within [`Self::restart_window`]; one more crash, and it has failed for good.
    pub max_restarts: u32,
    /// See [`Self::max_restarts`].
    pub restart_window: Duration,
    /// Failed requests in a row after which requests fail fast; 0 = never.
    pub breaker_threshold: u32,
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            health_interval: Duration::from_secs(10),
            health_timeout: Duration::from_secs(5),
            healthy_threshold: 1,
            unhealthy_threshold: 3,
            max_restarts: 5,
            restart_window: Duration::from_secs(300),
            breaker_threshold: 10,
        }
    }
}

impl Supervision {
    /// This, with what `fields` says instead.
    pub(super) fn overridden(mut self, fields: &Fields, problems: &mut Problems) -> Self {
        for (key, min, slot) in [
            ("health_interval", CHECK_MIN, &mut self.health_interval),
            ("health_timeout", TICK, &mut self.health_timeout),
            ("restart_window", CHECK_MIN, &mut self.restart_window),
        ] {
            set(fields, key, slot, problems, |node, problems| {
                quantity::duration(node, min, problems)
                    .and_then(|d| at_most_a_day(node, d, problems))
            });
        }
        for (key, low, high, slot) in [
            ("healthy_threshold", 1, 100, &mut self.healthy_threshold),
            ("unhealthy_threshold", 1, 100, &mut self.unhealthy_threshold),
            ("max_restarts", 0, 1_000, &mut self.max_restarts),
            ("breaker_threshold", 0, 1_000_000, &mut self.breaker_threshold),
        ] {
            set(fields, key, slot, problems, |node, problems| {
                node.integer(low, high, problems).and_then(|n| u32::try_from(n).ok())
            });
        }
        self
    }
}

fn at_most_a_day(node: &Node, duration: Duration, problems: &mut Problems) -> Option<Duration> {
    if duration <= DAY {
        return Some(duration);
    }
    let name = problems.text(&node.key).to_owned();
    problems.add(&node.at, format!("`{name}` is longer than a day"), "write at most \"24h\"");
    None
}
