//! What the agent's own process uses: `/proc/self` (proc(5)), which it may see.

use std::fs;

/// Ticks of a second in `/proc/self/stat`: USER_HZ, 100 on every Linux.
const HZ: u64 = 100;

/// Use of this process. What can't be read is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Own {
    /// CPU time, in hundredths of a second.
    pub cpu_ticks: u64,
    /// Memory in use, in bytes.
    pub resident: u64,
    /// Memory mapped, in bytes.
    pub mapped: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub fds: u64,
    /// How many there may be; None: any number.
    pub fds_max: Option<u64>,
    /// When it was started, in milliseconds since the boot.
    pub started_ms: u64,
}

/// Reads it.
#[must_use]
pub fn own() -> Own {
    let text = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let fds = fs::read_dir("/proc/self/fd").map_or(0, |list| list.count().saturating_sub(1));
    let own = parse(&text("/proc/self/stat"), &text("/proc/self/status"));
    Own { fds: fds as u64, fds_max: limit.current, ..own }
}

fn parse(stat: &str, status: &str) -> Own {
    // The fields after the command, which is in parentheses and may hold anything. They are numbered as in
    // proc(5), where the state, the first one here, is the third.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|f| f.parse().ok()).unwrap_or(0u64);
    let kib = |key: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|l| l.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
    };
    Own {
        cpu_ticks: field(14) + field(15),
        threads: field(20),
        started_ms: field(22) * 1000 / HZ,
        mapped: kib("VmSize:") * 1024,
        resident: kib("VmRSS:") * 1024,
        ..Own::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_read_whatever_its_name() {
        let own = own();
        assert!(own.resident > 1 << 20 && own.mapped >= own.resident, "{own:?}");
        assert!(own.threads > 0 && own.fds > 2 && own.started_ms > 0, "{own:?}");
        let stat = "7 (a) b) S 1 1 1 0 -1 0 0 0 0 0 30 12 0 0 20 0 5 0 200 4096 2 0";
        let parsed = parse(stat, "Name:\tx\nVmSize:\t       8 kB\nVmRSS:\t 4 kB\n");
        assert_eq!((parsed.cpu_ticks, parsed.threads, parsed.started_ms), (42, 5, 2000));
        assert_eq!((parsed.mapped, parsed.resident), (8192, 4096));
    }
}
