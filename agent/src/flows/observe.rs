//! Observe: what systemd reports becomes what the agent knows, and a crash loop is ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::StreamExt as _;
use tenement_wire::InstanceName;

use tenement_wire::events::EventKind;
use tenement_wire::status::Cause;

use super::agent::Agent;
use super::health::Verdict;
use super::host::{Active, Host, Units};
use super::instance::{Instance, Phase, mono_ms};
use super::lease::Closed;
use super::story::Way;
use crate::config::Restart;

/// Crashes without an answer in between after which a start counts as failed. systemd restarts the
/// service meanwhile; with its own limits off, somebody has to give up.
const CRASHES_MAX: u32 = 3;

/// `Result` of a service whose process has exited with a status of failure.
const EXIT_CODE: &str = "exit-code";
/// What the details say of a command that the stub or `tenement-exec` could not execute.
const NOT_EXECUTED: &str = "(203/EXEC)";

/// How long systemd's reports of a pair that was just loaded may come after the helper's answer, in
/// milliseconds.
const LAG_MS: u64 = 10_000;

/// Questions to systemd side by side after a start.
const FREEZER_LOOKS: usize = 16;

/// Which unit of the pair a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// The service.
    Service,
    /// The socket.
    Socket,
}

/// One report from systemd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Which instance.
    pub name: InstanceName,
    /// Which unit.
    pub unit: Unit,
    /// Its state now.
    pub active: Active,
    /// Whether it is waiting to be restarted after a crash (`SubState=auto-restart`).
    pub auto_restart: bool,
    /// `Result` of its run as last heard; empty if unknown.
    pub result: String,
    /// Whether the service says that it is parked.
    pub parked: bool,
}

impl Report {
    /// A report of nothing but a state.
    #[must_use]
    pub fn of(name: InstanceName, unit: Unit, active: Active) -> Self {
        Self { name, unit, active, auto_restart: false, result: String::new(), parked: false }
    }
}

impl Instance {
    /// Notes that the helper has loaded its pair.
    pub(super) fn pair_loaded(&self) {
        self.loaded_ms.store(mono_ms().max(1), Ordering::Release);
        self.set_socket(Active::Active);
    }

    /// Takes in a report of its socket. The helper's answer and systemd's signals come on two
    /// connections: until the signal of the load is there, those before it tell of what was.
    fn socket_reported(&self, state: Active) {
        let loaded = self.loaded_ms.load(Ordering::Acquire);
        let earlier = matches!(state, Active::Absent | Active::Inactive | Active::Activating);
        if earlier && loaded != 0 && mono_ms().saturating_sub(loaded) < LAG_MS {
            return;
        }
        self.loaded_ms.store(0, Ordering::Release);
        self.set_socket(state);
    }

    /// Whether its units have changed after `time`, so that a listing begun then is out of date.
    fn has_changed_since(&self, time: u64) -> bool {
        self.changed_ms() > time || self.loaded_ms.load(Ordering::Acquire) > time
    }
}

impl<H: Host> Agent<H> {
    /// Takes in one report.
    pub fn observe(self: &Arc<Self>, report: &Report) {
        let Some(instance) = self.known(&report.name) else { return };
        if report.unit == Unit::Socket {
            instance.socket_reported(report.active);
            return;
        }
        let before = instance.units().service;
        // First, so that a parked one never looks as if it ran; and not when it ends, for the same reason.
        if report.active == Active::Active {
            instance.note_parked(report.parked);
        }
        instance.set_service_as(report);
        let crash = report.active == Active::Failed || report.auto_restart;
        // systemd may tell the same state more than once (some other property has changed).
        let told = instance.crashing.swap(crash, Ordering::Relaxed) && crash;
        // The word of the crash itself (`failed`) may have come before that of the start that follows it.
        if report.auto_restart && (!told || before != Active::Activating) {
            instance.restarts.fetch_add(1, Ordering::Relaxed);
        }
        let ours = !told && instance.stopped_by_us(report.active);
        instance.note_end(report, ours);
        if told || ours {
            return;
        }
        match report.active {
            Active::Active => self.came_up(&instance),
            // The end of a stop by hand is no crash, whatever the app's exit status; but only after
            // a crash does systemd start a service again by itself, leftover processes or not.
            Active::Failed if before != Active::Deactivating => {
                self.crashed(&instance, &report.result)
            }
            Active::Activating if report.auto_restart => self.crashed(&instance, &report.result),
            Active::Inactive | Active::Absent
                if before == Active::Active && instance.waking.load(Ordering::Relaxed) =>
            {
                // It ended without an answer to the request that woke it: as good as a crash.
                self.crashed(&instance, &report.result);
            }
            _ => {}
        }
    }

    pub(super) fn came_up(self: &Arc<Self>, instance: &Arc<Instance>) {
        if instance.phase() == Phase::Parked || instance.parking.load(Ordering::Acquire) {
            return;
        }
        self.watch_idleness(instance);
        self.watch_health(instance);
        if instance.phase() == Phase::Starting && instance.setup().is_awaited() {
            // Started by hand: find out when it listens, so that it is shown and served as running.
            let (agent, instance) = (self.clone(), instance.clone());
            tokio::spawn(async move {
                let _ = agent.join_flight(&instance, false).await;
            });
        }
    }

    /// Counts a crash; gives up when a start keeps crashing. A waiting connection would otherwise
    /// start the service again and again, as fast as PID 1 can.
    fn crashed(self: &Arc<Self>, instance: &Arc<Instance>, result: &str) {
        let crashes = instance.count_crash();
        let waited_for = instance.waking.load(Ordering::Relaxed);
        let once = waited_for && instance.setup().definition.restart == Restart::No;
        let rules = instance.setup().definition.supervision.clone();
        let for_good = instance.care.strike(&rules) == Verdict::GiveUp;
        let enough = crashes >= CRASHES_MAX || once || for_good;
        // It may never have become the app at all, which no other try changes.
        if !enough && result != EXIT_CODE {
            return;
        }
        // The crashes that come until it is unloaded must not give up a second time.
        let begins = |one: &Instance| {
            one.forget_crashes();
            !one.giving_up.swap(true, Ordering::AcqRel)
        };
        if enough && !begins(instance) {
            return;
        }
        let (agent, instance) = (self.clone(), instance.clone());
        tokio::spawn(async move {
            let details = agent.host.details(&instance.name).await.unwrap_or_default();
            let how = details.result.unwrap_or_else(|| "it ended at once".into());
            let begun = enough || (how.contains(NOT_EXECUTED) && begins(&instance));
            if !begun {
                return;
            }
            if crashes > 1 || for_good {
                let message = format!("{} keeps crashing: {how}", instance.name);
                instance.happened(EventKind::RestartLoop, message);
            }
            if for_good {
                agent.note_failed(&instance, how.clone()).await;
            }
            let failure = instance.fail(match crashes {
                1 => format!("{how}, without an answer"),
                n => format!("{how}, {n} times without an answer"),
            });
            log::warn!(TENEMENT_INSTANCE = instance.name.to_string(); "{} did not start: {}", instance.name, failure.reason);
            // Closing the socket also ends the connections that wait in it, so their requests are
            // answered now and not at their deadline.
            let closed = agent.shut(&instance).await;
            // It may have answered meanwhile, or an operator have given it a new chance.
            if instance.failure().is_some_and(|now| now.at == failure.at) {
                let _because = instance.because(Way::Down, Cause::Crash);
                agent.unload_behind(&closed, &instance).await;
            }
            drop(closed);
            instance.forget_crashes();
            instance.giving_up.store(false, Ordering::Release);
        });
    }

    /// Asks systemd what is loaded, after a start of the agent or a lost bus connection.
    ///
    /// # Errors
    /// What the bus said; nothing is changed then (never "unknown, so gone").
    pub async fn resync(self: &Arc<Self>) -> Result<usize, super::host::HostError> {
        let begun = mono_ms();
        let mut loaded: std::collections::HashMap<_, _> =
            self.host.list().await?.into_iter().collect();
        let (mut running, mut active) = (0, Vec::new());
        for instance in self.all_known() {
            let units = match loaded.remove(&instance.name) {
                Some(Ok(units)) => units,
                Some(Err(error)) => match self.host.units(&instance.name).await {
                    Ok(units) => units,
                    Err(_) => {
                        // What is known of it stays; its next event tells.
                        log::warn!(TENEMENT_INSTANCE = instance.name.to_string(); "asking systemd about {}: {error}", instance.name);
                        continue;
                    }
                },
                None => Units::default(),
            };
            if instance.has_changed_since(begun) {
                // What it came to since then has been told, or will be.
                continue;
            }
            if instance.units() == Units::default() && units != Units::default() {
                // Loaded by an earlier agent, perhaps from an earlier config.
                instance.mark_stale();
            }
            instance.set_units(units);
            if units != Units::default() && !instance.parking.load(Ordering::Acquire) {
                // An agent that was killed may have left one.
                self.host.forget_parking(&instance.name);
            }
            if units.service == Active::Active {
                running += 1;
                let ready = instance.ready.load(Ordering::Acquire);
                let checked = instance.setup().check.is_some();
                instance.care.adopted.store(!ready && checked, Ordering::Release);
                active.push(instance);
            }
        }
        // Before any request is let at them: one that goes to a frozen instance would wait for ever.
        futures_util::stream::iter(&active)
            .for_each_concurrent(FREEZER_LOOKS, |instance| self.learn_freezer(instance))
            .await;
        for instance in active.iter().filter(|one| one.setup().definition.uses_releases()) {
            let loaded = self.host.loaded_release(&instance.name).await;
            instance.note_loaded(loaded.unwrap_or_default());
        }
        active.iter().for_each(|instance| self.came_up(instance));
        Ok(running)
    }

    /// [`Self::preload_because`] at the agent's start.
    pub async fn preload(self: &Arc<Self>, instances: Vec<Arc<Instance>>) {
        self.preload_because(instances, Cause::AgentStart).await;
    }

    /// Loads pairs of dormant instances in the background, up to the limit, so that their first
    /// request finds a socket and `systemctl start` finds a unit; and has those checked that were
    /// loaded from an older config.
    pub async fn preload_because(self: &Arc<Self>, instances: Vec<Arc<Instance>>, cause: Cause) {
        let max = self.config.load().settings.loaded_max;
        let mut loaded = self.all().iter().filter(|one| one.phase() != Phase::Dormant).count();
        for instance in instances {
            let dormant = instance.phase() == Phase::Dormant;
            if dormant && loaded >= max {
                continue;
            }
            loaded += usize::from(dormant);
            let _because = instance.because(Way::Up, cause);
            match instance.phase() {
                Phase::Parked => self.repark(&instance).await,
                _ => self.preload_one(&instance).await,
            }
        }
        self.make_seats().await;
    }

    /// Loads or checks the pair of a sleeping instance. Requests wait meanwhile: one that connected
    /// to a socket just being replaced would lose its connection.
    pub(super) async fn preload_one(self: &Arc<Self>, instance: &Arc<Instance>) {
        let due = match instance.phase() {
            _ if instance.care.has_failed() || self.is_unprepared(instance) => false,
            Phase::Dormant => true,
            Phase::Asleep => instance.staleness() > 0,
            _ => false,
        };
        if !due {
            return;
        }
        let Some(_closed) = Closed::if_idle(instance) else { return };
        if let Err(error) = self.load(instance).await {
            log::warn!(TENEMENT_INSTANCE = instance.name.to_string(); "loading {}: {error}", instance.name);
        }
    }
}
