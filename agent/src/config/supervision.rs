//! When the agent gives up on an instance, and how it finds out that one is unwell.

use std::time::Duration;

use super::node::Fields;
use super::problems::Problems;

/// The keys of a process.
pub(super) const KEYS: [&str; 0] = [];

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
    /// Restarts within [`Self::restart_window`] after which it has failed for good.
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

/// Reads what `fields` says.
pub(super) fn read(fields: &Fields, _problems: &mut Problems) -> Supervision {
    let _ = fields;
    Supervision::default()
}
