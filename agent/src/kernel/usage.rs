//! What the processes of a control group use (Documentation/admin-guide/cgroup-v2.rst of the kernel).

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};

/// Use of one group. None: the kernel doesn't count it there, or the group is gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// `memory.current`, in bytes.
    pub memory: Option<u64>,
    /// `usage_usec` of `cpu.stat`: CPU time since the group was made.
    pub cpu_us: Option<u64>,
    /// `pids.current`: processes and threads.
    pub tasks: Option<u64>,
    /// `rbytes` of `io.stat`, of all devices.
    pub read: Option<u64>,
    /// `wbytes` of it.
    pub written: Option<u64>,
}

/// Longest file that is read; one line for each device is the longest.
const FILE_MAX: usize = 16 * 1024;

/// Reads the use of `group`, a path below `root` that the agent has made of names that it has checked.
/// Four short reads; none waits for a disk.
#[must_use]
pub fn used(root: &Path, group: &str) -> Used {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(dir) = openat(CWD, root.join(group), flags, Mode::empty()) else {
        return Used::default();
    };
    let mut buffer = [0; FILE_MAX];
    let mut used = Used {
        memory: read(&dir, "memory.current", &mut buffer).and_then(number),
        cpu_us: read(&dir, "cpu.stat", &mut buffer).and_then(cpu),
        tasks: read(&dir, "pids.current", &mut buffer).and_then(number),
        ..Used::default()
    };
    if let Some(text) = read(&dir, "io.stat", &mut buffer) {
        used.read = Some(sum(text, "rbytes="));
        used.written = Some(sum(text, "wbytes="));
    }
    used
}

/// The kernel makes the whole text of such a file for the first read.
fn read<'a>(dir: &OwnedFd, file: &str, buffer: &'a mut [u8]) -> Option<&'a str> {
    let file = openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let bytes = rustix::io::read(&file, &mut *buffer).ok()?;
    std::str::from_utf8(&buffer[..bytes]).ok()
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn cpu(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("usage_usec "))?.trim().parse().ok()
}

/// `8:0 rbytes=4096 wbytes=0 …`, a line for each device.
fn sum(text: &str, key: &str) -> u64 {
    let values = text.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key));
    values.filter_map(|value| value.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_a_group_uses_is_read_and_what_is_not_counted_is_unknown() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("tenement.slice/x.service");
        fs::create_dir_all(&group).unwrap();
        assert_eq!(used(root.path(), "tenement.slice/x.service"), Used::default());
        fs::write(group.join("cpu.stat"), "usage_usec 2500\nuser_usec 2000\n").unwrap();
        fs::write(group.join("memory.current"), "4096\n").unwrap();
        fs::write(group.join("io.stat"), "8:0 rbytes=10 wbytes=1 rios=1\n8:16 rbytes=5 wbytes=2\n")
            .unwrap();
        let expected = Used {
            memory: Some(4096),
            cpu_us: Some(2500),
            tasks: None,
            read: Some(15),
            written: Some(3),
        };
        assert_eq!(used(root.path(), "tenement.slice/x.service"), expected);
        fs::write(group.join("io.stat"), "").unwrap();
        assert_eq!(used(root.path(), "tenement.slice/x.service").read, Some(0), "no use yet");
    }
}
