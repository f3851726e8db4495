//! What the flows ask of the host for backups, in one verb.

use std::os::fd::OwnedFd;
use std::time::Duration;

/// What is to be done with the data of an instance.
#[derive(Debug)]
pub enum ArchiveOrder {
    /// Pack it.
    Pack {
        /// The instance runs meanwhile.
        online: bool,
        /// How long it may take.
        timeout: Duration,
        /// Where the archive goes, and what the packer says.
        streams: [OwnedFd; 2],
    },
    /// Unpack an archive beside it, and see that it is whole.
    Unpack {
        /// Where the archive comes from, and where goes what the unpacker says.
        streams: [OwnedFd; 2],
    },
    /// Swap what was unpacked with the data, in one step.
    Exchange {
        /// Keep the former data for good.
        keep_old: bool,
    },
    /// Delete what was unpacked, or what was the data before a swap.
    Discard,
}

/// How it went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveDone {
    /// Whether the program ended well.
    pub well: bool,
    /// Where the former data is kept.
    pub kept: Option<String>,
}
