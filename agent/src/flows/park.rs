//! Parking: an instance that has just gone to sleep is started again, up to its stub.
//!
//! ```text
//! idle stop ─► among the most recently used? ─► flag, StartUnit ─► StatusText "parked…" ─► Parked
//!                                                                                            │
//!                   request ── connect() ─► the stub execs the app; nothing else happens ◄───┘
//! ```
//! The gate is closed while systemd starts the stub, so a request either comes before (and the instance
//! is not parked) or after. Should the agent's wait end first, the gate opens, and the stub becomes the
//! app at the connection, whether it has told that it is parked or not.
//!
//! What is parked is systemd's to say; the agent only remembers that a request has taken an instance,
//! because reports of what was before may come after it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tenement_wire::status::Cause;
use tenement_wire::{InstanceName, ProcessName};

use super::agent::Agent;
use super::host::{Active, Host, HostError};
use super::instance::{Depth, Instance, Phase};
use super::lease::Closed;
use super::probe::connect;
use super::story::Way;
use crate::config::Park;

/// What a parked instance costs, kernel memory included, in bytes: see `docs/BENCHMARKS.md`.
const COST: u64 = 300_000;
/// The part of the host's memory that `park = "auto"` may use for all instances together.
const SHARE: u64 = 100;
/// Instances that are being parked at once: wakes of others come first in PID 1's queue.
pub(super) const AT_ONCE: usize = 4;
/// How long a parking may take before requests go on without it, and the question what became of it.
const BOUND: Duration = Duration::from_secs(3);
const ASK_BOUND: Duration = Duration::from_secs(1);

/// How many instances `park = "auto"` parks on a host with this much memory; at most half of those
/// that may be loaded.
#[must_use]
pub fn auto_limit(memory_bytes: u64, loaded_max: usize) -> usize {
    usize::try_from(memory_bytes / SHARE / COST).unwrap_or(usize::MAX).min(loaded_max / 2)
}

impl Instance {
    /// Notes that somebody uses it: what systemd may still report of its parking is past.
    pub(super) fn take(&self) -> bool {
        self.taken.store(true, Ordering::SeqCst);
        let parked = self.depth() == Depth::Parked;
        if parked {
            self.set_depth(Depth::None);
        }
        parked
    }

    /// Takes in what systemd says of it.
    pub(super) fn note_parked(&self, parked: bool) {
        match (parked, self.depth()) {
            (true, Depth::None) if !self.taken.load(Ordering::SeqCst) => {
                self.set_depth(Depth::Parked);
            }
            (false, Depth::Parked) => self.set_depth(Depth::None),
            _ => {}
        }
    }

    /// Whether what systemd starts is the stub, and nobody has taken it since.
    pub(super) fn is_being_parked(&self) -> bool {
        self.parking.load(Ordering::Acquire) && !self.taken.load(Ordering::SeqCst)
    }

    /// Whether it is parked or about to be.
    fn has_seat(&self) -> bool {
        self.parking.load(Ordering::Acquire) || self.depth() == Depth::Parked
    }

    /// What decides who may be parked: the time of its last use, and the name where that is the same.
    fn rank(&self) -> (u64, &InstanceName) {
        (self.last_used_ms(), &self.name)
    }

    /// The instances that it shares a limit with: those of its process, or all with `park = "auto"`.
    fn pool(&self) -> Option<ProcessName> {
        match self.setup().definition.tiers.park {
            Park::Auto => None,
            Park::Most(_) => Some(self.name.process().clone()),
        }
    }
}

impl<H: Host> Agent<H> {
    /// Parks an instance that was just put to sleep, if it is to be; beside whoever asks.
    pub(super) fn park_later(self: &Arc<Self>, instance: &Arc<Instance>) {
        if !self.is_to_be_parked(instance) {
            return;
        }
        let (agent, instance) = (self.clone(), instance.clone());
        tokio::spawn(async move {
            let _turn = agent.parkings.acquire().await.expect("never closed");
            agent.park(&instance).await;
            agent.make_seats().await;
        });
    }

    fn is_to_be_parked(&self, instance: &Instance) -> bool {
        instance.phase() == Phase::Asleep
            && instance.failure().is_none()
            && !instance.care.has_failed()
            && !instance.unparkable.load(Ordering::Relaxed)
            && !self.is_unprepared(instance)
            && !instance.removed.load(Ordering::Acquire)
            && self.deserves_seat(instance)
    }

    /// How many instances of its pool are parked at most.
    fn seats_for(&self, instance: &Instance) -> usize {
        let definition = &instance.setup().definition;
        match definition.tiers.park {
            _ if !definition.may_park() => 0,
            Park::Most(most) => most as usize,
            Park::Auto => {
                auto_limit(self.host.memory_bytes(), self.config.load().settings.loaded_max)
            }
        }
    }

    /// Whether fewer than the limit were used more recently than it.
    fn deserves_seat(&self, instance: &Instance) -> bool {
        let (limit, pool, rank) = (self.seats_for(instance), instance.pool(), instance.rank());
        let instances = self.instances.read().expect("no panic while held");
        let rivals = instances
            .values()
            .filter(|one| one.has_seat() && one.rank() > rank && one.pool() == pool);
        limit > rivals.take(limit).count()
    }

    /// Stops the parked instances that others have more right to be than: one at a time.
    pub(super) async fn make_seats(self: &Arc<Self>) {
        let _turn = self.seats.lock().await;
        let mut seated: Vec<_> = {
            let instances = self.instances.read().expect("no panic while held");
            instances.values().filter(|one| one.has_seat()).cloned().collect()
        };
        seated.sort_by_cached_key(|one| std::cmp::Reverse((one.last_used_ms(), one.name.clone())));
        let mut taken = HashMap::<_, usize>::new();
        for instance in seated {
            let taken = taken.entry(instance.pool()).or_default();
            if *taken < self.seats_for(&instance) {
                *taken += 1;
                continue;
            }
            self.stop_parked(&instance).await;
        }
    }

    /// Stops a parked instance, unless somebody uses it.
    pub(super) async fn stop_parked(self: &Arc<Self>, instance: &Arc<Instance>) {
        let Some(closed) = Closed::if_idle(instance) else { return };
        let _because = instance.because(Way::Down, Cause::MakeRoom);
        if instance.phase() == Phase::Parked
            && let Err(error) = self.stop_behind(&closed, instance).await
        {
            log::warn!("stopping {}, which was parked: {error}", instance.name);
        }
    }

    /// Parks it while the gate is closed, unless somebody uses it.
    async fn park(self: &Arc<Self>, instance: &Arc<Instance>) {
        if instance.staleness() > 0 {
            self.preload_one(instance).await;
        }
        let Some(closed) = Closed::if_idle(instance) else { return };
        if !self.is_to_be_parked(instance) {
            return;
        }
        let parking = Parking::begin(self.clone(), instance.clone());
        let attempt = async {
            self.host.park(&instance.name, &instance.particulars()).await?;
            until_it_shows(instance).await;
            Ok::<_, HostError>(())
        };
        match tokio::time::timeout(BOUND, attempt).await {
            // It goes on beside us; what comes of it, reports tell.
            Err(_) => log::info!("parking {} takes long", instance.name),
            Ok(Err(error)) => {
                if self.is_news(instance.name.process(), "parking") {
                    log::warn!(TENEMENT_INSTANCE = instance.name.to_string(); "parking {}: {error}", instance.name);
                }
                let hopeless = !matches!(error, HostError::Unreachable(_));
                instance.unparkable.store(hopeless, Ordering::Relaxed);
            }
            Ok(Ok(())) if instance.phase() != Phase::Parked => {
                self.find_out(&closed, instance).await;
            }
            Ok(Ok(())) => {}
        }
        drop(parking);
        if instance.units().service == Active::Active {
            self.came_up(instance);
        }
    }

    /// Asks systemd what has become of an instance that does not look parked. Where something else than
    /// the stub was started, for nobody, it is stopped.
    async fn find_out(self: &Arc<Self>, closed: &Closed, instance: &Arc<Instance>) {
        // The report may have been lost, or be late behind a daemon-reload: this answer is not.
        let asked = tokio::time::timeout(ASK_BOUND, self.host.units(&instance.name)).await;
        let Ok(Ok(units)) = asked else { return };
        instance.set_units(units);
        if units.service != Active::Active || units.parked {
            return;
        }
        log::warn!(TENEMENT_INSTANCE = instance.name.to_string(); "{} can't be parked: it does not wait for a request", instance.name);
        instance.unparkable.store(true, Ordering::Relaxed);
        if let Err(error) = self.stop_behind(closed, instance).await {
            log::warn!("stopping {}: {error}", instance.name);
        }
    }

    /// Wakes a parked instance for somebody who makes no request: only a connection does that.
    pub(super) async fn nudge(&self, instance: &Instance) {
        let trigger = instance.setup().trigger.clone();
        if let Err(error) = connect(&trigger).await {
            log::warn!("connecting to {trigger}: {error}");
        }
    }

    /// Sees to it that a parked instance is what the config in force says; otherwise it is stopped. One
    /// that an earlier agent has left is kept, if it is of the same revision.
    ///
    /// # Errors
    /// What systemd or the helper said.
    pub(super) async fn refit(&self, instance: &Instance) -> Result<(), HostError> {
        let changes = instance.staleness();
        if instance.phase() != Phase::Parked || changes == 0 {
            return Ok(());
        }
        if self.host.fits(&instance.name, &instance.particulars()).await? {
            self.refresh(instance);
            instance.freshen(changes);
            instance.note_loaded(instance.release());
            return Ok(());
        }
        self.stop_in_flight(instance).await
    }

    /// Stops what has not become the app, or is frozen, for a start that is under way.
    pub(super) async fn stop_in_flight(&self, instance: &Instance) -> Result<(), HostError> {
        self.host.stop(&instance.name).await?;
        instance.set_units(self.host.units(&instance.name).await?);
        Ok(())
    }

    /// Brings a parked instance up to the config: another revision is parked instead, or none.
    pub(super) async fn repark(self: &Arc<Self>, instance: &Arc<Instance>) {
        {
            let Some(_closed) = Closed::if_idle(instance) else { return };
            let _because = instance.because(Way::Down, Cause::Config);
            if let Err(error) = self.refit(instance).await {
                log::warn!("{} is parked in an older revision: {error}", instance.name);
            }
        }
        self.park_later(instance);
    }
}

/// Waits until it is parked, or is not going to be.
async fn until_it_shows(instance: &Instance) {
    // Reports come within milliseconds of the job's end.
    let _ = tokio::time::timeout(BOUND / 2, async {
        loop {
            let changed = instance.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if instance.phase() == Phase::Parked || instance.units().service == Active::Failed {
                return;
            }
            changed.await;
        }
    })
    .await;
}

/// One parking. However it ends, no later start of the instance is parked by it.
struct Parking<H: Host> {
    agent: Arc<Agent<H>>,
    instance: Arc<Instance>,
}

impl<H: Host> Parking<H> {
    fn begin(agent: Arc<Agent<H>>, instance: Arc<Instance>) -> Self {
        instance.taken.store(false, Ordering::SeqCst);
        instance.parking.store(true, Ordering::Release);
        Self { agent, instance }
    }
}

impl<H: Host> Drop for Parking<H> {
    fn drop(&mut self) {
        let _because = self.instance.because(Way::Up, Cause::Idle);
        self.instance.parking.store(false, Ordering::Release);
        self.instance.tell();
        self.agent.host.forget_parking(&self.instance.name);
    }
}

/// Whether a service that systemd has started may be waiting for a connection to its trigger.
pub(super) fn may_wait(instance: &Instance) -> bool {
    let definition = &instance.setup().definition;
    !definition.systemd_listens()
        && definition.may_park()
        && !instance.ready.load(Ordering::Acquire)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_a_hundredth_of_the_memory_and_half_of_the_loaded_at_most() {
        let gigabyte = 1_000_000_000;
        assert_eq!(auto_limit(4 * gigabyte, 1_000), 133);
        assert_eq!(auto_limit(64 * gigabyte, 1_000), 500);
        assert_eq!(auto_limit(20_000_000, 1_000), 0);
        assert_eq!(auto_limit(u64::MAX, 3), 1);
    }
}
