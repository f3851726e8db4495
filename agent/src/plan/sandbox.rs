//! What an instance may not do, by level of isolation. `docs/SECURITY.md` has the levels as a table.
//!
//! ```text
//! none      umask, no new privileges
//! standard  + read-only system, private /tmp and /dev, no capability, families, the bus hidden
//! strict    + system calls, IPC, homes, names and places of other instances, loopback
//! ```

use super::value::{Property, Value};
use super::{Job, hidden};
use crate::config::{Isolation, Listen};

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
    if job.system() {
        match job.def.sandbox.isolation {
            Isolation::None => {}
            Isolation::Standard => {
                standard(list);
                list.extend(FILTERED.map(|name| p(name, Value::Bool(true))));
                list.push(p("ProtectHome", Value::Str("read-only".to_owned())));
                hidden::standard(job, list);
            }
            Isolation::Strict => {
                standard(list);
                strict(list);
                hidden::strict(job, list);
            }
        }
    }
}

/// The sandbox of a build: that of strict isolation, whatever the instances have.
pub(super) fn of_build(list: &mut Vec<Property>) {
    standard(list);
    strict(list);
    list.push(Property { name: "ProtectHome", value: Value::Str("yes".to_owned()) });
}

fn standard(list: &mut Vec<Property>) {
    let p = |name, value| Property { name, value };
    for name in FLAGS {
        list.push(p(name, Value::Bool(true)));
    }
    let families = ["AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"];
    let str = |text: &str| Value::Str(text.to_owned());
    list.extend([
        p("ProtectSystem", str("strict")),
        p("ProtectProc", str("invisible")),
        p("KeyringMode", str("private")),
        p("RestrictNamespaces", Value::U64(NAMESPACES)),
        // node's os.networkInterfaces() needs AF_NETLINK.
        p("RestrictAddressFamilies", Value::Filter(true, families.map(str::to_owned).to_vec())),
        p("SystemCallArchitectures", Value::Strs(vec!["native".to_owned()])),
        p("CapabilityBoundingSet", Value::U64(0)),
        p("AmbientCapabilities", Value::U64(0)),
    ]);
}

/// What strict adds beside hidden places. MemoryDenyWriteExecute= is not among it, since it kills every
/// just-in-time compiler, nor is ProcSubset=pid, under which node counts no processor.
fn strict(list: &mut Vec<Property>) {
    let p = |name, value| Property { name, value };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    list.extend([
        p("SystemCallFilter", Value::Filter(true, names(&ALLOWED))),
        p("SystemCallFilter", Value::Filter(false, names(&REFUSED))),
        // Without it systemd kills: node would end without a word.
        p("SystemCallErrorNumber", Value::I32(EPERM)),
        p("PrivateIPC", Value::Bool(true)),
        // Files of others look like those of nobody. Costs a fork for each start.
        p("PrivateUsers", Value::Bool(true)),
        p("PrivateMounts", Value::Bool(true)),
        p("DevicePolicy", Value::Str("closed".to_owned())),
    ]);
}

/// `tenement-exec` shuts abstract sockets with landlock(7), which is no part of @system-service.
const ALLOWED: [&str; 3] = ["@system-service", "landlock_create_ruleset", "landlock_restrict_self"];

/// @system-service has these groups for daemons that begin as root; the single calls have let many out of
/// a sandbox, and node and Python do without. setrlimit and nice fail with EPERM then, which
/// node and Python bear: their limits are set by the unit.
const REFUSED: [&str; 7] = [
    "@privileged",
    "@resources",
    "@keyring",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "userfaultfd",
];

const EPERM: i32 = 1;

/// The namespaces that may be made: CLONE_NEWUTS alone. "None" (0) would be written to the unit's file as
/// the empty text, which means "all" when a daemon-reload reads it back (seen on 252 and 257). A UTS
/// namespace needs CAP_SYS_ADMIN, which nobody here has or can get without a user namespace.
const NAMESPACES: u64 = 0x0400_0000;

/// Switches of standard and strict.
const FLAGS: [&str; 9] = [
    "PrivateTmp",
    "PrivateDevices",
    "ProtectKernelTunables",
    "ProtectKernelModules",
    "ProtectKernelLogs",
    "ProtectControlGroups",
    "LockPersonality",
    "RestrictRealtime",
    "RestrictSUIDSGID",
];

/// Switches of standard alone. Each costs a running or parked instance 16 to 20 kB of kernel memory: systemd
/// installs a filter program of its own for each of three architectures. Strict's system call filter refuses
/// the same calls (no clock_settime and no sethostname is in @system-service), and without ProtectClock=
/// not even reading a real-time clock is allowed.
const FILTERED: [&str; 2] = ["ProtectClock", "ProtectHostname"];
