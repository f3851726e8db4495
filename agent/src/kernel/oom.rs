//! Who ran out of memory, as the kernel has it.
//!
//! systemd learns of an OOM kill from a notice of `memory.events`, which the kernel may hold back for 10 ms
//! (`CGROUP_FILE_NOTIFY_MIN_INTV`). If the death of the process is reported first, the unit's result is
//! `signal`. The service's own control group is gone by then, but the slice around it counts the kills
//! of all below it (cgroup-v2.rst, `memory.events`), and counts them before the process dies.

use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use rustix::fs::{Mode, OFlags, openat};

use super::cgroup;

/// What the slices have counted so far, and which services were the victims.
#[derive(Debug)]
pub struct OomKills {
    root: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    counts: HashMap<String, u64>,
    victims: HashSet<String>,
}

impl OomKills {
    /// `root` is where the unified hierarchy is mounted.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), known: Mutex::default() }
    }

    /// The service of the control group (`tenement.slice/…/ten-api@prod.service`) runs: what its slice
    /// has counted until now is about others.
    pub fn runs(&self, group: &str) {
        let Some((slice, _)) = group.rsplit_once('/') else { return };
        let mut known = self.known();
        known.victims.remove(group);
        let Some(now) = count(&self.root, slice) else { return };
        // A kill that is counted already, but not yet reported, stays to be reported.
        let seen = known.counts.entry(slice.to_owned()).or_insert(now);
        *seen = now.min(*seen);
    }

    /// The service was killed. Whether it was for its memory: its slice has counted a kill since it was
    /// last asked. A slice that was never seen before tells nothing.
    pub fn was_killed(&self, group: &str) -> bool {
        let Some((slice, _)) = group.rsplit_once('/') else { return false };
        let Some(now) = count(&self.root, slice) else { return false };
        let mut known = self.known();
        let seen = known.counts.insert(slice.to_owned(), now);
        let oom = seen.is_some_and(|seen| now > seen);
        if oom {
            known.victims.insert(group.to_owned());
        }
        oom || known.victims.contains(group)
    }

    /// Whether its last run was found to have ended like that.
    #[must_use]
    pub fn is_victim(&self, group: &str) -> bool {
        self.known().victims.contains(group)
    }

    /// Its unit is gone.
    pub fn forget(&self, group: &str) {
        self.known().victims.remove(group);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no panic while held")
    }
}

/// `oom_kill` of a slice and all below it.
fn count(root: &Path, slice: &str) -> Option<u64> {
    let group = cgroup::open(root, slice).ok()?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat(&group, "memory.events", flags, Mode::empty()).ok()?;
    let mut text = String::new();
    std::fs::File::from(file).take(1024).read_to_string(&mut text).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: &str = "tenement.slice/tenement-api.slice/tenement-api-01.slice";
    const ONE: &str = "tenement.slice/tenement-api.slice/tenement-api-01.slice/ten-api@one.service";
    const TWO: &str = "tenement.slice/tenement-api.slice/tenement-api-01.slice/ten-api@two.service";

    fn counted(dir: &Path, kills: u64) {
        std::fs::create_dir_all(dir.join(SLICE)).unwrap();
        let text = format!("low 0\nhigh 0\nmax 90\noom 1\noom_kill {kills}\noom_group_kill 7\n");
        std::fs::write(dir.join(SLICE).join("memory.events"), text).unwrap();
    }

    #[test]
    fn only_a_kill_that_the_kernel_counted_since_is_an_oom_kill() {
        let dir = tempfile::tempdir().unwrap();
        let kills = OomKills::new(dir.path());
        assert!(!kills.was_killed(ONE), "nothing is known of its slice");
        counted(dir.path(), 3);
        kills.runs(ONE);
        kills.runs(TWO);
        assert!(!kills.was_killed(ONE), "what was counted before it ran was another's");
        counted(dir.path(), 4);
        assert!(kills.was_killed(TWO));
        assert!(kills.was_killed(TWO), "the next report of the same end says the same");
        assert!(kills.is_victim(TWO) && !kills.is_victim(ONE));
        assert!(!kills.was_killed(ONE), "one kill has one victim");
        kills.runs(TWO);
        assert!(!kills.is_victim(TWO), "that was its run before");
    }

    #[test]
    fn a_neighbour_that_starts_does_not_hide_a_kill_and_a_new_slice_counts_from_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let kills = OomKills::new(dir.path());
        counted(dir.path(), 0);
        kills.runs(ONE);
        counted(dir.path(), 1);
        kills.runs(TWO);
        assert!(kills.was_killed(ONE));
        counted(dir.path(), 0);
        kills.runs(ONE);
        counted(dir.path(), 1);
        assert!(kills.was_killed(ONE), "the slice was made anew, and its count with it");
        kills.forget(ONE);
        assert!(!kills.is_victim(ONE));
    }
}
