//! Properties of the socket unit.

use super::value::{Property, Value};
use super::{Job, paths, text};

/// The kernel caps it at net.core.somaxconn (4096 by default since 5.4).
const BACKLOG: u32 = 4096;

/// How many starts or polls in [`LIMIT_INTERVAL_US`] are normal. With no limit at all, a service that
/// exits without taking its connection would be started by PID 1 in a busy loop.
const TRIGGERS: u32 = 200;
const LIMIT_INTERVAL_US: u64 = 2_000_000;

/// The first version with `PollLimit*` as properties: it pauses the socket where `TriggerLimit*` fails it.
const POLL_LIMIT_SINCE: u32 = 255;

/// Everything in one call: nothing is set later.
pub(super) fn properties(job: &Job) -> Vec<Property> {
    let p = |name, value| Property { name, value };
    let mut list = vec![
        p("Description", Value::Str(format!("tenement {} (wakes it)", job.name))),
        p("Slice", Value::Str(paths::slice(job.name))),
        p("Listen", Value::Pairs(vec![("Stream".to_owned(), text(&job.paths.trigger))])),
        p("Backlog", Value::U32(BACKLOG)),
        p("DirectoryMode", Value::U32(if job.system() { 0o755 } else { 0o700 })),
        p("RemoveOnStop", Value::Bool(true)),
        p("CollectMode", Value::Str("inactive".to_owned())),
        // Naps are not crashes: systemd's own limits would fail an instance that sleeps often.
        p("StartLimitIntervalUSec", Value::U64(0)),
        p("StartLimitBurst", Value::U32(0)),
        p("TriggerLimitIntervalUSec", Value::U64(LIMIT_INTERVAL_US)),
    ];
    if job.ctx.systemd >= POLL_LIMIT_SINCE {
        list.push(p("TriggerLimitBurst", Value::U32(0)));
        list.push(p("PollLimitIntervalUSec", Value::U64(LIMIT_INTERVAL_US)));
        list.push(p("PollLimitBurst", Value::U32(TRIGGERS)));
    } else {
        list.push(p("TriggerLimitBurst", Value::U32(TRIGGERS)));
    }
    match (&job.ctx.socket_group, job.system()) {
        (Some(group), true) => {
            list.push(p("SocketMode", Value::U32(0o660)));
            // In the process's run directory the setgid bit hands the group on. Elsewhere PID 1 must
            // change it, for which it forks: 2 to 8 ms more for each pair.
            if job.paths.trigger.parent() == Some(job.paths.run_dir.as_path()) {
                return flush(job, list);
            }
            list.push(p("SocketUser", Value::Str("root".to_owned())));
            list.push(p("SocketGroup", Value::Str(group.clone())));
        }
        _ => list.push(p("SocketMode", Value::U32(0o600))),
    }
    flush(job, list)
}

fn flush(job: &Job, mut list: Vec<Property>) -> Vec<Property> {
    if !job.def.systemd_listens() {
        // A trigger's connection is never accepted: it is thrown away when the service exits, or it
        // would start the service again at once.
        list.push(Property { name: "FlushPending", value: Value::Bool(true) });
    }
    list
}
