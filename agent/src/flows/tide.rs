//! The tide: what concerns many instances at once and nobody's own task.
//!
//! ```text
//! each tick   dormant_after      ─► units of those long asleep are unloaded
//!             keep_warm begins   ─► its instances are started, one after the other
//!             agent starts       ─► min_running: the last used are started until enough run
//!             memory pressure    ─► the coldest go one step down, a few each tick
//! ```
//! A sleeping instance has no task and costs nothing; one look over all of them in a while does.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tenement_wire::ProcessName;

use super::agent::Agent;
use super::cool::Outcome;
use super::descent::{self, Step, Verdict, Without};
use super::host::Host;
use super::instance::{Instance, Phase};
use crate::config::Config;
use crate::kernel::{Gauge, stalled_us};

/// Between two readings of the memory pressure: one read of a small file.
const TICK: Duration = Duration::from_secs(1);
/// Between two looks over all instances.
const LOOK: Duration = Duration::from_secs(20);
/// Instances that go one step down in a tick under pressure.
const STEPS_PER_TICK: usize = 8;
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
        // Beside the loop: slow starts must not hold up what pressure asks for.
        let agent = self.clone();
        tokio::spawn(async move { agent.fill_up().await });
        loop {
            if since_look >= LOOK.min(self.shortest_rest()) {
                since_look = Duration::ZERO;
                self.look_over(&mut warm);
            }
            tokio::time::sleep(TICK).await;
            since_look += TICK;
            peeked = self.peek(peeked);
            // Where the kernel tells no pressure (`psi=0`), nobody goes down early.
            let stalled = std::fs::read_to_string(&pressure).ok().and_then(|t| stalled_us(&t));
            if stalled.is_some_and(|stalled| gauge.read(stalled, TICK)) {
                self.ease(STEPS_PER_TICK).await;
            }
        }
    }

    /// Looks for those that were frozen or thawed by hand, where systemd doesn't tell: some in each tick,
    /// the ones after the first `peeked`. Returns where to go on.
    fn peek(self: &Arc<Self>, peeked: usize) -> usize {
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

    /// The shortest `dormant_after`, so that it is kept to.
    fn shortest_rest(&self) -> Duration {
        let config = self.config.load();
        let rests = config.processes.values().filter_map(|d| d.tiers.dormant_after);
        rests.min().unwrap_or(LOOK) / 4
    }

    /// Unloads those that are due, and starts those whose window has begun.
    pub fn look_over(self: &Arc<Self>, warm: &mut HashSet<ProcessName>) {
        let config = self.config.load_full();
        if config.processes.values().any(|d| d.tiers.dormant_after.is_some()) {
            let due: Vec<_> =
                self.all().into_iter().filter(|one| self.is_unloadable(one)).collect();
            let agent = self.clone();
            tokio::spawn(async move {
                for instance in due {
                    let _ = agent.step_down(&instance, Step::Unload, "dormant_after").await;
                }
            });
        }
        let begun = begun(&config, self.host.local_time(), warm);
        if !begun.is_empty() {
            tokio::spawn(self.clone().warm_up(begun));
        }
    }

    fn is_unloadable(&self, instance: &Instance) -> bool {
        if instance.phase() != Phase::Asleep {
            return false;
        }
        let setup = instance.setup().clone();
        let look = self.look(instance, &setup.definition, Without::default());
        descent::decide(&look) == Verdict::Go(Step::Unload)
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
            let all = self.all();
            let mine = all.iter().filter(|one| one.name.process() == &definition.name);
            let (up, mut down): (Vec<_>, Vec<_>) =
                mine.partition(|one| matches!(one.phase(), Phase::Running | Phase::Starting));
            // Cached, since requests change the keys meanwhile.
            down.sort_by_cached_key(|one| std::cmp::Reverse(one.last_used_ms()));
            let missing = (definition.tiers.min_running as usize).saturating_sub(up.len());
            for instance in down.into_iter().take(missing) {
                self.bring_up(instance, "min_running").await;
            }
        }
    }

    /// Starts one that nobody has asked for.
    async fn bring_up(self: &Arc<Self>, instance: &Arc<Instance>, cause: &str) {
        let name = &instance.name;
        match self.start(instance).await {
            Ok(()) => {
                log::info!(TENEMENT_INSTANCE = name.to_string(), TENEMENT_CAUSE = cause; "{name} was started ({cause})");
            }
            Err(error) => {
                log::warn!(TENEMENT_INSTANCE = name.to_string(), TENEMENT_CAUSE = cause; "{name} was not started ({cause}): {error}");
            }
        }
    }

    /// Has up to `most` instances go one step down before their time, the coldest first: the kernel
    /// should find memory before it has to take it from those in use. Returns how many did.
    pub async fn ease(self: &Arc<Self>, most: usize) -> usize {
        let mut candidates: Vec<_> = self
            .all()
            .into_iter()
            .filter_map(|instance| {
                let setup = instance.setup().clone();
                let look = self.look(&instance, &setup.definition, Without::default());
                descent::early(&look).map(|step| (instance.last_used_ms(), instance, step))
            })
            .collect();
        candidates.sort_by_key(|(used, ..)| *used);
        let mut done = 0;
        for (_, instance, step) in candidates {
            if done == most {
                break;
            }
            match self.step_down(&instance, step, super::cool::PRESSURE).await {
                Ok(Outcome::Done) => done += 1,
                Ok(Outcome::InUse | Outcome::Busy(_)) => {}
                Err(error) => log::warn!("{}: {error}", instance.name),
            }
        }
        done
    }
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
