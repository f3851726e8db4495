//! Why a backup or a restore did not go.

use std::time::Duration;

use tenement_wire::{InstanceName, ProcessName};

use crate::flows::ManageError;
use crate::flows::host::HostError;
use crate::store::StoreError;
use crate::vault::VaultError;

/// Why a backup or a restore did not go. Nothing of the instance's data was changed then.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// As for other verbs: it is not registered, it is being changed, the helper does not answer.
    #[error(transparent)]
    Manage(#[from] ManageError),
    /// The config keeps them nowhere.
    #[error("the config keeps backups of {0} nowhere")]
    NoTarget(ProcessName),
    /// There is no such backup.
    #[error("there is no backup {0}")]
    Missing(String),
    /// What was sent is no whole archive, or one that can't be taken.
    #[error("the archive can't be taken: {0}")]
    BadArchive(String),
    /// It is of another instance.
    #[error("the archive is of {found}, not of {wanted}")]
    Another {
        /// Of which it is.
        found: String,
        /// Of which it should be.
        wanted: InstanceName,
    },
    /// Requests would have had to wait too long.
    #[error("requests to {name} had waited for {after:?}, so it was given up")]
    Held {
        /// Which instance.
        name: InstanceName,
        /// Its `hold_max`.
        after: Duration,
    },
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl From<VaultError> for BackupError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Missing(file) => Self::Missing(file),
            VaultError::Failed(why) => Self::Failed(why),
        }
    }
}

impl From<HostError> for BackupError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Unreachable(_) => Self::Manage(ManageError::Unavailable {
                what: "the unit helper or systemd",
                source: error.into(),
            }),
            HostError::Config(why) | HostError::Failed(why) => Self::Failed(why),
        }
    }
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        Self::Manage(error.into())
    }
}

impl From<std::io::Error> for BackupError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(format!("the agent can't pass it on: {error}"))
    }
}
