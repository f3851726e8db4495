//! Alerts: what is sent to the receiver, and how sending goes.

use serde::{Deserialize, Serialize};

use crate::events::Event;

/// Body of what is posted to the receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The same in every try, so that a receiver can tell a repetition.
    pub id: String,
    /// `test`, or the kind of the event.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name of the host.
    pub host: String,
    /// What happened, in a sentence.
    pub message: String,
    /// How many more of this kind, about the same instance, came since the last alert and were not sent.
    pub suppressed: u64,
    /// The event itself; the newest, if several were suppressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
}

/// Answer of `GET /api/v1/alerts`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AlertsView {
    /// Whether alerts are sent at all.
    pub configured: bool,
    /// The receiver's scheme and host; the rest of its address may be a secret.
    pub receiver: Option<String>,
    /// Alerts that wait to be sent, or to be tried again.
    pub waiting: u32,
    /// Alerts that the receiver took since the agent started.
    pub sent: u64,
    /// Alerts that were given up.
    pub failed: u64,
    /// Events that were counted and not sent, because one like it was sent shortly before.
    pub suppressed: u64,
    /// How the last try went.
    pub last: Option<AlertTried>,
}

/// How a try to send an alert went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AlertTried {
    /// When, in Unix milliseconds.
    pub time_ms: u64,
    /// Whether the receiver took it.
    pub taken: bool,
    /// The receiver's HTTP status, if it answered.
    pub status: Option<u16>,
    /// The beginning of what it said, or why there was no answer.
    pub said: String,
}
