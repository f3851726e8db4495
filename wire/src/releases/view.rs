//! Releases, as the API tells of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ReleaseName;
use crate::{InstanceName, ProcessName};

/// How far a release is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ReleaseStatus {
    /// It is being unpacked and built.
    Building,
    /// Instances can run from it.
    Ready,
    /// It could not be made, or is gone.
    Failed,
}

impl ReleaseStatus {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

/// The longest text about where a release comes from, in characters.
pub const SOURCE_MAX: usize = 200;

/// Where a release comes from, as whoever made it says: `git v2 4f0c1d2`, `./dist`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseSource(String);

impl ReleaseSource {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What of `text` can be one: no control characters, and the beginning of what is too long.
    #[must_use]
    pub fn lossy(text: &str) -> Self {
        Self(text.chars().filter(|c| !c.is_control()).take(SOURCE_MAX).collect())
    }
}

impl FromStr for ReleaseSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.chars().count() > SOURCE_MAX || text.chars().any(char::is_control) {
            return Err(format!(
                "must be up to {SOURCE_MAX} characters and none of them a control character"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ReleaseSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A release of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ReleaseView {
    /// Its process.
    pub process: ProcessName,
    /// Its name.
    pub name: ReleaseName,
    /// How far it is.
    pub state: ReleaseStatus,
    /// When its making was begun, in Unix milliseconds.
    pub created_ms: u64,
    /// How long its making took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(nullable = false))]
    pub took_ms: Option<u64>,
    /// Who made it: `uid 1000`, `token ci (k3v7q2m5x4wa)`.
    pub by: String,
    /// Where it comes from, as they said.
    pub source: String,
    /// Size of its files together, in bytes.
    pub bytes: u64,
    /// How many entries it has, directories and symlinks included.
    pub files: u64,
    /// SHA-256 of its names, modes and contents; empty until it is ready.
    pub digest: String,
    /// Why it is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(nullable = false))]
    pub failure: Option<String>,
    /// Whether its process runs from it.
    pub current: bool,
    /// Whether its process ran from it before the current one.
    pub previous: bool,
    /// Instances that stay at it.
    pub pinned: Vec<InstanceName>,
    /// Instances that are awake and were started from it.
    pub running: Vec<InstanceName>,
    /// Its directory on the host.
    pub directory: String,
}

/// Releases, the newest of each process first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ReleaseList {
    /// Those that match.
    pub releases: Vec<ReleaseView>,
}

/// Answer of the API about a release that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ReleaseRemoved {
    /// Its process.
    pub process: ProcessName,
    /// Its name.
    pub name: ReleaseName,
}
