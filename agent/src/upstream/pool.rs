//! Idle keep-alive connections to one instance.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::{Link, timer};

/// The most idle connections that are kept for one instance.
const IDLE_MAX: usize = 256;
/// How long a connection may idle before it is closed rather than used again.
const IDLE_AGE: Duration = Duration::from_secs(60);

/// Idle connections, newest last: the newest one is the least likely to have been closed by the app.
#[derive(Debug, Default)]
pub struct Pool {
    idle: Mutex<Vec<(Instant, Link)>>,
    generation: AtomicU64,
}

impl Pool {
    /// Drops every idle connection, and keeps those in use from coming back: before a stop, so that
    /// none of them is used across it.
    pub fn clear(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        let dropped = std::mem::take(&mut *self.lock());
        drop(dropped);
    }

    /// What a connection opened now must carry to be taken back later.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The newest idle connection, if there is one young enough.
    pub(crate) fn take(&self) -> Option<Link> {
        let (since, link) = self.lock().pop()?;
        if timer::now().saturating_duration_since(since) > IDLE_AGE {
            // All others are older still.
            let dropped = std::mem::take(&mut *self.lock());
            drop(dropped);
            return None;
        }
        Some(link)
    }

    /// Takes back a connection whose exchange has ended.
    pub(crate) fn put(&self, mut link: Link) {
        link.shrink();
        let now = timer::now();
        let mut idle = self.lock();
        // Read under the lock: `clear` raises the generation before it locks, so a link of the old
        // generation is either refused here or dropped there.
        if link.generation() != self.generation() {
            return;
        }
        let stale =
            idle.first().is_some_and(|(since, _)| now.saturating_duration_since(*since) > IDLE_AGE);
        let dropped = (idle.len() >= IDLE_MAX || stale).then(|| idle.remove(0));
        idle.push((now, link));
        drop(idle);
        drop(dropped);
    }

    /// Idle connections now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there is no idle connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, Link)>> {
        // A panic while it was held cannot leave a Vec half changed.
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
