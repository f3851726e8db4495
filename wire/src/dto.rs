//! What the management API sends and takes, as JSON.

mod config;
mod metrics;
mod rows;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::status::{ServiceView, Usage};
use crate::{InstanceName, Limit, ReleaseName, ResourceLimits};

pub use config::{
    CheckRequest, ConfigCheck, ConfigFile, ConfigProblem, ConfigView, ProcessList, ProcessView,
};
pub use metrics::{Health, MetricsSummary, Traffic};
pub use rows::{InstanceRow, InstanceRows};

/// What an instance is doing, in the words of this project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its service is not running: a request wakes it. Its [`Tier`] tells how deep it sleeps.
    Asleep,
    /// Its service is being started.
    Starting,
    /// Its service runs.
    Running,
    /// Its service is being stopped.
    Stopping,
    /// Its last start failed; the next request tries again after the back-off.
    Failed,
}

impl State {
    /// The word that `ten ps` shows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asleep => "asleep",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
        }
    }
}

impl std::str::FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const ALL: [State; 5] =
            [State::Asleep, State::Starting, State::Running, State::Stopping, State::Failed];
        ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            let words = ALL.map(State::as_str).join(", ");
            format!("must be one of {words}")
        })
    }
}

/// How warm an instance is kept, from warm to cold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// It has a process.
    Running,
    /// It has a process whose memory was reclaimed; it still answers by itself.
    Reclaimed,
    /// It has a process that is frozen; a request thaws it.
    Frozen,
    /// Its sandbox stands and a stub waits in it for the first connection to become the app.
    Parked,
    /// Its units are loaded and its service is stopped: a connection starts it.
    Stopped,
    /// No unit is loaded: its first request makes the pair of units.
    Dormant,
}

impl Tier {
    /// The word that `ten ps` shows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Reclaimed => "reclaimed",
            Self::Frozen => "frozen",
            Self::Parked => "parked",
            Self::Stopped => "stopped",
            Self::Dormant => "dormant",
        }
    }
}

/// How an instance is by its health checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    /// It has come up and has not been healthy yet.
    Starting,
    /// Its last checks were good.
    Healthy,
    /// Its last check was bad, but it is not unhealthy yet.
    Degraded,
    /// Too many checks were bad: it is to be restarted.
    Unhealthy,
    /// It was restarted too often, and waits for `ten reset`.
    Failed,
}

impl HealthState {
    /// The word that `ten ps` shows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::Failed => "failed",
        }
    }
}

/// One instance, as `ten ps --json` and `ten show --json` print it. Times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InstanceView {
    /// `process:id`.
    pub name: InstanceName,
    /// Never changes until the instance is removed.
    pub uuid: String,
    /// What it is doing.
    pub state: State,
    /// How warm it is kept.
    pub tier: Tier,
    /// When it came into this state, as far as this agent saw it.
    pub since_ms: u64,
    /// Main process id while it runs.
    pub pid: Option<u32>,
    /// Where it is reached: `http://{id}.{process}.{domain}[:port]/`.
    pub url: String,
    /// Its service unit.
    pub unit: String,
    /// How it listens: `fd`, `socket`, `port` or `own`.
    pub listen: String,
    /// Where the agent reaches it: a socket path or `127.0.0.1:port`.
    pub address: String,
    /// Its data directory.
    pub data_dir: String,
    /// Requests and streams open now.
    pub in_flight: u32,
    /// When its last request ended, if it had one since the agent started.
    pub last_used_ms: Option<u64>,
    /// Seconds of idleness after which it sleeps; 0 means never.
    pub idle_timeout_s: u64,
    /// Memory that its cgroup uses, in bytes, while it runs and where the host accounts it.
    pub memory_bytes: Option<u64>,
    /// Size of its data in bytes when it was last measured: only with a `disk_max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// The release that it runs from at its next start, if its process uses releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(nullable = false))]
    pub release: Option<ReleaseName>,
    /// The limits in force, by name; `cpu` is in thousandths of a core, times are in seconds.
    #[serde(default, skip_serializing_if = "ResourceLimits::is_empty")]
    pub limits: ResourceLimits,
    /// How often this agent woke it.
    pub wakes: u64,
    /// How long the last wake took, in milliseconds.
    pub last_wake_ms: Option<f64>,
    /// How it is by its health checks; `null` without a check and while it sleeps.
    #[serde(default)]
    pub health: Option<HealthState>,
    /// Why the last start failed, or why it has failed for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// What happens to it next if nobody uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step: Option<NextStep>,
    /// What systemd says of its service; `null` while no unit of it is loaded, and in lists while it
    /// sleeps.
    #[serde(default)]
    pub service: Option<ServiceView>,
    /// What its service uses.
    #[serde(default)]
    pub usage: Usage,
}

/// The next step of an unused instance to a colder tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NextStep {
    /// In words that follow "it": `freezes`, `stops`, `is unloaded`, `has its memory reclaimed`.
    pub step: String,
    /// When, in Unix milliseconds, to the second.
    pub at_ms: u64,
}

/// Answer of `GET /api/v1/instances`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InstanceList {
    /// In order of name.
    pub instances: Vec<InstanceView>,
    /// How many match in all, on this page and on others.
    #[serde(default)]
    pub total: u64,
    /// The `cursor` of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(nullable = false))]
    pub next: Option<InstanceName>,
}

/// Body of `POST /api/v1/instances`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SpawnRequest {
    /// The process to spawn.
    #[cfg_attr(feature = "schema", schema(value_type = crate::ProcessName))]
    pub process: String,
    /// The ids to register, each once; empty means ids `1..=instances` of the config.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Ids))]
    pub ids: Vec<String>,
    /// Start them now, or only register them (asleep until the first request).
    #[serde(default = "yes")]
    #[cfg_attr(feature = "schema", schema(default = true))]
    pub start: bool,
}

fn yes() -> bool {
    true
}

/// Answer of `DELETE /api/v1/instances/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Removed {
    /// The instance that was removed.
    pub name: InstanceName,
    /// Where its data is, or was.
    pub data_dir: String,
    /// Whether its data was deleted.
    pub purged: bool,
    /// Custom domains that lead to it alone. They are removed if its data was deleted, and else kept with it.
    #[serde(default)]
    pub domains: Vec<String>,
}

/// Body of `PATCH /api/v1/instances/{name}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LimitsChange {
    /// New limits by name, in the units of the answer: a number sets one, `null` takes it away. What is in force
    /// then must fit together: `memory_high` is at most `memory_max`.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Changes))]
    pub limits: BTreeMap<Limit, Option<u64>>,
}

/// Answer of `PATCH /api/v1/instances/{name}`: limits by name, `cpu` in thousandths of a core.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LimitsSet {
    /// The instance.
    pub name: InstanceName,
    /// The limits in force now.
    pub limits: ResourceLimits,
    /// Those that were set for this instance alone, as they were asked for.
    pub overrides: ResourceLimits,
    /// Those of them that a maximum of the config holds down.
    pub clamped: Vec<Limit>,
    /// Changed ones that the running instance has only from its next start on.
    pub at_next_start: Vec<Limit>,
}

/// Answer of `GET /api/v1/instances/{name}/why`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Why {
    /// The instance itself.
    pub instance: InstanceView,
    /// One sentence: why it is awake or asleep.
    pub reason: String,
    /// What keeps it awake now, such as `2 open requests`.
    pub holds: Vec<String>,
    /// Seconds until it sleeps, if nothing else happens.
    pub sleeps_in_s: Option<u64>,
    /// What the next request would do.
    pub next_request: String,
}

/// Answer of `GET /api/v1/version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Version {
    /// Version of the agent.
    pub version: String,
    /// Version of systemd that it talks to, such as `252`.
    pub systemd: Option<u32>,
    /// `system` or `user`.
    pub mode: String,
}

/// What an instance is waited for with `?wait=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// It runs, and its health check, if it has one, is good.
    Healthy,
    /// It runs.
    Running,
    /// It sleeps, in whatever tier.
    Asleep,
}

impl Wanted {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Running => "running",
            Self::Asleep => "asleep",
        }
    }

    /// Whether an instance is there.
    #[must_use]
    pub fn is_reached(self, view: &InstanceView) -> bool {
        match self {
            Self::Healthy => {
                view.state == State::Running
                    && view.health.is_none_or(|health| health == HealthState::Healthy)
            }
            Self::Running => view.state == State::Running,
            Self::Asleep => view.state == State::Asleep,
        }
    }
}

impl std::str::FromStr for Wanted {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Healthy, Self::Running, Self::Asleep];
        let found = all.into_iter().find(|wanted| wanted.as_str() == text);
        found.ok_or("must be healthy, running or asleep")
    }
}
