//! Floor 3: wake, sleep, reconcile.

mod again;
pub mod agent;
pub mod alerts;
pub mod backups;
pub mod breaker;
pub mod care;
pub mod checks;
mod checkup;
mod clock;
mod cool;
mod count;
pub mod deploys;
pub mod descent;
pub mod disk;
pub mod domains;
pub mod edge;
pub mod events;
mod failures;
pub mod fate;
mod few;
mod giveup;
pub mod health;
mod held;
mod home;
pub mod host;
pub mod instance;
mod lacks;
pub mod lease;
mod limits;
mod listing;
pub mod logbook;
pub mod logs;
pub mod manage;
pub mod management;
pub mod metrics;
mod mishaps;
pub mod observe;
mod park;
pub mod phase;
mod probe;
pub mod recovery;
mod refuse;
pub mod releases;
mod reload;
mod routing;
pub mod secrets;
pub mod sessions;
mod similar;
pub mod sleep;
mod story;
pub mod tasks;
pub mod tenants;
pub mod throttle;
mod tide;
pub mod tokens;
mod tunnels;
mod unmet;
mod view;
mod wake;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tenement_wire::{InstanceName, RouteTarget};

pub use instance::{Depth, Instance, Phase};
pub use lease::Lease;
pub use management::{ManageError, Management, Spawn};
pub use refuse::refuse_while_backing_off;
pub use secrets::{SecretOrder, SecretValue};
pub use throttle::{Refusal, Turn};

use crate::routes::{Dest, Route};

/// How a request found its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// It was running.
    Hot,
    /// It was asleep (or just starting): this request wakes it or joins its wake.
    Cold,
}

/// Why an instance could not be woken. Display is for the log; the door shows clients less.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WakeError {
    /// The start failed.
    #[error("{name} did not start: {reason}")]
    Failed {
        /// Which instance.
        name: InstanceName,
        /// What systemd or the unit helper said.
        reason: String,
        /// When a new try makes sense.
        retry_after: Duration,
    },
    /// The start that an operator or the config asked for failed.
    #[error("{name} did not start: {reason}")]
    NotStarted {
        /// Which instance.
        name: InstanceName,
        /// What systemd or the unit helper said.
        reason: String,
    },
    /// It did not listen in time.
    #[error("{name} was not ready within {after:?}{}", last.as_ref().map(|l| format!(": {l}")).unwrap_or_default())]
    TimedOut {
        /// Which instance.
        name: InstanceName,
        /// Its `startup_timeout`.
        after: Duration,
        /// What its last health check found.
        last: Option<String>,
    },
    /// It has failed for good: only an operator starts it again.
    #[error("{name} has failed: {reason}; `ten reset {name}` gives it a new chance")]
    GaveUp {
        /// Which instance.
        name: InstanceName,
        /// What happened.
        reason: String,
    },
    /// Its data directory is as large as it may be.
    #[error("{name} is not started: {reason}")]
    DiskFull {
        /// Which instance.
        name: InstanceName,
        /// How large, and what to do.
        reason: String,
    },
    /// It was removed meanwhile.
    #[error("{name} is not registered any more")]
    Gone {
        /// Which instance.
        name: InstanceName,
    },
}

/// What the doors need of the flows. The proxy is generic over it, so that it can be tested against
/// a plain server without systemd.
pub trait Tenants: Send + Sync + 'static {
    /// What `host` (normalized) stands for.
    fn route(&self, host: &str) -> Route<Arc<Instance>>;

    /// What a request of `path` to `host`, a custom domain, is answered to prove that it came here.
    fn proof(&self, _host: &str, _path: &str) -> Option<String> {
        None
    }

    /// Where connections for `target` go, if anywhere.
    fn destination(&self, _target: &RouteTarget) -> Option<Dest<Arc<Instance>>> {
        None
    }

    /// Registers an instance because a request asked for it (`spawn_on_request`).
    fn spawn(
        &self,
        name: &InstanceName,
    ) -> impl Future<Output = Result<Arc<Instance>, WakeError>> + Send;

    /// Takes a lease, waiting out a stop that is under way, and makes the instance reachable: when it
    /// returns, a connection to [`Instance::target`] is answered by it. Hot path: no await, no lock.
    fn ensure(
        &self,
        instance: &Arc<Instance>,
    ) -> impl Future<Output = Result<(Lease, Served), WakeError>> + Send;

    /// A connection broke before any response byte: look at systemd again, and return when a fresh
    /// connection makes sense. The caller keeps its lease.
    fn suspect(
        &self,
        instance: &Arc<Instance>,
    ) -> impl Future<Output = Result<Served, WakeError>> + Send;

    /// The instance's breaker has opened: probe until it answers, in the background.
    fn tripped(&self, instance: &Arc<Instance>);

    /// The response's first byte came `took` after the request that found the instance asleep.
    fn woke(&self, instance: &Arc<Instance>, took: Duration);

    /// The request that found the instance asleep got no answer of it: its wake has ended so.
    fn lost(&self, _instance: &Arc<Instance>, _outcome: metrics::wakes::Outcome) {}

    /// Wakes the instance for somebody who comes back: returns once it runs. The wake, which began at `_began`,
    /// ends with that.
    fn awaken(
        &self,
        instance: &Arc<Instance>,
        _began: tokio::time::Instant,
    ) -> impl Future<Output = Result<Lease, WakeError>> + Send {
        async { Ok(self.ensure(instance).await?.0) }
    }
}
