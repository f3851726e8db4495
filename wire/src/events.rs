//! What happened on this host and who did it: events of the agent.

mod page;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use page::{EventPage, EventsMissed};

use crate::{InstanceId, InstanceName, ProcessName};

/// Longest message of an event, in characters; longer ones are cut.
pub const MESSAGE_MAX: usize = 500;
/// Most details of one event.
pub const DETAILS_MAX: usize = 16;
/// Longest value of a detail, in characters; longer ones are cut.
pub const DETAIL_MAX: usize = 1000;

/// What kind of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// Somebody changed something through the API, or tried to.
    Change,
    /// Requests that were refused because nobody may make them, or not this caller (401, 403).
    Refused,
    /// An instance changed its state.
    State,
    /// An instance has failed until somebody resets it.
    Failed,
    /// An instance's restarts come too often.
    RestartLoop,
    /// The kernel killed a process of an instance because it was out of memory.
    Oom,
    /// The data directory of an instance is nearly as large as it may be, or as large.
    Quota,
    /// A backup of an instance could not be made, or old ones not be removed.
    BackupFailed,
    /// A start that somebody waited for did not succeed.
    WakeFailed,
    /// A release was taken back by itself.
    Rollback,
    /// A scheduled job of an instance has failed.
    JobFailed,
    /// A certificate could not be had or renewed.
    Certificate,
    /// The config was read again, whatever came of it.
    Config,
    /// A token was made, used up, rotated or revoked.
    Token,
    /// Too many wrong tokens: an address or a token is locked out for a while.
    Lockout,
    /// How far a long operation is.
    Operation,
    /// An alert was sent, or could not be.
    Alert,
    /// The agent itself: it was started or stopped.
    Agent,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Change,
        Self::Refused,
        Self::State,
        Self::Failed,
        Self::RestartLoop,
        Self::Oom,
        Self::Quota,
        Self::BackupFailed,
        Self::WakeFailed,
        Self::Rollback,
        Self::JobFailed,
        Self::Certificate,
        Self::Config,
        Self::Token,
        Self::Lockout,
        Self::Operation,
        Self::Alert,
        Self::Agent,
    ];

    /// Those that alerts are sent for.
    pub const ALERTING: [Self; 10] = [
        Self::Failed,
        Self::RestartLoop,
        Self::Oom,
        Self::Quota,
        Self::BackupFailed,
        Self::WakeFailed,
        Self::Rollback,
        Self::JobFailed,
        Self::Certificate,
        Self::Lockout,
    ];

    /// Its word in the API, in the database, in `ten events` and in the config.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Refused => "refused",
            Self::State => "state",
            Self::Failed => "failed",
            Self::RestartLoop => "restart-loop",
            Self::Oom => "oom",
            Self::Quota => "quota",
            Self::BackupFailed => "backup-failed",
            Self::WakeFailed => "wake-failed",
            Self::Rollback => "rollback",
            Self::JobFailed => "job-failed",
            Self::Certificate => "certificate",
            Self::Config => "config",
            Self::Token => "token",
            Self::Lockout => "lockout",
            Self::Operation => "operation",
            Self::Alert => "alert",
            Self::Agent => "agent",
        }
    }

    /// Whether such events come by themselves all the time. They are kept apart, by a count of their own, so that they
    /// can't push out who changed what.
    #[must_use]
    pub fn is_routine(self) -> bool {
        matches!(self, Self::State | Self::Operation)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            format!("must be one of {}", all.join(", "))
        })
    }
}

/// What kind of caller somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ActorKind {
    /// A user of this host, on the admin socket; the id is the uid.
    Uid,
    /// Somebody with a token; the id is the token's.
    Token,
    /// Somebody who is not known.
    Anonymous,
    /// The agent itself.
    Agent,
}

impl ActorKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Uid, Self::Token, Self::Anonymous, Self::Agent];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uid => "uid",
            Self::Token => "token",
            Self::Anonymous => "anonymous",
            Self::Agent => "agent",
        }
    }
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Actor {
    /// What kind of caller.
    #[serde(rename = "type")]
    pub kind: ActorKind,
    /// The uid, or the id of the token; empty for others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The name of the token, as it was then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Actor {
    /// A user of this host.
    #[must_use]
    pub fn uid(uid: u32) -> Self {
        Self { kind: ActorKind::Uid, id: uid.to_string(), name: None }
    }

    /// Somebody with this token.
    #[must_use]
    pub fn token(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: ActorKind::Token, id: id.into(), name: Some(name.into()) }
    }

    /// Somebody who is not known.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { kind: ActorKind::Anonymous, id: String::new(), name: None }
    }

    /// The agent itself.
    #[must_use]
    pub fn agent() -> Self {
        Self { kind: ActorKind::Agent, id: String::new(), name: None }
    }
}

/// `uid:0`, `token:ci`, `agent`.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        match self.name.as_deref().unwrap_or(&self.id) {
            "" => Ok(()),
            which => write!(f, ":{which}"),
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Event {
    /// Counts up from the oldest to the newest; no two events have the same.
    pub id: u64,
    /// When, in Unix milliseconds.
    pub time_ms: u64,
    /// What kind of event.
    pub kind: EventKind,
    /// What happened, in a sentence for people. It may change from version to version.
    pub message: String,
    /// The process it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessName>,
    /// The id of the instance it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<InstanceId>,
    /// Who did it, if anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// Where that one came from: an IP address, or `local` for the admin socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Id of the request, as in the answer and in the agent's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Method and route, such as `POST /instances/{name}/wake`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// HTTP status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Code of the error, if it was refused or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// More about it, by name. Never the value of a secret or a token.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detail: BTreeMap<String, String>,
}

impl Event {
    /// An event with nothing but its kind and a message. Whoever keeps it gives it its id and time.
    #[must_use]
    pub fn new(kind: EventKind, message: impl Into<String>) -> Self {
        Self {
            id: 0,
            time_ms: 0,
            kind,
            message: message.into(),
            process: None,
            instance_id: None,
            actor: None,
            address: None,
            request_id: None,
            action: None,
            status: None,
            code: None,
            detail: BTreeMap::new(),
        }
    }

    /// About this instance.
    #[must_use]
    pub fn about(mut self, name: &InstanceName) -> Self {
        self.process = Some(name.process().clone());
        self.instance_id = Some(name.id().clone());
        self
    }

    /// Done by this one.
    #[must_use]
    pub fn by(mut self, actor: Actor) -> Self {
        self.actor = Some(actor);
        self
    }

    /// With this detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.detail.insert(name.to_owned(), value.into());
        self
    }

    /// The instance it is about, if it is about one.
    #[must_use]
    pub fn instance(&self) -> Option<InstanceName> {
        Some(InstanceName::new(self.process.clone()?, self.instance_id.clone()?))
    }

    /// The same, no longer than an event may be.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        cut(&mut self.message, MESSAGE_MAX);
        while self.detail.len() > DETAILS_MAX {
            self.detail.pop_last();
        }
        self.detail.values_mut().for_each(|value| cut(value, DETAIL_MAX));
        let texts = [&mut self.address, &mut self.request_id, &mut self.action, &mut self.code];
        texts.into_iter().flatten().for_each(|text| cut(text, 200));
        if let Some(name) = self.actor.as_mut().and_then(|actor| actor.name.as_mut()) {
            cut(name, 200);
        }
        self
    }
}

/// Shortens `text` to `max` characters; the last one is an ellipsis then.
fn cut(text: &mut String, max: usize) {
    if text.len() > max
        && let Some((at, _)) = text.char_indices().nth(max - 1)
        && text[at..].chars().nth(1).is_some()
    {
        text.truncate(at);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_word() {
        for kind in EventKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert!("x".parse::<EventKind>().unwrap_err().contains("restart-loop"));
    }

    #[test]
    fn an_event_is_as_long_as_it_may_be_and_no_longer() {
        let exact = "ä".repeat(MESSAGE_MAX);
        assert_eq!(Event::new(EventKind::Change, exact.clone()).bounded().message, exact);
        let mut event = Event::new(EventKind::Change, "ä".repeat(MESSAGE_MAX + 1));
        for at in 0..DETAILS_MAX + 5 {
            event = event.with(&format!("{at:02}"), "x".repeat(5000));
        }
        let event = event.bounded();
        assert_eq!(event.message.chars().count(), MESSAGE_MAX);
        assert!(event.message.ends_with("ä…"));
        assert_eq!(event.detail.len(), DETAILS_MAX);
        assert!(event.detail.values().all(|value| value.chars().count() == DETAIL_MAX));
    }

    #[test]
    fn an_actor_reads_as_it_is_asked_for() {
        assert_eq!(Actor::uid(0).to_string(), "uid:0");
        assert_eq!(Actor::token("abc", "ci").to_string(), "token:ci");
        assert_eq!(Actor::agent().to_string(), "agent");
    }
}
