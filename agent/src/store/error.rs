//! What can go wrong with the database, told apart by what helps.

use std::path::Path;

use rusqlite::{ErrorCode, ffi};

/// An error of the database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk is full. Nothing was written.
    #[error("the disk of the state database is full: {0}")]
    Full(String),
    /// The file or its file system is read-only.
    #[error("the state database can't be written: {0}")]
    ReadOnly(String),
    /// The file is damaged or no database.
    #[error("the state database is damaged: {0}")]
    Corrupt(String),
    /// Every port of the range belongs to an instance.
    #[error("every port of port_range {0}-{1} is taken; widen port_range or remove instances")]
    NoFreePort(u16, u16),
    /// Anything else.
    #[error("the state database: {0}")]
    Other(String),
}

impl StoreError {
    pub(super) fn closed() -> Self {
        Self::Other("its thread has ended".into())
    }

    /// The same error, with what to do about it.
    pub(super) fn at(self, path: &Path) -> Self {
        let path = path.display();
        match self {
            Self::Corrupt(text) => Self::Corrupt(format!(
                "{text} ({path}). Nothing was changed. Stop tenement, then restore a backup, or try \
                 `sqlite3 {path} .recover`, or move the file away: then instances of [instances] are \
                 registered anew and others need `ten spawn` again; data directories stay as they are"
            )),
            Self::Full(text) => Self::Full(format!("{text} ({path})")),
            Self::ReadOnly(text) => Self::ReadOnly(format!("{text} ({path})")),
            Self::Other(text) => Self::Other(format!("{text} ({path})")),
            other @ Self::NoFreePort(..) => other,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        // Its shared memory lies in a file beside the database, and on a full disk cannot grow.
        if let rusqlite::Error::SqliteFailure(failure, _) = &error {
            match failure.extended_code {
                ffi::SQLITE_IOERR_SHMSIZE => return Self::Full(text),
                ffi::SQLITE_IOERR_SHMOPEN | ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_FSYNC => {
                    return Self::ReadOnly(text);
                }
                _ => {}
            }
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(text),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::ReadOnly(text)
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt(text),
            _ => Self::Other(text),
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        let text = error.to_string();
        match error.kind() {
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => Self::Full(text),
            Kind::ReadOnlyFilesystem | Kind::PermissionDenied | Kind::NotFound => {
                Self::ReadOnly(text)
            }
            _ => Self::Other(text),
        }
    }
}

impl From<rusqlite_migration::Error> for StoreError {
    fn from(error: rusqlite_migration::Error) -> Self {
        match error {
            rusqlite_migration::Error::RusqliteError { err, .. } => err.into(),
            other => Self::Other(other.to_string()),
        }
    }
}
