//! Why a release could not be had.

use tenement_wire::{ProcessName, ReleaseName};

use crate::flows::ManageError;
use crate::flows::deploys::DeployError;
use crate::flows::host::HostError;

/// Why a release could not be made, shown or deleted. Display is what the client reads.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// There is none of that name.
    #[error("{process} has no release {name}")]
    Unknown {
        /// The process.
        process: ProcessName,
        /// What was asked for.
        name: ReleaseName,
    },
    /// There is one of that name already, and releases never change.
    #[error("{process} has a release {name} already, and a release never changes")]
    Exists {
        /// The process.
        process: ProcessName,
        /// Its name.
        name: ReleaseName,
    },
    /// Something runs from it or will.
    #[error("release {name} of {process} stays: {why}")]
    InUse {
        /// The process.
        process: ProcessName,
        /// Its name.
        name: ReleaseName,
        /// Who needs it.
        why: String,
    },
    /// Another one is being made of the same process.
    #[error("release {name} of {process} is being made")]
    Building {
        /// The process.
        process: ProcessName,
        /// The one that is being made.
        name: ReleaseName,
    },
    /// The upload is something else.
    #[error("the upload is no tar, tar.gz or tar.zst file")]
    NoTarball,
    /// The upload is longer than the config allows.
    #[error("the upload has more than {most} bytes (upload_max)")]
    TooLarge {
        /// The bound, in bytes.
        most: u64,
    },
    /// The disk is nearly full.
    #[error("the disk has too little space left for the upload")]
    NoSpace,
    /// It can't be deployed.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// Anything else.
    #[error(transparent)]
    Manage(#[from] ManageError),
}

impl ReleaseError {
    /// The upload can't be kept.
    pub(super) fn spool(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull {
            return Self::NoSpace;
        }
        Self::Manage(ManageError::Internal(Box::new(error)))
    }

    /// The unit helper could not do it.
    pub(super) fn host(error: HostError) -> Self {
        match error {
            HostError::Unreachable(_) => Self::Manage(ManageError::Unavailable {
                what: "the unit helper",
                source: Box::new(error),
            }),
            other => Self::Manage(ManageError::Internal(Box::new(other))),
        }
    }
}
