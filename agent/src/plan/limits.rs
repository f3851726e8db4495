//! Limits as properties of units: those that the kernel's cgroups and systemd enforce. Disk size, requests
//! in flight and request rate are the agent's own.

use tenement_wire::{Limit, ResourceLimits};

use super::value::{Property, Value};
use super::{Job, text};

/// Processes and threads of an instance that says nothing else.
const TASKS_MAX: u64 = 4_096;
/// Open files of a process of an instance that says nothing else.
const OPEN_FILES: u64 = 65_536;
/// Log lines per second of an instance that says nothing else: journald takes about 45,000 a second from
/// the whole host (measured), so a flood of one leaves room for the others.
const LOG_RATE: u64 = 1_000;
/// The span over which log lines are counted. A burst at the start of an app fits in, since a span holds
/// its lines however they are spread (journald.conf(5), `RateLimitIntervalSec=`).
const LOG_SPAN_S: u64 = 10;
/// "No limit", for each property here (org.freedesktop.systemd1(5)).
const UNLIMITED: u64 = u64::MAX;

/// What systemd counts of an instance, for `ten status`. The bytes of its network traffic are among them,
/// although counting them loads two BPF programs at each start.
const ACCOUNTING: [&str; 5] =
    ["CPUAccounting", "MemoryAccounting", "TasksAccounting", "IOAccounting", "IPAccounting"];

/// Adds the limits of the service, and the accounting that shows what it uses.
pub(super) fn properties(job: &Job, list: &mut Vec<Property>) {
    let p = |name, value| Property { name, value };
    let limits = job.limits();
    list.extend(ACCOUNTING.map(|name| p(name, Value::Bool(true))));
    list.extend(cgroup(&limits, &text(&job.paths.data_dir)).into_iter().filter(|p| !p.is_none()));
    if let Some(seconds) = limits.get(Limit::RuntimeMax) {
        list.push(p("RuntimeMaxUSec", Value::U64(seconds * 1_000_000)));
    }
    let files = limits.get(Limit::FilesMax);
    if job.system() {
        let rate = limits.get(Limit::LogRate).unwrap_or(LOG_RATE);
        let burst = u32::try_from(rate * LOG_SPAN_S).unwrap_or(u32::MAX);
        list.push(p("LogRateLimitIntervalUSec", Value::U64(LOG_SPAN_S * 1_000_000)));
        list.push(p("LogRateLimitBurst", Value::U32(burst)));
        list.push(p("LimitNOFILE", Value::U64(files.unwrap_or(OPEN_FILES))));
        // The agent has -900: what it runs must die before it.
        list.push(p("OOMScoreAdjust", Value::I32(500)));
    } else if let Some(files) = files {
        // A user manager cannot raise it above its own limit, so without a wish that stays. It has no
        // say in journald's rates, nor may it lower the OOM score.
        list.push(p("LimitNOFILE", Value::U64(files)));
    }
}

/// The properties of a loaded service that can be changed while it runs, each of them: one that is unset
/// is written as unlimited, so that it also takes away what was set before.
#[must_use]
pub fn live(limits: &ResourceLimits, data_dir: &std::path::Path) -> Vec<Property> {
    cgroup(limits, &text(data_dir))
}

/// The properties of a slice that holds many instances, in the same way.
#[must_use]
pub fn of_slice(limits: &ResourceLimits, data_dir: &std::path::Path) -> Vec<Property> {
    let mut list = cgroup(limits, &text(data_dir));
    // Without a weight, that of the unit file (tenement.slice) or of systemd stays.
    list.retain(|p| !(p.name.ends_with("Weight") && p.is_none()));
    if limits.get(Limit::TasksMax).is_none() {
        // The default of one instance would be far too few for all of them.
        list.retain(|property| property.name != "TasksMax");
        list.push(Property { name: "TasksMax", value: Value::U64(UNLIMITED) });
    }
    list
}

/// Whether a limit can be changed while the instance runs; others count from its next start.
#[must_use]
pub fn is_live(limit: Limit) -> bool {
    !matches!(limit, Limit::FilesMax | Limit::RuntimeMax | Limit::LogRate)
}

fn cgroup(limits: &ResourceLimits, data_dir: &str) -> Vec<Property> {
    let p = |name, value| Property { name, value };
    let number = |limit: Limit| Value::U64(limits.get(limit).unwrap_or(UNLIMITED));
    let rate = |limit: Limit| {
        Value::Rates(
            limits.get(limit).map(|bytes| (data_dir.to_owned(), bytes)).into_iter().collect(),
        )
    };
    // Thousandths of a core are milliseconds per second.
    let quota = limits.get(Limit::Cpu).map_or(UNLIMITED, |milli| milli * 1_000);
    let tasks = limits.get(Limit::TasksMax).unwrap_or(TASKS_MAX);
    vec![
        p("MemoryMax", number(Limit::MemoryMax)),
        p("MemoryHigh", number(Limit::MemoryHigh)),
        p("MemorySwapMax", number(Limit::SwapMax)),
        p("CPUQuotaPerSecUSec", Value::U64(quota)),
        p("CPUWeight", number(Limit::CpuWeight)),
        p("IOWeight", number(Limit::IoWeight)),
        p("IOReadBandwidthMax", rate(Limit::IoReadMax)),
        p("IOWriteBandwidthMax", rate(Limit::IoWriteMax)),
        p("TasksMax", Value::U64(tasks)),
    ]
}

impl Property {
    /// Whether it says "no limit", which a new unit has anyway.
    fn is_none(&self) -> bool {
        match &self.value {
            Value::U64(number) => *number == UNLIMITED,
            Value::Rates(rates) => rates.is_empty(),
            _ => false,
        }
    }
}
