//! Moving one instance: its requests wait from its stop until it is ready on the release that its next start is from.
//!
//! ```text
//! notice to WebSockets (drain_timeout) ─► hold ─► drain (drain_timeout) ─► stop ─► release_command ─► load ─► start ─► healthy ─► requests go on
//! ```
//! The hold outlasts the stop, so that no request sees a start that fails: whoever moves it can put it back before.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tenement_logs::query::Expr;
use tenement_logs::search::{Scope, Search};
use tenement_wire::status::Cause;
use tenement_wire::{InstanceName, ProcessName};
use tokio::time::Instant;

use super::record::Deploy;
use crate::config::Definition;
use crate::flows::agent::Agent;
use crate::flows::checkup::{self, close_if_idle};
use crate::flows::clock::now_ms;
use crate::flows::host::{Active, Host};
use crate::flows::instance::{Instance, Phase};
use crate::flows::lease::{Lease, Moving};
use crate::flows::logbook::Logs as _;
use crate::flows::story::Way;
use crate::flows::tunnels::Notice;
use crate::flows::{WakeError, host};
use crate::routes::host_of;
use crate::upstream::{Check, Outcome};

/// Tries while the unit helper or systemd can't be reached, and between two of them.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);
/// Lines of its log that a report shows.
const LINES: usize = 10;
/// How long those are waited for: what an app says at its end comes through the journal.
const LINES_WAIT: Duration = Duration::from_secs(2);
/// Characters of one of them.
const LINE_MAX: usize = 300;
/// Pauses between questions whether it answers: doubled from the first to the second.
const ASK_MIN: Duration = Duration::from_millis(5);
const ASK_MAX: Duration = Duration::from_millis(250);
/// The longest that one question waits.
const ASK_WAIT: Duration = Duration::from_secs(5);
/// Instances that sleep are looked after side by side.
const SLEEPERS: usize = 4;
/// The longest that requests wait for a command of releases.
const COMMAND_HELD: Duration = Duration::from_secs(60);

/// How long requests wait at most for one that is being moved: until it is there, or back.
pub(in crate::flows) fn held_at_most(definition: &Definition) -> Duration {
    let deploy = &definition.deploy;
    let command = match deploy.release_command.is_empty() {
        true => Duration::ZERO,
        false => deploy.release_timeout.min(COMMAND_HELD),
    };
    drain_of(definition) + definition.stop_timeout * 2 + definition.startup_timeout * 2 + command
}

fn drain_of(definition: &Definition) -> Duration {
    definition.deploy.drain_timeout.unwrap_or(definition.stop_timeout)
}

impl<H: Host> Agent<H> {
    /// Waits for its turn to move an instance. None if that is gone.
    pub(super) async fn begin_move(&self, instance: &Arc<Instance>) -> Option<Moving> {
        loop {
            let changed = instance.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if instance.removed.load(Ordering::Acquire) {
                return None;
            }
            if let Some(moving) = Moving::begin(instance) {
                return Some(moving);
            }
            changed.await;
        }
    }

    /// Lets its WebSockets, and other tunnels, go on for `drain_timeout` while requests go on too, so that nobody waits
    /// for these.
    pub(super) async fn give_notice(&self, deploy: &Deploy, instance: &Instance) -> Notice {
        let notice = instance.gate.give_notice();
        let drain = drain_of(&instance.setup().definition);
        if notice.open() == 0 || drain.is_zero() {
            return notice;
        }
        let (name, open) = (&instance.name, notice.open());
        let s = if open == 1 { "" } else { "s" };
        self.say(
            deploy,
            format!("{name} has {open} open WebSocket{s}, which may go on for {drain:?}"),
        );
        let closed = async {
            loop {
                let idle = instance.idle.notified();
                tokio::pin!(idle);
                idle.as_mut().enable();
                if notice.open() == 0 {
                    return;
                }
                idle.await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(drain, closed) => {}
            () = deploy.until_stopped() => {}
        }
        notice
    }

    /// Stops it and starts it from its release. When this returns without an error, it is ready.
    ///
    /// # Errors
    /// Why it is not, in words.
    pub(super) async fn replace(self: &Arc<Self>, moving: &Moving) -> Result<(), String> {
        let instance = moving.instance();
        let _because = instance.because(Way::Down, Cause::Operator);
        let mut tries = 0;
        loop {
            tries += 1;
            let Err(why) = self.replace_once(moving).await else { return Ok(()) };
            self.clear_away(instance).await;
            // What the release can't be blamed for.
            let unreached = instance.source.unreached.swap(false, Ordering::Relaxed);
            if !unreached || tries >= TRIES {
                return Err(why);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn replace_once(self: &Arc<Self>, moving: &Moving) -> Result<(), String> {
        let instance = moving.instance();
        self.rest(instance, moving.notice()).await?;
        self.prepare(instance).await?;
        // What is known of its failures is of the release before.
        self.absolve(instance).await.map_err(|error| error.to_string())?;
        instance.mark_stale();
        let _because = instance.because(Way::Up, Cause::Operator);
        let lease = loop {
            match Lease::of_move(moving) {
                Some(lease) => break lease,
                // The end of a crash loop may just be cleared away.
                None => self.until_gate_opens(instance).await,
            }
        };
        instance.waking.store(true, Ordering::Relaxed);
        let reached = self.reach(instance).await;
        instance.waking.store(false, Ordering::Relaxed);
        drop(lease);
        match reached {
            Ok(()) => {
                instance.recovered();
                instance.touch();
                Ok(())
            }
            Err(WakeError::Failed { reason, .. } | WakeError::GaveUp { reason, .. }) => Err(reason),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Stops it, with time for what is open. Requests that come meanwhile wait.
    pub(super) async fn rest(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
        had: &Notice,
    ) -> Result<(), String> {
        let closed = self.shut(instance).await;
        let drain = drain_of(&instance.setup().definition);
        if instance.units().service == Active::Active && instance.gate.leases() > 0 {
            self.drain_for(instance, drain, had).await;
        }
        // Whatever puts it to sleep later, it is not parked before somebody has used it.
        instance.taken.store(false, Ordering::SeqCst);
        let stopped = self.stop_behind(&closed, instance).await;
        stopped.map_err(|error| {
            let lost = matches!(error, host::HostError::Unreachable(_));
            instance.source.unreached.store(lost, Ordering::Relaxed);
            format!("it could not be stopped: {error}")
        })
    }

    /// Stops and unloads what did not start. A connection that waits in a socket of systemd's would start it again.
    pub(super) async fn clear_away(self: &Arc<Self>, instance: &Arc<Instance>) {
        let closed = self.shut(instance).await;
        if let Err(error) = self.stop_behind(&closed, instance).await {
            log::warn!(TENEMENT_INSTANCE = instance.name.to_string(); "stopping {}: {error}", instance.name);
        }
        self.unload_behind(&closed, instance).await;
    }

    /// Forgets failures of the instances that go with a process: they were of another release.
    pub(super) async fn forgive(&self, process: &ProcessName) {
        let mut all = self.all();
        all.retain(|one| {
            let failed = one.failure().is_some() || one.care.has_failed();
            one.name.process() == process && failed && self.releases.pin_of(&one.name).is_none()
        });
        for instance in all {
            if let Err(error) = self.absolve(&instance).await {
                log::warn!(TENEMENT_INSTANCE = instance.name.to_string(); "{} stays failed: {error}", instance.name);
            }
        }
    }

    /// Proves that an instance whose readiness nothing else shows can answer: any answer over HTTP will do.
    pub(in crate::flows) async fn prove(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
        started: Instant,
        asked: &mut bool,
    ) -> Result<(), WakeError> {
        let setup = instance.setup().clone();
        let domain = self.config.load().settings.domain.clone();
        let Some(question) = Check::new("/", &host_of(&instance.name, &domain)) else {
            return Ok(());
        };
        let after = setup.definition.startup_timeout;
        let (mut pause, mut last) = (ASK_MIN, None);
        loop {
            self.may_fly_on(instance, started, asked)?;
            let left = after.saturating_sub(started.elapsed()).max(Duration::from_millis(1));
            let ask = checkup::check(instance, &question, ASK_WAIT.min(left), |_| true);
            match ask.await {
                Some(Outcome::Answered(_) | Outcome::Malformed) => {
                    self.is_well(instance);
                    return Ok(());
                }
                Some(other) => last = Some(other.to_string()),
                None => {}
            }
            if started.elapsed() >= after {
                let name = instance.name.clone();
                instance.fail(format!("it did not answer within {after:?}"));
                return Err(WakeError::TimedOut { name, after, last });
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(ASK_MAX);
        }
    }

    /// Sees to it that instances that wait for their first request, or are frozen, wake up from the release that they
    /// are at now.
    pub(super) fn move_sleepers(self: &Arc<Self>, process: &ProcessName) {
        let (agent, process) = (self.clone(), process.clone());
        tokio::spawn(async move {
            let mut all = agent.all();
            all.retain(|one| *one.name.process() == process && one.phase() != Phase::Dormant);
            let frozen = all.iter().filter(|one| one.phase() == Phase::Frozen);
            stream::iter(frozen).for_each_concurrent(SLEEPERS, |one| agent.stop_frozen(one)).await;
            agent.preload_because(all, Cause::Config).await;
        });
    }

    async fn stop_frozen(self: &Arc<Self>, instance: &Arc<Instance>) {
        if !instance.is_of_another_release() {
            return;
        }
        let Some(closed) = close_if_idle(instance).await else { return };
        if instance.phase() == Phase::Frozen
            && let Err(error) = self.stop_behind(&closed, instance).await
        {
            log::warn!(TENEMENT_INSTANCE = instance.name.to_string(); "stopping {}, which is frozen in another release: {error}", instance.name);
        }
    }

    /// What an instance wrote to its log at last, since `since_ms`.
    pub(super) async fn last_lines(&self, name: &InstanceName, since_ms: u64) -> Vec<String> {
        let Some(logs) = self.logs.get() else { return Vec::new() };
        let deadline = Instant::now() + LINES_WAIT;
        loop {
            let scope = Scope::Instance(name.clone());
            let mut search = Search::new(scope, Expr::All, LINES, LINES_WAIT);
            search.since_us = Some(since_ms * 1000);
            let mut lines = logs.search(search).await.map(|found| found.lines).unwrap_or_default();
            if !lines.is_empty() || Instant::now() >= deadline {
                lines.reverse();
                let cut = |text: &str| text.chars().take(LINE_MAX).collect();
                return lines.into_iter().map(|line| cut(&line.text)).collect();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The instances of a process that go with it and run, by name.
    pub(super) fn running_of(&self, process: &ProcessName) -> Vec<Arc<Instance>> {
        let up = |one: &Arc<Instance>| matches!(one.phase(), Phase::Running | Phase::Starting);
        let mut all = self.all();
        all.retain(|one| {
            one.name.process() == process && self.releases.pin_of(&one.name).is_none() && up(one)
        });
        all
    }

    /// When something that began then is looked at in the log.
    pub(super) fn since_ms(began: Instant) -> u64 {
        now_ms().saturating_sub(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}
