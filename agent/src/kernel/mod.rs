//! Floor 2: what the kernel says of the host: control groups, memory pressure, locks, local time.
//!
//! Everything here is a short read of a file that the kernel makes up, and safe to do from async code.
//! It changes nothing but what [`cgroup::reclaim`] asks for.

pub mod cgroup;
mod load;
mod lock;
mod oom;
mod own;
mod pressure;
mod scope;
mod usage;

use std::path::{Path, PathBuf};

pub use load::{Stalled, host, stalled};
pub use lock::lock_is_held;
pub use oom::OomKills;
pub use own::{Own, own};
pub use pressure::{Gauge, stalled_us};
pub use scope::restrict;
pub use usage::{Used, used};

/// What the host's kernel can do for the tiers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Freeze units: the unified hierarchy with its freezer.
    pub freeze: bool,
    /// Reclaim their memory: `memory.reclaim` (Linux 5.19, the memory controller) and swap or zram.
    pub reclaim: bool,
}

/// The host's kernel, as seen through the control groups.
#[derive(Debug, Clone)]
pub struct Kernel {
    root: PathBuf,
    freeze: bool,
}

impl Kernel {
    /// `root` is where the unified hierarchy is mounted: `/sys/fs/cgroup`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        // systemd freezes only where the whole hierarchy is unified (systemd.resource-control(5)).
        let freeze =
            root.join("cgroup.controllers").exists() && some_slice_has(&root, "cgroup.freeze");
        Self { root, freeze }
    }

    /// What it can do now: swap may come and go.
    #[must_use]
    pub fn abilities(&self) -> Abilities {
        let reclaim = swap_total() > 0 && some_slice_has(&self.root, "memory.reclaim");
        Abilities { freeze: self.freeze, reclaim }
    }

    /// Whether a control group (`/tenement.slice/…`) is frozen.
    ///
    /// # Errors
    /// If it isn't one of ours or can't be read.
    pub fn is_frozen(&self, group: &str) -> std::io::Result<bool> {
        cgroup::is_frozen(&cgroup::open(&self.root, group)?)
    }

    /// Where the control groups are mounted.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the host's memory pressure is read; `/proc/pressure` is hidden from the agent.
    #[must_use]
    pub fn pressure_file(&self) -> PathBuf {
        self.root.join("memory.pressure")
    }
}

/// The root has neither file, whatever the kernel.
fn some_slice_has(root: &Path, file: &str) -> bool {
    ["tenement.slice", "system.slice", "user.slice"]
        .iter()
        .any(|slice| root.join(slice).join(file).exists())
}

/// Bytes of swap, zram included. sysinfo(2), because `/proc/swaps` is hidden from the agent.
#[must_use]
pub fn swap_total() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalswap * u64::from(info.mem_unit)
}

/// Day of the week (0 = Monday) and minute of the day, in the host's time zone.
#[must_use]
pub fn local_time() -> (usize, u16) {
    let now = jiff::Zoned::now();
    let day = usize::try_from(now.weekday().to_monday_zero_offset()).unwrap_or(0);
    let minute = i32::from(now.hour()) * 60 + i32::from(now.minute());
    (day, u16::try_from(minute).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abilities_are_found_where_the_kernel_shows_them() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Kernel::new(dir.path()).abilities(), Abilities::default());
        std::fs::create_dir(dir.path().join("system.slice")).unwrap();
        std::fs::write(dir.path().join("system.slice/cgroup.freeze"), "0").unwrap();
        assert!(!Kernel::new(dir.path()).abilities().freeze, "a hybrid host");
        std::fs::write(dir.path().join("cgroup.controllers"), "").unwrap();
        assert!(Kernel::new(dir.path()).abilities().freeze);
        std::fs::write(dir.path().join("system.slice/memory.reclaim"), "").unwrap();
        assert_eq!(Kernel::new(dir.path()).abilities().reclaim, swap_total() > 0);
    }

    #[test]
    fn the_local_time_is_a_minute_of_the_week() {
        let (day, minute) = local_time();
        assert!(day < 7 && minute < 1440);
    }
}
