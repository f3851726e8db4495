//! `min_running`: which instances of a process are kept running because they were used last.

use std::collections::HashMap;

use tenement_wire::{InstanceName, ProcessName};

use super::agent::Agent;
use super::host::Host;
use super::instance::{Instance, Phase};

/// What orders the instances of a process: the last use, then the name, so that of two that decide at once
/// not both go, and not both stay.
type Rank = (u64, InstanceName);

/// For each process with `min_running`, the rank of the last one that is kept; `None` where too few are up.
/// Looked up once by who asks about many instances: one by one, 10,000 would be compared with 10,000.
#[derive(Debug, Default)]
pub(super) struct Few(HashMap<ProcessName, Option<Rank>>);

impl Few {
    /// Whether `instance` is one of those.
    pub(super) fn keeps(&self, instance: &Instance) -> bool {
        self.0.get(instance.name.process()).is_some_and(|last| {
            last.as_ref().is_none_or(|(used, name)| {
                (*used, name) <= (instance.last_used_ms(), &instance.name)
            })
        })
    }
}

impl Instance {
    /// Whether it is up and does its work: one that crashes or backs off holds nobody's place.
    pub(super) fn stands(&self) -> bool {
        matches!(self.phase(), Phase::Running | Phase::Starting)
            && self.failure().is_none()
            && !self.care.has_failed()
    }
}

impl<H: Host> Agent<H> {
    /// Who is kept now.
    pub(super) fn few(&self) -> Few {
        let config = self.config.load();
        let mut ranks: HashMap<ProcessName, (usize, Vec<Rank>)> = config
            .processes
            .values()
            .filter(|definition| definition.tiers.min_running > 0)
            .map(|one| (one.name.clone(), (one.tiers.min_running as usize, Vec::new())))
            .collect();
        if !ranks.is_empty() {
            let instances = self.instances.read().expect("no panic while held");
            for one in instances.values() {
                if let Some((_, up)) = ranks.get_mut(one.name.process())
                    && one.stands()
                {
                    up.push((one.last_used_ms(), one.name.clone()));
                }
            }
        }
        let last = |(most, mut up): (usize, Vec<Rank>)| {
            up.sort_unstable_by(|a, b| b.cmp(a));
            up.into_iter().nth(most - 1)
        };
        Few(ranks.into_iter().map(|(name, ranked)| (name, last(ranked))).collect())
    }

    /// Whether fewer than `most` of its process are up and were used later.
    pub(super) fn is_one_of(&self, most: usize, instance: &Instance) -> bool {
        let mine = (instance.last_used_ms(), &instance.name);
        let instances = self.instances.read().expect("no panic while held");
        let later = instances.values().filter(|one| {
            one.name.process() == instance.name.process()
                && (one.last_used_ms(), &one.name) > mine
                && one.stands()
        });
        later.take(most).count() < most
    }
}
