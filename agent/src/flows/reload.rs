//! A config that is checked or comes into force while the agent runs.

use tenement_wire::dto::{ConfigCheck, ConfigFile, ConfigProblem, ConfigView};
use tenement_wire::events::{Actor, Event, EventKind};
use tenement_wire::status::Cause;

use super::host::Host;
use super::manage::Manager;
use super::management::ManageError;
use crate::config;
use crate::store::Origin;

impl<H: Host> Manager<H> {
    fn parse(&self, files: &[config::SourceFile]) -> Result<config::Config, Vec<ConfigProblem>> {
        let mut config = config::parse(files)?;
        if let Some(home) = &self.data_home {
            config.settings.default_data_dir(home);
        }
        let problems = (self.path_problems)(&config);
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// See [`super::Management::config_check`].
    pub(super) fn check_config(&self, files: Vec<ConfigFile>) -> Result<ConfigCheck, ManageError> {
        let files = if files.is_empty() {
            (self.read_config)().map_err(|e| ManageError::Internal(e.into()))?
        } else {
            files.into_iter().map(|f| config::SourceFile::new(f.name, f.text)).collect()
        };
        let problems = self.parse(&files).err().unwrap_or_default();
        let files = files.into_iter().map(|f| f.name).collect();
        Ok(ConfigCheck { valid: problems.is_empty(), files, problems })
    }

    /// See [`super::Management::reload`].
    pub(super) async fn reload_config(&self) -> Result<ConfigView, ManageError> {
        let files = (self.read_config)().map_err(|e| ManageError::Internal(e.into()))?;
        match self.parse(&files) {
            Ok(config) => {
                let range = config.settings.port_range;
                let named = config.instances.clone();
                let _turn = self.agent.changes.lock().await;
                // First, so that a database that can't be written leaves the config as it is.
                let new = self.agent.store.register_many(named, Origin::Config, range).await?;
                self.agent.rejected.lock().expect("no panic while held").clear();
                (self.on_config)(&config);
                if let Some(logs) = self.agent.logs.get() {
                    logs.keep(&config);
                }
                self.agent.adopt_config(config);
                self.agent.log_unmet();
                self.agent.admit(new);
                self.agent.publish();
                if let Err(error) = self.agent.resync().await {
                    // Instances whose process is back may run; the next event of each tells.
                    log::warn!("asking systemd what runs: {error}");
                }
                let agent = self.agent.clone();
                tokio::spawn(async move {
                    agent.preload_because(agent.all(), Cause::Config).await;
                    agent.fill_up().await;
                });
                self.agent.record(of_config("the config was reloaded".into(), 0));
                Ok(self.agent.config_view())
            }
            Err(problems) => {
                let message = "a config was refused; the one before stays in force".to_owned();
                self.agent.record(of_config(message, problems.len()));
                for p in &problems {
                    log::error!(
                        "config kept as it was: {}:{}:{}: {}",
                        p.file,
                        p.line,
                        p.column,
                        p.message
                    );
                }
                *self.agent.rejected.lock().expect("no panic while held") = problems.clone();
                Err(ManageError::ConfigRejected(problems))
            }
        }
    }
}

fn of_config(message: String, problems: usize) -> Event {
    let event = Event::new(EventKind::Config, message).by(Actor::agent());
    event.with("problems", problems.to_string())
}
