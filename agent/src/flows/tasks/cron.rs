//! Scheduled jobs: who should have which timers, and whether they have.
//!
//! ```text
//! config, registered instances, releases, limits ──► wanted ─┐ differ? ──► Host::set_timers, at a bounded rate
//! what was made last ──────────────────────────────────────┘
//! ```
//!
//! systemd keeps the time, remembers when a timer last fired, catches up once what was missed, and starts the job; the
//! agent is not needed for it. It only sees to it that the timers are those of the config: after its start (the units
//! are gone after a reboot), after a reload, a spawn, a removal, and after each change of what an instance is run with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tenement_wire::events::{Actor, Event, EventKind};
use tenement_wire::tasks::CronView;
use tenement_wire::{InstanceName, TaskTag};
use tokio::sync::Notify;

use super::found;
use crate::config::{CronJob, Definition};
use crate::flows::agent::Agent;
use crate::flows::host::{Host, HostError};
use crate::flows::management::ManageError;
use crate::plan::{Particulars, TaskEnd};

/// From one look at what has changed to the next, unless somebody says that something has. Nothing is asked of
/// systemd for it.
const LOOK: Duration = Duration::from_secs(30);
/// Instances whose timers are made side by side, and the pause of each lane: at most 100 a second.
const LANES: usize = 4;
const PAUSE: Duration = Duration::from_millis(40);
/// Between tries to learn what is loaded, at the start.
const RETRY: Duration = Duration::from_secs(1);
/// Timers that are asked for side by side.
const READS: usize = 16;

/// What was made for whom.
#[derive(Debug, Default)]
pub(super) struct Book {
    entries: Mutex<BTreeMap<InstanceName, Entry>>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Entry {
    made: Option<Made>,
    /// Jobs whose units may be loaded.
    loaded: BTreeSet<TaskTag>,
    /// Jobs of which the last that was heard is that they are over: systemd says it more than once.
    over: BTreeSet<TaskTag>,
    /// They are being taken away, which ends what runs.
    ending: bool,
    error: Option<String>,
}

/// What timers are made of.
#[derive(Debug, Clone, PartialEq)]
struct Made {
    definition: Arc<Definition>,
    with: Particulars,
    /// Changes that the instance's own units may lack: secrets among them.
    stale: u32,
}

impl Book {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<InstanceName, Entry>> {
        self.entries.lock().expect("no panic while held")
    }

    pub(super) fn look(&self) {
        self.changed.notify_one();
    }
}

impl<H: Host> Agent<H> {
    /// Sees for ever to it that timers are those of the config. It begins with what an earlier agent has left.
    pub async fn keep_timers(self: Arc<Self>) {
        let left = loop {
            match self.host.left_over().await {
                Ok(left) => break left,
                Err(error) => log::warn!("asking systemd which timers are loaded: {error}"),
            }
            tokio::time::sleep(RETRY).await;
        };
        self.end_commands(left.commands).await;
        for (name, tag) in left.timers {
            self.tasks.cron.entries().entry(name).or_default().loaded.insert(tag);
        }
        loop {
            self.set_timers().await;
            tokio::select! {
                () = self.tasks.cron.changed.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Ends commands that an earlier agent has left, before any is run again: whoever waited for them is gone, and so
    /// is the agent that would have ended them.
    ///
    /// # Errors
    /// If systemd can't be asked.
    pub async fn end_left_commands(&self) -> Result<(), HostError> {
        let left = self.host.left_over().await?;
        self.end_commands(left.commands).await;
        Ok(())
    }

    async fn end_commands(&self, commands: Vec<(InstanceName, TaskTag)>) {
        let left = commands.iter().filter(|(_, tag)| !super::is_own(tag));
        let ends = left.map(|(name, tag)| async move {
            log::info!("ending {tag} of {name}, which an earlier agent began");
            if let Err(error) = self.host.end_task(name, tag).await {
                log::warn!("{name}: {tag} goes on: {error}");
            }
        });
        futures_util::future::join_all(ends).await;
    }

    /// Makes and removes what has changed since the last time.
    pub async fn set_timers(self: &Arc<Self>) {
        let due = self.due();
        let lanes = due.into_iter().map(|(name, wanted)| async move {
            self.set_timers_of(&name, wanted).await;
            tokio::time::sleep(PAUSE).await;
        });
        stream::iter(lanes).buffer_unordered(LANES).collect::<()>().await;
    }

    /// Whose timers are not as they should be: what they should be made of, or none.
    fn due(&self) -> Vec<(InstanceName, Option<Made>)> {
        let config = self.config.load_full();
        let mut entries = self.tasks.cron.entries();
        let mut due = Vec::new();
        let scheduled = config.processes.values().any(|def| !def.cron.is_empty());
        let instances = if scheduled { self.all() } else { Vec::new() };
        let mut wanted = BTreeSet::new();
        for instance in instances {
            let name = &instance.name;
            let Some(definition) = config.processes.get(name.process()) else { continue };
            if !definition.cron.values().any(|job| job.is_of(name.id())) {
                continue;
            }
            let (with, stale) = (self.particulars_beside(&instance), instance.staleness());
            let made = Made { definition: definition.clone(), with, stale };
            if entries.get(name).and_then(|entry| entry.made.as_ref()) != Some(&made) {
                due.push((name.clone(), Some(made)));
            }
            wanted.insert(name.clone());
        }
        entries.retain(|name, entry| wanted.contains(name) || !entry.loaded.is_empty());
        let gone = entries.keys().filter(|name| !wanted.contains(*name));
        due.extend(gone.map(|name| (name.clone(), None)));
        due
    }

    async fn set_timers_of(&self, name: &InstanceName, wanted: Option<Made>) {
        let known: Vec<TaskTag> = {
            let mut entries = self.tasks.cron.entries();
            let entry = entries.entry(name.clone()).or_default();
            entry.ending = wanted.is_none();
            if let Some(made) = &wanted {
                // Before the call: should that be cut off, they may be there.
                entry.loaded.extend(tags(&made.definition, name));
            }
            entry.loaded.iter().cloned().collect()
        };
        let with = wanted.as_ref().map(|made| &made.with);
        let done = self.host.set_timers(name, with, &known).await;
        let mut entries = self.tasks.cron.entries();
        let entry = entries.entry(name.clone()).or_default();
        match done {
            Ok(all) => {
                entry.loaded = match &wanted {
                    Some(made) => tags(&made.definition, name).collect(),
                    None => BTreeSet::new(),
                };
                entry.made = wanted.filter(|_| all);
                entry.error = None;
            }
            Err(error) => {
                let error = error.to_string();
                if entry.error.as_ref() != Some(&error) {
                    log::warn!(TENEMENT_INSTANCE = name.to_string(); "{name}: its scheduled jobs have no timers, trying again: {error}");
                }
                (entry.made, entry.error) = (None, Some(error));
            }
        }
    }

    /// Takes away the timers of an instance that is removed, and ends what runs in it beside it.
    pub(in crate::flows) async fn end_tasks(&self, name: &InstanceName) {
        let loaded = self.tasks.cron.entries().get(name).map(|entry| entry.loaded.clone());
        if loaded.is_some_and(|loaded| !loaded.is_empty()) {
            self.set_timers_of(name, None).await;
        }
        let left = match self.host.left_over().await {
            Ok(left) => left,
            Err(error) => return log::warn!("{name}: commands in it may go on: {error}"),
        };
        for (_, tag) in left.commands.iter().filter(|(whose, _)| whose == name) {
            if let Err(error) = self.host.end_task(name, tag).await {
                log::warn!("{name}: {tag} goes on: {error}");
            }
        }
    }

    /// Takes what systemd says of a scheduled job.
    pub fn observe_job(&self, name: &InstanceName, tag: &TaskTag, over: bool, end: &TaskEnd) {
        let news = match self.tasks.cron.entries().get_mut(name) {
            Some(entry) if over => entry.over.insert(tag.clone()) && !entry.ending,
            Some(entry) => entry.over.remove(tag),
            // Its instance is removed, or its process is out of the config.
            None => false,
        };
        let (true, true, false, Some(job)) = (news, over, end.is_success(), tag.job()) else {
            return;
        };
        let how = words(end);
        log::warn!(TENEMENT_INSTANCE = name.to_string(); "{name}: the job {job} has failed: {how}");
        let message = format!("{name}: the scheduled job {job} has failed: {how}");
        let event = Event::new(EventKind::JobFailed, message).about(name).by(Actor::agent());
        self.record(event.with("job", job).with("result", how));
    }
}

fn tags<'a>(
    definition: &'a Definition,
    name: &'a InstanceName,
) -> impl Iterator<Item = TaskTag> + 'a {
    let jobs = definition.cron.iter().filter(|(_, job)| job.is_of(name.id()));
    jobs.filter_map(|(job, _)| TaskTag::cron(job).ok())
}

/// How a run ended: `success`, `exit-code 3`, `signal 9`, `timeout`.
fn words(end: &TaskEnd) -> String {
    match (end.status, end.signal) {
        _ if end.is_success() => "success".into(),
        (Some(status), _) if end.result == "exit-code" => format!("exit-code {status}"),
        (_, Some(signal)) if end.result == "signal" => format!("signal {signal}"),
        _ => end.result.clone(),
    }
}

/// The jobs of the instances that `of` lets through, in order of name.
pub(super) async fn list<H: Host>(
    agent: &Arc<Agent<H>>,
    of: impl Fn(&InstanceName) -> bool,
) -> Vec<CronView> {
    let config = agent.config.load_full();
    let mut jobs = Vec::new();
    for instance in agent.all().into_iter().filter(|instance| of(&instance.name)) {
        let Some(definition) = config.processes.get(instance.name.process()) else { continue };
        for (job, what) in &definition.cron {
            if what.is_of(instance.name.id()) {
                jobs.push((instance.name.clone(), job.clone(), what.clone()));
            }
        }
    }
    let views = jobs.into_iter().map(|(name, job, what)| view(agent, name, job, what));
    stream::iter(views).buffered(READS).collect().await
}

async fn view<H: Host>(
    agent: &Arc<Agent<H>>,
    instance: InstanceName,
    job: String,
    what: CronJob,
) -> CronView {
    let mut error = agent.tasks.cron.entries().get(&instance).and_then(|one| one.error.clone());
    let timer = match TaskTag::cron(&job) {
        Ok(tag) => agent.host.timer(&instance, &tag).await,
        Err(error) => Err(HostError::Config(error.to_string())),
    };
    let timer = timer.unwrap_or_else(|why| {
        error.get_or_insert(why.to_string());
        None
    });
    let ms = |us: u64| us / 1000;
    CronView {
        instance,
        job,
        schedule: what.schedule,
        command: what.command,
        loaded: timer.is_some(),
        running: timer.as_ref().is_some_and(|timer| timer.running),
        next_ms: timer.as_ref().and_then(|timer| timer.next_us).map(ms),
        last_ms: timer.as_ref().and_then(|timer| timer.last_us).map(ms),
        last_result: timer.and_then(|timer| timer.end).as_ref().map(words),
        error,
    }
}

/// Starts a job now, and answers with it.
pub(super) async fn start<H: Host>(
    agent: &Arc<Agent<H>>,
    name: &InstanceName,
    job: &str,
) -> Result<CronView, ManageError> {
    let instance = found(agent, name)?;
    let config = agent.config.load_full();
    let what = config.processes.get(name.process()).and_then(|def| def.cron.get(job));
    let what = what.filter(|what| what.is_of(name.id()));
    let tag = TaskTag::cron(job).ok();
    let (Some(what), Some(tag)) = (what, tag) else {
        return Err(ManageError::UnknownJob { name: name.clone(), job: job.to_owned() });
    };
    instance.has_release()?;
    agent.tasks.must_not_be_still(name)?;
    agent.host.start_job(&instance.name, &tag).await.map_err(|error| match error {
        HostError::Unreachable(_) => {
            ManageError::Unavailable { what: "the unit helper or systemd", source: error.into() }
        }
        error => ManageError::Conflict { name: name.clone(), what: error.to_string() },
    })?;
    Ok(view(agent, name.clone(), job.to_owned(), what.clone()).await)
}
