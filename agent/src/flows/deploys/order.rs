//! What is asked of deployments, and why nothing was done.

use std::time::Duration;

use tenement_wire::deploys::{DeployState, Strategy};
use tenement_wire::{InstanceId, InstanceName, ProcessName, ReleaseName};

use crate::flows::ManageError;
use crate::store::StoreError;

/// What somebody wants deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployOrder {
    /// The process.
    pub process: ProcessName,
    /// The release.
    pub release: ReleaseName,
    /// How instances come to it.
    pub strategy: Strategy,
    /// Restart those that run now.
    pub now: bool,
    /// Side by side; `None`: as the config says.
    pub batch: Option<u32>,
    /// Id of the instance for the release; `None`: the release's name.
    pub instance: Option<InstanceId>,
    /// Shares of a canary; `None`: as the config says.
    pub steps: Option<Vec<u32>>,
    /// How long each step lasts; `None`: as the config says.
    pub step: Option<Duration>,
    /// It leads back to an earlier release.
    pub rollback: bool,
}

impl DeployOrder {
    /// One that leads back; to where, is found out.
    #[must_use]
    pub fn back(process: ProcessName, now: bool, batch: Option<u32>) -> Self {
        // Replaced by whoever finds that out.
        let release = ReleaseName::new("0").expect("a digit is a name");
        let (strategy, rollback) = (Strategy::InPlace, true);
        let (instance, steps, step) = (None, None, None);
        Self { process, release, strategy, now, batch, instance, steps, step, rollback }
    }
}

/// Why nothing was done. Display is what the client reads.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// One at a time.
    #[error("deployment {id} of {process} to {release} is under way")]
    Running {
        /// The process.
        process: ProcessName,
        /// The one that is under way.
        id: String,
        /// Where that leads.
        release: ReleaseName,
    },
    /// There is none of this id.
    #[error("{process} has no deployment {id}")]
    Unknown {
        /// The process.
        process: ProcessName,
        /// What was asked for.
        id: String,
    },
    /// There is nothing to go back to.
    #[error("{process} has no release before")]
    NothingBefore {
        /// The process.
        process: ProcessName,
    },
    /// It is over.
    #[error("deployment {id} is over: it has {}", .state.as_str())]
    Over {
        /// Which.
        id: String,
        /// How.
        state: DeployState,
    },
    /// An instance that requests are to go to is not healthy.
    #[error("{name} is not healthy: {why}")]
    NotHealthy {
        /// Which.
        name: InstanceName,
        /// What it is instead.
        why: String,
    },
    /// Something else.
    #[error(transparent)]
    Failed(#[from] ManageError),
}

impl From<StoreError> for DeployError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

pub(super) fn invalid(field: &'static str, message: impl Into<String>) -> DeployError {
    ManageError::Invalid { field, message: message.into() }.into()
}
