//! Backups below a directory.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::stream;
use tenement_wire::InstanceName;
use tenement_wire::backups::StoredBackup;
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::names::folder;
use super::{Pieces, VaultError, time_of};

/// Bytes that are read at once.
const CHUNK: usize = 256 * 1024;
/// What stands behind the name of one that is not whole yet.
const PARTIAL: &str = ".partial";

/// The directory.
#[derive(Debug, Clone)]
pub struct Directory(PathBuf);

/// A backup that is being written.
pub struct Draft {
    file: File,
    partial: PathBuf,
    whole: PathBuf,
}

impl Directory {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    fn of(&self, name: &InstanceName) -> PathBuf {
        self.0.join(folder(name))
    }

    pub(super) async fn list(&self, name: &InstanceName) -> Result<Vec<StoredBackup>, VaultError> {
        let dir = self.of(name);
        let mut entries = match fs::read_dir(&dir).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|error| self.failed(&dir, &error))?,
        };
        let mut found = Vec::new();
        while let Some(entry) = entries.next_entry().await.map_err(|e| self.failed(&dir, &e))? {
            let file = entry.file_name().to_string_lossy().into_owned();
            let Some(time_ms) = time_of(name, &file) else { continue };
            let Ok(meta) = entry.metadata().await else { continue };
            if meta.is_file() {
                found.push(StoredBackup { file, time_ms, bytes: meta.len() });
            }
        }
        Ok(found)
    }

    pub(super) async fn create(
        &self,
        name: &InstanceName,
        file: &str,
    ) -> Result<Draft, VaultError> {
        let dir = self.of(name);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).await;
        made.map_err(|error| self.failed(&dir, &error))?;
        let (partial, whole) = (dir.join(format!(".{file}{PARTIAL}")), dir.join(file));
        // Left by an agent that was killed; nobody else writes here.
        remove_partials(&dir).await;
        let mut options = File::options();
        let opened = options.write(true).create_new(true).mode(0o600).open(&partial).await;
        let file = opened.map_err(|error| self.failed(&partial, &error))?;
        Ok(Draft { file, partial, whole })
    }

    pub(super) async fn read(&self, name: &InstanceName, file: &str) -> Result<Pieces, VaultError> {
        let path = self.of(name).join(file);
        let open = match File::open(&path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(VaultError::Missing(file.to_owned()));
            }
            other => other.map_err(|error| self.failed(&path, &error))?,
        };
        let pieces = stream::try_unfold((open, path), |(mut open, path)| async move {
            let mut chunk = vec![0; CHUNK];
            let read = open.read(&mut chunk).await;
            let read = read.map_err(|e| VaultError::Failed(format!("{}: {e}", path.display())))?;
            chunk.truncate(read);
            Ok((read > 0).then(|| (Bytes::from(chunk), (open, path))))
        });
        Ok(Box::pin(pieces))
    }

    pub(super) async fn delete(&self, name: &InstanceName, file: &str) -> Result<(), VaultError> {
        let path = self.of(name).join(file);
        match fs::remove_file(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed(&path, &error))
            }
            _ => Ok(()),
        }
    }

    /// The error with what to do about it.
    fn failed(&self, at: &Path, error: &io::Error) -> VaultError {
        let (at, to) = (at.display(), self.0.display());
        VaultError::Failed(match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound => format!(
                "{at}: {error}; give the directory to the agent: \
                 install -d -o tenement -g tenement -m 0700 {to}"
            ),
            io::ErrorKind::ReadOnlyFilesystem => format!(
                "{at}: {error}; if it is writable elsewhere, the agent's sandbox keeps it read-only: \
                 systemctl edit tenement, add [Service] ReadWritePaths={to}, and restart it"
            ),
            _ => format!("{at}: {error}"),
        })
    }
}

async fn remove_partials(dir: &Path) {
    let Ok(mut entries) = fs::read_dir(dir).await else { return };
    while let Ok(Some(entry)) = entries.next_entry().await {
        if entry.file_name().to_string_lossy().ends_with(PARTIAL) {
            let _ = fs::remove_file(entry.path()).await;
        }
    }
}

impl Draft {
    fn failed(&self, error: &io::Error) -> VaultError {
        VaultError::Failed(format!("{}: {error}", self.partial.display()))
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), VaultError> {
        let written = self.file.write_all(bytes).await;
        written.map_err(|error| self.failed(&error))
    }

    pub(super) async fn finish(mut self) -> Result<(), VaultError> {
        let done = async {
            self.file.flush().await?;
            self.file.sync_all().await?;
            fs::rename(&self.partial, &self.whole).await?;
            let dir = self.whole.parent().unwrap_or(Path::new("/"));
            File::open(dir).await?.sync_all().await
        };
        match done.await {
            Ok(()) => Ok(()),
            Err(error) => {
                let error = self.failed(&error);
                self.abort().await;
                Err(error)
            }
        }
    }

    pub(super) async fn abort(self) {
        let _ = fs::remove_file(&self.partial).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::super::{Vault, file_name};
    use super::*;
    use crate::config::Target;

    #[tokio::test]
    async fn a_backup_appears_whole_and_for_its_owner_alone_or_not_at_all() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let to = Target::Directory(dir.path().to_owned());
        let vault = Vault::open(&to, None).await.unwrap();
        let name: InstanceName = "api:alice".parse().unwrap();
        assert_eq!(vault.list(&name).await.unwrap(), []);
        let (old, new) = (file_name(&name, 1000), file_name(&name, 9000));
        for file in [&old, &new] {
            let mut writer = vault.create(&name, file).await.unwrap();
            writer.write(Bytes::from_static(b"abc")).await.unwrap();
            let listed = vault.list(&name).await.unwrap();
            assert!(listed.iter().all(|one| one.file != *file), "listed before it is whole");
            writer.finish().await.unwrap();
        }
        let mut aborted = vault.create(&name, &file_name(&name, 5000)).await.unwrap();
        aborted.write(Bytes::from_static(b"x")).await.unwrap();
        aborted.abort().await;
        std::fs::write(dir.path().join("api/alice/notes.txt"), "mine").unwrap();
        let listed = vault.list(&name).await.unwrap();
        let files: Vec<_> = listed.iter().map(|one| one.file.as_str()).collect();
        assert_eq!(files, [&new, &old]);
        let path = dir.path().join("api/alice").join(&new);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let read: Vec<Bytes> = vault.read(&name, &new).await.unwrap().try_collect().await.unwrap();
        assert_eq!(read.concat(), b"abc");
        vault.delete(&name, &old).await.unwrap();
        vault.delete(&name, &old).await.unwrap();
        assert!(vault.delete(&name, "notes.txt").await.is_err());
        let left = std::fs::read_dir(dir.path().join("api/alice")).unwrap().count();
        assert_eq!(left, 2, "the new one and what is not ours");
        let missing = vault.read(&name, &old).await.err();
        assert_eq!(missing, Some(VaultError::Missing(old)));
    }
}
