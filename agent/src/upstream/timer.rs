//! Deadlines that are nearly always met.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A timer that is armed at most once per deadline that passes, not once per request: most deadlines
/// are met, and arming one costs a lock on the runtime's timer wheel.
#[derive(Debug, Default)]
pub(crate) struct LazyTimer(Option<Pin<Box<Sleep>>>);

impl LazyTimer {
    /// Whether `deadline` has passed; if not, the task is woken when it does.
    pub(crate) fn poll_at(&mut self, cx: &mut Context<'_>, deadline: Instant) -> bool {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= deadline {
                return true;
            }
            sleep.as_mut().reset(deadline);
        }
        false
    }
}

/// Now, a few milliseconds late at most: for deadlines of seconds, at a fifth of a clock read's price.
pub(crate) fn now() -> Instant {
    static BASE: OnceLock<(Instant, Duration)> = OnceLock::new();
    let coarse = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
        Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
    };
    let (instant, base) = *BASE.get_or_init(|| (Instant::now(), coarse()));
    instant + coarse().saturating_sub(base)
}
