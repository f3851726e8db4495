//! One registered instance, as the agent holds it in memory.
//!
//! What only systemd knows (is it running?) is kept here as the last thing that systemd said, in
//! atomics, so that the hot path reads it without a lock. Everything per-request is here too. The
//! struct stays small: a host may hold 10,000 of them.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwap;
use tenement_wire::{InstanceName, ResourceLimits};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::WakeError;
use super::breaker::Breaker;
use super::care::Care;
pub use super::clock::{mono_ms, mono_us, now_ms};
use super::disk::Disk;
use super::fate::Ends;
use super::host::{Active, Units};
use super::lease::Gate;
use super::metrics::{Awake, IpBytes, Meter, Waking};
pub use super::phase::{Depth, Failure, Phase, Setup};
use super::releases::Source;
use super::story::Story;
use super::throttle::{RequestLimits, Throttle};
use crate::config::Definition;
use crate::plan::Particulars;
use crate::store::{Origin, Registered};
use crate::upstream::{Pool, Target};

/// The end of a wake that requests join.
pub type Flight = watch::Receiver<Option<Result<(), WakeError>>>;

/// One registered instance.
#[derive(Debug)]
pub struct Instance {
    /// `process:id`.
    pub name: InstanceName,
    /// Never changes until it is removed.
    pub uuid: Uuid,
    /// Its TCP port, for apps that listen on one.
    pub port: u16,
    created_ms: u64,
    origin: Origin,
    overrides: Mutex<Option<Box<ResourceLimits>>>,
    /// What it runs from.
    pub(super) source: Source,
    /// The size of its data, and the limit of that.
    pub disk: Disk,
    depth: AtomicU8,
    setup: ArcSwap<Setup>,
    service: AtomicU8,
    socket: AtomicU8,
    since_ms: AtomicU64,
    changed_ms: AtomicU64,
    /// When its pair was loaded, if systemd's own reports of that are still to come; 0 = they are not.
    pub(super) loaded_ms: AtomicU64,
    last_used_ms: AtomicU64,
    /// Whether its own listener or its health check answered since the service started.
    pub ready: AtomicBool,
    /// How many changes of the config the loaded units may lack.
    stale: AtomicU32,
    /// Whether it was removed: nobody may wake it any more.
    pub removed: AtomicBool,
    /// Whether a sleeper task watches its idleness.
    pub watched: AtomicBool,
    /// Whether a request is waiting for its first byte since it was asleep.
    pub waking: AtomicBool,
    /// Whether a stop of ours is not yet at its end in the stream of systemd's reports.
    pub(super) stopping: AtomicBool,
    /// Whether the last report of its service was of a crash.
    pub(super) crashing: AtomicBool,
    /// Whether a crash loop is being ended.
    pub(super) giving_up: AtomicBool,
    /// Crashes in a row, and when the last one was.
    pub(super) crashes: AtomicU32,
    pub(super) crashed_ms: AtomicU64,
    /// Counts of its requests, where they are limited.
    pub throttle: Throttle,
    /// Whether it is being parked now.
    pub(super) parking: AtomicBool,
    /// Whether somebody has used it since it was last parked.
    pub(super) taken: AtomicBool,
    /// Whether a try has shown that it can't be parked.
    pub(super) unparkable: AtomicBool,
    /// Lease count and stop gate.
    pub gate: Gate,
    /// Notified when the last lease ends.
    pub idle: Notify,
    /// Notified on each change of its units and when the gate opens.
    pub changed: Notify,
    /// Idle connections to it.
    pub pool: Pool,
    /// How often this agent woke it.
    pub wakes: AtomicU32,
    /// How long the last wake took, in microseconds; 0 = never woken.
    pub last_wake_us: AtomicU64,
    /// Its health.
    pub care: Care,
    /// Its circuit breaker.
    pub breaker: Breaker,
    /// Made with its first request: most of many instances never get one.
    pub(super) meter: OnceLock<Box<Meter>>,
    /// How long it was awake.
    pub(super) awake: Awake,
    /// What it has received and sent over IP.
    pub(super) ip: IpBytes,
    /// The wake that is under way, for the metrics.
    pub(super) being_woken: Waking,
    /// How often it was started again because it had crashed or its health was bad.
    pub restarts: AtomicU32,
    /// Held while systemd is asked whether it is frozen: an old answer must not replace a newer one.
    pub(super) learning: tokio::sync::Mutex<()>,
    pub(super) failure: Mutex<Option<Box<Failure>>>,
    pub(super) flight: Mutex<Option<Flight>>,
    pub(super) ends: Ends,
    pub(super) story: Story,
}

impl Instance {
    /// An instance that nothing is known of yet.
    #[must_use]
    pub fn new(registered: Registered, setup: Setup) -> Self {
        let Registered { name, uuid, port, created_ms, origin, overrides } = registered;
        let overrides = (!overrides.is_empty()).then(|| Box::new(overrides));
        Self {
            name,
            uuid,
            port,
            created_ms,
            origin,
            overrides: Mutex::new(overrides),
            source: Source::default(),
            disk: Disk::default(),
            depth: AtomicU8::new(Depth::None as u8),
            setup: ArcSwap::from_pointee(setup),
            service: AtomicU8::new(Active::Absent as u8),
            socket: AtomicU8::new(Active::Absent as u8),
            since_ms: AtomicU64::new(now_ms()),
            changed_ms: AtomicU64::new(mono_ms()),
            loaded_ms: AtomicU64::new(0),
            last_used_ms: AtomicU64::new(0),
            ready: AtomicBool::new(false),
            stale: AtomicU32::new(0),
            removed: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            waking: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            crashing: AtomicBool::new(false),
            giving_up: AtomicBool::new(false),
            crashes: AtomicU32::new(0),
            crashed_ms: AtomicU64::new(0),
            throttle: Throttle::default(),
            parking: AtomicBool::new(false),
            taken: AtomicBool::new(false),
            unparkable: AtomicBool::new(false),
            gate: Gate::default(),
            idle: Notify::new(),
            changed: Notify::new(),
            pool: Pool::default(),
            wakes: AtomicU32::new(0),
            last_wake_us: AtomicU64::new(0),
            care: Care::default(),
            breaker: Breaker::default(),
            meter: OnceLock::new(),
            awake: Awake::default(),
            ip: IpBytes::default(),
            being_woken: Waking::default(),
            restarts: AtomicU32::new(0),
            learning: tokio::sync::Mutex::default(),
            failure: Mutex::new(None),
            flight: Mutex::new(None),
            ends: Ends::default(),
            story: Story::default(),
        }
    }

    /// An instance at a fixed address that no database knows: for tests and benchmarks of the doors.
    #[must_use]
    pub fn at(name: InstanceName, definition: Arc<Definition>, target: Target) -> Self {
        let (uuid, origin) = (Uuid::nil(), Origin::Api);
        let overrides = ResourceLimits::new();
        let registered = Registered { name, uuid, port: 0, created_ms: 0, origin, overrides };
        let data_dir = std::path::Path::new("/").into();
        let trigger = target.clone();
        let requests = RequestLimits::of(&definition.limits);
        let (alternative, check) = (None, None);
        let setup = Setup { definition, target, alternative, trigger, requests, data_dir, check };
        Self::new(registered, setup)
    }

    /// What the database holds of it.
    #[must_use]
    pub fn registered(&self) -> Registered {
        Registered {
            name: self.name.clone(),
            uuid: self.uuid,
            port: self.port,
            created_ms: self.created_ms,
            origin: self.origin,
            overrides: self.particulars().overrides,
        }
    }

    /// When it was registered, Unix milliseconds.
    #[must_use]
    pub fn registered_ms(&self) -> u64 {
        self.created_ms
    }

    /// What the unit helper must know of it.
    #[must_use]
    pub fn particulars(&self) -> Particulars {
        let overrides = self.overrides.lock().expect("no panic while held").as_deref().cloned();
        let (overrides, release) = (overrides.unwrap_or_default(), self.release());
        Particulars { port: self.port, overrides, release }
    }

    /// Replaces the limits that were set for it alone.
    pub fn set_overrides(&self, overrides: ResourceLimits) {
        let overrides = (!overrides.is_empty()).then(|| Box::new(overrides));
        *self.overrides.lock().expect("no panic while held") = overrides;
    }

    /// How deep its active service lies.
    #[must_use]
    pub fn depth(&self) -> Depth {
        Depth::from_u8(self.depth.load(Ordering::Acquire))
    }

    /// Notes how deep its active service lies now.
    pub fn set_depth(&self, depth: Depth) {
        if self.depth.swap(depth as u8, Ordering::AcqRel) != depth as u8 {
            self.since_ms.store(now_ms(), Ordering::Relaxed);
            self.tell();
            self.changed.notify_waiters();
        }
    }

    /// What the config says of it.
    pub fn setup(&self) -> arc_swap::Guard<Arc<Setup>> {
        self.setup.load()
    }

    /// Replaces what the config says of it.
    pub fn set_setup(&self, setup: Setup) {
        self.setup.store(Arc::new(setup));
    }

    /// Takes what a new config says of it. While it runs, requests go where it listens, whatever the
    /// new config says: that holds from the next load of its units on.
    pub fn plan(&self, mut new: Setup) {
        let old = self.setup.load_full();
        let runs = matches!(
            self.phase(),
            Phase::Running | Phase::Starting | Phase::Stopping | Phase::Frozen
        );
        if runs && new.alternative.as_ref() == Some(&old.target) {
            new.alternative = Some(std::mem::replace(&mut new.target, old.target.clone()));
        }
        let moved = (&old.target, &old.alternative, &old.trigger)
            != (&new.target, &new.alternative, &new.trigger);
        if runs && (moved || old.definition.listen != new.definition.listen) {
            let (idle_timeout, tiers) = (new.definition.idle_timeout, new.definition.tiers.clone());
            let definition = Definition { idle_timeout, tiers, ..(*old.definition).clone() };
            let requests = new.requests;
            new = Setup { definition: Arc::new(definition), requests, ..(*old).clone() };
        }
        self.set_setup(new);
        self.mark_stale();
        self.unparkable.store(false, Ordering::Relaxed);
        // Its idle time may be another one now.
        self.changed.notify_waiters();
    }

    /// Where requests go.
    #[must_use]
    pub fn target(&self) -> Target {
        self.setup.load().target.clone()
    }

    /// What systemd last said of its units.
    #[must_use]
    pub fn units(&self) -> Units {
        Units {
            service: Active::from_u8(self.service.load(Ordering::SeqCst)),
            socket: Active::from_u8(self.socket.load(Ordering::Acquire)),
            parked: self.depth() == Depth::Parked,
        }
    }

    /// Notes that the loaded units may be of an older config than the agent's.
    pub fn mark_stale(&self) {
        self.stale.fetch_add(1, Ordering::AcqRel);
    }

    /// How many such changes there were since the units were last loaded; 0 = they are fresh.
    #[must_use]
    pub fn staleness(&self) -> u32 {
        self.stale.load(Ordering::Acquire)
    }

    /// Notes that units were loaded which hold the first `changes` changes. A change that came
    /// meanwhile leaves them stale.
    pub fn freshen(&self, changes: u32) {
        let _ = self.stale.compare_exchange(changes, 0, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// What it is doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let Units { service, socket, .. } = self.units();
        match service {
            Active::Active if self.depth() == Depth::Frozen => Phase::Frozen,
            Active::Active if self.depth() == Depth::Parked => Phase::Parked,
            Active::Active if self.answers() => Phase::Running,
            Active::Active | Active::Activating => Phase::Starting,
            Active::Deactivating => Phase::Stopping,
            Active::Absent | Active::Inactive | Active::Failed => match socket {
                Active::Active | Active::Activating => Phase::Asleep,
                Active::Failed => Phase::Failed,
                Active::Absent | Active::Inactive | Active::Deactivating => Phase::Dormant,
            },
        }
    }

    /// Whether an active service can take requests: with systemd's socket always, with a listener
    /// of its own once that has answered, and with a health check once that was good.
    fn answers(&self) -> bool {
        self.ready.load(Ordering::Acquire) || !self.setup.load().is_awaited()
    }

    /// Notes what systemd said of the service and wakes those who wait for a change.
    pub fn set_service(&self, state: Active) {
        self.take_service(state);
        self.tell();
        self.changed.notify_waiters();
    }

    fn take_service(&self, state: Active) {
        if self.service.swap(state as u8, Ordering::SeqCst) != state as u8 {
            self.since_ms.store(now_ms(), Ordering::Relaxed);
            self.changed_ms.store(mono_ms(), Ordering::Relaxed);
            if state != Active::Active {
                self.depth.store(Depth::None as u8, Ordering::Release);
                // Connections into a process that is ending must not be used for the next one.
                self.ready.store(false, Ordering::Release);
                self.pool.clear();
                self.breaker.reset();
            }
        }
    }

    /// Notes what systemd said of the socket.
    pub fn set_socket(&self, state: Active) {
        self.socket.store(state as u8, Ordering::Release);
        self.tell();
        self.changed.notify_waiters();
    }

    /// Notes what systemd said of both.
    pub fn set_units(&self, units: Units) {
        self.socket.store(units.socket as u8, Ordering::Release);
        if units.service == Active::Active {
            self.note_parked(units.parked);
        }
        self.set_service(units.service);
    }

    /// When it came into its state, in Unix milliseconds.
    #[must_use]
    pub fn since_ms(&self) -> u64 {
        self.since_ms.load(Ordering::Relaxed)
    }

    /// When its service came into its state, on the clock of [`mono_ms`].
    #[must_use]
    pub fn changed_ms(&self) -> u64 {
        self.changed_ms.load(Ordering::Relaxed)
    }

    /// Counts of its requests.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        self.meter.get_or_init(Box::default)
    }

    /// Notes that it was used now.
    pub fn touch(&self) {
        self.last_used_ms.store(mono_ms(), Ordering::Relaxed);
    }

    /// When it was last used, on the clock of [`mono_ms`]; 0 = not since the agent started.
    #[must_use]
    pub fn last_used_ms(&self) -> u64 {
        self.last_used_ms.load(Ordering::Relaxed)
    }
}
