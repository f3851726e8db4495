//! What the API door needs of releases, as a trait that it can be tested without a host.

use std::pin::Pin;
use std::sync::Arc;

use tenement_wire::releases::ReleaseStatus;
use tenement_wire::{ProcessName, ReleaseName, ReleaseSource, ReleaseView};

use super::ReleaseError;
use super::buildlog::BuildLog;
use super::make::{Notes, Upload};
use crate::flows::ManageError;
use crate::flows::agent::Agent;
use crate::flows::host::{Active, Host};
use crate::store::releases::{ReleaseState, StoredRelease};

/// An answer to come.
pub type Coming<'a, T> = Pin<Box<dyn Future<Output = Result<T, ReleaseError>> + Send + 'a>>;

/// What a build has printed.
#[derive(Debug, Clone)]
pub enum Printed {
    /// It still prints.
    Live(Arc<BuildLog>),
    /// It has ended.
    Past(Vec<u8>),
}

/// Releases, as the API sees them.
pub trait ReleaseDesk: Send + Sync {
    /// Those of a process or of all, the newest of each process first.
    fn list(&self, process: Option<ProcessName>) -> Coming<'_, Vec<ReleaseView>>;
    /// One.
    fn show(&self, process: ProcessName, name: ReleaseName) -> Coming<'_, ReleaseView>;
    /// Takes a name for an upload.
    fn begin(&self, process: &ProcessName, name: &ReleaseName) -> Result<Upload, ReleaseError>;
    /// Has it made.
    fn make(&self, upload: Upload, source: ReleaseSource, by: String) -> Coming<'_, ReleaseView>;
    /// What its build prints, or has printed.
    fn printed(&self, process: ProcessName, name: ReleaseName) -> Coming<'_, Printed>;
    /// Deletes it.
    fn remove(&self, process: ProcessName, name: ReleaseName) -> Coming<'_, ()>;
    /// Deploys it in place: its process runs from it, each instance from its next start on.
    fn adopt(&self, process: ProcessName, name: ReleaseName) -> Coming<'_, ReleaseView>;
}

/// The desk of an agent.
pub struct Shelf<H> {
    agent: Arc<Agent<H>>,
    /// Where releases lie, for people.
    directory: std::path::PathBuf,
}

impl<H: Host> Shelf<H> {
    /// Of `agent`, whose releases lie in `directory`.
    pub fn new(agent: Arc<Agent<H>>, directory: std::path::PathBuf) -> Self {
        Self { agent, directory }
    }

    async fn views(&self, process: &ProcessName, all: Vec<StoredRelease>) -> Vec<ReleaseView> {
        let agent = &self.agent;
        let uses = agent.uses_releases(process).is_ok();
        // Who runs from what is for people here: without systemd they see the rest.
        let loaded = match uses {
            true => agent.loaded_releases(process).await.unwrap_or_default(),
            false => Default::default(),
        };
        let up = |name: &_| {
            let service = agent.known(name).map(|instance| instance.units().service);
            matches!(service, Some(Active::Active | Active::Activating | Active::Deactivating))
        };
        let (current, pins) = (agent.releases.current(process), agent.releases.pins(process));
        let view = |one: StoredRelease| {
            let notes = Notes::of(&one);
            let is = |other: Option<&ReleaseName>| other == Some(&one.name);
            let mut pinned: Vec<_> =
                pins.iter().filter(|(_, r)| *r == one.name).map(|(name, _)| name.clone()).collect();
            pinned.sort();
            let running = loaded.iter().filter(|(name, release)| **release == one.name && up(name));
            ReleaseView {
                state: match one.state {
                    ReleaseState::Building => ReleaseStatus::Building,
                    ReleaseState::Ready => ReleaseStatus::Ready,
                    ReleaseState::Failed => ReleaseStatus::Failed,
                },
                created_ms: one.at_ms,
                took_ms: notes.took_ms,
                by: notes.by,
                source: notes.source,
                bytes: notes.bytes,
                files: notes.files,
                digest: notes.digest,
                failure: notes.failure,
                current: is(current.as_ref().map(|current| &current.name)),
                previous: is(current.as_ref().and_then(|current| current.previous.as_ref())),
                pinned,
                running: running.map(|(name, _)| name.clone()).collect(),
                directory: self
                    .directory
                    .join(process.as_str())
                    .join(one.name.as_str())
                    .display()
                    .to_string(),
                process: one.process,
                name: one.name,
            }
        };
        let mut views: Vec<_> = all.into_iter().map(view).collect();
        views.sort_by(|a, b| (b.created_ms, &b.name).cmp(&(a.created_ms, &a.name)));
        views
    }

    async fn view(
        &self,
        process: ProcessName,
        name: ReleaseName,
    ) -> Result<ReleaseView, ReleaseError> {
        let found = self.agent.releases.get(&process, &name).into_iter().collect();
        let view = self.views(&process, found).await.pop();
        view.ok_or(ReleaseError::Unknown { process, name })
    }
}

impl<H: Host> ReleaseDesk for Shelf<H> {
    fn list(&self, only: Option<ProcessName>) -> Coming<'_, Vec<ReleaseView>> {
        Box::pin(async move {
            let mut views = Vec::new();
            let known = self.agent.releases.processes();
            let config = self.agent.config.load_full();
            if let Some(process) = &only
                && !known.contains(process)
                && !config.processes.contains_key(process)
            {
                let known = config.processes.keys().cloned().collect();
                return Err(ManageError::UnknownProcess { process: process.clone(), known }.into());
            }
            for process in known {
                if only.as_ref().is_none_or(|only| *only == process) {
                    let all = self.agent.releases.of_process(&process);
                    views.extend(self.views(&process, all).await);
                }
            }
            Ok(views)
        })
    }

    fn show(&self, process: ProcessName, name: ReleaseName) -> Coming<'_, ReleaseView> {
        Box::pin(self.view(process, name))
    }

    fn begin(&self, process: &ProcessName, name: &ReleaseName) -> Result<Upload, ReleaseError> {
        self.agent.begin_release(process, name)
    }

    fn make(&self, upload: Upload, source: ReleaseSource, by: String) -> Coming<'_, ReleaseView> {
        Box::pin(async move {
            let made = self.agent.make_release(upload, &source, by).await?;
            self.view(made.process, made.name).await
        })
    }

    fn printed(&self, process: ProcessName, name: ReleaseName) -> Coming<'_, Printed> {
        Box::pin(async move {
            let workshop = &self.agent.releases.workshop;
            if let Some(log) = workshop.log(&process, &name) {
                return Ok(Printed::Live(log));
            }
            let known = self.agent.releases.get(&process, &name).is_some();
            let path = workshop.log_file(&process, &name).filter(|_| known);
            let path = path.ok_or(ReleaseError::Unknown { process, name })?;
            // One that was never built, or whose file was lost, has printed nothing.
            Ok(Printed::Past(tokio::fs::read(path).await.unwrap_or_default()))
        })
    }

    fn remove(&self, process: ProcessName, name: ReleaseName) -> Coming<'_, ()> {
        Box::pin(async move { self.agent.remove_release(&process, &name).await })
    }

    fn adopt(&self, process: ProcessName, name: ReleaseName) -> Coming<'_, ReleaseView> {
        Box::pin(async move {
            if self.agent.releases.get(&process, &name).is_none() {
                return Err(ReleaseError::Unknown { process, name });
            }
            self.agent.adopt_release(&process, &name).await?;
            self.view(process, name).await
        })
    }
}

/// The desk of an agent without releases.
#[derive(Debug)]
pub struct NoReleases;

impl NoReleases {
    fn unknown(process: &ProcessName) -> ReleaseError {
        ManageError::UnknownProcess { process: process.clone(), known: Vec::new() }.into()
    }
}

impl ReleaseDesk for NoReleases {
    fn list(&self, process: Option<ProcessName>) -> Coming<'_, Vec<ReleaseView>> {
        let none = process.map_or(Ok(Vec::new()), |process| Err(Self::unknown(&process)));
        Box::pin(std::future::ready(none))
    }

    fn show(&self, process: ProcessName, name: ReleaseName) -> Coming<'_, ReleaseView> {
        Box::pin(std::future::ready(Err(ReleaseError::Unknown { process, name })))
    }

    fn begin(&self, process: &ProcessName, _name: &ReleaseName) -> Result<Upload, ReleaseError> {
        Err(Self::unknown(process))
    }

    fn make(
        &self,
        _upload: Upload,
        _source: ReleaseSource,
        _by: String,
    ) -> Coming<'_, ReleaseView> {
        let none = ManageError::Internal("this agent makes no releases".into());
        Box::pin(std::future::ready(Err(none.into())))
    }

    fn printed(&self, process: ProcessName, name: ReleaseName) -> Coming<'_, Printed> {
        Box::pin(std::future::ready(Err(ReleaseError::Unknown { process, name })))
    }

    fn remove(&self, process: ProcessName, name: ReleaseName) -> Coming<'_, ()> {
        Box::pin(std::future::ready(Err(ReleaseError::Unknown { process, name })))
    }

    fn adopt(&self, process: ProcessName, name: ReleaseName) -> Coming<'_, ReleaseView> {
        Box::pin(std::future::ready(Err(ReleaseError::Unknown { process, name })))
    }
}
