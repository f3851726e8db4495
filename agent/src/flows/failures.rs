//! Failures of one instance: starts that failed, crashes in a row, and which ends are stops of ours.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use tenement_wire::events::EventKind;

use super::host::Active;
use super::instance::{Failure, Instance, mono_ms};

impl Instance {
    /// Its last failure to start, if it has not answered since.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.failure.lock().expect("no panic while held").as_deref().cloned()
    }

    /// Notes a failed start.
    pub fn fail(&self, reason: String) -> Failure {
        self.happened(EventKind::WakeFailed, format!("{} did not start: {reason}", self.name));
        let mut slot = self.failure.lock().expect("no panic while held");
        let count = slot.as_ref().map_or(1, |f| f.count.saturating_add(1));
        let failure = Failure { reason, at: Instant::now(), count };
        *slot = Some(Box::new(failure.clone()));
        failure
    }

    /// Counts a crash and says how many came in a row, none more than 10 s after the one before.
    pub fn count_crash(&self) -> u32 {
        let now = mono_ms();
        if now.saturating_sub(self.crashed_ms.swap(now, Ordering::Relaxed)) > 10_000 {
            self.crashes.store(0, Ordering::Relaxed);
        }
        self.crashes.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Begins counting crashes anew.
    pub fn forget_crashes(&self) {
        self.crashes.store(0, Ordering::Relaxed);
    }

    /// Whether a report of this state comes from a stop of ours. Reports may lag behind the stop: its
    /// last ones may come when the gate is open again, and are no news then.
    pub(super) fn stopped_by_us(&self, state: Active) -> bool {
        let closed = self.gate.is_closed();
        match state {
            Active::Deactivating => closed || self.stopping.load(Ordering::Relaxed),
            Active::Absent | Active::Inactive | Active::Failed => {
                self.stopping.swap(false, Ordering::Relaxed) || closed
            }
            // It is being started again, so the stop is past.
            Active::Activating | Active::Active => {
                self.stopping.fetch_and(closed, Ordering::Relaxed);
                closed && state == Active::Activating
            }
        }
    }

    /// Forgets its failures: it answered, or an operator asked for a new try.
    pub fn recovered(&self) {
        self.forget_crashes();
        *self.failure.lock().expect("no panic while held") = None;
    }
}
