//! What can go wrong in the index.

use std::path::{Path, PathBuf};

/// Why the index could not do something. Nothing that was appended is lost by one of these: what is not
/// committed is still in memory, and what is not in memory is still in the journal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("log index: cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// SQLite refused: the disk is full, say. Try again later.
    #[error("log index: {}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The newest file was damaged or deleted; what is left of it has been moved aside. Its lines are still in the journal: go on from
    /// [`super::Writer::resume`], which now says an older place; what was not committed was dropped.
    #[error("log index: {} {}", path.display(), .aside.as_ref().map_or_else(
        || "was deleted".to_owned(), |aside| format!("was damaged and is now {}", aside.display())
    ))]
    StartAgain {
        /// The file.
        path: PathBuf,
        /// Where it is now, if it is anywhere.
        aside: Option<PathBuf>,
    },
    /// Somebody has deleted the newest file.
    #[error("log index: {} was deleted", path.display())]
    Deleted {
        /// The file.
        path: PathBuf,
    },
    /// More lines wait for [`super::Writer::commit`] than may; this one was not taken.
    #[error(
        "log index: {bytes} bytes of lines wait to be written, no more are taken until they are"
    )]
    TailFull {
        /// How much waits.
        bytes: usize,
    },
    /// A newer build wrote it; this one cannot read it, and takes it for damaged.
    #[error("log index: {} is of format {version}, which this build does not know", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: i32,
    },
    /// A block does not hold what it should.
    #[error("log index: block {id} of {} is damaged: {what}", path.display())]
    Block {
        /// The file.
        path: PathBuf,
        /// The block's id.
        id: i64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A query in SQL was refused or failed.
    #[error("{0}")]
    Query(String),
}

/// The outcome of what the index does.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Names the file.
    pub(super) fn sqlite(path: &Path) -> impl FnOnce(rusqlite::Error) -> Self + '_ {
        move |source| Self::Sqlite { path: path.to_owned(), source }
    }

    /// Names the file and what was tried.
    pub(super) fn io<'a>(
        what: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(std::io::Error) -> Self + 'a {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }

    /// Whether the file itself is damaged or gone, rather than the disk full or busy.
    pub(super) fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match self {
            Self::Sqlite { source: rusqlite::Error::SqliteFailure(error, _), .. } => {
                matches!(error.code, DatabaseCorrupt | NotADatabase)
            }
            Self::Block { .. } | Self::Newer { .. } | Self::Deleted { .. } => true,
            _ => false,
        }
    }
}
