//! What was measured: the past, step by step, and the present.

use serde::{Deserialize, Serialize};

use crate::InstanceName;
use crate::dto::{State, Tier};

/// Answer of `GET /api/v1/metrics/history`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MetricsHistory {
    /// Whose; `null` for all instances together, those that were removed since included.
    pub instance: Option<InstanceName>,
    /// How long each step is, in seconds.
    pub step_seconds: u64,
    /// From when on, in Unix milliseconds: the beginning of a step.
    pub since_ms: u64,
    /// Until when, in Unix milliseconds.
    pub until_ms: u64,
    /// Oldest first. Steps in which an instance neither ran nor got a request are left out. The last one
    /// may be under way.
    pub points: Vec<MetricsPoint>,
}

/// What was measured in one step. `null`: this host does not count it, or it makes no sense for one instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct MetricsPoint {
    /// When the step began, in Unix milliseconds.
    pub at: u64,
    /// Requests answered, by the instance or for it.
    pub requests: u64,
    /// Those of them that were answered with a status of 500 or more.
    pub errors: u64,
    /// How often it was woken.
    pub wakes: u64,
    /// Seconds that it was awake: what one bills. Of all together, the sum.
    pub active_seconds: f64,
    /// CPU time used.
    pub cpu_seconds: Option<f64>,
    /// Memory, as it was at the end of the step (the mean of these, in a step made of several).
    pub memory_bytes: Option<u64>,
    /// Bytes of bodies that it received.
    pub received_bytes: u64,
    /// Bytes of bodies that it sent.
    pub sent_bytes: u64,
    /// The time that half of the requests took at most, estimated from buckets; `null` without requests.
    pub latency_p50_seconds: Option<f64>,
    /// The same for 99 of 100.
    pub latency_p99_seconds: Option<f64>,
    /// Instances that ran at its end.
    pub running: Option<u64>,
    /// Instances that were frozen.
    pub frozen: Option<u64>,
    /// Instances that were parked.
    pub parked: Option<u64>,
    /// Instances that slept deeper: stopped or dormant.
    pub sleeping: Option<u64>,
    /// Instances that had failed.
    pub failed: Option<u64>,
    /// The host's load average of one minute.
    pub load: Option<f64>,
    /// Memory of the host that is in use and could not be given to others.
    pub host_memory_bytes: Option<u64>,
}

/// Answer of `GET /api/v1/metrics/live`: what those instances do now that are awake or were used a moment ago.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct MetricsLive {
    /// When, in Unix milliseconds.
    pub at: u64,
    /// Rates are of this time before, in seconds.
    pub window_seconds: f64,
    /// In order of name; those that sleep and did so all the time are left out.
    pub instances: Vec<InstanceLive>,
}

/// What one instance does now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InstanceLive {
    /// `process:id`.
    pub name: InstanceName,
    /// What it is doing.
    pub state: State,
    /// How deep it lies.
    pub tier: Tier,
    /// Requests a second.
    pub requests_per_second: f64,
    /// Of them, those answered with a status of 500 or more.
    pub errors_per_second: f64,
    /// Seconds of CPU time a second: 1.5 is one and a half cores. `null`: not counted, or it is down.
    pub cpu_cores: Option<f64>,
    /// Memory; `null`: not counted, or it is down.
    pub memory_bytes: Option<u64>,
    /// Processes and threads; `null`: not counted, or it is down.
    pub tasks: Option<u64>,
    /// Requests and streams open now.
    pub in_flight: u32,
    /// How often the agent woke it since the agent was started.
    pub wakes: u64,
}

/// The host, as its kernel has it. `null`: this kernel does not say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct HostLive {
    /// Load averages of 1, 5 and 15 minutes.
    pub load: Vec<f64>,
    /// Processors.
    pub cpus: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Memory that can be given to whoever asks for it.
    pub memory_available_bytes: Option<u64>,
    /// Swap in bytes.
    pub swap_bytes: u64,
    /// Swap that is not in use.
    pub swap_free_bytes: u64,
    /// Seconds since it was booted.
    pub uptime_seconds: u64,
    /// Share of the last ten seconds, in percent, in which some task waited for a processor.
    pub cpu_pressure: Option<f64>,
    /// The same for memory.
    pub memory_pressure: Option<f64>,
    /// The same for block devices.
    pub io_pressure: Option<f64>,
}
