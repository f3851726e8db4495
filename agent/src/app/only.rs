//! One agent per state directory.
//!
//! Two would both wake, stop and register, each blind to what the other does, and the second would take
//! the admin socket away from the first.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// Holds the state directory until dropped, or until this process ends in whatever way.
#[derive(Debug)]
pub struct Only(#[expect(dead_code, reason = "held for its lock")] File);

impl Only {
    /// Takes the lock on `dir`, on the directory itself: it works on a read-only file system too, and
    /// leaves no file behind (flock(2)).
    ///
    /// # Errors
    /// A text that says who has it, or what is wrong with the directory.
    pub fn of(dir: &Path) -> Result<Self, String> {
        let place = dir.display();
        let opened = File::open(dir).map_err(|e| format!("{place}: {e}"))?;
        match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(opened)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(format!(
                "another tenementd works with {place}, and two would undo each other's work. This one \
                 changes nothing and ends. Is it tenement.service? See `systemctl status tenement`"
            )),
            Err(error) => Err(format!("{place} can't be locked: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_agent_of_a_state_directory_is_refused_until_the_first_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let first = Only::of(dir.path()).unwrap();
        let error = Only::of(dir.path()).unwrap_err();
        assert!(error.contains("another tenementd works with"), "{error}");
        drop(first);
        Only::of(dir.path()).unwrap();
    }
}
