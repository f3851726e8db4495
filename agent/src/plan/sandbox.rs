//! What an instance may not do. Costs per line are in docs; seccomp allow-lists are left out because
//! they alone would double the time of a wake.

use super::value::{Property, Value};
use super::{Job, text};
use crate::config::Listen;

/// Adds the sandbox. Under a user manager only what needs no privilege.
pub(super) fn properties(job: &Job, list: &mut Vec<Property>) {
    let p = |name, value| Property { name, value };
    let app_side = matches!(job.def.listen, Listen::Socket | Listen::Own);
    // The agent connects as member of the socket directory's group, so the socket must be writable for
    // it; a dynamic user shares no group with the agent.
    let umask = match (app_side && job.system(), job.dynamic_user()) {
        (false, _) => 0o077,
        (true, false) => 0o007,
        (true, true) => 0o000,
    };
    list.push(p("UMask", Value::U32(umask)));
    list.push(p("NoNewPrivileges", Value::Bool(true)));
    if !job.system() {
        return;
    }
    for name in FLAGS {
        list.push(p(name, Value::Bool(true)));
    }
    let families = ["AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"];
    let str = |text: &str| Value::Str(text.to_owned());
    list.extend([
        p("ProtectSystem", str("strict")),
        // Apps may well lie in a home directory.
        p("ProtectHome", str("read-only")),
        p("ProtectProc", str("invisible")),
        p("KeyringMode", str("private")),
        p("RestrictNamespaces", Value::U64(NAMESPACES)),
        // node's os.networkInterfaces() needs AF_NETLINK.
        p("RestrictAddressFamilies", Value::Filter(true, families.map(str::to_owned).to_vec())),
        p("SystemCallArchitectures", Value::Strs(vec!["native".to_owned()])),
        p("CapabilityBoundingSet", Value::U64(0)),
        p("AmbientCapabilities", Value::U64(0)),
    ]);
    if !job.dynamic_user() {
        list.push(p("ReadWritePaths", Value::Strs(writable(job))));
    }
    list.push(p("InaccessiblePaths", Value::Strs(hidden(job))));
}

/// The namespaces that may be made: CLONE_NEWUTS alone. "None" (0) would be written to the unit's file as
/// the empty text, which means "all" when a daemon-reload reads it back (seen on 252 and 257). A UTS
/// namespace needs CAP_SYS_ADMIN, which nobody here has or can get without a user namespace.
const NAMESPACES: u64 = 0x0400_0000;

/// Switches that every instance has on.
const FLAGS: [&str; 11] = [
    "PrivateTmp",
    "PrivateDevices",
    "ProtectKernelTunables",
    "ProtectKernelModules",
    "ProtectKernelLogs",
    "ProtectControlGroups",
    "ProtectClock",
    "ProtectHostname",
    "LockPersonality",
    "RestrictRealtime",
    "RestrictSUIDSGID",
];

fn writable(job: &Job) -> Vec<String> {
    let mut paths = vec![text(&job.paths.data_dir)];
    paths.extend(job.paths.app_dir.as_deref().map(text));
    if job.park_helper().is_some() && job.paths.app_dir.is_none() {
        // The stub takes the agent's flag away.
        paths.push(text(&super::instance_dir(&job.ctx.run_dir, job.name)));
    }
    let app_side = matches!(job.def.listen, Listen::Socket | Listen::Own);
    if app_side && job.paths.app_dir.is_none() {
        // A named user binds the configured path itself.
        paths.extend(job.paths.socket.parent().map(text));
    }
    paths
}

/// The bus (tenants could ask PID 1 for things, and have frozen it so: CVE-2026-40223), our own admin
/// socket, and the other tenants' units, whose environment is world-readable there.
fn hidden(job: &Job) -> Vec<String> {
    vec![
        "-/run/dbus".to_owned(),
        "-/run/systemd/transient".to_owned(),
        format!("-{}", text(&job.paths.admin_socket)),
    ]
}
