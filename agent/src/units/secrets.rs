//! Secrets of instances, as files that only root can read.
//!
//! ```text
//! {state_dir}/secrets/{process}/{id}/NAME.enc   encrypted with the host's key, by systemd-creds
//!                                    NAME.raw   as it is, where there is no systemd-creds
//! ```
//!
//! A value comes as a sealed memfd and goes from there into systemd-creds or the file: it is never in
//! a message on the bus, in an argument or in the environment, and no error holds it.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{
    AtFlags, Dir, MemfdFlags, Mode, OFlags, SealFlags, Stat, fcntl_add_seals, fcntl_get_seals,
    fstat, memfd_create, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use tenement_wire::secrets::{SECRETS_TOTAL_MAX, TOO_LONG};
use tenement_wire::{InstanceName, SECRET_MAX, SecretName, SecretView};

use super::builder::Builder;
use super::dirs::{self, Access, open_trusted};
use super::recipe::io_error;
use super::{Place, UnitsError, purge};
use crate::plan::Secret;

const DIR: &str = "secrets";
const ENCRYPTED: &str = ".enc";
const RAW: &str = ".raw";
/// The most that one instance may have.
const SECRETS_MAX: usize = 100;
/// systemd-creds takes milliseconds; the first time it makes the host's key.
const ENCRYPT_BOUND: Duration = Duration::from_secs(30);

impl Builder {
    /// What is known of the secrets of an instance, in order of name.
    ///
    /// # Errors
    /// [`UnitsError::Refused`] if they can't be looked at.
    pub async fn secrets(&self, name: &InstanceName) -> Result<Vec<SecretView>, UnitsError> {
        let _turn = self.turn(name).await;
        let stored = stored(self.place(), name).map_err(|error| io_error(name, &error))?;
        Ok(stored.into_iter().map(|stored| stored.view).collect())
    }

    /// Keeps a secret for the instance, in place of one of the same name. It counts from the next start.
    ///
    /// # Errors
    /// [`UnitsError::Refused`] if the value is empty, too long or no sealed memfd, or can't be kept.
    pub async fn set_secret(
        &self,
        name: &InstanceName,
        secret: &SecretName,
        value: OwnedFd,
    ) -> Result<(), UnitsError> {
        let refuse = |text: String| Err(UnitsError::Refused(format!("{name}: {text}")));
        self.known(name)?;
        let size = match sealed_size(&value) {
            Some(0) => return refuse("an empty secret is of no use".into()),
            Some(size) if size <= SECRET_MAX as u64 => size,
            Some(_) => return refuse(TOO_LONG.into()),
            None => return refuse("a secret is handed over in a sealed memfd".into()),
        };
        let _turn = self.turn(name).await;
        let mut others = stored(self.place(), name).map_err(|error| io_error(name, &error))?;
        others.retain(|other| other.view.name != *secret);
        let total = others.iter().map(Stored::about).sum::<u64>() + size;
        if others.len() >= SECRETS_MAX || total > SECRETS_TOTAL_MAX {
            return refuse(format!(
                "with this one it would have {} secrets of {total} bytes, and an instance has at most \
                 {SECRETS_MAX} of {SECRETS_TOTAL_MAX} bytes in all, for systemd hands a unit 1 MiB: \
                 delete one with ten secret rm",
                others.len() + 1
            ));
        }
        let kept = keep(self.place(), name, secret, File::from(value)).await;
        kept.map_err(|error| io_error(name, &error))
    }

    /// Deletes a secret; one that is not there is deleted already.
    ///
    /// # Errors
    /// [`UnitsError::Refused`] if it can't be.
    pub async fn remove_secret(
        &self,
        name: &InstanceName,
        secret: &SecretName,
    ) -> Result<(), UnitsError> {
        let _turn = self.turn(name).await;
        let remove = || -> io::Result<()> {
            let Some(dir) = directory(self.place(), name, false)? else { return Ok(()) };
            for suffix in [ENCRYPTED, RAW] {
                unlink(&dir, &format!("{secret}{suffix}"))?;
            }
            Ok(rustix::fs::fsync(&dir)?)
        };
        remove().map_err(|error| io_error(name, &error))
    }

    /// Refuses an instance whose process is not in the config: nothing would ever delete its secrets.
    fn known(&self, name: &InstanceName) -> Result<(), UnitsError> {
        let config = self.source().load()?;
        let known = config.processes.contains_key(name.process());
        if known { Ok(()) } else { Err(UnitsError::unknown_process(name)) }
    }
}

/// A value as a file in memory that nobody can change any more, to be handed on.
///
/// # Errors
/// If there is no memory or no descriptor for it.
pub(super) fn sealed(value: &[u8]) -> io::Result<OwnedFd> {
    use std::io::Write as _;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create("secret", flags)?);
    file.write_all(value)?;
    file.rewind()?;
    fcntl_add_seals(&file, SEALS)?;
    Ok(file.into())
}

const SEALS: SealFlags =
    SealFlags::WRITE.union(SealFlags::GROW).union(SealFlags::SHRINK).union(SealFlags::SEAL);

/// The length of a sealed memfd; `None` for anything else, whose reader could be made to wait or be
/// shown something else while it reads.
pub(super) fn sealed_size(value: &OwnedFd) -> Option<u64> {
    let seals = fcntl_get_seals(value).ok()?;
    if !seals.contains(SEALS) {
        return None;
    }
    u64::try_from(fstat(value).ok()?.st_size).ok()
}

/// One secret on disk.
pub(super) struct Stored {
    pub(super) view: SecretView,
    pub(super) path: PathBuf,
    stamp: i128,
}

impl Stored {
    /// About how long its value is: Base64 has four characters for three bytes.
    pub(super) fn about(&self) -> u64 {
        value_size(self.view.stored_bytes, self.view.encrypted)
    }

    /// As the plan takes it.
    pub(super) fn planned(self) -> Secret {
        Secret {
            name: self.view.name.to_string(),
            path: self.path,
            encrypted: self.view.encrypted,
            // Nanoseconds since 1970 fit for centuries; what is cut off would do no harm.
            stamp: self.stamp as u64,
        }
    }
}

/// About how long the value is that a file of `stored` bytes holds.
pub(super) fn value_size(stored: u64, encrypted: bool) -> u64 {
    if encrypted { stored / 4 * 3 } else { stored }
}

/// The secrets of an instance, in order of name.
pub(super) fn stored(place: &Place, name: &InstanceName) -> io::Result<Vec<Stored>> {
    let Some(dir) = directory(place, name, false)? else { return Ok(Vec::new()) };
    let mut found = std::collections::BTreeMap::<String, Stored>::new();
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let Ok(file) = entry.file_name().to_str() else { continue };
        let (stem, encrypted) = match (file.strip_suffix(ENCRYPTED), file.strip_suffix(RAW)) {
            (Some(stem), _) => (stem, true),
            (None, Some(stem)) => (stem, false),
            (None, None) => continue,
        };
        let Ok(secret) = SecretName::new(stem) else { continue };
        let stat = statat(&dir, file, AtFlags::SYMLINK_NOFOLLOW)?;
        let stamp = stamp(&stat);
        let view = SecretView {
            name: secret,
            stored_bytes: stat.st_size.unsigned_abs(),
            set_ms: (stamp / 1_000_000) as u64,
            encrypted,
        };
        let path = path(place, name).join(file);
        let stored = Stored { view, path, stamp };
        // A crash between a rename and the removal of the other kind leaves both: the newer one counts.
        if found.get(stem).is_none_or(|other| other.stamp < stamp) {
            found.insert(stem.to_owned(), stored);
        }
    }
    Ok(found.into_values().collect())
}

fn stamp(stat: &Stat) -> i128 {
    i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec)
}

/// Deletes all secrets of an instance.
pub(super) fn forget(place: &Place, name: &InstanceName) -> io::Result<()> {
    let process = place.state_dir.join(DIR).join(name.process().as_str());
    match open_trusted(&process, place.owner, false) {
        Ok(dir) => purge::remove_tree(&dir, name.id().as_str()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn path(place: &Place, name: &InstanceName) -> PathBuf {
    place.state_dir.join(DIR).join(name.process().as_str()).join(name.id().as_str())
}

/// The directory of an instance's secrets; `None` if it is not there and not to be made.
fn directory(place: &Place, name: &InstanceName, create: bool) -> io::Result<Option<OwnedFd>> {
    let uid = place.owner;
    if !create {
        return match open_trusted(&path(place, name), uid, false) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
    }
    let access = Access { uid, gid: dirs::owner_group(uid), mode: 0o700 };
    let mut dir = open_trusted(&place.state_dir, uid, true)?;
    for part in [DIR, name.process().as_str(), name.id().as_str()] {
        dir = dirs::ensure(&dir, part, access)?;
    }
    // What was made is only good for stepping through; this one can be flushed to disk.
    open_trusted(&path(place, name), uid, false).map(Some)
}

/// Writes the file whole, under another name first, and takes the other kind away.
pub(super) async fn keep(
    place: &Place,
    name: &InstanceName,
    secret: &SecretName,
    mut value: File,
) -> io::Result<()> {
    let Some(dir) = directory(place, name, true)? else { return Ok(()) };
    let draft = format!(".new-{secret}");
    unlink(&dir, &draft)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(&dir, &*draft, flags, Mode::from_raw_mode(0o600))?);
    value.rewind()?;
    let encrypted = match &place.encrypter {
        Some(program) if program.exists() => encrypt(program, secret, &value, &file).await,
        _ => false,
    };
    if !encrypted {
        file.set_len(0)?;
        file.rewind()?;
        value.rewind()?;
        io::copy(&mut value, &mut file)?;
    }
    file.sync_all()?;
    let (kind, other) = if encrypted { (ENCRYPTED, RAW) } else { (RAW, ENCRYPTED) };
    renameat(&dir, &*draft, &dir, format!("{secret}{kind}"))?;
    unlink(&dir, &format!("{secret}{other}"))?;
    Ok(rustix::fs::fsync(&dir)?)
}

/// Has systemd-creds encrypt the value with the host's own key, which it makes if there is none, and
/// bind it to the secret's name. Whether it did; if it can't, that is said in the log.
///
/// The key of a TPM is not used: this process sees no devices.
async fn encrypt(program: &Path, secret: &SecretName, value: &File, out: &File) -> bool {
    let run = async {
        let mut command = tokio::process::Command::new(program);
        command
            .args(["encrypt", "--with-key=host", &format!("--name={secret}"), "-", "-"])
            .env_clear()
            .env("SYSTEMD_LOG_LEVEL", "err")
            .stdin(value.try_clone()?)
            .stdout(out.try_clone()?)
            // A pipe would be one more thing that the sandbox must allow.
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        command.status().await
    };
    match tokio::time::timeout(ENCRYPT_BOUND, run).await {
        Ok(Ok(status)) if status.success() => true,
        Ok(Ok(status)) => {
            log::warn!("secrets are kept unencrypted: systemd-creds ended with {status}");
            false
        }
        Ok(Err(error)) => {
            log::warn!("secrets are kept unencrypted: systemd-creds can't be run: {error}");
            false
        }
        Err(_) => {
            log::warn!("secrets are kept unencrypted: systemd-creds took too long");
            false
        }
    }
}

fn unlink(dir: &OwnedFd, file: &str) -> io::Result<()> {
    match unlinkat(dir, file, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
