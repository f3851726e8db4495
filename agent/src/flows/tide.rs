//! The tide: what concerns many instances at once and nobody's own task.
//!
//! ```text
//! each tick   stop_after         ─► those long parked are stopped
//!             dormant_after      ─► units of those long asleep are unloaded
//!             keep_warm begins   ─► its instances are started, one after the other
//!             agent starts       ─► min_running: the last used are started until enough run
//!             memory pressure    ─► the coldest go one step down, a few each tick
//! ```
//! A sleeping instance has no task and costs nothing; one look over all of them in a while does.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tenement_wire::ProcessName;
use tokio::task::JoinHandle;

use super::agent::Agent;
use super::cool::Outcome;
use super::descent::{self, Step, Verdict};
use super::few::Few;
use super::host::Host;
use super::instance::{Instance, Phase};
use super::refuse::refuse_while_backing_off;
use crate::config::{Config, Tiers};
use crate::kernel::{Gauge, stalled_us};

/// Between two readings of the memory pressure: one read of a small file.
const TICK: Duration = Duration::from_secs(1);
/// Between two looks over all instances.
const LOOK: Duration = Duration::from_secs(20);
/// Instances that go one step down in a tick under pressure.
const STEPS_PER_TICK: usize = 8;
/// Instances that are asked for a step in a tick at most: those that are busy don't go.
const ASKED_PER_TICK: usize = 4 * STEPS_PER_TICK;
/// Instances that are unloaded after one look; the others are after the next one.
const UNLOADS_PER_LOOK: usize = 512;
/// Starts in vain that `min_running` of one process puts up with.
const VAIN_STARTS: usize = 16;
/// Instances that are asked in a tick whether they were frozen by hand: some files are opened for each, which
/// for a thousand in each tick would cost more than their health checks.
const PEEKS_PER_TICK: usize = 64;
/// Within what time the instances of a process are started when their window begins, and the pause
/// between two starts at most.
const WARM_UP: Duration = Duration::from_secs(60);
const WARM_UP_PAUSE: Duration = Duration::from_millis(500);

impl<H: Host> Agent<H> {
    /// Runs for as long as the agent lives; `pressure` is the file that the kernel tells memory
    /// pressure in.
    pub async fn tide(self: Arc<Self>, pressure: PathBuf) {
        let (mut gauge, mut warm) = (Gauge::default(), HashSet::new());
        let (mut since_look, mut peeked) = (LOOK, 0);
        let mut easing = None::<JoinHandle<usize>>;
        // Beside the loop: slow starts must not hold up what pressure asks for.
        let agent = self.clone();
        tokio::spawn(async move { agent.fill_up().await });
        loop {
            if since_look >= LOOK.min(self.shortest_rest()) {
                since_look = Duration::ZERO;
                self.warn_of_lacks();
                self.look_over(&mut warm);
            }
            tokio::time::sleep(TICK).await;
            since_look += TICK;
            peeked = self.peek(peeked);
            // Where the kernel tells no pressure (`psi=0`), nobody goes down early.
            let stalled = std::fs::read_to_string(&pressure).ok().and_then(|t| stalled_us(&t));
            let pressed = stalled.is_some_and(|stalled| gauge.read(stalled, TICK));
            // Beside the loop as well: a stop may take as long as an app likes.
            if pressed && easing.as_ref().is_none_or(JoinHandle::is_finished) {
                let agent = self.clone();
                easing = Some(tokio::spawn(async move { agent.ease(STEPS_PER_TICK).await }));
            }
        }
    }

    /// Looks for those that were frozen or thawed by hand, where systemd doesn't tell: some in each tick,
    /// the ones after the first `peeked`. Returns where to go on.
    fn peek(self: &Arc<Self>, peeked: usize) -> usize {
        if !self.host.peeks() {
            return 0;
        }
        let mut up = self.all();
        up.retain(|one| matches!(one.phase(), Phase::Running | Phase::Frozen));
        let from = if peeked < up.len() { peeked } else { 0 };
        for instance in up.iter().skip(from).take(PEEKS_PER_TICK) {
            if let Some(frozen) = self.host.peek_frozen(&instance.name) {
                self.observe_freezer(&instance.name, frozen);
            }
        }
        from + PEEKS_PER_TICK
    }

    /// The shortest `stop_after` or `dormant_after`, so that it is kept to.
    fn shortest_rest(&self) -> Duration {
        let config = self.config.load();
        let rests = config.processes.values().flat_map(|d| rests(&d.tiers));
        rests.min().unwrap_or(LOOK) / 4
    }

    /// Stops and unloads those that are due, and starts those whose window has begun.
    pub fn look_over(self: &Arc<Self>, warm: &mut HashSet<ProcessName>) {
        let config = self.config.load_full();
        if config.processes.values().any(|d| rests(&d.tiers).next().is_some()) {
            self.lower_sleepers();
        }
        let begun = begun(&config, self.host.local_time(), warm);
        if !begun.is_empty() {
            tokio::spawn(self.clone().warm_up(begun));
        }
    }

    /// Has those asleep whose time has come go down, one after the other, unless those of an earlier
    /// look still do.
    fn lower_sleepers(self: &Arc<Self>) {
        let Ok(turn) = self.unloads.clone().try_lock_owned() else { return };
        let few = self.few();
        let due: Vec<_> = {
            let instances = self.instances.read().expect("no panic while held");
            let due = instances
                .values()
                .filter_map(|one| self.due_asleep(&few, one).map(|step| (one.clone(), step)));
            due.take(UNLOADS_PER_LOOK).collect()
        };
        if due.is_empty() {
            return;
        }
        let agent = self.clone();
        tokio::spawn(async move {
            let _turn = turn;
            for (instance, step) in due {
                let cause = if step == Step::Stop { "stop_after" } else { "dormant_after" };
                if let Err(error) = agent.step_down(&instance, step, cause).await {
                    log::warn!("{}: {error}", instance.name);
                }
            }
        });
    }

    /// The step that one which nobody watches, for it sleeps, is due for.
    fn due_asleep(&self, few: &Few, instance: &Instance) -> Option<Step> {
        if !matches!(instance.phase(), Phase::Asleep | Phase::Parked) {
            return None;
        }
        let setup = instance.setup().clone();
        match descent::decide(&self.look_among(few, instance, &setup.definition)) {
            Verdict::Go(step) => Some(step),
            _ => None,
        }
    }

    /// Starts the instances of processes whose window has begun, spread over a while.
    async fn warm_up(self: Arc<Self>, processes: Vec<ProcessName>) {
        let cold: Vec<_> = self
            .all()
            .into_iter()
            .filter(|one| processes.contains(one.name.process()) && one.phase() != Phase::Running)
            .collect();
        let pause = WARM_UP.checked_div(cold.len() as u32).unwrap_or_default().min(WARM_UP_PAUSE);
        for instance in cold {
            self.bring_up(&instance, "keep_warm").await;
            tokio::time::sleep(pause).await;
        }
    }

    /// Starts the last used of each process until `min_running` of them run.
    pub async fn fill_up(self: &Arc<Self>) {
        let config = self.config.load_full();
        for definition in config.processes.values().filter(|d| d.tiers.min_running > 0) {
            let mut mine = self.all();
            mine.retain(|one| one.name.process() == &definition.name);
            let up = mine.iter().filter(|one| one.stands()).count();
            let mut missing = (definition.tiers.min_running as usize).saturating_sub(up);
            // One that has failed, or did a moment ago, would only fail again.
            let may = |one: &Instance| !one.stands() && refuse_while_backing_off(one).is_ok();
            mine.retain(|one| may(one));
            // Cached, since requests change the keys meanwhile.
            mine.sort_by_cached_key(|one| std::cmp::Reverse(one.last_used_ms()));
            for instance in mine.into_iter().take(missing + VAIN_STARTS) {
                if missing == 0 {
                    break;
                }
                missing -= usize::from(self.bring_up(&instance, "min_running").await);
            }
        }
    }

    /// Starts one that nobody has asked for; says whether it came up.
    async fn bring_up(self: &Arc<Self>, instance: &Arc<Instance>, cause: &str) -> bool {
        let name = &instance.name;
        let started = self.start(instance).await;
        match &started {
            Ok(()) => {
                log::info!(TENEMENT_INSTANCE = name.to_string(), TENEMENT_CAUSE = cause; "{name} was started ({cause})");
            }
            Err(error) => {
                log::warn!(TENEMENT_INSTANCE = name.to_string(), TENEMENT_CAUSE = cause; "{name} was not started ({cause}): {error}");
            }
        }
        started.is_ok()
    }

    /// Has up to `most` instances go one step down before their time, the coldest first: the kernel
    /// should find memory before it has to take it from those in use. Returns how many did. Asks
    /// [`ASKED_PER_TICK`] at most: those that were found busy are passed over by the next calls, until all
    /// others had their turn.
    pub async fn ease(self: &Arc<Self>, most: usize) -> usize {
        let few = self.few();
        let mut candidates: Vec<_> = {
            let instances = self.instances.read().expect("no panic while held");
            let step = |instance: &Arc<Instance>| {
                let setup = instance.setup().clone();
                let look = self.look_among(&few, instance, &setup.definition);
                descent::early(&look).map(|step| (instance.last_used_ms(), instance.clone(), step))
            };
            instances.values().filter_map(step).collect()
        };
        candidates.sort_by_key(|(used, ..)| *used);
        let passed = match self.passed_over.load(Ordering::Relaxed) {
            passed if passed < candidates.len() => passed,
            _ => 0,
        };
        let (mut done, mut stayed) = (0, 0);
        for (_, instance, step) in candidates.into_iter().skip(passed).take(ASKED_PER_TICK) {
            if done == most {
                break;
            }
            match self.step_down(&instance, step, super::cool::PRESSURE).await {
                Ok(Outcome::Done) => done += 1,
                Ok(Outcome::InUse | Outcome::Busy(_)) => stayed += 1,
                Err(error) => {
                    stayed += 1;
                    log::warn!("{}: {error}", instance.name);
                }
            }
        }
        // With the coldest again as soon as some have gone.
        let passed = if done == 0 && stayed > 0 { passed + stayed } else { 0 };
        self.passed_over.store(passed, Ordering::Relaxed);
        done
    }
}

/// The times after which a sleeping instance goes further down.
fn rests(tiers: &Tiers) -> impl Iterator<Item = Duration> {
    [tiers.stop_after, tiers.dormant_after].into_iter().flatten()
}

/// The processes whose window has begun since the last call; `warm` remembers those of that one.
fn begun(
    config: &Config,
    (day, minute): (usize, u16),
    warm: &mut HashSet<ProcessName>,
) -> Vec<ProcessName> {
    let open: HashSet<_> = config
        .processes
        .values()
        .filter(|d| d.tiers.keep_warm.iter().any(|window| window.contains(day, minute)))
        .map(|d| d.name.clone())
        .collect();
    let begun = open.difference(warm).cloned().collect();
    *warm = open;
    begun
}
