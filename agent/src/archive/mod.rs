//! Floor 2: one data directory as one stream, and back.
//!
//! ```text
//!   directory ─ pack ─► manifest.json · data/… · end.json ─ tar ─ SHA-256 ─ zstd ─► out
//!   in ─ zstd ─ SHA-256 ─ tar ─ unpack ─► a fresh directory, or an error and rubbish that the caller removes
//! ```
//!
//! `tenement-archive` runs this as the instance's own user in the instance's own sandbox: neither the agent nor root
//! reads a byte of what a tenant wrote. Memory is bounded whatever the size: nothing is collected but the first names
//! of files with several links.
//!
//! The format is that of GNU tar in one zstd frame, so `tar --zstd -xf` reads it. Directories come after what is in
//! them: their modes and times are set when nothing is written into them any more. `end.json` has the SHA-256 of every
//! byte before it, so an archive that was cut or altered is never taken for a whole one.
//!
//! It does *not* say whether an archive is authentic: who can write it can write its checksum too.

mod block;
mod pack;
mod report;
mod sqlite;
mod stream;
#[cfg(test)]
mod tests;
mod unpack;

use serde::{Deserialize, Serialize};

pub use pack::{Source, pack};
pub use report::{Message, Packed, Unpacked};
pub use unpack::{Limits, unpack};

/// Version of the format.
pub const FORMAT: u32 = 1;
/// Name of the first entry.
const MANIFEST: &[u8] = b"manifest.json";
/// What stands before the names of all that was in the directory.
const DATA: &[u8] = b"data/";
/// Name of the last entry.
const END: &[u8] = b"end.json";
/// Longest of the two, in bytes.
const JSON_MAX: u64 = 64 * 1024;
/// Deepest level below the directory. Each holds a descriptor open, and no deeper tree can be purged either.
pub const DEPTH_MAX: usize = 128;
/// Bytes that are read or written at once.
const CHUNK: usize = 128 * 1024;

/// The first entry: what the archive is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// `process:id`.
    pub instance: String,
    /// The release that it ran, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// When it was begun, in Unix milliseconds.
    pub created_ms: u64,
    /// `sleep` or `online`.
    pub method: String,
    /// Version of what made it.
    pub agent: String,
}

/// The last entry.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    /// Entries between the first and this one.
    entries: u64,
    /// SHA-256 of every byte of the tar stream before this entry, in hexadecimal.
    sha256: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
