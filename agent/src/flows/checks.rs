//! Where and when running instances are checked: on a thread of their own, a few at a time.
//!
//! A check is little work and many wake-ups: of the runtime by the timer, of its other threads by
//! each other, of the app. So checks that are due at about the same time begin together, and all of
//! them run on one thread, which wakes nobody but the apps.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

/// Checks begin at multiples of this; of 1,000 instances with an interval of 10 s, ten together.
const STEP: Duration = Duration::from_millis(100);

/// Where and when. Until [`Self::move_to`] is called, checks run where everything runs.
#[derive(Debug)]
pub struct Checks {
    epoch: OnceLock<Instant>,
    places: OnceLock<Places>,
}

#[derive(Debug)]
struct Places {
    checks: Handle,
    others: Handle,
}

impl Checks {
    pub(super) fn new() -> Self {
        Self { epoch: OnceLock::new(), places: OnceLock::new() }
    }

    /// From now on checks run on `checks`, a runtime of one thread; what follows from them, here.
    pub fn move_to(&self, checks: Handle) {
        // Only the first counts: there is one agent in a process.
        let _ = self.places.set(Places { checks, others: Handle::current() });
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match self.places.get() {
            Some(places) => drop(places.checks.spawn(task)),
            None => drop(tokio::spawn(task)),
        }
    }

    /// Runs what a check has led to where its connections and tasks may live on.
    pub(super) async fn elsewhere(&self, task: impl Future<Output = ()> + Send + 'static) {
        match self.places.get() {
            // A panic is reported by its hook, and the watch goes on.
            Some(places) => drop(places.others.spawn(task).await),
            None => task.await,
        }
    }

    /// When a check that is due `after` this begins: within a tenth of its `interval` later.
    pub(super) fn due(&self, after: Duration, interval: Duration) -> Instant {
        let epoch = *self.epoch.get_or_init(Instant::now);
        let step = STEP.min(interval / 10).max(Duration::from_millis(1));
        let at = (Instant::now() + after).duration_since(epoch);
        let nanos = at.as_nanos().next_multiple_of(step.as_nanos());
        epoch + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn checks_begin_together_a_little_later_and_never_earlier_than_due() {
        let checks = Checks::new();
        let interval = Duration::from_secs(10);
        let first = checks.due(Duration::from_millis(1_230), interval);
        for after in [1_201, 1_250, 1_299] {
            let after = Duration::from_millis(after);
            let at = checks.due(after, interval);
            assert_eq!(at, first);
            assert!(at >= Instant::now() + after && at <= Instant::now() + after + STEP);
        }
        assert_ne!(checks.due(Duration::from_millis(1_301), interval), first);
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_interval_is_kept_to_a_tenth() {
        let checks = Checks::new();
        checks.due(Duration::ZERO, Duration::from_millis(50));
        tokio::time::advance(Duration::from_millis(12)).await;
        let at = checks.due(Duration::from_millis(50), Duration::from_millis(50));
        assert!(at - Instant::now() <= Duration::from_millis(55));
    }

    #[tokio::test]
    async fn what_a_check_leads_to_does_not_run_on_the_thread_of_checks() {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let thread = std::thread::spawn(move || drop(runtime.block_on(stopped)));
        let checks = std::sync::Arc::new(Checks::new());
        checks.move_to(handle);
        let own = std::thread::current().id();
        let (tell, told) = tokio::sync::oneshot::channel();
        let again = checks.clone();
        checks.spawn(async move {
            let on = std::thread::current().id();
            let mut after = None;
            let (say, said) = tokio::sync::oneshot::channel();
            let here = async move { say.send(std::thread::current().id()).unwrap() };
            again.elsewhere(here).await;
            after.replace(said.await.unwrap());
            let _ = tell.send((on, after));
        });
        let (on, after) = told.await.unwrap();
        assert_eq!(on, thread.thread().id());
        assert_eq!(after, Some(own));
        drop(stop);
        thread.join().unwrap();
    }
}
