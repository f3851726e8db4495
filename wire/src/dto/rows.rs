//! Instances as rows of a long list that is followed.

use serde::{Deserialize, Serialize};

use super::{HealthState, InstanceView, State, Tier};
use crate::InstanceName;

/// What a list shows of an instance, as far as the agent knows it without asking systemd.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InstanceRow {
    /// `process:id`.
    pub name: InstanceName,
    /// What it is doing.
    pub state: State,
    /// How warm it is kept.
    pub tier: Tier,
    /// How it is by its health checks; absent without a check and while it sleeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthState>,
    /// When it came into this state, in Unix milliseconds.
    pub since_ms: u64,
    /// When its last request ended, in Unix milliseconds; absent if it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_ms: Option<u64>,
    /// Requests and streams open now.
    pub in_flight: u32,
    /// How often this agent woke it.
    pub wakes: u64,
    /// Size of its data in bytes when it was last measured: only with a `disk_max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Why the last start failed, or why it has failed for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl InstanceRow {
    /// Whether it shows what `other` shows. The last use is told by two clocks and may tremble a little.
    #[must_use]
    pub fn shows(&self, other: &Self) -> bool {
        let at = |row: &Self| row.last_used_ms.unwrap_or(0);
        at(self).abs_diff(at(other)) < 500
            && Self { last_used_ms: None, ..self.clone() }
                == Self { last_used_ms: None, ..other.clone() }
    }
}

impl From<InstanceView> for InstanceRow {
    fn from(view: InstanceView) -> Self {
        let InstanceView { name, state, tier, health, since_ms, last_used_ms, .. } = view;
        let InstanceView { in_flight, wakes, disk_bytes, failure, .. } = view;
        Self {
            name,
            state,
            tier,
            health,
            since_ms,
            last_used_ms,
            in_flight,
            wakes,
            disk_bytes,
            failure,
        }
    }
}

/// Data of an event of `GET /api/v1/instances/stream`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InstanceRows {
    /// Whether it begins anew: what was known before counts no more.
    pub fresh: bool,
    /// Whether more rows of the same moment follow in the next event.
    pub more: bool,
    /// Rows that are new or changed, in order of name.
    pub rows: Vec<InstanceRow>,
    /// Instances that are gone.
    pub gone: Vec<InstanceName>,
}
