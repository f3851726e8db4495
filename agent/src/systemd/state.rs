//! What systemd says of a unit, as our types.

use tenement_wire::{InstanceName, TaskTag};

use crate::plan::TaskEnd;

/// A unit's `ActiveState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActiveState {
    /// Up.
    Active,
    /// Up and reloading its configuration.
    Reloading,
    /// Down.
    Inactive,
    /// Down after a failure that nobody has reset.
    Failed,
    /// Coming up.
    Activating,
    /// Going down.
    Deactivating,
    /// A state that this version doesn't know (`maintenance`, `refreshing`).
    Unknown,
}

impl ActiveState {
    /// From systemd's word.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "active" => Self::Active,
            "reloading" => Self::Reloading,
            "inactive" => Self::Inactive,
            "failed" => Self::Failed,
            "activating" => Self::Activating,
            "deactivating" => Self::Deactivating,
            _ => Self::Unknown,
        }
    }

    /// systemd's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Reloading => "reloading",
            Self::Inactive => "inactive",
            Self::Failed => "failed",
            Self::Activating => "activating",
            Self::Deactivating => "deactivating",
            Self::Unknown => "unknown",
        }
    }

    /// Neither up nor on its way up or down.
    #[must_use]
    pub fn is_down(self) -> bool {
        matches!(self, Self::Inactive | Self::Failed)
    }
}

/// Which unit of the pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnitKind {
    /// The `.service`.
    Service,
    /// The `.socket`.
    Socket,
}

impl UnitKind {
    /// The suffix of its unit's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Socket => "socket",
        }
    }
}

/// A loaded unit, read property by property. Figures that systemd doesn't have are 0 or `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    /// `ActiveState`.
    pub active: ActiveState,
    /// `SubState`, such as `running`, `listening`, `dead`.
    pub sub: String,
    /// `Result` of the last run: `success`, `exit-code`, `signal`, `oom-kill`, …
    pub result: String,
    /// Main process, 0 if none (and for sockets).
    pub main_pid: u32,
    /// `CLD_EXITED` (1), `CLD_KILLED` (2), … of the main process's end; 0 = it hasn't ended.
    pub exec_main_code: i32,
    /// Its exit status or signal number.
    pub exec_main_status: i32,
    /// Of this run, 32 hex digits; empty if it never ran.
    pub invocation_id: String,
    /// How often systemd started it again by itself.
    pub n_restarts: u32,
    /// Bytes in its cgroup, where accounted and running.
    pub memory_current: Option<u64>,
    /// Its cgroup; empty when down.
    pub control_group: String,
    /// When it came into this state, Unix microseconds; 0 if never.
    pub since_us: u64,
    /// `Environment`, as `NAME=value`.
    pub environment: Vec<String>,
}

/// One row of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitListing {
    /// Whose unit.
    pub name: InstanceName,
    /// Which of the pair.
    pub kind: UnitKind,
    /// `ActiveState`.
    pub active: ActiveState,
    /// `SubState`.
    pub sub: String,
}

/// Something happened to one of our units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitEvent {
    /// It is loaded, and this is its state now.
    Changed {
        /// Whose unit.
        name: InstanceName,
        /// Which of the pair.
        kind: UnitKind,
        /// `ActiveState`.
        active: ActiveState,
        /// `SubState`.
        sub: String,
        /// `Result` as last heard; empty if systemd has not said it since we listen.
        result: String,
        /// Main process as last heard, 0 if none or unknown.
        main_pid: u32,
        /// `StatusText` as last heard: what a service says of itself (sd_notify(3)).
        status: String,
        /// Whether its `FreezerState` is another than `running`. systemd 252 tells no change of it.
        frozen: bool,
    },
    /// A scheduled job of an instance has begun or ended.
    Job {
        /// Whose.
        name: InstanceName,
        /// Which.
        tag: TaskTag,
        /// `ActiveState` of its service.
        active: ActiveState,
        /// How it ended, as last heard.
        end: TaskEnd,
    },
    /// It is no longer loaded.
    Removed {
        /// Whose unit.
        name: InstanceName,
        /// Which of the pair.
        kind: UnitKind,
    },
    /// Events may have been lost (the bus was away, systemd reloaded, or the consumer was slow):
    /// list the units again.
    Resync,
}

/// The instance and kind of a unit name of ours.
pub(crate) fn ours(unit: &str) -> Option<(InstanceName, UnitKind)> {
    let (name, kind) = InstanceName::from_unit(unit)?;
    Some((name, if kind == "service" { UnitKind::Service } else { UnitKind::Socket }))
}
