//! `release_command`: run once for each instance and release, before the instance's first start on that.
//!
//! For which release it was last run is stored by instance. While it is due, nothing loads the instance's units: a
//! connection to a socket of systemd's would start the app before it.

use std::path::Path;
use std::sync::Arc;

use tenement_wire::events::EventKind;
use tenement_wire::{InstanceName, ReleaseName};

use super::{Deploys, lock};
use crate::config::template::{Vars, fill};
use crate::flows::WakeError;
use crate::flows::agent::Agent;
use crate::flows::host::Host;
use crate::flows::instance::Instance;
use crate::flows::refuse::refusal;
use crate::flows::tasks::run_command;
use crate::plan::RELEASES_DIR;

/// Characters of what the command printed that a report shows.
const SAID_MAX: usize = 500;

impl Deploys {
    /// The release that its command was last run for.
    fn prepared(&self, name: &InstanceName) -> Option<ReleaseName> {
        lock(&self.prepared).get(name).cloned()
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
        (self.deploys.prepared(&instance.name).as_ref() != Some(&release)).then_some(release)
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
        log::info!(TENEMENT_INSTANCE = name.to_string(); "{name}: the command of release {release} runs");
        let (argv, with) = (self.filled(instance, &release), instance.particulars());
        let run = run_command(self, instance, &with, "release", argv, rules.release_timeout);
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
        lock(&self.deploys.prepared).insert(name.clone(), release);
        Ok(())
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
        let Err(why) = self.prepare(instance).await else { return Ok(()) };
        let name = &instance.name;
        let old = self
            .deploys
            .prepared(name)
            .or_else(|| self.releases.current(name.process()).and_then(|current| current.previous));
        let may_stay = !instance.gate.is_moving() && !self.is_on_trial(instance);
        if let Some(old) = old.filter(|old| may_stay && instance.release().as_ref() != Some(old))
            && self.pin(name, Some(&old)).await.is_ok()
        {
            let message = format!("{name} stays at {old} until `ten unpin {name}`: {why}");
            log::error!(TENEMENT_INSTANCE = name.to_string(); "{message}");
            instance.happened(EventKind::Rollback, message);
            return Ok(());
        }
        Err(refusal(instance, &instance.fail(why)))
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
