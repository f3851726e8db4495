//! How long an instance was awake, and what it computed until it slept: what one bills.

use std::sync::Mutex;

use crate::flows::instance::{Instance, Phase, mono_ms};

/// Time awake, counted since the agent started.
#[derive(Debug, Default)]
pub struct Awake(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    before_ms: u64,
    since_ms: Option<u64>,
    /// CPU time of services that have ended, in microseconds.
    cpu_us: u64,
}

impl Awake {
    /// Notes whether it is awake from `now_ms` on.
    pub(in crate::flows) fn note(&self, awake: bool, now_ms: u64) {
        let mut counted = self.0.lock().expect("no panic while held");
        match (awake, counted.since_ms) {
            (true, None) => counted.since_ms = Some(now_ms),
            (false, Some(since)) => {
                counted.before_ms += now_ms.saturating_sub(since);
                counted.since_ms = None;
            }
            _ => {}
        }
    }

    fn ms(&self, now_ms: u64) -> u64 {
        let counted = self.0.lock().expect("no panic while held");
        counted.before_ms + counted.since_ms.map_or(0, |since| now_ms.saturating_sub(since))
    }
}

impl Instance {
    /// Milliseconds that it was awake since the agent started: starting, running or stopping, and neither
    /// frozen nor parked.
    #[must_use]
    pub fn active_ms(&self) -> u64 {
        self.awake.ms(mono_ms())
    }

    /// Notes what its service had computed when we stopped it: its control group goes with it.
    pub(in crate::flows) fn note_cpu(&self, us: u64) {
        self.awake.0.lock().expect("no panic while held").cpu_us += us;
    }

    /// CPU time of its services that were stopped since the agent started, in microseconds.
    pub(super) fn cpu_before_us(&self) -> u64 {
        self.awake.0.lock().expect("no panic while held").cpu_us
    }

    /// Takes note of its phase.
    pub(in crate::flows) fn note_awake(&self) {
        let awake = match self.phase() {
            // What systemd starts is only the stub.
            Phase::Starting => !self.is_being_parked(),
            Phase::Running | Phase::Stopping => true,
            Phase::Dormant | Phase::Asleep | Phase::Frozen | Phase::Parked | Phase::Failed => false,
        };
        self.awake.note(awake, mono_ms());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_awake_counts_and_it_never_goes_back() {
        let awake = Awake::default();
        assert_eq!(awake.ms(50), 0);
        awake.note(true, 100);
        awake.note(true, 150);
        assert_eq!(awake.ms(400), 300);
        awake.note(false, 500);
        awake.note(false, 900);
        assert_eq!(awake.ms(1000), 400);
        awake.note(true, 2000);
        assert_eq!((awake.ms(2000), awake.ms(2100)), (400, 500));
    }
}
