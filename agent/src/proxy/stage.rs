//! The stages of the end, and how connections hear of them.
//!
//! Every connection looks at the stage on every poll, so looking is one atomic load; tokio's `watch`
//! would take a lock there.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// How the end of the proxy goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Stage {
    /// Not at all.
    Running,
    /// Still accepting, but every answer says `Connection: close`, so that clients leave by
    /// themselves, between requests.
    Draining,
    /// Not accepting; connections on which nothing is happening are closed.
    CloseIdle,
    /// Those that were accepted last and have not said anything are closed too.
    CloseNew,
    /// Everything is dropped.
    Abort,
}

/// The current stage, and who is to be told of the next.
#[derive(Debug)]
pub(super) struct Stages {
    now: AtomicU8,
    watchers: Mutex<Watchers>,
}

#[derive(Debug, Default)]
struct Watchers {
    next: u64,
    wakers: HashMap<u64, Arc<AtomicWaker>>,
}

/// One task's view of the stages.
#[derive(Debug)]
pub(super) struct StageWatch {
    stages: Arc<Stages>,
    waker: Arc<AtomicWaker>,
    key: u64,
}

impl Default for Stages {
    fn default() -> Self {
        Self { now: AtomicU8::new(Stage::Running as u8), watchers: Mutex::default() }
    }
}

impl Stages {
    /// Whether `stage` has been reached.
    pub(super) fn is(&self, stage: Stage) -> bool {
        self.now.load(Ordering::Acquire) >= stage as u8
    }

    /// Goes on to `stage`.
    pub(super) fn enter(&self, stage: Stage) {
        self.now.store(stage as u8, Ordering::Release);
        for waker in self.lock().wakers.values() {
            waker.wake();
        }
    }

    /// A view for one task.
    pub(super) fn watch(stages: &Arc<Self>) -> StageWatch {
        let waker = Arc::new(AtomicWaker::new());
        let mut watchers = stages.lock();
        let key = watchers.next;
        watchers.next += 1;
        watchers.wakers.insert(key, waker.clone());
        drop(watchers);
        StageWatch { stages: stages.clone(), waker, key }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Watchers> {
        // A panic while it was held cannot leave the map half changed.
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StageWatch {
    /// Whether `stage` has been reached; if not, the task is woken at every change.
    pub(super) fn poll_reached(&self, cx: &mut Context<'_>, stage: Stage) -> bool {
        // Registered before looking: a change in between wakes the task.
        self.waker.register(cx.waker());
        self.stages.is(stage)
    }

    /// Ends when `stage` has been reached.
    pub(super) async fn reached(&self, stage: Stage) {
        poll_fn(|cx| if self.poll_reached(cx, stage) { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }
}

impl Drop for StageWatch {
    fn drop(&mut self) {
        self.stages.lock().wakers.remove(&self.key);
    }
}
