//! Cooling down: the steps between running and stopped, and the way back.
//!
//! ```text
//! reclaim   nobody waits: the instance answers by itself all the while
//! freeze    gate closed ─► pooled connections dropped ─► frozen ─► gate open
//! thaw      part of the flight that requests join (see `wake`)
//! ```
//! It does *not* decide: see [`super::descent`].

use std::sync::Arc;

use tenement_wire::dto::NextStep;
use tenement_wire::status::Cause;

use super::agent::Agent;
use super::checkup::close_if_idle;
use super::descent::{self, Look, Step, Without};
use super::few::Few;
use super::host::{Active, Host, HostError};
use super::instance::{Depth, Instance, Phase, mono_ms, now_ms};
use super::story::Way;
use crate::config::{Definition, Tiers};

/// The cause of a step that memory pressure made.
pub(super) const PRESSURE: &str = "memory-pressure";

/// How a step down ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is there.
    Done,
    /// Somebody uses it or another stop is under way; both tell of their end.
    InUse,
    /// The app says that it is busy, in these words; nobody tells when that ends.
    Busy(String),
}

/// Why one is kept running whatever its idleness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// A window of `keep_warm` is open.
    Warm,
    /// It is one of the `min_running` that were used last.
    Few,
}

impl Kept {
    /// As `ten why` lists it under what holds an instance.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Warm => "a keep_warm window",
            Self::Few => "min_running",
        }
    }
}

/// Has entered the gate, and is no use of the instance.
struct Inside<'a>(&'a Instance);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if self.0.gate.leave() == 0 {
            self.0.idle.notify_waiters();
        }
    }
}

impl<H: Host> Agent<H> {
    /// What the decision about an instance looks at now; `failed` are steps not to be tried again.
    pub(super) fn look<'a>(
        &self,
        instance: &Instance,
        definition: &'a Definition,
        failed: Without,
    ) -> Look<'a> {
        let kept = self.kept(instance, definition).is_some();
        self.look_knowing(instance, definition, failed, kept)
    }

    /// The same, where it is known whether it is kept running.
    fn look_knowing<'a>(
        &self,
        instance: &Instance,
        definition: &'a Definition,
        failed: Without,
        kept: bool,
    ) -> Look<'a> {
        let phase = instance.phase();
        // One that has not come so far as to listen gets the time that it may take for that.
        let idle_timeout = definition.idle_timeout.map(|idle| match phase {
            Phase::Starting => idle.max(definition.startup_timeout),
            _ => idle,
        });
        let lacking = self.host.lacks();
        Look {
            now_ms: mono_ms(),
            used_ms: instance.last_used_ms(),
            rests_ms: instance.changed_ms(),
            phase,
            depth: instance.depth(),
            leases: instance.gate.leases(),
            kept,
            idle_timeout,
            tiers: &definition.tiers,
            without: Without {
                reclaim: lacking.reclaim || failed.reclaim,
                freeze: lacking.freeze || failed.freeze,
            },
        }
    }

    /// What the decision looks at, for one of many: `few` was looked up for all of them.
    pub(super) fn look_among<'a>(
        &self,
        few: &Few,
        instance: &Instance,
        definition: &'a Definition,
    ) -> Look<'a> {
        let kept = self.is_warm(definition) || few.keeps(instance);
        self.look_knowing(instance, definition, Without::default(), kept)
    }

    fn is_warm(&self, definition: &Definition) -> bool {
        let windows = &definition.tiers.keep_warm;
        if windows.is_empty() {
            return false;
        }
        let (day, minute) = self.host.local_time();
        windows.iter().any(|window| window.contains(day, minute))
    }

    /// Why it may not go below running now.
    pub(super) fn kept(&self, instance: &Instance, definition: &Definition) -> Option<Kept> {
        if self.is_warm(definition) {
            return Some(Kept::Warm);
        }
        let most = definition.tiers.min_running as usize;
        (most > 0 && self.is_one_of(most, instance)).then_some(Kept::Few)
    }

    /// Takes one step down; `cause` is for the log.
    ///
    /// # Errors
    /// What systemd or the helper said; the instance is as it was.
    pub(super) async fn step_down(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
        step: Step,
        cause: &str,
    ) -> Result<Outcome, HostError> {
        if matches!(step, Step::Freeze | Step::Stop)
            && let Some(busy) = self.busy(instance).await
        {
            return Ok(Outcome::Busy(busy));
        }
        let _because = instance.because(
            Way::Down,
            if cause == PRESSURE { Cause::MemoryPressure } else { Cause::Idle },
        );
        let done = match step {
            Step::Reclaim => self.reclaim(instance).await?,
            Step::Freeze => self.freeze(instance).await?,
            Step::Stop if instance.phase() == Phase::Parked => {
                self.stop_parked(instance).await;
                true
            }
            Step::Stop => self.put_to_sleep(instance).await?,
            Step::Unload => {
                self.make_dormant(instance).await;
                true
            }
        };
        if !done {
            return Ok(Outcome::InUse);
        }
        log::info!(
            TENEMENT_INSTANCE = instance.name.to_string(), TENEMENT_CAUSE = cause;
            "{} {} ({cause})", instance.name, step.verb()
        );
        Ok(Outcome::Done)
    }

    /// What the app says that it is busy with, while it runs.
    pub(super) async fn busy(&self, instance: &Instance) -> Option<String> {
        match instance.phase() {
            Phase::Running | Phase::Starting => self.host.busy(&instance.name, &self.run_dir).await,
            _ => None,
        }
    }

    /// Has the kernel take back its memory. It answers by itself meanwhile, so no gate is closed.
    async fn reclaim(&self, instance: &Arc<Instance>) -> Result<bool, HostError> {
        let used = instance.last_used_ms();
        self.host.reclaim(&instance.name).await?;
        let untouched = instance.gate.leases() == 0 && instance.last_used_ms() == used;
        if untouched && instance.phase() == Phase::Running {
            instance.set_depth(Depth::Reclaimed);
        }
        Ok(untouched)
    }

    /// Freezes it if nobody uses it. `Ok(false)`: somebody does.
    pub(super) async fn freeze(&self, instance: &Arc<Instance>) -> Result<bool, HostError> {
        let Some(_closed) = close_if_idle(instance).await else { return Ok(false) };
        if instance.phase() != Phase::Running {
            return Ok(false);
        }
        // It can't see these end while it is frozen, and must not find them stale afterwards.
        instance.pool.clear();
        let before = instance.depth();
        // Noted first: should we be cut off in the middle, a thaw too many does no harm, and a request
        // into a frozen instance would wait for ever.
        instance.set_depth(Depth::Frozen);
        let frozen = self.host.freeze(&instance.name).await;
        if let Err(error) = frozen {
            // It may be half frozen, and the next request expects it to run.
            if self.host.thaw(&instance.name).await.is_ok() {
                instance.set_depth(before);
            }
            return Err(error);
        }
        Ok(true)
    }

    /// Thaws it for those who wait. One that runs already, because somebody thawed it by hand, is
    /// none the worse.
    ///
    /// # Errors
    /// What systemd or the helper said; it is taken to be frozen still.
    pub(super) async fn thaw(&self, instance: &Instance) -> Result<(), HostError> {
        self.host.thaw(&instance.name).await?;
        instance.pool.clear();
        instance.set_depth(Depth::None);
        Ok(())
    }

    /// Systemd says that a service was frozen or thawed, by us or by hand. Such a report may be old, so
    /// it only makes us ask.
    pub fn observe_freezer(self: &Arc<Self>, name: &tenement_wire::InstanceName, frozen: bool) {
        let Some(instance) = self.known(name) else { return };
        if (instance.depth() == Depth::Frozen) == frozen {
            return;
        }
        let agent = self.clone();
        tokio::spawn(async move { agent.learn_freezer(&instance).await });
    }

    /// Asks systemd whether a service is frozen.
    pub(super) async fn learn_freezer(self: &Arc<Self>, instance: &Arc<Instance>) {
        let _turn = instance.learning.lock().await;
        // A freeze of ours has the gate. While we are in it, none can begin between answer and note.
        loop {
            if instance.units().service != Active::Active {
                // It was stopped: nothing is frozen. And whoever parks it now must not find us in the gate.
                return;
            }
            if instance.gate.enter() {
                break;
            }
            self.until_gate_opens(instance).await;
        }
        let _inside = Inside(instance);
        match self.host.is_frozen(&instance.name).await {
            Ok(true) if instance.depth() != Depth::Frozen => {
                instance.pool.clear();
                instance.set_depth(Depth::Frozen);
                self.watch_idleness(instance);
                if instance.gate.leases() > 1 {
                    // It was frozen under open requests, which would wait for ever.
                    let (agent, instance) = (self.clone(), instance.clone());
                    tokio::spawn(async move { agent.join_flight(&instance, true).await });
                }
            }
            Ok(false) if instance.depth() == Depth::Frozen => {
                instance.set_depth(Depth::None);
                self.watch_idleness(instance);
            }
            Ok(_) => {}
            Err(error) => log::warn!("asking whether {} is frozen: {error}", instance.name),
        }
    }

    /// The next step down, for people.
    pub(super) fn next_step(&self, few: &Few, instance: &Instance) -> Option<NextStep> {
        let setup = instance.setup().clone();
        let (step, left) = match descent::decide(&self.look_among(few, instance, &setup.definition))
        {
            descent::Verdict::Go(step) => (step, 0),
            descent::Verdict::Wait(left, step) => (step, left.as_millis() as u64),
            descent::Verdict::InUse | descent::Verdict::Rest => return None,
        };
        let at_ms = (now_ms() + left + 500) / 1000 * 1000;
        Some(NextStep { step: step.verb().into(), at_ms })
    }

    /// When an idle one freezes, is parked or stops, Unix milliseconds; none while something uses it or keeps it.
    pub(super) fn sleeps_ms(&self, few: &Few, instance: &Instance) -> Option<u64> {
        let setup = instance.setup().clone();
        let tiers = &setup.definition.tiers;
        let look = self.look_among(few, instance, &setup.definition);
        // What is reclaimed goes on answering by itself.
        let tiers = Tiers { reclaim_after: None, ..tiers.clone() };
        match descent::decide(&Look { tiers: &tiers, ..look }) {
            descent::Verdict::Go(_) => Some(now_ms()),
            descent::Verdict::Wait(left, _) => Some(now_ms() + left.as_millis() as u64),
            descent::Verdict::InUse | descent::Verdict::Rest => None,
        }
    }
}
