//! What an instance is doing and where it is reached, as plain values.

use std::sync::Arc;
use std::time::Duration;

use tenement_wire::dto::Tier;
use tokio::time::Instant;

use super::throttle::RequestLimits;
use crate::config::Definition;
use crate::upstream::{Check, Target};

/// What an instance is doing, derived from its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No unit loaded.
    Dormant,
    /// Socket loaded, service inactive.
    Asleep,
    /// Service activating, or active but not listening yet.
    Starting,
    /// Service active and, where it binds its own listener, listening.
    Running,
    /// Service active and frozen: it answers once it is thawed.
    Frozen,
    /// Service active, but only as the stub that waits for the first connection to become the app.
    Parked,
    /// Service deactivating.
    Stopping,
    /// The socket failed: systemd gave up on the pair.
    Failed,
}

/// How deep an active service lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Depth {
    /// It runs.
    None = 0,
    /// It runs, with its memory reclaimed.
    Reclaimed = 1,
    /// It is frozen.
    Frozen = 2,
    /// It has not become the app yet.
    Parked = 3,
}

impl super::Instance {
    /// How cold it is.
    #[must_use]
    pub fn tier(&self) -> Tier {
        match self.phase() {
            Phase::Dormant => Tier::Dormant,
            Phase::Asleep | Phase::Failed => Tier::Stopped,
            Phase::Frozen => Tier::Frozen,
            Phase::Parked => Tier::Parked,
            Phase::Starting if self.is_being_parked() => Tier::Stopped,
            Phase::Running if self.depth() == Depth::Reclaimed => Tier::Reclaimed,
            Phase::Starting | Phase::Running | Phase::Stopping => Tier::Running,
        }
    }
}

impl Depth {
    pub(super) fn from_u8(value: u8) -> Self {
        match value {
            1 => Self::Reclaimed,
            2 => Self::Frozen,
            3 => Self::Parked,
            _ => Self::None,
        }
    }
}

/// What follows from the config for this instance; replaced as a whole on reload.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Its process.
    pub definition: Arc<Definition>,
    /// Where requests go now. For `Listen::Own`, what answered last.
    pub target: Target,
    /// Where else the app may listen (`Listen::Own`).
    pub alternative: Option<Target>,
    /// The socket that systemd listens on and whose first connection starts the service. In
    /// `Listen::Fd` it is the target itself.
    pub trigger: Target,
    /// Limits of its requests.
    pub requests: RequestLimits,
    /// Its own directory.
    pub data_dir: Arc<std::path::Path>,
    /// How it is asked about its health.
    pub check: Option<Arc<Check>>,
}

impl Setup {
    /// Whether more than an active service is needed until it can take requests.
    pub(super) fn is_awaited(&self) -> bool {
        !self.definition.systemd_listens() || self.check.is_some()
    }
}

/// Why and when it last failed to start.
#[derive(Debug, Clone)]
pub struct Failure {
    /// For the log and for `ten why`.
    pub reason: String,
    /// When.
    pub at: Instant,
    /// How often in a row.
    pub count: u32,
}

impl Failure {
    /// How long after a failure the next try waits: 1 s, doubled with each failure in a row, at most
    /// 60 s. systemd's own start limit is off, because it would fail a healthy instance that naps often.
    #[must_use]
    pub fn back_off(&self) -> Duration {
        Duration::from_secs((1_u64 << self.count.saturating_sub(1).min(6)).min(60))
    }
}
