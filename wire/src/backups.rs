//! Backups, as the API tells of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::InstanceName;

/// How a consistent copy of the data of an instance is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum BackupMethod {
    /// The instance is stopped while its data is read; requests wait.
    #[default]
    Sleep,
    /// It runs on. SQLite databases are copied by SQLite, other files as they are.
    Online,
}

impl BackupMethod {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sleep => "sleep",
            Self::Online => "online",
        }
    }
}

impl fmt::Display for BackupMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BackupMethod {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "sleep" => Ok(Self::Sleep),
            "online" => Ok(Self::Online),
            _ => Err("must be sleep or online"),
        }
    }
}

/// How the backups of one instance stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BackupState {
    /// The instance.
    pub name: InstanceName,
    /// Where they are kept: a directory, or `s3://bucket/prefix`. None: nowhere, so none are made by themselves.
    pub to: Option<String>,
    /// When they are made, such as `daily 03:00` or `every 6h`. None: when somebody asks.
    pub schedule: Option<String>,
    /// How.
    pub method: BackupMethod,
    /// Whether one is being made now.
    pub running: bool,
    /// When the next one is due, in Unix milliseconds.
    pub next_ms: Option<u64>,
    /// When the last good one was begun, in Unix milliseconds.
    pub last_ms: Option<u64>,
    /// Its name.
    pub last_file: Option<String>,
    /// Its size in bytes.
    pub last_bytes: Option<u64>,
    /// How long it took, in milliseconds.
    pub last_took_ms: Option<u64>,
    /// When the last try failed, in Unix milliseconds, if none was good since.
    pub failed_ms: Option<u64>,
    /// Why.
    pub error: Option<String>,
    /// Tries that failed since the last good one.
    pub failures: u32,
}

/// Answer of `GET /api/v1/backups`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BackupList {
    /// In order of name.
    pub backups: Vec<BackupState>,
}

/// One backup that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StoredBackup {
    /// Its name, which says of what and of when it is.
    pub file: String,
    /// When it was begun, in Unix milliseconds.
    pub time_ms: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Answer of `GET /api/v1/instances/{name}/backups`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StoredBackups {
    /// The instance.
    pub name: InstanceName,
    /// Where they are kept.
    pub to: String,
    /// Newest first.
    pub backups: Vec<StoredBackup>,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Restored {
    /// The instance whose data was replaced.
    pub name: InstanceName,
    /// The instance that the backup is of.
    pub of: InstanceName,
    /// When the backup was begun, in Unix milliseconds.
    pub made_ms: u64,
    /// The release that it ran then.
    pub release: Option<String>,
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes in files.
    pub bytes: u64,
    /// Where the data that was there before is, if it was kept.
    pub kept: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_read_back_from_its_word() {
        for method in [BackupMethod::Sleep, BackupMethod::Online] {
            assert_eq!(method.as_str().parse(), Ok(method));
            assert_eq!(serde_json::to_value(method).unwrap(), method.as_str());
        }
        assert!("x".parse::<BackupMethod>().is_err());
    }
}
