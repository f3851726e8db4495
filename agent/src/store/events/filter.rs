//! Which events somebody asks for.

use tenement_wire::events::{ActorKind, Event, EventKind};
use tenement_wire::{InstanceId, ProcessName};

/// All that is said must hold. Nothing said: all events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of one of these kinds; empty: of any.
    pub kinds: Vec<EventKind>,
    /// About this process or its instances.
    pub process: Option<ProcessName>,
    /// About the instance with this id.
    pub instance: Option<InstanceId>,
    /// Done by this one.
    pub actor: Option<Who>,
    /// From this time on, in Unix milliseconds.
    pub since_ms: Option<u64>,
    /// Before this time, in Unix milliseconds.
    pub until_ms: Option<u64>,
    /// With this text in the message, the action, the code or a detail, in whatever case.
    pub text: Option<String>,
    /// Older than this id.
    pub before: Option<u64>,
    /// Newer than this id.
    pub after: Option<u64>,
    /// Whether the oldest come first.
    pub oldest_first: bool,
    /// At most so many.
    pub limit: usize,
}

/// An actor by kind, and by id or name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// What kind of caller.
    pub kind: ActorKind,
    /// The id or the name; empty: any.
    pub which: String,
}

impl std::str::FromStr for Who {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, which) = text.split_once(':').unwrap_or((text, ""));
        let kind = ActorKind::ALL.into_iter().find(|one| one.as_str() == kind);
        match kind {
            Some(kind) if which.chars().count() <= 200 && !which.contains(':') => {
                Ok(Self { kind, which: which.to_owned() })
            }
            _ => Err("must be uid:N, token:NAME, anonymous or agent"),
        }
    }
}

impl Filter {
    /// Whether `event` is one of them. Neither the place nor the limit counts.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        let holds = |text: &str, part: &str| text.to_lowercase().contains(part);
        (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && self.process.as_ref().is_none_or(|one| event.process.as_ref() == Some(one))
            && self.instance.as_ref().is_none_or(|one| event.instance_id.as_ref() == Some(one))
            && self.since_ms.is_none_or(|since| event.time_ms >= since)
            && self.until_ms.is_none_or(|until| event.time_ms < until)
            && self.actor.as_ref().is_none_or(|who| {
                event.actor.as_ref().is_some_and(|actor| {
                    actor.kind == who.kind
                        && (who.which.is_empty()
                            || actor.id == who.which
                            || actor.name.as_deref() == Some(&who.which))
                })
            })
            && self.text.as_ref().is_none_or(|text| {
                let text = text.to_lowercase();
                let texts = [&event.action, &event.code, &event.request_id, &event.address];
                holds(&event.message, &text)
                    || texts.into_iter().flatten().any(|one| holds(one, &text))
                    || event.detail.values().any(|value| holds(value, &text))
            })
    }
}
