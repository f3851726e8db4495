//! What the processes of a control group use (Documentation/admin-guide/cgroup-v2.rst of the kernel).

use std::fs;
use std::path::Path;

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

/// Reads the use of `group`, a path below `root` that the agent has made of names that it has checked.
/// Four short reads; none waits for a disk.
#[must_use]
pub fn used(root: &Path, group: &str) -> Used {
    let dir = root.join(group);
    let number = |file: &str| fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok();
    let io = fs::read_to_string(dir.join("io.stat")).ok();
    let io = |key: &str| io.as_deref().map(|text| sum(text, key));
    Used {
        memory: number("memory.current"),
        cpu_us: fs::read_to_string(dir.join("cpu.stat")).ok().and_then(|text| cpu(&text)),
        tasks: number("pids.current"),
        read: io("rbytes="),
        written: io("wbytes="),
    }
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
