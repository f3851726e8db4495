//! Calls to systemd, over whichever connection there is now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Semaphore, mpsc};
use zbus::OwnedObjectPath;

use super::encode;
use super::link::{Incoming, Link, drain};
use super::state::ours;
use super::watch::Watchers;
use super::{ActiveState, SystemdError, UnitEvent, UnitListing};
use crate::plan::{Property, UnitPlan, UnitSpec};

/// No call to systemd takes longer, not even behind a daemon-reload of ten thousand units (14 s).
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// dbus-daemon refuses the 129th call of a connection that waits for a reply
/// (`max_replies_per_connection`), and the client of unitd shares this connection.
const CALLS: usize = 40;
const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Which systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// PID 1, on the system bus.
    System,
    /// The user's own manager, on the session bus.
    Session,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobResult {
    /// As asked.
    Done,
    /// Another job took its place, such as a start during a stop: normal.
    Canceled,
    /// It did not succeed: `failed`, `dependency`, `timeout`, `frozen`, …
    Failed(String),
}

impl JobResult {
    pub(super) fn parse(word: String) -> Self {
        match word.as_str() {
            "done" | "skipped" => Self::Done,
            "canceled" => Self::Canceled,
            _ => Self::Failed(word),
        }
    }
}

/// A handle to systemd; clones share one connection, which ends with the last of them.
#[derive(Debug, Clone)]
pub struct Manager(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    inner: Arc<Inner>,
    keeper: tokio::task::JoinHandle<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

#[derive(Debug)]
struct Inner {
    bus: Bus,
    link: ArcSwapOption<Link>,
    watchers: Watchers,
    watching: AtomicBool,
    calls: Semaphore,
}

impl Manager {
    /// Connects and subscribes. Afterwards the connection is kept up for as long as a handle lives.
    ///
    /// # Errors
    /// [`SystemdError::Unreachable`] if there is no bus or no systemd on it now.
    pub async fn connect(bus: Bus) -> Result<Self, SystemdError> {
        let (link, incoming) = Link::open(bus, false).await?;
        let inner = Arc::new(Inner {
            bus,
            link: ArcSwapOption::from(Some(link.clone())),
            watchers: Watchers::default(),
            watching: AtomicBool::new(false),
            calls: Semaphore::new(CALLS),
        });
        let keeper = tokio::spawn(keep_up(inner.clone(), link, incoming));
        Ok(Self(Arc::new(Handle { inner, keeper })))
    }

    pub(super) fn link(&self) -> Result<Arc<Link>, SystemdError> {
        self.0.inner.link.load_full().ok_or_else(|| {
            SystemdError::Unreachable("the connection to the bus is down; reconnecting".into())
        })
    }

    /// The connection of now, for calls to other services on the same bus.
    pub(crate) fn connection(&self) -> Result<zbus::Connection, SystemdError> {
        Ok(self.link()?.connection.clone())
    }

    /// One call: bounded in time and in how many are under way.
    pub(super) async fn call<T>(
        &self,
        call: impl Future<Output = zbus::Result<T>>,
    ) -> Result<T, SystemdError> {
        let _permit = self.0.inner.calls.acquire().await;
        match tokio::time::timeout(CALL_TIMEOUT, call).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(SystemdError::Timeout("no answer to the call".into())),
        }
    }

    /// Sends a call that makes a job and waits for that job's end.
    pub(super) async fn job(
        &self,
        link: &Link,
        call: impl Future<Output = zbus::Result<OwnedObjectPath>>,
        unit: &str,
        bound: Duration,
    ) -> Result<JobResult, SystemdError> {
        let expected = link.jobs.expect();
        let path = self.call(call).await?;
        let end = expected.wait_for(path.as_str());
        drop(expected);
        match tokio::time::timeout(bound, end).await {
            Ok(Ok(result)) => Ok(JobResult::parse(result)),
            Ok(Err(_)) => Err(SystemdError::Unreachable("the bus went away during the job".into())),
            Err(_) => {
                Err(SystemdError::Timeout(format!("the job of {unit} goes on after {bound:?}")))
            }
        }
    }

    /// systemd's major version, such as 252.
    ///
    /// # Errors
    /// [`SystemdError::Unreachable`], or `Other` if the version can't be read as a number.
    pub async fn version(&self) -> Result<u32, SystemdError> {
        let text = self.call(self.link()?.manager.version()).await?;
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().map_err(|_| SystemdError::Other(format!("its version is `{text}`")))
    }

    /// Events of our units from now on. After [`UnitEvent::Resync`] the consumer must list anew. The
    /// receiver must be read; if it isn't, events are dropped and replaced by one Resync.
    ///
    /// # Errors
    /// [`SystemdError::Unreachable`] if the bus is away now.
    pub async fn watch(&self) -> Result<mpsc::Receiver<UnitEvent>, SystemdError> {
        let receiver = self.0.inner.watchers.add();
        if !self.0.inner.watching.swap(true, Ordering::SeqCst)
            && let Err(error) = self.link()?.watch_units().await
        {
            self.0.inner.watching.store(false, Ordering::SeqCst);
            return Err(error);
        }
        Ok(receiver)
    }

    /// Creates the pair and starts its socket; the service is loaded along with it.
    ///
    /// # Errors
    /// [`SystemdError::Exists`] if either unit is loaded already.
    pub async fn start_transient(
        &self,
        plan: &UnitPlan,
        bound: Duration,
    ) -> Result<JobResult, SystemdError> {
        let socket = encode::properties(&plan.socket)?;
        let aux = [(plan.service.name.as_str(), encode::properties(&plan.service)?)];
        let link = self.link()?;
        let call = link.manager.start_transient_unit(&plan.socket.name, "replace", &socket, &aux);
        self.job(&link, call, &plan.socket.name, bound).await
    }

    /// Starts a unit and waits for the job's end.
    ///
    /// # Errors
    /// [`SystemdError::Absent`] if it isn't loaded, [`SystemdError::Timeout`] after `bound`.
    pub async fn start_unit(&self, unit: &str, bound: Duration) -> Result<JobResult, SystemdError> {
        let link = self.link()?;
        self.job(&link, link.manager.start_unit(unit, "replace"), unit, bound).await
    }

    /// Stops a unit and waits for the job's end.
    ///
    /// # Errors
    /// [`SystemdError::Absent`] if it isn't loaded, [`SystemdError::Timeout`] after `bound`.
    pub async fn stop_unit(&self, unit: &str, bound: Duration) -> Result<JobResult, SystemdError> {
        let link = self.link()?;
        self.job(&link, link.manager.stop_unit(unit, "replace"), unit, bound).await
    }

    /// Restarts a unit (starts it if it is down) and waits for the job's end.
    ///
    /// # Errors
    /// [`SystemdError::Absent`] if it isn't loaded, [`SystemdError::Timeout`] after `bound`.
    pub async fn restart_unit(
        &self,
        unit: &str,
        bound: Duration,
    ) -> Result<JobResult, SystemdError> {
        let link = self.link()?;
        self.job(&link, link.manager.restart_unit(unit, "replace"), unit, bound).await
    }

    /// Freezes a unit's processes; returns when they are.
    ///
    /// # Errors
    /// [`SystemdError::Absent`] if it isn't loaded.
    pub async fn freeze_unit(&self, unit: &str) -> Result<(), SystemdError> {
        self.call(self.link()?.manager.freeze_unit(unit)).await
    }

    /// Thaws them.
    ///
    /// # Errors
    /// [`SystemdError::Absent`] if it isn't loaded.
    pub async fn thaw_unit(&self, unit: &str) -> Result<(), SystemdError> {
        self.call(self.link()?.manager.thaw_unit(unit)).await
    }

    /// Changes properties of a unit until the next boot. A unit that isn't loaded is loaded for it, which
    /// is right for slices alone: the settings of others would wait for a later unit of that name.
    ///
    /// # Errors
    /// [`SystemdError::Refused`] and the like.
    pub async fn set_properties(
        &self,
        unit: &str,
        properties: Vec<Property>,
    ) -> Result<(), SystemdError> {
        let spec = UnitSpec { name: unit.to_owned(), properties };
        let properties = encode::properties(&spec)?;
        self.call(self.link()?.manager.set_unit_properties(unit, true, &properties)).await
    }

    /// Forgets that a unit failed. It is no error if it has not, or isn't loaded.
    ///
    /// # Errors
    /// All but [`SystemdError::Absent`].
    pub async fn reset_failed(&self, unit: &str) -> Result<(), SystemdError> {
        match self.call(self.link()?.manager.reset_failed_unit(unit)).await {
            Err(SystemdError::Absent(_)) => Ok(()),
            other => other,
        }
    }

    /// Whether a unit is loaded.
    ///
    /// # Errors
    /// All but [`SystemdError::Absent`].
    pub async fn is_loaded(&self, unit: &str) -> Result<bool, SystemdError> {
        match self.call(self.link()?.manager.get_unit(unit)).await {
            Ok(_) => Ok(true),
            Err(SystemdError::Absent(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Our units whose names match one of `patterns` (globs), in one call.
    ///
    /// # Errors
    /// [`SystemdError::Unreachable`] and the like.
    pub async fn list(&self, patterns: &[&str]) -> Result<Vec<UnitListing>, SystemdError> {
        let rows = self.call(self.link()?.manager.list_units_by_patterns(&[], patterns)).await?;
        let listing = |(unit, _, load, active, sub, ..): super::proxy::UnitRow| {
            let (name, kind) = ours(&unit).filter(|_| load == "loaded")?;
            Some(UnitListing { name, kind, active: ActiveState::parse(&active), sub })
        };
        Ok(rows.into_iter().filter_map(listing).collect())
    }
}

/// Drains the connection; when it ends, makes another, for ever.
async fn keep_up(inner: Arc<Inner>, mut link: Arc<Link>, mut incoming: Incoming) {
    let _end = EndsWatchers(inner.clone());
    loop {
        drain(&link, incoming, &inner.watchers).await;
        inner.link.store(None);
        log::warn!("the connection to the bus is lost; connecting again");
        let (mut wait, mut tries) = (BACKOFF_MIN, 0_u32);
        (link, incoming) = loop {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACKOFF_MAX);
            tries += 1;
            match Link::open(inner.bus, inner.watching.load(Ordering::SeqCst)).await {
                Ok(opened) => break opened,
                // The first, and then about once a minute.
                Err(error) if tries % 32 == 1 => log::warn!("connecting to the bus: {error}"),
                Err(_) => {}
            }
        };
        log::info!("connected to the bus again");
        inner.link.store(Some(link.clone()));
        inner.watchers.send(Some(&UnitEvent::Resync));
    }
}

/// Ends the streams of events when the connection is not kept up any more, whatever the reason: those who
/// watch must not take silence for peace.
struct EndsWatchers(Arc<Inner>);

impl Drop for EndsWatchers {
    fn drop(&mut self) {
        self.0.watchers.close();
    }
}
