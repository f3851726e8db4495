//! One-off commands in an instance: `ten run`, `ten shell`, the commands of releases, scheduled jobs.
//!
//! ```text
//! API ── RunAsk ──► session ── pipes or a terminal ──► Host::start_task ──► a oneshot unit in the sandbox
//!        Session ◄── input, output, end ──┘                │
//!                                                          └─ dropped before its end: stopped (SIGTERM, SIGKILL)
//! ```
//!
//! A command runs beside the instance, whether that runs or sleeps, and does not wake it. What a command prints goes to
//! whoever asked for it, and nowhere else. Scheduled jobs are systemd's timers; see `cron`.

mod command;
mod cron;
mod session;
mod streams;

use std::collections::{BTreeMap, HashSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tenement_wire::tasks::{CronView, RunEnd, TerminalSize};
use tenement_wire::{InstanceName, NameError, TaskTag};
use tokio::sync::{Semaphore, mpsc};

pub use command::{Ended, run_command};

use super::agent::Agent;
use super::host::{Host, HostError};
use super::instance::Instance;
use super::management::ManageError;
use super::releases::make::Hold;
use crate::plan::Particulars;

/// Commands for callers of the API at once, on the whole host: each holds two connections and a thread of
/// nobody's.
const RUNS: usize = 32;

/// What all commands of an agent share.
#[derive(Debug)]
pub struct Tasks {
    runs: Arc<Semaphore>,
    cron: cron::Book,
    /// Instances whose data nothing may be run on now.
    still: Arc<Mutex<HashSet<InstanceName>>>,
}

/// Nothing is begun in an instance while this lives.
#[derive(Debug)]
pub(super) struct Still(Arc<Mutex<HashSet<InstanceName>>>, InstanceName);

impl Drop for Still {
    fn drop(&mut self) {
        self.0.lock().expect("no panic while held").remove(&self.1);
    }
}

impl Tasks {
    /// Has commands refused in an instance whose data is read or replaced: one at a time does that.
    pub(super) fn hold_back(&self, name: &InstanceName) -> Still {
        self.still.lock().expect("no panic while held").insert(name.clone());
        Still(self.still.clone(), name.clone())
    }

    fn must_not_be_still(&self, name: &InstanceName) -> Result<(), ManageError> {
        if self.still.lock().expect("no panic while held").contains(name) {
            let what = "its data is being backed up or replaced".to_owned();
            return Err(ManageError::Conflict { name: name.clone(), what });
        }
        Ok(())
    }

    /// Says that timers may have to be made or removed. It never waits.
    pub(super) fn look_at_timers(&self) {
        self.cron.look();
    }
}

impl Default for Tasks {
    fn default() -> Self {
        let (cron, still) = (cron::Book::default(), Arc::default());
        Self { runs: Arc::new(Semaphore::new(RUNS)), cron, still }
    }
}

/// A command that a caller of the API wants run; its words are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAsk {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables beside those of the instance.
    pub env: BTreeMap<String, String>,
    /// How long it may run.
    pub timeout: Duration,
    /// Give it a terminal of this size.
    pub terminal: Option<TerminalSize>,
}

/// What a caller sends to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Bytes for its standard input.
    Stdin(Bytes),
    /// No more of them.
    StdinEnd,
    /// Its terminal has another size.
    Resize(TerminalSize),
    /// A signal.
    Signal(i32),
}

/// What a caller gets from a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// What it printed.
    Stdout(Bytes),
    /// What it printed to its standard error.
    Stderr(Bytes),
    /// So many bytes of input it has taken.
    Taken(u32),
    /// It has ended: nothing comes after this.
    End(RunEnd),
}

/// A command that was started. It is ended when either side is dropped.
#[derive(Debug)]
pub struct Session {
    /// To it.
    pub input: mpsc::Sender<Input>,
    /// From it.
    pub output: mpsc::Receiver<Output>,
}

/// An answer in the making.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, ManageError>> + Send>>;

/// What the API needs of commands.
pub trait Commands: Send + Sync + 'static {
    /// Starts a command in an instance.
    fn run(&self, name: &InstanceName, ask: RunAsk) -> Answer<Session>;

    /// The scheduled jobs of the instances that `of` lets through.
    fn jobs(&self, of: Box<dyn Fn(&InstanceName) -> bool + Send + Sync>) -> Answer<Vec<CronView>>;

    /// Starts a scheduled job now.
    fn run_job(&self, name: &InstanceName, job: &str) -> Answer<CronView>;
}

/// For an API without an agent behind it.
#[derive(Debug)]
pub struct NoCommands;

impl Commands for NoCommands {
    fn run(&self, name: &InstanceName, _: RunAsk) -> Answer<Session> {
        let error = ManageError::NotFound { name: name.clone(), similar: Vec::new() };
        Box::pin(std::future::ready(Err(error)))
    }

    fn jobs(&self, _: Box<dyn Fn(&InstanceName) -> bool + Send + Sync>) -> Answer<Vec<CronView>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn run_job(&self, name: &InstanceName, job: &str) -> Answer<CronView> {
        let error = ManageError::UnknownJob { name: name.clone(), job: job.to_owned() };
        Box::pin(std::future::ready(Err(error)))
    }
}

impl<H: Host> Commands for Arc<Agent<H>> {
    fn run(&self, name: &InstanceName, ask: RunAsk) -> Answer<Session> {
        let (agent, name) = (self.clone(), name.clone());
        Box::pin(async move {
            let instance = found(&agent, &name)?;
            session::open(agent, instance, ask).await
        })
    }

    fn jobs(&self, of: Box<dyn Fn(&InstanceName) -> bool + Send + Sync>) -> Answer<Vec<CronView>> {
        let agent = self.clone();
        Box::pin(async move { Ok(cron::list(&agent, of).await) })
    }

    fn run_job(&self, name: &InstanceName, job: &str) -> Answer<CronView> {
        let (agent, name, job) = (self.clone(), name.clone(), job.to_owned());
        Box::pin(async move { cron::start(&agent, &name, &job).await })
    }
}

fn found<H: Host>(agent: &Agent<H>, name: &InstanceName) -> Result<Arc<Instance>, ManageError> {
    let missing = || ManageError::NotFound { name: name.clone(), similar: Vec::new() };
    agent.get(name).ok_or_else(missing)
}

/// What tells tags of this agent from those of an earlier one.
fn own_mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    MARK.get_or_init(|| format!("{:08x}", uuid::Uuid::new_v4().as_fields().0))
}

/// Whether this agent has begun what has the tag.
fn is_own(tag: &TaskTag) -> bool {
    tag.as_str().rsplit_once('-').is_some_and(|(_, end)| end.starts_with(own_mark()))
}

/// A tag that no other unit has.
fn fresh_tag(kind: &str) -> Result<TaskTag, ManageError> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|error| ManageError::Internal(Box::new(error)))?;
    let text = format!("{kind}-{}{:08x}", own_mark(), u32::from_le_bytes(random));
    TaskTag::new(&text).map_err(|error: NameError| ManageError::Internal(Box::new(error)))
}

/// What a host's refusal says to who asked for a command.
fn refused(name: &InstanceName, error: HostError) -> ManageError {
    match error {
        HostError::Config(message) => ManageError::Invalid { field: "command", message },
        HostError::Unreachable(_) => {
            ManageError::Unavailable { what: "the unit helper or systemd", source: error.into() }
        }
        HostError::Failed(reason) => {
            ManageError::StartFailed { name: name.clone(), reason, retry_after: None }
        }
    }
}

/// Ends the unit of a command when it is dropped before the command's own end.
struct Leash<H: Host> {
    agent: Arc<Agent<H>>,
    name: InstanceName,
    tag: TaskTag,
    ended: bool,
    /// What it runs from stays meanwhile.
    held_release: Option<Hold>,
}

impl<H: Host> Leash<H> {
    /// Of a command that is about to be started in an instance.
    fn new(agent: &Arc<Agent<H>>, name: &InstanceName, tag: TaskTag, with: &Particulars) -> Self {
        let held_release = agent.hold_release_of(name, with);
        Self { agent: agent.clone(), name: name.clone(), tag, ended: false, held_release }
    }
}

impl<H: Host> Drop for Leash<H> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (agent, name, tag) = (self.agent.clone(), self.name.clone(), self.tag.clone());
        let held = self.held_release.take();
        // Only as long as there is a runtime; when the agent ends, its next start does it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let _held = held;
            if let Err(error) = agent.host.end_task(&name, &tag).await {
                log::warn!(TENEMENT_INSTANCE = name.to_string(); "{name}: the unit {tag} may still run: {error}");
            }
        });
    }
}
