//! `release_command`: run once for each instance and release, before the instance's first start on that.
//!
//! For which releases it was run is stored by instance, so that a way back does not run an old one again. While it is due, nothing loads the instance's units: a
//! connection to a socket of systemd's would start the app before it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tenement_wire::deploys::DeployState;
use tenement_wire::events::EventKind;
use tenement_wire::{InstanceName, ProcessName, ReleaseName};

use super::record::Deploy;
use super::{Deploys, lock};
use crate::config::template::{Vars, fill};
use crate::flows::WakeError;
use crate::flows::agent::Agent;
use crate::flows::host::{Active, Host};
use crate::flows::instance::Instance;
use crate::flows::refuse::refusal;
use crate::flows::tasks::run_command;
use crate::plan::{Particulars, RELEASES_DIR};
use crate::store::StoreError;

/// What the tags of its units begin with.
const COMMAND: &str = "release";
/// How long an earlier run is waited for, beyond the longest that its stop may take, and between two looks.
const OTHER_MAX: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(200);
/// Characters of what the command printed that a report shows.
const SAID_MAX: usize = 500;

impl Deploys {
    /// The releases that their command was run for, the last one first.
    fn prepared(&self, name: &InstanceName) -> Vec<ReleaseName> {
        let prepared = lock(&self.prepared);
        prepared.get(name).into_iter().flatten().rev().cloned().collect()
    }

    fn note_prepared(&self, name: &InstanceName, release: ReleaseName) {
        let mut prepared = lock(&self.prepared);
        let of = prepared.entry(name.clone()).or_default();
        of.retain(|one| *one != release);
        of.push(release);
    }

    /// A release is gone; another one may get its name.
    pub(in crate::flows) fn forget_prepared(&self, process: &ProcessName, release: &ReleaseName) {
        for (name, of) in lock(&self.prepared).iter_mut() {
            if name.process() == process {
                of.retain(|one| one != release);
            }
        }
    }

    /// Whether a release was taken back when it was deployed last.
    fn was_taken_back(&self, process: &ProcessName, release: &ReleaseName) -> bool {
        let last = self.of(process).into_iter().find(|one| one.release() == *release);
        let bad =
            |one: &Deploy| matches!(one.state(), DeployState::RolledBack | DeployState::Aborted);
        last.is_some_and(|one| bad(&one))
    }
}

impl<H: Host> Agent<H> {
    /// The release that the command of releases has to be run for before the instance starts.
    fn preparation(&self, instance: &Instance) -> Option<ReleaseName> {
        let setup = instance.setup();
        if setup.definition.deploy.release_command.is_empty() {
            return None;
        }
        let release = instance.release()?;
        (!self.deploys.prepared(&instance.name).contains(&release)).then_some(release)
    }

    /// What is run beside an instance, with the release that runs in it or, while it is down, that its data fits.
    pub(in crate::flows) fn particulars_beside(&self, instance: &Instance) -> Particulars {
        let up = [Active::Active, Active::Activating, Active::Deactivating];
        let loaded = instance.loaded_release().filter(|_| up.contains(&instance.units().service));
        let (name, next) = (&instance.name, instance.release());
        let fits = loaded.or_else(|| {
            self.preparation(instance)?;
            self.deploys.prepared(name).into_iter().next()
        });
        let fits = fits.filter(|one| self.is_ready(name.process(), one));
        // One that runs from no release any more needs none.
        let release = next.is_some().then(|| fits.or(next)).flatten();
        Particulars { release, ..instance.particulars() }
    }

    /// Its data is that of a backup, made when it ran from `release`: what commands did to the former data is undone.
    ///
    /// # Errors
    /// If the store can't be written.
    pub(in crate::flows) async fn note_restored(
        &self,
        instance: &Instance,
        release: Option<ReleaseName>,
    ) -> Result<(), StoreError> {
        let name = &instance.name;
        let release = release.filter(|one| self.is_ready(name.process(), one));
        self.store.note_restored(name.clone(), release.clone()).await?;
        lock(&self.deploys.prepared).insert(name.clone(), release.into_iter().collect());
        if self.is_unprepared(instance) {
            instance.mark_stale();
        }
        Ok(())
    }

    /// Whether it must not be loaded yet.
    pub(in crate::flows) fn is_unprepared(&self, instance: &Instance) -> bool {
        self.preparation(instance).is_some()
    }

    /// Runs the command of releases for it, if that is due. Its service is down.
    ///
    /// # Errors
    /// In words, with the end of what the command printed.
    pub(super) async fn prepare(self: &Arc<Self>, instance: &Arc<Instance>) -> Result<(), String> {
        if self.preparation(instance).is_none() {
            return Ok(());
        }
        let name = &instance.name;
        let one_at_a_time = lock(&self.deploys.preparing).entry(name.clone()).or_default().clone();
        let _turn = one_at_a_time.lock().await;
        // Whoever had the turn before may have done it.
        let Some(release) = self.preparation(instance) else { return Ok(()) };
        let rules = instance.setup().definition.deploy.clone();
        self.until_no_other(name).await;
        log::info!(TENEMENT_INSTANCE = name.to_string(); "{name}: the command of release {release} runs");
        let (argv, with) = (self.filled(instance, &release), instance.particulars());
        let run = run_command(self, instance, &with, COMMAND, argv, rules.release_timeout);
        let ended =
            run.await.map_err(|error| format!("its release_command did not run: {error}"))?;
        if !ended.end.is_success() {
            let said = last_of(&ended.output);
            let how = ended.end.result;
            return Err(format!("its release_command failed ({how}){said}"));
        }
        let noted = self.store.note_prepared(name.clone(), release.clone()).await;
        noted.map_err(|error| {
            format!("that its release_command was run can't be stored: {error}")
        })?;
        self.deploys.note_prepared(name, release);
        // Jobs may run from it now.
        self.tasks.look_at_timers();
        Ok(())
    }

    /// Waits for the end of a command that an earlier agent began and this one is ending: two must not run at once.
    async fn until_no_other(&self, name: &InstanceName) {
        let ended = async {
            while let Ok(running) = self.host.running_tasks(name).await
                && running.iter().any(|tag| tag.as_str().starts_with(COMMAND))
            {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(OTHER_MAX, ended).await.is_err() {
            log::warn!("{name}: an earlier run of its release_command does not end");
        }
    }

    /// The command, with its placeholders filled.
    fn filled(&self, instance: &Instance, release: &ReleaseName) -> Vec<String> {
        let (setup, name) = (instance.setup().clone(), &instance.name);
        let root = self.deploys.releases_dir.get().map_or(Path::new(RELEASES_DIR), |dir| dir);
        let release = root.join(name.process().as_str()).join(release.as_str());
        let (release, config) = (release.display().to_string(), self.config.load());
        let data_dir = config.settings.data_dir.display().to_string();
        let (process, id) = (name.process().as_str(), name.id().as_str());
        let vars = Vars { process, id, data_dir: &data_dir, release: &release, ..Vars::default() };
        let words = setup.definition.deploy.release_command.iter();
        words.map(|word| fill(word, &vars)).collect()
    }

    /// The same for a start that requests wait for. Where others have moved well and only this one's command fails,
    /// it stays at what it ran from.
    pub(in crate::flows) async fn prepare_or_stay(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
    ) -> Result<(), WakeError> {
        let Err(mut why) = self.prepare(instance).await else { return Ok(()) };
        let name = &instance.name;
        if let Some(old) = self.release_to_stay_at(instance)
            && self.pin(name, Some(&old)).await.is_ok()
        {
            // A new instance has no data yet, which that release's command may have to make.
            match self.prepare(instance).await {
                Ok(()) => {
                    let message = format!("{name} stays at {old} until `ten unpin {name}`: {why}");
                    log::error!(TENEMENT_INSTANCE = name.to_string(); "{message}");
                    instance.happened(EventKind::Rollback, message);
                    return Ok(());
                }
                Err(neither) => why = format!("{why}; at {old}: {neither}"),
            }
            if let Err(error) = self.pin(name, None).await {
                log::warn!(TENEMENT_INSTANCE = name.to_string(); "{name} stays pinned to {old}: {error}");
            }
        }
        Err(refusal(instance, &instance.fail(why)))
    }

    /// Where it stays if the command of the release that it should move to fails: never at one that was taken back.
    fn release_to_stay_at(&self, instance: &Instance) -> Option<ReleaseName> {
        if instance.gate.is_moving() || self.is_on_trial(instance) {
            return None;
        }
        let (process, next) = (instance.name.process(), instance.release());
        let before = self.releases.current(process).and_then(|current| current.previous);
        let known = instance.loaded_release().into_iter();
        let mut found = known.chain(self.deploys.prepared(&instance.name)).chain(before);
        found.find(|one| {
            next.as_ref() != Some(one)
                && self.is_ready(process, one)
                && !self.deploys.was_taken_back(process, one)
        })
    }
}

/// The end of what a command printed, on one line.
fn last_of(output: &str) -> String {
    let lines: Vec<&str> =
        output.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    if lines.is_empty() {
        return String::new();
    }
    let text: Vec<&str> = lines.into_iter().rev().map(str::trim).collect();
    format!(": {}", text.join(" / ").chars().take(SAID_MAX).collect::<String>())
}
