//! Fate: what became of the process that a request was sent to, when its connection breaks.
//!
//! A request that kills its process must not be sent to the next one. systemd tells of each end of a service, and
//! its first word is enough: a stop begins with `deactivating` and a good result, before any process is killed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::host::Active;
use super::instance::Instance;
use super::observe::Report;

/// Ends of a service that systemd has told of.
#[derive(Debug, Default)]
pub(super) struct Ends {
    told: AtomicU32,
    bad: AtomicU32,
}

/// How many ends there were at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    told: u32,
    bad: u32,
}

/// What became of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// As far as is known, it lives.
    Lives,
    /// Somebody stopped it, or it exited with success.
    Stopped,
    /// It crashed, or was killed for its memory.
    Died,
}

impl Instance {
    /// To be taken before a request is sent.
    #[must_use]
    pub fn mark(&self) -> Mark {
        let Ends { told, bad } = &self.ends;
        Mark { told: told.load(Ordering::Acquire), bad: bad.load(Ordering::Acquire) }
    }

    /// What has become of the process since `mark`, waiting at most `patience` for word of an end.
    pub async fn fate(&self, mark: Mark, patience: Duration) -> Fate {
        let word = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.mark() != mark {
                    return;
                }
                changed.await;
            }
        };
        let _ = tokio::time::timeout(patience, word).await;
        match self.mark() {
            now if now == mark => Fate::Lives,
            now if now.bad == mark.bad => Fate::Stopped,
            _ => Fate::Died,
        }
    }

    /// Notes a report of its service; `ours`: it is of a stop of the agent's.
    pub fn note_end(&self, report: &Report, ours: bool) {
        if report.active == Active::Active {
            return;
        }
        let failed = report.active == Active::Failed || report.auto_restart;
        // In a start, the result is that of the run before until systemd has begun it.
        let bad = !matches!(report.result.as_str(), "" | "success");
        if !ours && (failed || (bad && report.active != Active::Inactive)) {
            self.ends.bad.fetch_add(1, Ordering::AcqRel);
        }
        self.ends.told.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_waiters();
    }
}
