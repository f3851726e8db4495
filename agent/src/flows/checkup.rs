//! Checkup: a running instance with a `health` path is asked how it is, and mended if it is unwell.
//!
//! ```text
//! came up ─► flight: asked again and again until healthy or startup_timeout ─► running
//! running ─► one small task: asked at its own beat ─► unhealthy ─► restart ─► ... ─► give up
//! ```
//! A check neither wakes an instance nor keeps one awake. It is no lease: it has a bit of its own in
//! the gate, so that an idle stop (or a freeze) and a check exclude each other in one atomic step,
//! and a forced stop ends the check first.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::WakeError;
use super::agent::Agent;
use super::health::{Beat, Health, Track, Verdict};
use super::host::{Active, Host};
use super::instance::{Instance, Phase, mono_ms};
use super::lease::{Closed, Lease};
use crate::config::Supervision;
use crate::upstream::{Check, Outcome};

/// Pauses between the checks of a start: doubled from the first to the second.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(250);
/// How long somebody who wants to put an instance to sleep waits for a check to end.
const CHECK_WAIT: Duration = Duration::from_secs(5);

/// One check under way.
struct Checking<'a>(&'a Instance);

impl Drop for Checking<'_> {
    fn drop(&mut self) {
        self.0.gate.leave_check();
        if self.0.gate.leases() == 0 {
            // Whoever wants to stop it may go on.
            self.0.idle.notify_waiters();
        }
    }
}

/// Checks `instance` unless a stop is under way or `may` says no once nothing can stop it meanwhile.
/// `None` also when a stop has ended the check.
pub(super) async fn check(
    instance: &Instance,
    check: &Check,
    timeout: Duration,
    may: impl FnOnce(&Instance) -> bool,
) -> Option<Outcome> {
    // Registered before the gate is entered: a stop closes the gate first and tells then.
    let hush = instance.care.hush.notified();
    tokio::pin!(hush);
    hush.as_mut().enable();
    let _checking = instance.gate.enter_check().then_some(Checking(instance))?;
    if !may(instance) {
        return None;
    }
    let target = instance.target();
    tokio::select! {
        outcome = check.ask(&target, &instance.pool, timeout) => Some(outcome),
        () = hush => None,
    }
}

/// The same with a bare connection: whether it is taken.
pub(super) async fn connects(
    instance: &Instance,
    timeout: Duration,
    may: impl FnOnce(&Instance) -> bool,
) -> Option<bool> {
    let _checking = instance.gate.enter_check().then_some(Checking(instance))?;
    if !may(instance) {
        return None;
    }
    let open = tokio::time::timeout(timeout, super::probe::connect(&instance.target())).await;
    Some(matches!(open, Ok(Ok(_))))
}

/// Closes the gate if nobody uses the instance, after a check that is under way.
pub(super) async fn close_if_idle(instance: &Arc<Instance>) -> Option<Closed> {
    let patience = Instant::now() + CHECK_WAIT;
    loop {
        let idle = instance.idle.notified();
        tokio::pin!(idle);
        idle.as_mut().enable();
        if let Some(closed) = Closed::if_idle(instance) {
            return Some(closed);
        }
        if !instance.gate.is_only_checked() {
            return None;
        }
        tokio::time::timeout_at(patience, idle).await.ok()?;
    }
}

fn rules(instance: &Instance) -> Supervision {
    instance.setup().definition.supervision.clone()
}

impl<H: Host> Agent<H> {
    /// The last part of a start: waits until checks are good. `asked` as in [`Self::join_flight`].
    /// `Ok(false)`: its own listener is gone again.
    pub(super) async fn until_healthy(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
        started: Instant,
        asked: &mut bool,
    ) -> Result<bool, WakeError> {
        let setup = instance.setup().clone();
        let Some(question) = &setup.check else { return Ok(true) };
        if instance.care.adopted.swap(false, Ordering::AcqRel) {
            instance.care.set_health(Health::Starting);
            self.is_well(instance);
            return Ok(true);
        }
        instance.care.set_health(Health::Starting);
        let (rules, after) = (&setup.definition.supervision, setup.definition.startup_timeout);
        let (mut good, mut pause, mut last) = (0, PAUSE_MIN, None);
        loop {
            self.may_fly_on(instance, started, asked)?;
            let left = after.saturating_sub(started.elapsed()).max(Duration::from_millis(1));
            let timeout = rules.health_timeout.min(left);
            if let Some(outcome) = check(instance, question, timeout, |_| true).await {
                instance.care.note(outcome);
                // One that the end of the time cut short says less than the answer before it.
                let cut = timeout < rules.health_timeout && matches!(outcome, Outcome::TimedOut(_));
                last = last.filter(|_| cut).or(Some(outcome));
                good = if outcome.is_good() { good + 1 } else { 0 };
            }
            if good >= rules.healthy_threshold {
                instance.care.got_healthy();
                instance.recovered();
                self.is_well(instance);
                return Ok(true);
            }
            if started.elapsed() >= after {
                return Err(self.not_healthy_in_time(instance, after, last));
            }
            let gone = matches!(last, Some(Outcome::Unreachable(_)));
            if gone && !setup.definition.systemd_listens() {
                return Ok(false);
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    pub(super) fn is_well(self: &Arc<Self>, instance: &Arc<Instance>) {
        if instance.gate.is_closed() {
            // A stop has begun meanwhile, and knows better.
            return;
        }
        instance.ready.store(true, Ordering::Release);
        instance.set_service(Active::Active);
        self.watch_idleness(instance);
        self.watch_health(instance);
    }

    fn not_healthy_in_time(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
        after: Duration,
        last: Option<Outcome>,
    ) -> WakeError {
        let last = last.map_or_else(|| "it was not asked".to_owned(), |last| last.to_string());
        instance.care.set_health(Health::Unhealthy);
        let failure = instance.fail(format!("it was not healthy within {after:?}: {last}"));
        let (agent, one) = (self.clone(), instance.clone());
        let pause = failure.back_off();
        // Who moves it to another release knows better, and so does who takes that back.
        if !self.is_minded(instance) {
            tokio::spawn(async move { agent.start_anew(&one, failure.reason, pause).await });
        }
        WakeError::TimedOut { name: instance.name.clone(), after, last: Some(last) }
    }

    /// Stops what did not get healthy, and starts it again after the pause of its failure.
    async fn start_anew(self: &Arc<Self>, instance: &Arc<Instance>, why: String, pause: Duration) {
        let rules = rules(instance);
        let too_often = instance.care.unready() > rules.max_restarts;
        if too_often || instance.care.strike(&rules) == Verdict::GiveUp {
            return self.give_up(instance, why).await;
        }
        if let Err(error) = self.stop(instance).await {
            log::warn!(TENEMENT_INSTANCE = instance.name.to_string(); "stopping {}, which did not get healthy: {error}", instance.name);
        }
        tokio::time::sleep(pause).await;
        if matches!(instance.phase(), Phase::Asleep | Phase::Dormant) {
            self.raise(instance).await;
        }
    }

    /// Starts it, as a request would. A failure has been noted where it happened.
    async fn raise(self: &Arc<Self>, instance: &Arc<Instance>) {
        if let Some(_lease) = Lease::take(instance)
            && let Err(error) = self.reach(instance).await
        {
            log::warn!(TENEMENT_INSTANCE = instance.name.to_string(); "starting {} again: {error}", instance.name);
        }
    }

    /// Sees to it that exactly one task checks a running instance that has a `health` path.
    pub(super) fn watch_health(self: &Arc<Self>, instance: &Arc<Instance>) {
        if instance.setup().check.is_none() || instance.care.watched.swap(true, Ordering::SeqCst) {
            return;
        }
        let watch = Watch { agent: self.clone(), instance: instance.clone() };
        self.checks.spawn(async move {
            watch.agent.check_until_down(&watch.instance).await;
            watch.end();
        });
    }

    async fn check_until_down(self: &Arc<Self>, instance: &Arc<Instance>) {
        let (mut beat, place) = Beat::new(instance.uuid.as_u128(), mono_ms());
        let begin = |instance: &Instance| {
            let interval = instance.setup().definition.supervision.health_interval;
            let due = self.checks.due(Beat::first(place, interval), interval);
            (Track::new(instance.care.health()), due, None::<Instant>)
        };
        let (mut track, mut due, mut restart_at) = begin(instance);
        loop {
            let changed = instance.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let setup = instance.setup().clone();
            let Some(question) = &setup.check else { return };
            match instance.phase() {
                Phase::Asleep | Phase::Dormant | Phase::Failed => return,
                Phase::Running => {}
                Phase::Starting | Phase::Stopping | Phase::Frozen | Phase::Parked => {
                    changed.await;
                    (track, due, restart_at) = begin(instance);
                    continue;
                }
            }
            let next = restart_at.map_or(due, |at| at.min(due));
            tokio::select! { () = tokio::time::sleep_until(next) => {}, () = changed => continue }
            if restart_at.is_some_and(|at| at <= Instant::now()) {
                restart_at = None;
                let (agent, one) = (self.clone(), instance.clone());
                self.checks.elsewhere(async move { agent.restart_unwell(&one).await }).await;
                continue;
            }
            let rules = &setup.definition.supervision;
            due = self.checks.due(beat.next(rules.health_interval), rules.health_interval);
            let runs = |instance: &Instance| instance.phase() == Phase::Running;
            let Some(outcome) = check(instance, question, rules.health_timeout, runs).await else {
                continue;
            };
            instance.care.note(outcome);
            let health = track.take(outcome.is_good(), rules);
            self.tell(instance, health, outcome);
            match (health, restart_at) {
                (Health::Unhealthy, None) => match instance.care.verdict(rules) {
                    Verdict::Restart(pause) => restart_at = Some(Instant::now() + pause),
                    Verdict::GiveUp => {
                        let (agent, one) = (self.clone(), instance.clone());
                        let up = async move { agent.give_up(&one, outcome.to_string()).await };
                        return self.checks.elsewhere(up).await;
                    }
                },
                (Health::Healthy, _) => restart_at = None,
                _ => {}
            }
        }
    }

    /// Notes a state and writes down when it is another one.
    fn tell(&self, instance: &Instance, health: Health, outcome: Outcome) {
        let before = instance.care.health();
        if before == health {
            return;
        }
        instance.care.set_health(health);
        // Whether it may sleep depends on it.
        instance.changed.notify_waiters();
        let name = &instance.name;
        match health {
            Health::Unhealthy => {
                log::warn!(TENEMENT_INSTANCE = name.to_string(); "{name} is unhealthy: {outcome}");
            }
            Health::Degraded => {
                log::info!(TENEMENT_INSTANCE = name.to_string(); "{name} is degraded: {outcome}");
            }
            Health::Healthy if before != Health::Starting => {
                log::info!(TENEMENT_INSTANCE = name.to_string(); "{name} is healthy again");
            }
            Health::Healthy | Health::Starting => {}
        }
    }

    /// Restarts an unhealthy instance. Requests under way get `stop_timeout` to end.
    async fn restart_unwell(self: &Arc<Self>, instance: &Arc<Instance>) {
        let why = instance.care.last().map(|last| last.to_string()).unwrap_or_default();
        if instance.care.strike(&rules(instance)) == Verdict::GiveUp {
            return self.give_up(instance, why).await;
        }
        log::warn!(TENEMENT_INSTANCE = instance.name.to_string(); "{} is restarted: {why}", instance.name);
        instance.restarts.fetch_add(1, Ordering::Relaxed);
        match self.stop(instance).await {
            Ok(()) => self.raise(instance).await,
            Err(error) => {
                log::warn!(TENEMENT_INSTANCE = instance.name.to_string(); "stopping {}: {error}", instance.name);
            }
        }
    }
}

/// One watch. An instance that looked watched and is not would never be checked.
struct Watch<H: Host> {
    agent: Arc<Agent<H>>,
    instance: Arc<Instance>,
}

impl<H: Host> Watch<H> {
    fn end(&self) {
        // SeqCst on both sides, as in `sleep`: whoever brings it up writes its state and then reads this.
        self.instance.care.watched.swap(false, Ordering::SeqCst);
        if self.instance.phase() == Phase::Running {
            self.agent.watch_health(&self.instance);
        }
        if self.instance.setup().check.is_none() {
            // A new config has no check: what the last one said holds nothing up.
            self.instance.care.set_health(Health::Starting);
        }
    }
}

impl<H: Host> Drop for Watch<H> {
    fn drop(&mut self) {
        // Not when the runtime drops its tasks at its end: nothing can be spawned then.
        if std::thread::panicking() {
            self.end();
        }
    }
}
