//! What the holder of a token may do, and to what.

use std::fmt;

use tenement_wire::{InstanceId, InstanceName, ProcessName, Scope, TokenId, TokenName};

/// What somebody holds who has shown a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The public half of the token.
    pub id: TokenId,
    /// What people call it.
    pub name: TokenName,
    /// What it may do.
    pub scope: Scope,
    /// What it may do that to.
    pub reach: Reach,
}

impl Grant {
    /// Whether it may do what needs `scope`.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scope >= scope
    }

    /// Whether it may know of `name`.
    #[must_use]
    pub fn sees(&self, name: &InstanceName) -> bool {
        self.reach.sees(name)
    }
}

/// How it stands in the log and in events.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token {} ({})", self.name, self.id)
    }
}

/// Which instances somebody may know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// All, and what belongs to the host: its config, its state.
    Host,
    /// Those of one process.
    Process(ProcessName),
    /// One.
    Instance(InstanceName),
}

impl Reach {
    /// From the two restrictions. None for an instance without a process: an id alone would reach into
    /// every process that happens to have one of that id.
    #[must_use]
    pub fn new(process: Option<ProcessName>, instance: Option<InstanceId>) -> Option<Self> {
        match (process, instance) {
            (None, None) => Some(Self::Host),
            (Some(process), None) => Some(Self::Process(process)),
            (Some(process), Some(id)) => Some(Self::Instance(InstanceName::new(process, id))),
            (None, Some(_)) => None,
        }
    }

    /// The only process in reach, if there is but one.
    #[must_use]
    pub fn process(&self) -> Option<&ProcessName> {
        match self {
            Self::Host => None,
            Self::Process(process) => Some(process),
            Self::Instance(name) => Some(name.process()),
        }
    }

    /// The id of the only instance in reach, if there is but one.
    #[must_use]
    pub fn instance(&self) -> Option<&InstanceId> {
        match self {
            Self::Host | Self::Process(_) => None,
            Self::Instance(name) => Some(name.id()),
        }
    }

    /// Whether `name` is in reach.
    #[must_use]
    pub fn sees(&self, name: &InstanceName) -> bool {
        match self {
            Self::Host => true,
            Self::Process(process) => name.process() == process,
            Self::Instance(own) => name == own,
        }
    }

    /// Whether any instance of `process` can be in reach.
    #[must_use]
    pub fn sees_process(&self, process: &ProcessName) -> bool {
        self.process().is_none_or(|own| own == process)
    }

    /// Whether everything in reach of `other` is in reach of this.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Host, _) => true,
            (Self::Process(own), Self::Process(process)) => own == process,
            (own, Self::Instance(name)) => own.sees(name),
            (Self::Process(_) | Self::Instance(_), Self::Host)
            | (Self::Instance(_), Self::Process(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(process: &str, id: &str) -> Reach {
        let process = (!process.is_empty()).then(|| process.parse().unwrap());
        let id = (!id.is_empty()).then(|| id.parse().unwrap());
        Reach::new(process, id).unwrap()
    }

    #[test]
    fn reach_is_what_it_names_and_nothing_else() {
        let seen = |reach: &Reach| {
            let names = ["api:prod", "api:test", "web:prod"];
            let seen = names.into_iter().filter(|name| reach.sees(&name.parse().unwrap()));
            seen.collect::<Vec<_>>()
        };
        assert_eq!(seen(&reach("", "")), ["api:prod", "api:test", "web:prod"]);
        assert_eq!(seen(&reach("api", "")), ["api:prod", "api:test"]);
        assert_eq!(seen(&reach("api", "prod")), ["api:prod"]);
        assert_eq!(Reach::new(None, Some("prod".parse().unwrap())), None);
    }

    #[test]
    fn a_reach_covers_itself_and_what_is_narrower() {
        let from_wide = [reach("", ""), reach("api", ""), reach("api", "prod")];
        for (a, wide) in from_wide.iter().enumerate() {
            for (b, other) in from_wide.iter().enumerate() {
                assert_eq!(wide.covers(other), a <= b, "{wide:?} {other:?}");
            }
            assert_eq!(wide.covers(&reach("web", "")), a == 0);
            assert_eq!(wide.covers(&reach("api", "test")), a <= 1);
            assert_eq!(wide.covers(&reach("web", "prod")), a == 0);
        }
    }
}
