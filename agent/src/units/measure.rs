//! Measures a directory tree that may be somebody else's: never through a symlink, never into another
//! mount, and no longer than a bound.

use std::ffi::CString;
use std::io::{Error, ErrorKind, Read as _, Result, Seek as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;

/// Each level holds a descriptor open.
const DEPTH_MAX: usize = 128;
/// About ten seconds of work on a cold disk.
const ENTRIES_MAX: u64 = 2_000_000;
/// `st_blocks` counts these, whatever the file system's own block size (inode(7)).
const BLOCK: u64 = 512;

/// Bytes on disk of `name` in `parent` with all that is in it. Nothing there is 0. A file with several
/// links counts for each of them.
pub(super) fn tree(parent: &OwnedFd, name: &str) -> Result<u64> {
    let device = fstat(parent)?.st_dev;
    let mut walk = Walk { device, entries: 0, bytes: 0 };
    walk.visit(parent, &CString::new(name)?, 0)?;
    Ok(walk.bytes)
}

/// Bytes on disk of `trees`, counted by du(1) in a unit of its own, which may read what belongs to others
/// and nothing else: the unit helper itself may not. Of a symlink only the link counts.
pub(super) async fn elsewhere(trees: impl Iterator<Item = PathBuf>) -> Result<u64> {
    let trees: Vec<PathBuf> = trees.filter(|tree| tree.symlink_metadata().is_ok()).collect();
    if trees.is_empty() {
        return Ok(0);
    }
    if trees.iter().any(|tree| tree.as_os_str().as_encoded_bytes().contains(&b'$')) {
        return Err(Error::other("a data directory with `$` in its name can't be measured"));
    }
    // A file without a name, since the sandbox of this process refuses pipes.
    let out = openat(rustix::fs::CWD, "/run", OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR)?;
    let mut out = std::fs::File::from(out);
    let mut command = tokio::process::Command::new("/usr/bin/systemd-run");
    command
        .args(["--quiet", "--wait", "--pipe", "--collect", "--service-type=exec"])
        .args(SANDBOX.iter().map(|property| format!("--property={property}")))
        .args(["--", "/usr/bin/du", "--summarize", "--one-file-system", "--block-size=1"])
        .arg("--total")
        .arg("--")
        .args(&trees)
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    let status = tokio::time::timeout(BOUND, command.status()).await;
    let status = status.map_err(|_| Error::other("du took too long"))??;
    let mut text = String::new();
    out.rewind()?;
    out.read_to_string(&mut text)?;
    // Files that the app deletes meanwhile make du end with 1, after all the rest.
    let total = text.lines().last().and_then(|line| line.strip_suffix("\ttotal"));
    let total = total.and_then(|bytes| bytes.parse().ok());
    total.ok_or_else(|| Error::other(format!("du ended with {status}")))
}

/// About ten seconds of work on a cold disk, and what systemd needs.
const BOUND: Duration = Duration::from_secs(30);
const SANDBOX: [&str; 9] = [
    "Description=tenement measures data",
    "CapabilityBoundingSet=CAP_DAC_READ_SEARCH",
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "PrivateNetwork=yes",
    "SystemCallFilter=@system-service",
    "RuntimeMaxSec=25",
    "Nice=10",
    "Slice=system.slice",
];

struct Walk {
    device: u64,
    entries: u64,
    bytes: u64,
}

impl Walk {
    fn visit(&mut self, parent: &OwnedFd, name: &CString, depth: usize) -> Result<()> {
        let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            // The app deletes files while we walk.
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        self.entries += 1;
        if self.entries > ENTRIES_MAX || depth > DEPTH_MAX {
            let text = "the data directory has too many files or levels to be measured";
            return Err(Error::new(ErrorKind::QuotaExceeded, text));
        }
        if stat.st_dev != self.device {
            return Ok(());
        }
        self.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK;
        if !FileType::from_raw_mode(stat.st_mode).is_dir() {
            return Ok(());
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = match openat(parent, name, flags, Mode::empty()) {
            // It became something else between the two calls.
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => return Ok(()),
            other => other?,
        };
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let child = entry.file_name();
            if child != c"." && child != c".." {
                self.visit(&dir, &child.to_owned(), depth + 1)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_measured_without_following_its_symlinks() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir_all(data.join("a/b")).unwrap();
        std::fs::write(data.join("a/b/file"), vec![1; 1 << 20]).unwrap();
        std::fs::write(dir.path().join("outside"), vec![1; 8 << 20]).unwrap();
        std::os::unix::fs::symlink("../outside", data.join("link")).unwrap();
        std::os::unix::fs::symlink("..", data.join("up")).unwrap();
        let parent = OwnedFd::from(std::fs::File::open(dir.path()).unwrap());
        let size = tree(&parent, "data").unwrap();
        assert!((1 << 20..2 << 20).contains(&size), "{size}");
        assert_eq!(tree(&parent, "nothing").unwrap(), 0);
        // The directory itself may be a symlink that the tenant's neighbour would like us to follow.
        std::os::unix::fs::symlink("data", dir.path().join("alias")).unwrap();
        assert!(tree(&parent, "alias").unwrap() < 1 << 16);
    }
}
