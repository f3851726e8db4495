//! Book: what was counted of each instance when it was last looked at, to tell what came since.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::meter::{Meter, Reading};
use crate::flows::instance::Instance;
use crate::kernel::Used;
use crate::store::series::Row;

/// The counts of one instance at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) reading: Reading,
    pub(super) wakes: u64,
    pub(super) active_ms: u64,
    pub(super) used: Used,
    /// CPU time of services that were stopped.
    pub(super) cpu_before_us: u64,
}

impl Counts {
    pub(super) fn of(instance: &Instance, used: Used) -> Self {
        Self {
            reading: instance.meter.get().map(|meter| Meter::read(meter)).unwrap_or_default(),
            wakes: u64::from(instance.wakes.load(Ordering::Relaxed)),
            active_ms: instance.active_ms(),
            used,
            cpu_before_us: instance.cpu_before_us(),
        }
    }

    /// CPU time, if any is known: of the services that were stopped and of the one that runs.
    pub(super) fn cpu_us(&self) -> Option<u64> {
        let before = (self.cpu_before_us > 0).then_some(self.cpu_before_us);
        (self.used.cpu_us.is_some() || before.is_some())
            .then(|| self.cpu_before_us + self.used.cpu_us.unwrap_or(0))
    }

    /// CPU time since `before`. A group that was made anew unseen counts from 0.
    pub(super) fn cpu_since(&self, before: &Self) -> Option<u64> {
        let now = self.cpu_us()?;
        let before = before.cpu_us().unwrap_or(0);
        Some(if now >= before { now - before } else { self.used.cpu_us.unwrap_or(0) })
    }

    /// What came since `before`, as a row without a time. None if nothing did.
    pub(super) fn since(&self, before: &Self) -> Option<Row> {
        let row = Row {
            requests: self.reading.requests().saturating_sub(before.reading.requests()),
            errors: self.reading.errors().saturating_sub(before.reading.errors()),
            wakes: self.wakes.saturating_sub(before.wakes),
            cpu_us: self.cpu_since(before),
            memory: self.used.memory,
            active_ms: self.active_ms.saturating_sub(before.active_ms),
            received: self.reading.received.saturating_sub(before.reading.received),
            sent: self.reading.sent.saturating_sub(before.reading.sent),
            latency: self.reading.took.since(&before.reading.took).buckets.to_vec(),
            ..Row::default()
        };
        let idle = row.requests == 0 && row.wakes == 0 && row.active_ms == 0;
        (!idle || row.sent > 0 || row.received > 0).then_some(row)
    }
}

/// What was last seen of every instance that ever did something.
#[derive(Default)]
pub(super) struct Book {
    seen: HashMap<Uuid, (Arc<Instance>, Counts)>,
    /// Whether the first look was taken: what runs since before the agent did has used nothing since.
    pub(super) begun: bool,
}

/// What all instances did in a step.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// Of each.
    pub(super) rows: Vec<(Option<Uuid>, Row)>,
    /// Of all together.
    pub(super) total: Row,
}

impl Book {
    /// The first look. Requests are counted from the agent's start on, which was a little before; what the
    /// kernel counts began with the instances.
    pub(super) fn begin(&mut self, now: &[(Arc<Instance>, Used)]) {
        for (instance, used) in now {
            let counts = Counts { reading: Reading::default(), ..Counts::of(instance, *used) };
            self.seen.insert(instance.uuid, (instance.clone(), counts));
        }
    }

    /// What came since the last look. `write`: this is a look.
    pub(super) fn look(&mut self, now: &[(Arc<Instance>, Used)], write: bool) -> Step {
        let mut step = Step::default();
        let mut memory = None;
        let nothing = Counts::default();
        for (instance, used) in now {
            let counts = Counts::of(instance, *used);
            let before = self.seen.get(&instance.uuid).map_or(&nothing, |(_, before)| before);
            if let Some(bytes) = used.memory {
                memory = Some(memory.unwrap_or(0) + bytes);
            }
            if let Some(row) = counts.since(before) {
                step.total.merge(&row);
                step.rows.push((Some(instance.uuid), row));
            }
            if write {
                self.seen.insert(instance.uuid, (instance.clone(), counts));
            }
        }
        // Removed since: their last requests are in no row of their own any more.
        let removed = |instance: &Instance| instance.removed.load(Ordering::Acquire);
        for (instance, before) in self.seen.values().filter(|(instance, _)| removed(instance)) {
            let last = Counts::of(instance, Used::default());
            if let Some(row) = last.since(before) {
                step.total.merge(&row);
            }
        }
        if write {
            self.seen.retain(|_, (instance, _)| !removed(instance));
        }
        step.total.memory = memory;
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(before: u64, cpu_us: Option<u64>) -> Counts {
        let used = Used { cpu_us, ..Used::default() };
        Counts { used, cpu_before_us: before, ..Counts::default() }
    }

    #[test]
    fn cpu_time_of_a_nap_is_counted_though_its_group_is_gone() {
        let none = Counts::default();
        assert_eq!(none.cpu_us(), None, "nothing is known");
        assert_eq!(counts(0, Some(70)).cpu_since(&none), Some(70));
        let slept = counts(90, None);
        assert_eq!(slept.cpu_since(&counts(0, Some(70))), Some(20), "until it was stopped");
        assert_eq!(slept.cpu_since(&none), Some(90), "a whole nap between two looks");
        assert_eq!(counts(90, Some(5)).cpu_since(&slept), Some(5), "and the next start");
        assert_eq!(counts(90, Some(3)).cpu_since(&counts(90, Some(50))), Some(3), "a crash");
    }
}
