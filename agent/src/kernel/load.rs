//! How busy the host is, from what the agent may see: `/proc` beyond its processes is hidden from it.

use std::fs;
use std::path::Path;

use tenement_wire::metrics::HostLive;

/// Fixed point of the load averages of sysinfo(2).
const LOAD_ONE: f64 = 65_536.0;

/// What some or all tasks have waited for one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stalled {
    /// Share of the last ten seconds, in percent, in which some task waited.
    pub some_percent: f64,
    /// Time in which some task waited, in microseconds, since the boot.
    pub some_us: u64,
    /// Time in which all tasks waited; None: the kernel doesn't say.
    pub full_us: Option<u64>,
}

/// Reads the pressure (PSI) of `cpu`, `memory` or `io` of the whole host; `root` is where the control groups
/// are mounted.
#[must_use]
pub fn stalled(root: &Path, resource: &str) -> Option<Stalled> {
    parse(&fs::read_to_string(root.join(format!("{resource}.pressure"))).ok()?)
}

fn parse(text: &str) -> Option<Stalled> {
    let word = |line: &str, key: &str| -> Option<String> {
        let line = text.lines().find(|l| l.starts_with(line))?;
        line.split_ascii_whitespace().find_map(|w| w.strip_prefix(key)).map(str::to_owned)
    };
    Some(Stalled {
        some_percent: word("some ", "avg10=")?.parse().ok()?,
        some_us: word("some ", "total=")?.parse().ok()?,
        full_us: word("full ", "total=").and_then(|total| total.parse().ok()),
    })
}

/// How busy the host is now.
#[must_use]
pub fn host(root: &Path) -> HostLive {
    let info = rustix::system::sysinfo();
    let unit = u64::from(info.mem_unit.max(1));
    let bytes = |units: u64| units.saturating_mul(unit);
    let pressure = |resource| stalled(root, resource).map(|stalled| stalled.some_percent);
    let free = bytes(info.freeram + info.bufferram);
    HostLive {
        load: info.loads.iter().map(|load| *load as f64 / LOAD_ONE).collect(),
        cpus: std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64),
        memory_bytes: bytes(info.totalram),
        memory_available_bytes: reclaimable(root).map(|more| free + more),
        swap_bytes: bytes(info.totalswap),
        swap_free_bytes: bytes(info.freeswap),
        uptime_seconds: info.uptime.max(0) as u64,
        cpu_pressure: pressure("cpu"),
        memory_pressure: pressure("memory"),
        io_pressure: pressure("io"),
    }
}

/// Caches that the kernel gives up when memory is asked for: what `MemAvailable` adds to the free pages.
fn reclaimable(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("memory.stat")).ok()?;
    let of = |key: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok()
    };
    Some(of("active_file ")? + of("inactive_file ")? + of("slab_reclaimable ").unwrap_or(0) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read_with_and_without_the_line_of_all_tasks() {
        let some = "some avg10=1.50 avg60=0.00 avg300=0.00 total=12345\n";
        let both = format!("{some}full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n");
        let stalled = parse(&both).unwrap();
        assert_eq!(
            (stalled.some_percent, stalled.some_us, stalled.full_us),
            (1.5, 12_345, Some(7))
        );
        assert_eq!(parse(some).unwrap().full_us, None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn the_host_is_told_of_even_where_control_groups_say_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let live = host(dir.path());
        assert!(live.memory_bytes > 0 && live.load.len() == 3 && live.cpus > 0);
        assert_eq!((live.memory_available_bytes, live.cpu_pressure), (None, None));
        std::fs::write(dir.path().join("memory.stat"), "active_file 4096\ninactive_file 4096\n")
            .unwrap();
        assert!(host(dir.path()).memory_available_bytes.unwrap() >= 8192);
    }
}
