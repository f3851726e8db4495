//! One registered instance, as the agent holds it in memory.
//!
//! What only systemd knows (is it running?) is kept here as the last thing that systemd said, in an
//! atomic, so that the hot path reads it without a lock. Everything per-request is here too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tenement_wire::InstanceName;
use tokio::sync::Notify;
use uuid::Uuid;

use super::lease::Gate;
use crate::config::Definition;
use crate::upstream::{Pool, Target};

/// What systemd last said of an instance's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// No unit loaded.
    Dormant = 0,
    /// Socket loaded, service inactive.
    Asleep = 1,
    /// Service activating.
    Starting = 2,
    /// Service active (and, where it binds its own listener, listening).
    Running = 3,
    /// Service deactivating.
    Stopping = 4,
    /// Service failed, or socket failed.
    Failed = 5,
}

impl Phase {
    fn from_u8(value: u8) -> Self {
        match value {
            1 => Self::Asleep,
            2 => Self::Starting,
            3 => Self::Running,
            4 => Self::Stopping,
            5 => Self::Failed,
            _ => Self::Dormant,
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
    /// The socket that systemd listens on and whose first connection starts the service. In
    /// `Listen::Fd` it is the target itself.
    pub trigger: Target,
}

/// One registered instance.
#[derive(Debug)]
pub struct Instance {
    /// `process:id`.
    pub name: InstanceName,
    /// Never changes until it is removed.
    pub uuid: Uuid,
    /// Its TCP port, for apps that listen on one.
    pub port: u16,
    setup: ArcSwap<Setup>,
    phase: AtomicU8,
    since_ms: AtomicU64,
    last_used_ms: AtomicU64,
    /// Lease count and stop gate.
    pub gate: Gate,
    /// Notified when the last lease ends.
    pub idle: Notify,
    /// Notified on each change of phase and when the gate opens.
    pub changed: Notify,
    /// Idle connections to it.
    pub pool: Pool,
    /// How often this agent woke it.
    pub wakes: AtomicU32,
    /// How long the last wake took, in microseconds; 0 = never woken.
    pub last_wake_us: AtomicU64,
}

impl Instance {
    /// An instance that nothing is known of yet.
    #[must_use]
    pub fn new(name: InstanceName, uuid: Uuid, port: u16, setup: Setup) -> Self {
        Self {
            name,
            uuid,
            port,
            setup: ArcSwap::from_pointee(setup),
            phase: AtomicU8::new(Phase::Dormant as u8),
            since_ms: AtomicU64::new(now_ms()),
            last_used_ms: AtomicU64::new(0),
            gate: Gate::default(),
            idle: Notify::new(),
            changed: Notify::new(),
            pool: Pool::default(),
            wakes: AtomicU32::new(0),
            last_wake_us: AtomicU64::new(0),
        }
    }

    /// What the config says of it.
    pub fn setup(&self) -> arc_swap::Guard<Arc<Setup>> {
        self.setup.load()
    }

    /// Replaces what the config says of it.
    pub fn set_setup(&self, setup: Setup) {
        self.setup.store(Arc::new(setup));
    }

    /// Where requests go.
    #[must_use]
    pub fn target(&self) -> Target {
        self.setup.load().target.clone()
    }

    /// What systemd last said.
    #[must_use]
    pub fn phase(&self) -> Phase {
        Phase::from_u8(self.phase.load(Ordering::Acquire))
    }

    /// Notes what systemd said and wakes those who wait for a change.
    pub fn set_phase(&self, phase: Phase) {
        if self.phase.swap(phase as u8, Ordering::AcqRel) != phase as u8 {
            self.since_ms.store(now_ms(), Ordering::Relaxed);
        }
        self.changed.notify_waiters();
    }

    /// When it came into its phase, in Unix milliseconds.
    #[must_use]
    pub fn since_ms(&self) -> u64 {
        self.since_ms.load(Ordering::Relaxed)
    }

    /// Notes that it was used now.
    pub fn touch(&self) {
        self.last_used_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// When its last request ended, in Unix milliseconds; 0 = not since the agent started.
    #[must_use]
    pub fn last_used_ms(&self) -> u64 {
        self.last_used_ms.load(Ordering::Relaxed)
    }
}

/// Now, in Unix milliseconds.
#[must_use]
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
