//! Whether a program can be executed, found out before systemd tries.
//!
//! Behind a stub that waits, systemd only sees that the stub could be executed; that the app could not be
//! shows as the exit status 203 some time later.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::plan::PROGRAM_DIRS;

/// The helper's own sandbox hides these, so what it does not find there may well exist.
const UNSEEN: [&str; 7] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp", "/dev", "/proc"];

/// As many bytes as the kernel reads of a `#!` line (execve(2)).
const LINE_MAX: u64 = 256;

/// Finds a program by its bare name.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    PROGRAM_DIRS.iter().map(|dir| Path::new(dir).join(name)).find(|path| {
        path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    })
}

/// Why a program can certainly not be executed; `None` if it can, or if that can't be seen from here.
pub(super) fn fault(path: &Path) -> Option<String> {
    let found = match path.metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && is_seen(path) => {
            return Some("there is no such file".into());
        }
        Err(_) => return None,
    };
    if !found.is_file() {
        return Some("it is not a file".into());
    }
    if found.mode() & 0o111 == 0 {
        return Some("it is not executable: `chmod +x` it".into());
    }
    let interpreter = interpreter(path)?;
    let missing = interpreter.is_absolute()
        && matches!(interpreter.metadata(), Err(e) if e.kind() == std::io::ErrorKind::NotFound)
        && is_seen(&interpreter);
    missing.then(|| format!("its first line names {}, which does not exist", interpreter.display()))
}

/// Whether a path that does not exist here exists nowhere: it leads neither into a hidden directory nor
/// over a symlink to nothing, which may end in one.
fn is_seen(path: &Path) -> bool {
    let hidden = |path: &Path| UNSEEN.iter().any(|dir| path.starts_with(dir));
    let Some(existing) = path.ancestors().find(|one| one.symlink_metadata().is_ok()) else {
        return false;
    };
    !hidden(path) && existing.canonicalize().is_ok_and(|real| !hidden(&real))
}

/// What a script's `#!` line names.
fn interpreter(path: &Path) -> Option<PathBuf> {
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).ok()?;
    let file = File::options().read(true).custom_flags(flags).open(path).ok()?;
    let mut start = Vec::new();
    file.take(LINE_MAX).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let word = std::str::from_utf8(line).ok()?.split_ascii_whitespace().next()?;
    Some(PathBuf::from(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(name: &str, text: &str, mode: u32) -> PathBuf {
        // Not below /tmp, where nothing is certain.
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/units");
        let dir = std::env::var_os("CARGO_TARGET_DIR").map_or(dir, PathBuf::from);
        let path = dir.join(format!("program-{name}-{}", std::process::id()));
        std::fs::write(&path, text).expect("written");
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, mode).expect("its mode is set");
        path
    }

    #[test]
    fn what_can_not_be_executed_is_said_with_its_cause() {
        let said = |name, text, mode| {
            let path = script(name, text, mode);
            let said = fault(&path).unwrap_or_default();
            std::fs::remove_file(path).expect("removed");
            said
        };
        assert!(fault(Path::new("/srv/not/there")).expect("a fault").contains("no such file"));
        assert!(fault(Path::new("/usr")).expect("a fault").contains("not a file"));
        assert!(said("mode", "#!/bin/sh\n", 0o644).contains("not executable"));
        assert!(said("line", "#!/not/there -x\n", 0o755).contains("/not/there"));
        assert_eq!(said("fine", "#!/bin/sh\n", 0o755), "");
        assert_eq!(said("env", "#! /usr/bin/env nothing\n", 0o755), "");
    }

    #[test]
    fn nothing_is_said_of_places_that_are_hidden_from_the_helper() {
        for path in ["/home/me/app", "/root/app", "/tmp/app", "/run/user/1/app", "/dev/shm/app"] {
            assert_eq!(fault(Path::new(path)), None, "{path}");
        }
        assert_eq!(fault(Path::new("/usr/bin/sh")), None);
    }
}
