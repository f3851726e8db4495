//! What the management API needs of the flows: one method for each verb of `ten`.
//!
//! The API door is generic over [`Management`], so that every route and every error can be tested
//! without systemd. No HTTP type appears here: status codes, hints and JSON are the door's business
//! (`api::problem`), and the flows only say what happened.
//!
//! The door runs each call in a task of its own, so a client that goes away (Ctrl-C in `ten spawn`)
//! never cancels a change half way.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::time::Duration;

use tenement_wire::dto::{
    ConfigCheck, ConfigFile, ConfigProblem, ConfigView, InstanceRow, InstanceView, LimitsSet,
    MetricsSummary, Removed, Version, Why,
};
use tenement_wire::status::{History, StateDatabase};
use tenement_wire::{
    InstanceId, InstanceName, Limit, ProcessName, ReleaseName, SecretName, SecretView,
};

use super::secrets::SecretOrder;

/// What to register: a [`tenement_wire::dto::SpawnRequest`] whose names are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spawn {
    /// The process to spawn.
    pub process: ProcessName,
    /// The ids to register, each once. Empty means ids `1..=instances` of the config.
    pub ids: Vec<InstanceId>,
    /// Start them now and wait until they are reachable, or only register them.
    pub start: bool,
}

/// Why a verb was not carried out. Display is what the client reads, so it holds nothing internal;
/// the cause of [`ManageError::Unavailable`] and [`ManageError::Internal`] goes to the log alone.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// No such instance is registered.
    #[error("there is no instance {name}")]
    NotFound {
        /// Which one was asked for.
        name: InstanceName,
        /// Registered names that look like it, best first; may be empty.
        similar: Vec<InstanceName>,
    },
    /// It has no secret of that name.
    #[error("{name} has no secret {secret}")]
    UnknownSecret {
        /// Which instance.
        name: InstanceName,
        /// Which secret was asked for.
        secret: SecretName,
    },
    /// It has no scheduled job of that name.
    #[error("{name} has no job {job}")]
    UnknownJob {
        /// Which instance.
        name: InstanceName,
        /// Which job was asked for.
        job: String,
    },
    /// Some of the ids to spawn are registered already; nothing was changed.
    #[error("{} already registered: nothing was changed", are(names))]
    AlreadyExists {
        /// Which ones.
        names: Vec<InstanceName>,
    },
    /// Another operation on this instance is in the way (a removal, say).
    #[error("{name} is being changed by another operation: {what}")]
    Conflict {
        /// Which instance.
        name: InstanceName,
        /// What is going on, such as `it is being removed`.
        what: String,
    },
    /// The config knows no such process.
    #[error("there is no process {process} in the config")]
    UnknownProcess {
        /// Which one was asked for.
        process: ProcessName,
        /// The processes of the config, in order of name.
        known: Vec<ProcessName>,
    },
    /// A field is well-formed and yet can't be taken (process and id too long together, say).
    #[error("{field}: {message}")]
    Invalid {
        /// The field as the API names it: `process`, `ids`, ...
        field: &'static str,
        /// What is wrong with it, and what would be right.
        message: String,
    },
    /// It is not put to sleep because something holds it awake.
    #[error("{name} is in use: {}", holds.join(", "))]
    InUse {
        /// Which instance.
        name: InstanceName,
        /// What holds it, such as `2 open requests`.
        holds: Vec<String>,
    },
    /// The process runs from releases and has none, so that nothing was started.
    #[error("there is no release of {process} yet")]
    NoRelease {
        /// Which process.
        process: ProcessName,
    },
    /// Nothing in the config of the process mentions a release.
    #[error("{process} runs from no release: nothing in its config mentions {{release}}")]
    NoReleases {
        /// Which process.
        process: ProcessName,
    },
    /// The process has no release of that name that is ready.
    #[error("{process} has no release {release} that is ready")]
    UnknownRelease {
        /// The process.
        process: ProcessName,
        /// What was asked for.
        release: ReleaseName,
    },
    /// It did not start. It stays registered.
    #[error("{name} did not start: {reason}")]
    StartFailed {
        /// Which instance.
        name: InstanceName,
        /// What systemd said, such as `exit code 1`.
        reason: String,
        /// When the next try makes sense, while a back-off runs.
        retry_after: Option<Duration>,
    },
    /// It did not stop. What it was doing it may still do.
    #[error("{name} did not stop: {reason}")]
    StopFailed {
        /// Which instance.
        name: InstanceName,
        /// What systemd or the unit helper said.
        reason: String,
    },
    /// Every port of the range belongs to an instance; nothing was changed.
    #[error("every port of port_range {first}-{last} is taken: nothing was changed")]
    NoFreePort {
        /// The first port of the range.
        first: u16,
        /// The last.
        last: u16,
    },
    /// It did not get there in time. It stays registered.
    #[error("{name} was not {wanted} within {after:?}{}", last.as_ref().map(|l| format!(": {l}")).unwrap_or_default())]
    TimedOut {
        /// Which instance.
        name: InstanceName,
        /// What was waited for: `ready`, `stopped`.
        wanted: &'static str,
        /// How long.
        after: Duration,
        /// What its last health check found.
        last: Option<String>,
    },
    /// As many of these are under way as may be.
    #[error("as many {what} run as may at once")]
    TooMany {
        /// What: `commands`.
        what: &'static str,
    },
    /// The files on disk are not a valid config; the running one stays.
    #[error("the config has {} error{}; the running config is unchanged", .0.len(), if .0.len() == 1 { "" } else { "s" })]
    ConfigRejected(Vec<ConfigProblem>),
    /// The state database can't grow: the disk is full.
    #[error("the state database can't be written: no space is left on its disk")]
    StoreFull,
    /// The state database can't be written: its file system is read-only.
    #[error("the state database can't be written: its file system is read-only")]
    StoreReadOnly,
    /// Something that the agent needs does not answer: systemd, D-Bus, the unit helper.
    #[error("{what} does not answer")]
    Unavailable {
        /// What: `systemd`, `the unit helper`, ...
        what: &'static str,
        /// For the log.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Anything else. The client learns only the request id.
    #[error("the agent could not do it because of an internal error")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

fn are(names: &[InstanceName]) -> String {
    let list = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("{list} {}", if names.len() == 1 { "is" } else { "are" })
}

/// What the API door needs of the flows. Verbs are idempotent: to wake what runs, or to stop what
/// sleeps, answers with the instance as it is.
///
/// Every method bounds its own waiting (`startup_timeout`, `stop_timeout`, D-Bus deadlines); the
/// door sets no further limit.
pub trait Management: Send + Sync + 'static {
    /// Every registered instance, in order of name.
    fn list(&self) -> impl Future<Output = Result<Vec<InstanceView>, ManageError>> + Send;

    /// The same as rows of a list, as far as it is known without asking systemd.
    fn rows(&self) -> impl Future<Output = Result<Vec<InstanceRow>, ManageError>> + Send;

    /// One instance.
    fn show(
        &self,
        name: &InstanceName,
    ) -> impl Future<Output = Result<InstanceView, ManageError>> + Send;

    /// Registers instances, all or none, and starts them if asked to. Explicit ids that exist are
    /// [`ManageError::AlreadyExists`]; without ids, those of `1..=instances` that exist are kept (and
    /// started). Answers with every instance that was meant, in order of name. An instance whose
    /// start fails stays registered.
    fn spawn(
        &self,
        spawn: Spawn,
    ) -> impl Future<Output = Result<Vec<InstanceView>, ManageError>> + Send;

    /// Makes it run, and waits until it is reachable.
    fn wake(
        &self,
        name: &InstanceName,
    ) -> impl Future<Output = Result<InstanceView, ManageError>> + Send;

    /// Stops its service; the next request wakes it. Without `force`, open requests make it
    /// [`ManageError::InUse`].
    fn sleep(
        &self,
        name: &InstanceName,
        force: bool,
    ) -> impl Future<Output = Result<InstanceView, ManageError>> + Send;

    /// Stops its service whatever is open. It stays registered, and a request wakes it again.
    fn stop(
        &self,
        name: &InstanceName,
    ) -> impl Future<Output = Result<InstanceView, ManageError>> + Send;

    /// Stops it if it runs, makes its units anew from the config and starts it.
    fn restart(
        &self,
        name: &InstanceName,
    ) -> impl Future<Output = Result<InstanceView, ManageError>> + Send;

    /// Gives an instance that has failed a new chance: its next request starts it.
    fn reset(
        &self,
        name: &InstanceName,
    ) -> impl Future<Output = Result<InstanceView, ManageError>> + Send;

    /// Changes limits of it alone: a value sets one, `None` takes it away. Without changes it tells
    /// those in force.
    fn set(
        &self,
        name: &InstanceName,
        changes: BTreeMap<Limit, Option<u64>>,
    ) -> impl Future<Output = Result<LimitsSet, ManageError>> + Send;

    /// Stops it and forgets it. With `purge` its data directory is deleted, else kept.
    fn remove(
        &self,
        name: &InstanceName,
        purge: bool,
    ) -> impl Future<Output = Result<Removed, ManageError>> + Send;

    /// Why it is awake or asleep, and what holds it.
    fn why(&self, name: &InstanceName) -> impl Future<Output = Result<Why, ManageError>> + Send;

    /// Does as `order` says with the secrets of an instance, and answers with those that there are
    /// then. A change counts from the instance's next start.
    fn secrets(
        &self,
        name: &InstanceName,
        order: SecretOrder,
    ) -> impl Future<Output = Result<Vec<SecretView>, ManageError>> + Send;

    /// The config that the agent runs on, with the errors of newer files on disk, if any.
    fn config(&self) -> impl Future<Output = Result<ConfigView, ManageError>> + Send;

    /// Checks a config without taking it. `files` are texts, never paths to read; without any, the
    /// files on disk are checked. Errors found are an answer, not a [`ManageError`].
    fn config_check(
        &self,
        files: Vec<ConfigFile>,
    ) -> impl Future<Output = Result<ConfigCheck, ManageError>> + Send;

    /// Reads the config from disk and takes it, or keeps the last good one and answers
    /// [`ManageError::ConfigRejected`].
    fn reload(&self) -> impl Future<Output = Result<ConfigView, ManageError>> + Send;

    /// How its state changed, newest first, `limit` changes at most.
    fn history(
        &self,
        name: &InstanceName,
        limit: u32,
    ) -> impl Future<Output = Result<History, ManageError>> + Send;

    /// How the state database is.
    fn state(&self) -> impl Future<Output = Result<StateDatabase, ManageError>> + Send;

    /// What this agent counts. Of the logs it knows nothing.
    fn metrics(&self) -> impl Future<Output = Result<MetricsSummary, ManageError>> + Send;

    /// Whether it can do its work: the state database can be written and systemd answers.
    ///
    /// # Errors
    /// [`ManageError::Unavailable`] names what does not answer.
    fn ready(&self) -> impl Future<Output = Result<(), ManageError>> + Send;

    /// Versions of the agent and of systemd.
    fn version(&self) -> impl Future<Output = Result<Version, ManageError>> + Send;
}
