//! Loads and unloads unit pairs.

use std::sync::Arc;
use std::time::Duration;

use tenement_wire::{InstanceName, ProcessName};
use tokio::sync::Semaphore;

use super::limits::Totals;
use super::recipe::Kitchen;
use super::turns::{Turn, Turns};
use super::uids::Uids;
use super::{Place, Source, UnitsError};
use crate::plan::{Particulars, UnitPlan};
use crate::systemd::{Brief, JobResult, Manager, SystemdError, UnitListing};

/// Pairs that are made at the same time: beyond it PID 1 only has a longer queue (measured: 300 to 650
/// pairs/s at 8 to 32).
const CREATES: usize = 32;
/// Reclaims at the same time: each is a thread in the kernel that compresses or writes pages.
const RECLAIMS: usize = 2;
/// A socket is made in milliseconds; behind a daemon-reload of thousands of units in seconds.
pub(super) const SOCKET_BOUND: Duration = Duration::from_secs(30);
/// From the end of a stop job until the unit is collected.
const GONE_BOUND: Duration = Duration::from_secs(10);
/// Whatever is to be collected without further ado is by then.
const GONE_SOON: Duration = Duration::from_millis(500);
const GONE_POLL_MAX: Duration = Duration::from_millis(50);
/// Rounds of "make it; no, something is there; remove that" before giving up.
const ROUNDS: usize = 3;

const REVISION: &str = "TENEMENT_REVISION=";

/// What [`Builder::load`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Whether the pair was made by this call.
    pub created: bool,
    /// Revision of the loaded pair.
    pub revision: String,
    /// It runs, but not as the config has it now (another revision, or its socket was stopped by hand);
    /// a restart mends that.
    pub stale: bool,
}

/// Turns names into loaded units; clones share everything.
#[derive(Debug, Clone)]
pub struct Builder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    manager: Manager,
    source: Source,
    kitchen: Kitchen,
    turns: Turns<InstanceName>,
    release_turns: Turns<ProcessName>,
    creates: Semaphore,
    reclaims: Semaphore,
    totals: Totals,
}

impl Builder {
    /// A builder for `place`.
    ///
    /// # Errors
    /// If systemd can't be asked for its version.
    pub async fn new(manager: Manager, place: Place) -> Result<Self, UnitsError> {
        let systemd = manager.version().await?;
        let source =
            Source::new(&place.config_dir, place.owner).with_data_home(place.data_home.clone());
        let uids = Uids::new(&place.state_dir, place.owner);
        let kitchen = Kitchen { place, uids, systemd };
        let (creates, reclaims) = (Semaphore::new(CREATES), Semaphore::new(RECLAIMS));
        let (turns, totals) = (Turns::default(), Totals::default());
        let release_turns = Turns::default();
        let inner =
            Inner { manager, source, kitchen, turns, release_turns, creates, reclaims, totals };
        Ok(Self(Arc::new(inner)))
    }

    pub(super) fn manager(&self) -> &Manager {
        &self.0.manager
    }

    pub(super) fn kitchen(&self) -> &Kitchen {
        &self.0.kitchen
    }

    pub(super) fn source(&self) -> &Source {
        &self.0.source
    }

    pub(super) fn place(&self) -> &Place {
        &self.0.kitchen.place
    }

    /// The slots for [`Self::reclaim`].
    pub(super) fn reclaims(&self) -> &Semaphore {
        &self.0.reclaims
    }

    pub(super) fn totals(&self) -> &Totals {
        &self.0.totals
    }

    pub(super) async fn turn(&self, name: &InstanceName) -> Turn<InstanceName> {
        self.0.turns.take(name).await
    }

    /// The right to make and delete releases of a process.
    pub(super) async fn release_turn(&self, process: &ProcessName) -> Turn<ProcessName> {
        self.0.release_turns.take(process).await
    }

    /// Sees to it that the pair is loaded and its socket listens. A pair of the same revision is left
    /// alone; one of another revision is replaced if its service is down, else kept.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn load(
        &self,
        name: &InstanceName,
        with: &Particulars,
    ) -> Result<Loaded, UnitsError> {
        let _turn = self.turn(name).await;
        self.load_in_turn(name, with).await
    }

    pub(super) async fn load_in_turn(
        &self,
        name: &InstanceName,
        with: &Particulars,
    ) -> Result<Loaded, UnitsError> {
        let config = self.source().load()?;
        let plan = self.0.kitchen.prepare(&config, name, with)?;
        self.set_totals(&config, name).await?;
        for _ in 0..ROUNDS {
            let (service, socket) = self.pair(name).await?;
            if service.is_none() && socket.is_none() {
                match self.create(&plan).await {
                    // Somebody made it between our question and our call: look again.
                    Err(UnitsError::AlreadyRunningElsewhere(_)) => continue,
                    other => return other,
                }
            }
            if let Some(loaded) = self.keep(name, &plan, service, socket).await? {
                return Ok(loaded);
            }
            self.remove(name).await?;
        }
        Err(UnitsError::AlreadyRunningElsewhere(format!(
            "the units of {name} are loaded again as soon as they are removed; is there a unit file \
             of that name?"
        )))
    }

    async fn create(&self, plan: &UnitPlan) -> Result<Loaded, UnitsError> {
        // The semaphore is never closed.
        let _permit = self.0.creates.acquire().await;
        let result = self.manager().start_transient(plan, SOCKET_BOUND).await?;
        if let JobResult::Failed(word) = result {
            let state = self.manager().unit_state(&plan.socket.name).await?;
            let why = state.map_or(word, |state| state.result);
            // Leave nothing that would make the next try fail for another reason.
            let _ = self.manager().reset_failed(&plan.socket.name).await;
            return Err(UnitsError::Systemd(format!(
                "{} could not listen ({why}); see: journalctl -u {}",
                plan.socket.name, plan.socket.name
            )));
        }
        Ok(Loaded { created: true, revision: plan.revision.clone(), stale: false })
    }

    /// Keeps what is loaded if it can stay, mending its socket; `None` if it must be replaced.
    async fn keep(
        &self,
        name: &InstanceName,
        plan: &UnitPlan,
        service: Option<Brief>,
        socket: Option<Brief>,
    ) -> Result<Option<Loaded>, UnitsError> {
        let Some(service) = service else { return Ok(None) };
        let revision = revision_of(&service);
        let same = revision.as_deref() == Some(plan.revision.as_str());
        let up = !service.active.is_down();
        let loaded = |stale| Loaded {
            created: false,
            revision: revision.clone().unwrap_or_default(),
            stale,
        };
        let listens = socket.as_ref().is_some_and(|socket| !socket.active.is_down());
        if up {
            // A running service is never disturbed here. Without its socket (somebody stopped it by
            // hand) it is no longer what the config says either, and systemd refuses to start a
            // socket whose service is up.
            return Ok(Some(loaded(!same || !listens)));
        }
        if !same || socket.is_none() {
            return Ok(None);
        }
        if !listens {
            self.listen_again(name).await?;
        }
        Ok(Some(loaded(false)))
    }

    /// Makes the socket listen after it failed or was stopped.
    pub(super) async fn listen_again(&self, name: &InstanceName) -> Result<(), UnitsError> {
        let (service, socket) = (name.service_unit(), name.socket_unit());
        self.manager().reset_failed(&service).await?;
        self.manager().reset_failed(&socket).await?;
        let result = self.manager().start_unit(&socket, SOCKET_BOUND).await?;
        done(&socket, result)
    }

    /// Service and socket as loaded now.
    pub(super) async fn pair(
        &self,
        name: &InstanceName,
    ) -> Result<(Option<Brief>, Option<Brief>), UnitsError> {
        let (service, socket) = (name.service_unit(), name.socket_unit());
        let manager = self.manager();
        Ok(tokio::try_join!(manager.brief(&service), manager.brief(&socket))?)
    }

    /// Stops both and waits until neither is loaded.
    pub(super) async fn remove(&self, name: &InstanceName) -> Result<(), UnitsError> {
        let (service, socket) = (name.service_unit(), name.socket_unit());
        let manager = self.manager();
        // The socket first, or a request that comes between would start the service again.
        self.thaw_first(&service).await?;
        let bound = self.stop_bound(&service).await?;
        for (unit, bound) in [(&socket, SOCKET_BOUND), (&service, bound)] {
            match manager.stop_unit(unit, bound).await {
                Ok(_) | Err(SystemdError::Absent(_)) => {}
                Err(error) => return Err(error.into()),
            }
            manager.reset_failed(unit).await?;
        }
        if tokio::time::timeout(GONE_SOON, self.until_gone(&service, &socket)).await.is_err() {
            // A command that shares its private network keeps it loaded.
            self.end_tasks(name).await?;
        }
        let gone = tokio::time::timeout(GONE_BOUND, self.until_gone(&service, &socket)).await;
        gone.unwrap_or_else(|_| {
            Err(UnitsError::Timeout(format!("systemd keeps the units of {name} loaded")))
        })
    }

    async fn until_gone(&self, service: &str, socket: &str) -> Result<(), UnitsError> {
        let (manager, mut wait) = (self.manager(), Duration::from_millis(1));
        loop {
            // A unit that failed while it stopped is collected only after this.
            let (service_loaded, socket_loaded) =
                tokio::try_join!(manager.is_loaded(service), manager.is_loaded(socket))?;
            if !service_loaded && !socket_loaded {
                return Ok(());
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(GONE_POLL_MAX);
        }
    }

    /// How long to wait for a service's stop: SIGTERM and SIGKILL have `TimeoutStopSec` each.
    pub(super) async fn stop_bound(&self, service: &str) -> Result<Duration, UnitsError> {
        let timeout = self.manager().stop_timeout(service).await?;
        Ok(timeout.saturating_mul(2).saturating_add(SOCKET_BOUND).min(Duration::from_secs(3600)))
    }

    /// Our units that are loaded.
    ///
    /// # Errors
    /// [`UnitsError::Unreachable`] and the like.
    pub async fn list(&self) -> Result<Vec<UnitListing>, UnitsError> {
        Ok(self.manager().list(&["ten-*@*.socket", "ten-*@*.service"]).await?)
    }
}

fn revision_of(service: &Brief) -> Option<String> {
    service.environment.iter().find_map(|v| v.strip_prefix(REVISION)).map(str::to_owned)
}

/// The result of a job as a result of a verb. `canceled` is what a stop becomes when a request starts
/// the service again meanwhile: what was asked for did happen.
pub(super) fn done(unit: &str, result: JobResult) -> Result<(), UnitsError> {
    match result {
        JobResult::Done | JobResult::Canceled => Ok(()),
        JobResult::Failed(word) => {
            let text = format!("the job of {unit} ended as `{word}`; see: journalctl -u {unit}");
            Err(UnitsError::Systemd(text))
        }
    }
}
