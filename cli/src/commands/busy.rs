//! `ten busy`: inside an instance, runs a command and says meanwhile that the instance is busy.
//!
//! The word is a lock on the file that `TENEMENT_BUSY` names, which the kernel lets go with the last
//! process that has it. So there is no "off" to forget, and nothing stays busy after a crash.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, flock, fstat, open};
use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

use crate::args::Busy;
use crate::error::{CliError, Kind, Result};

/// The variable that names the lock; see docs/CONFIG.md.
const VARIABLE: &str = "TENEMENT_BUSY";
/// How long somebody else may have the lock alone: the agent does for some microseconds when it looks.
const PATIENCE: Duration = Duration::from_secs(5);
/// The descriptor's number is this or the next free one: scripts redirect the low ones as they please
/// (`exec 3>file`), which would let the lock go.
const HIGH: i32 = 100;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(2);

/// Becomes the command, which holds the lock from then on. Does not return if it could be executed.
pub fn run(args: &Busy) -> Result<()> {
    let path = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).ok_or_else(|| {
        CliError::usage(
            format!("{VARIABLE} is not set: this is not an instance of tenement"),
            "run it from the app or its scripts, and pass the environment on to them",
        )
    })?;
    let lock = hold(Path::new(&path), PATIENCE)?;
    let lock = fcntl_dupfd_cloexec(&lock, HIGH).unwrap_or(lock);
    // The command and what it leaves running inherit it. That is the point: it ends when they all have.
    fcntl_setfd(&lock, FdFlags::empty()).map_err(|e| refused(Path::new(&path), e))?;
    let Some((program, words)) = args.command.split_first() else {
        return Err(CliError::usage(
            "no command is given",
            "write ten busy -- COMMAND ARGUMENT...",
        ));
    };
    Err(not_run(program, &Command::new(program).args(words).exec()))
}

/// The lock on the file at `path`, shared, so that any number of commands may be busy at the same time.
fn hold(path: &Path, patience: Duration) -> Result<OwnedFd> {
    // To hold a lock, reading is enough (flock(2)); NONBLOCK because a pipe would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = open(path, flags, Mode::empty()).map_err(|e| refused(path, e))?;
    let kind = fstat(&file).map(|stat| FileType::from_raw_mode(stat.st_mode));
    if kind != Ok(FileType::RegularFile) {
        return Err(refused(path, Errno::INVAL));
    }
    let deadline = Instant::now() + patience;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => {
                std::thread::sleep(PAUSE);
            }
            Err(Errno::WOULDBLOCK | Errno::INTR) => {
                return Err(CliError::new(
                    Kind::TimedOut,
                    "busy_lock_held",
                    format!("another process has {} locked for itself alone", path.display()),
                    "the instance is busy already; let that process lock it shared, as flock -s does",
                ));
            }
            Err(error) => return Err(refused(path, error)),
        }
    }
}

fn refused(path: &Path, error: Errno) -> CliError {
    CliError::failure(
        format!("can't lock {}: {error}", path.display()),
        format!("{VARIABLE} must be what tenement has set it to, and the instance a running one"),
    )
}

fn not_run(program: &OsString, error: &std::io::Error) -> CliError {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => Kind::NotFound,
        std::io::ErrorKind::PermissionDenied => Kind::Denied,
        _ => Kind::Failure,
    };
    let hint = "check the command; a shell's words need a shell: ten busy -- sh -c '…'";
    let program = program.to_string_lossy();
    CliError::new(kind, "not_executed", format!("can't execute {program}: {error}"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_may_be_busy_and_one_that_locks_alone_is_waited_for_with_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.busy");
        assert_eq!(hold(&path, PATIENCE).unwrap_err().kind, Kind::Failure);
        let file = std::fs::File::create(&path).unwrap();
        let both = (hold(&path, PATIENCE).unwrap(), hold(&path, PATIENCE).unwrap());
        let alone = FlockOperation::NonBlockingLockExclusive;
        assert_eq!(flock(&file, alone), Err(Errno::WOULDBLOCK));
        drop(both);
        flock(&file, alone).unwrap();
        assert_eq!(hold(&path, PAUSE).unwrap_err().kind, Kind::TimedOut);
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(hold(dir.path(), PATIENCE).unwrap_err().kind, Kind::Failure);
    }
}
