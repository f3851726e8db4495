//! What the management API says of the agent itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metrics::HostLive;

/// Answer of `GET /api/v1/metrics/summary`. Counts are of this agent, since it was started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct MetricsSummary {
    /// Instances that are registered.
    pub instances: u64,
    /// How many are in each state.
    pub states: BTreeMap<String, u64>,
    /// How many are in each tier.
    pub tiers: BTreeMap<String, u64>,
    /// Requests and streams open now.
    pub in_flight: u64,
    /// How often it woke an instance.
    pub wakes: u64,
    /// Processes of the config.
    pub processes: u64,
    /// What came through the proxy.
    pub traffic: Traffic,
    /// Why the state database can't be written or copied now; `null` while it can.
    pub store_trouble: Option<String>,
    /// Bytes of the index of logs; `null` without one.
    pub logs_bytes: Option<u64>,
    /// Lines in it.
    pub logs_lines: Option<u64>,
    /// Requests a second of all instances, since the rates were last asked for; `null` if they are not measured.
    pub requests_per_second: Option<f64>,
    /// Of them, those answered with a status of 500 or more.
    pub errors_per_second: Option<f64>,
    /// Seconds of CPU time a second that all instances use.
    pub cpu_cores: Option<f64>,
    /// Memory of all instances, as far as this host counts it.
    pub memory_bytes: Option<u64>,
    /// How busy the host is.
    pub host: Option<HostLive>,
}

/// What came through the proxy since the agent was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Traffic {
    /// Connections accepted.
    pub connections: u64,
    /// Connections turned away by a limit.
    pub connections_refused: u64,
    /// Requests that reached a route decision.
    pub requests: u64,
    /// Requests refused for their framing.
    pub requests_refused: u64,
    /// Requests answered with 502, 503 or 504 by the proxy itself.
    pub failures: u64,
    /// Exchanges that were tried again on a fresh connection.
    pub retries: u64,
    /// Connections switched to another protocol.
    pub upgrades: u64,
    /// TLS handshakes that came to nothing.
    #[serde(default)]
    pub handshakes_failed: u64,
    /// Spans that the collector took.
    #[serde(default)]
    pub spans_sent: u64,
    /// Spans that were not sent: too many waited, or the collector did not take them.
    #[serde(default)]
    pub spans_dropped: u64,
    /// Lines of the access log handed to the journal.
    #[serde(default)]
    pub access_lines: u64,
    /// Lines of the access log that were not written.
    #[serde(default)]
    pub access_lines_dropped: u64,
}

/// Answer of `GET /api/v1/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Health {
    /// `ok`.
    pub status: String,
}
