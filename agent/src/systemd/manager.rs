//! Calls to systemd, over whichever connection there is now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::mpsc;
use zbus::OwnedObjectPath;
use zbus::wire::OwnedVariant;

use super::encode;
use super::escape::unit_path;
use super::link::{Incoming, Link, drain};
use super::state::ours;
use super::watch::{Watchers, or_default};
use super::{ActiveState, SystemdError, UnitEvent, UnitKind, UnitListing, UnitState};
use crate::plan::UnitPlan;

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
    fn parse(word: String) -> Self {
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
        });
        let keeper = tokio::spawn(keep_up(inner.clone(), link, incoming));
        Ok(Self(Arc::new(Handle { inner, keeper })))
    }

    fn link(&self) -> Result<Arc<Link>, SystemdError> {
        self.0.inner.link.load_full().ok_or_else(|| {
            SystemdError::Unreachable("the connection to the bus is down; reconnecting".into())
        })
    }

    /// systemd's major version, such as 252.
    ///
    /// # Errors
    /// [`SystemdError::Unreachable`], or `Other` if the version can't be read as a number.
    pub async fn version(&self) -> Result<u32, SystemdError> {
        let text = self.link()?.manager.version().await?;
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
        job(&link, call, &plan.socket.name, bound).await
    }

    /// Starts a unit and waits for the job's end.
    ///
    /// # Errors
    /// [`SystemdError::Absent`] if it isn't loaded, [`SystemdError::Timeout`] after `bound`.
    pub async fn start_unit(&self, unit: &str, bound: Duration) -> Result<JobResult, SystemdError> {
        let link = self.link()?;
        job(&link, link.manager.start_unit(unit, "replace"), unit, bound).await
    }

    /// Stops a unit and waits for the job's end.
    ///
    /// # Errors
    /// [`SystemdError::Absent`] if it isn't loaded, [`SystemdError::Timeout`] after `bound`.
    pub async fn stop_unit(&self, unit: &str, bound: Duration) -> Result<JobResult, SystemdError> {
        let link = self.link()?;
        job(&link, link.manager.stop_unit(unit, "replace"), unit, bound).await
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
        job(&link, link.manager.restart_unit(unit, "replace"), unit, bound).await
    }

    /// Forgets that a unit failed. It is no error if it has not, or isn't loaded.
    ///
    /// # Errors
    /// All but [`SystemdError::Absent`].
    pub async fn reset_failed(&self, unit: &str) -> Result<(), SystemdError> {
        match self.link()?.manager.reset_failed_unit(unit).await.map_err(SystemdError::from) {
            Err(SystemdError::Absent(_)) => Ok(()),
            other => other,
        }
    }

    /// Whether a unit is loaded.
    ///
    /// # Errors
    /// All but [`SystemdError::Absent`].
    pub async fn is_loaded(&self, unit: &str) -> Result<bool, SystemdError> {
        match self.link()?.manager.get_unit(unit).await.map_err(SystemdError::from) {
            Ok(_) => Ok(true),
            Err(SystemdError::Absent(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What systemd says of a service or socket, or `None` if it isn't loaded.
    ///
    /// # Errors
    /// All but [`SystemdError::Absent`].
    pub async fn unit_state(&self, unit: &str) -> Result<Option<UnitState>, SystemdError> {
        let link = self.link()?;
        // Asking for a property of a unit that isn't loaded would load it; GetUnit never does.
        if !self.is_loaded(unit).await? {
            return Ok(None);
        }
        match read_state(&link, unit).await {
            // Collected between the two questions.
            Err(SystemdError::Absent(_)) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Our units whose names match one of `patterns` (globs), in one call.
    ///
    /// # Errors
    /// [`SystemdError::Unreachable`] and the like.
    pub async fn list(&self, patterns: &[&str]) -> Result<Vec<UnitListing>, SystemdError> {
        let rows = self.link()?.manager.list_units_by_patterns(&[], patterns).await?;
        let listing = |(unit, _, load, active, sub, ..): super::proxy::UnitRow| {
            let (name, kind) = ours(&unit).filter(|_| load == "loaded")?;
            Some(UnitListing { name, kind, active: ActiveState::parse(&active), sub })
        };
        Ok(rows.into_iter().filter_map(listing).collect())
    }
}

/// Sends a call that makes a job and waits for that job's end.
async fn job(
    link: &Link,
    call: impl Future<Output = zbus::Result<OwnedObjectPath>>,
    unit: &str,
    bound: Duration,
) -> Result<JobResult, SystemdError> {
    let expected = link.jobs.expect();
    let path = call.await?;
    let end = expected.wait_for(path.as_str());
    drop(expected);
    match tokio::time::timeout(bound, end).await {
        Ok(Ok(result)) => Ok(JobResult::parse(result)),
        Ok(Err(_)) => Err(SystemdError::Unreachable("the bus went away during the job".into())),
        Err(_) => Err(SystemdError::Timeout(format!("the job of {unit} goes on after {bound:?}"))),
    }
}

async fn get(
    link: &Link,
    path: &str,
    kind: &str,
    name: &str,
) -> Result<OwnedVariant, SystemdError> {
    let interface = format!("org.freedesktop.systemd1.{kind}");
    let reply = link
        .connection
        .call_method(
            Some("org.freedesktop.systemd1"),
            path,
            Some("org.freedesktop.DBus.Properties"),
            "Get",
            &(interface.as_str(), name),
        )
        .await?;
    Ok(reply.body().deserialize::<OwnedVariant>()?)
}

/// Reads single properties, pipelined: `GetAll` of a service is 300 of them and reads cgroup files.
async fn read_state(link: &Link, unit: &str) -> Result<UnitState, SystemdError> {
    let path = unit_path(unit);
    let (path, service) =
        (path.as_str(), ours(unit).map(|(_, kind)| kind) == Some(UnitKind::Service));
    let kind = if service { "Service" } else { "Socket" };
    let (active, sub, invocation, since, result, group, memory) = tokio::try_join!(
        get(link, path, "Unit", "ActiveState"),
        get(link, path, "Unit", "SubState"),
        get(link, path, "Unit", "InvocationID"),
        get(link, path, "Unit", "StateChangeTimestamp"),
        get(link, path, kind, "Result"),
        get(link, path, kind, "ControlGroup"),
        get(link, path, kind, "MemoryCurrent"),
    )?;
    let id: Vec<u8> = or_default(invocation);
    let mut state = UnitState {
        active: ActiveState::parse(&or_default::<String>(active)),
        sub: or_default(sub),
        result: or_default(result),
        main_pid: 0,
        exec_main_code: 0,
        exec_main_status: 0,
        invocation_id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
        n_restarts: 0,
        memory_current: Some(or_default(memory))
            .filter(|bytes| !matches!(*bytes, 0_u64 | u64::MAX)),
        control_group: or_default(group),
        since_us: or_default(since),
        environment: Vec::new(),
    };
    if service {
        let (pid, code, status, restarts, environment) = tokio::try_join!(
            get(link, path, kind, "MainPID"),
            get(link, path, kind, "ExecMainCode"),
            get(link, path, kind, "ExecMainStatus"),
            get(link, path, kind, "NRestarts"),
            get(link, path, kind, "Environment"),
        )?;
        state.main_pid = or_default(pid);
        state.exec_main_code = or_default(code);
        state.exec_main_status = or_default(status);
        state.n_restarts = or_default(restarts);
        state.environment = or_default(environment);
    }
    Ok(state)
}

/// Drains the connection; when it ends, makes another, for ever.
async fn keep_up(inner: Arc<Inner>, mut link: Arc<Link>, mut incoming: Incoming) {
    loop {
        drain(&link, incoming, &inner.watchers).await;
        inner.link.store(None);
        let mut wait = BACKOFF_MIN;
        (link, incoming) = loop {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACKOFF_MAX);
            if let Ok(opened) = Link::open(inner.bus, inner.watching.load(Ordering::SeqCst)).await {
                break opened;
            }
        };
        inner.link.store(Some(link.clone()));
        inner.watchers.send(Some(&UnitEvent::Resync));
    }
}
