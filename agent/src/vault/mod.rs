//! Floor 2: where backups are kept: a directory, or a bucket of an S3-compatible endpoint.
//!
//! ```text
//!   {to}/{process}/{id}/{process}-{id}-{time}.tar.zst
//! ```
//!
//! A backup appears whole or not at all. What lies there beside our own files is never listed and never deleted.
//!
//! It does *not* decide what is kept: it lists, hands out, and deletes what it is told to.

mod directory;
mod http;
mod names;
mod s3;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use tenement_wire::InstanceName;
use tenement_wire::backups::StoredBackup;

pub use names::{file_name, time_of};

use crate::config::{S3Settings, Target};

/// Why it did not go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// There is no backup of that name.
    #[error("there is no backup {0}")]
    Missing(String),
    /// Anything else; the text names the place and, where there is one, the remedy.
    #[error("{0}")]
    Failed(String),
}

/// What is read of a backup, piece by piece.
pub type Pieces = BoxStream<'static, Result<Bytes, VaultError>>;

/// A place for backups.
#[derive(Debug, Clone)]
pub enum Vault {
    /// Below a directory.
    Directory(directory::Directory),
    /// In a bucket.
    S3(s3::Bucket),
}

/// A backup that is being written. Dropped unfinished, it leaves at most what [`Writer::abort`] would have removed.
pub enum Writer {
    /// A file.
    Directory(directory::Draft),
    /// An upload.
    S3(Box<s3::Upload>),
}

impl Vault {
    /// The place that the config names. Reads the key of the endpoint.
    ///
    /// # Errors
    /// [`VaultError::Failed`] if the key can't be read.
    pub async fn open(target: &Target, s3: Option<&S3Settings>) -> Result<Self, VaultError> {
        match (target, s3) {
            (Target::Directory(path), _) => {
                Ok(Self::Directory(directory::Directory::new(path.clone())))
            }
            (Target::S3 { bucket, prefix }, Some(settings)) => {
                s3::Bucket::open(settings, bucket, prefix).await.map(Self::S3)
            }
            (Target::S3 { .. }, None) => {
                Err(VaultError::Failed("the config has no [backup.s3]".into()))
            }
        }
    }

    /// The backups of an instance, newest first.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn list(&self, name: &InstanceName) -> Result<Vec<StoredBackup>, VaultError> {
        let mut found = match self {
            Self::Directory(directory) => directory.list(name).await?,
            Self::S3(bucket) => bucket.list(name).await?,
        };
        found.sort_by(|a, b| (b.time_ms, &b.file).cmp(&(a.time_ms, &a.file)));
        Ok(found)
    }

    /// Begins to write one.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn create(&self, name: &InstanceName, file: &str) -> Result<Writer, VaultError> {
        Ok(match self {
            Self::Directory(directory) => Writer::Directory(directory.create(name, file).await?),
            Self::S3(bucket) => Writer::S3(Box::new(bucket.create(name, file))),
        })
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`VaultError`]; the pieces may fail too.
    pub async fn read(&self, name: &InstanceName, file: &str) -> Result<Pieces, VaultError> {
        if time_of(name, file).is_none() {
            return Err(VaultError::Missing(file.escape_default().to_string()));
        }
        match self {
            Self::Directory(directory) => directory.read(name, file).await,
            Self::S3(bucket) => bucket.read(name, file).await,
        }
    }

    /// Deletes one; that it is gone already is no error.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn delete(&self, name: &InstanceName, file: &str) -> Result<(), VaultError> {
        if time_of(name, file).is_none() {
            return Err(VaultError::Missing(file.escape_default().to_string()));
        }
        match self {
            Self::Directory(directory) => directory.delete(name, file).await,
            Self::S3(bucket) => bucket.delete(name, file).await,
        }
    }
}

impl Writer {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`VaultError`]; then [`Self::abort`] it.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), VaultError> {
        match self {
            Self::Directory(draft) => draft.write(&bytes).await,
            Self::S3(upload) => upload.write(bytes).await,
        }
    }

    /// Makes it a backup. Returns when it is kept for good.
    ///
    /// # Errors
    /// [`VaultError`]; then it is none.
    pub async fn finish(self) -> Result<(), VaultError> {
        match self {
            Self::Directory(draft) => draft.finish().await,
            Self::S3(upload) => upload.finish().await,
        }
    }

    /// Removes what was written.
    pub async fn abort(self) {
        match self {
            Self::Directory(draft) => draft.abort().await,
            Self::S3(upload) => upload.abort().await,
        }
    }
}
