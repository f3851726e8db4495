//! `[process.X.systemd]`: the directives of systemd.exec(5) and systemd.resource-control(5) that may be
//! overridden, each with its type. None of them gives a privilege: no `Exec*`, no `User`, no capability,
//! no environment. What has a key of its own (`memory_max`, `user`, `env`, …) is not here either.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::value::{Property, Value};

/// What a directive takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    /// One of these.
    Word(&'static [&'static str]),
    /// A whole number in this range, as `t`.
    Number(u64, u64),
    /// The same as `i`.
    Signed(i32, i32),
    /// Bytes with K, M, G or T, or `infinity`.
    Size,
    /// Three or four octal digits.
    Octal,
    /// Names after an optional `~`, which makes it a list of what is refused.
    Filter,
    /// Absolute paths, each after an optional `-`; ours stay beside them.
    Paths,
    /// Addresses, prefixes, `any`, `localhost`, `link-local` or `multicast`.
    Addresses,
}

/// A directive that may be overridden.
#[derive(Debug, Clone, Copy)]
struct Directive {
    name: &'static str,
    kind: Kind,
    /// The first version of systemd that has it.
    since: u32,
}

const fn d(name: &'static str, kind: Kind) -> Directive {
    since(name, kind, 252)
}

const fn since(name: &'static str, kind: Kind, since: u32) -> Directive {
    Directive { name, kind, since }
}

const LIMIT: Kind = Kind::Size;

const TABLE: [Directive; 52] = [
    d("ProtectSystem", Kind::Word(&["no", "yes", "full", "strict"])),
    d("ProtectHome", Kind::Word(&["no", "yes", "read-only", "tmpfs"])),
    d("ProtectProc", Kind::Word(&["default", "noaccess", "invisible", "ptraceable"])),
    d("ProcSubset", Kind::Word(&["all", "pid"])),
    d("KeyringMode", Kind::Word(&["private", "inherit"])),
    d("DevicePolicy", Kind::Word(&["auto", "closed", "strict"])),
    d("OOMPolicy", Kind::Word(&["continue", "stop", "kill"])),
    d("ManagedOOMPreference", Kind::Word(&["none", "avoid", "omit"])),
    d("Personality", Kind::Word(&["x86", "x86-64", "arm64"])),
    d("PrivateTmp", Kind::Bool),
    d("PrivateDevices", Kind::Bool),
    d("PrivateIPC", Kind::Bool),
    d("PrivateMounts", Kind::Bool),
    d("PrivateUsers", Kind::Bool),
    d("ProtectClock", Kind::Bool),
    d("ProtectHostname", Kind::Bool),
    d("ProtectKernelLogs", Kind::Bool),
    d("ProtectKernelModules", Kind::Bool),
    d("ProtectKernelTunables", Kind::Bool),
    d("ProtectControlGroups", Kind::Bool),
    d("RestrictRealtime", Kind::Bool),
    d("RestrictSUIDSGID", Kind::Bool),
    d("LockPersonality", Kind::Bool),
    d("MemoryDenyWriteExecute", Kind::Bool),
    d("RemoveIPC", Kind::Bool),
    d("IgnoreSIGPIPE", Kind::Bool),
    since("MemoryKSM", Kind::Bool, 254),
    since("MemoryZSwapWriteback", Kind::Bool, 256),
    since("PrivatePIDs", Kind::Bool, 257),
    d("SystemCallFilter", Kind::Filter),
    d("RestrictAddressFamilies", Kind::Filter),
    d("RestrictFileSystems", Kind::Filter),
    d("IPAddressAllow", Kind::Addresses),
    d("IPAddressDeny", Kind::Addresses),
    d("InaccessiblePaths", Kind::Paths),
    d("ReadOnlyPaths", Kind::Paths),
    d("NoExecPaths", Kind::Paths),
    d("ExecPaths", Kind::Paths),
    d("UMask", Kind::Octal),
    d("Nice", Kind::Signed(0, 19)),
    d("OOMScoreAdjust", Kind::Signed(0, 1000)),
    d("TimerSlackNSec", Kind::Number(1, 1_000_000_000)),
    d("StartupCPUWeight", Kind::Number(1, 10_000)),
    d("LimitNOFILE", LIMIT),
    d("LimitNPROC", LIMIT),
    d("LimitMEMLOCK", LIMIT),
    d("LimitSTACK", LIMIT),
    d("LimitAS", LIMIT),
    d("LimitFSIZE", LIMIT),
    d("LimitCORE", LIMIT),
    d("LimitSIGPENDING", LIMIT),
    d("LimitMSGQUEUE", LIMIT),
];

/// Directives that stand under a key of the process, and that key.
const KEYS: [(&str, &str); 22] = [
    ("MemoryMax", "memory_max"),
    ("MemoryHigh", "memory_high"),
    ("MemorySwapMax", "swap_max"),
    ("CPUQuota", "cpu"),
    ("CPUWeight", "cpu_weight"),
    ("IOWeight", "io_weight"),
    ("IOReadBandwidthMax", "io_read_max"),
    ("IOWriteBandwidthMax", "io_write_max"),
    ("TasksMax", "tasks_max"),
    ("RuntimeMaxSec", "runtime_max"),
    ("LogRateLimitBurst", "log_rate"),
    ("ExecStart", "command"),
    ("WorkingDirectory", "directory"),
    ("Environment", "env"),
    ("EnvironmentFile", "env_file"),
    ("User", "user"),
    ("DynamicUser", "user"),
    ("Restart", "restart"),
    ("TimeoutStartSec", "startup_timeout"),
    ("TimeoutStopSec", "stop_timeout"),
    ("PrivateNetwork", "network"),
    ("LoadCredential", "credentials"),
];

/// What to write instead of a directive that is not in the list, where there is something.
#[must_use]
pub fn instead(name: &str) -> Option<String> {
    if name == "WatchdogSec" {
        // systemd#38517: the watchdog of a frozen unit fires.
        let why = "use `health`, whose checks pause while an instance is frozen, parked or asleep";
        return Some(format!("{why}; systemd's watchdog kills a frozen instance"));
    }
    let (_, key) = KEYS.iter().find(|(directive, _)| *directive == name)?;
    Some(format!("`{key}` of [process.NAME] sets that"))
}

/// The names of all directives that may be overridden.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|directive| directive.name)
}

/// What `name` takes, for a person.
#[must_use]
pub fn example(name: &str) -> String {
    match find(name).map(|directive| directive.kind) {
        Some(Kind::Bool) => "true or false".to_owned(),
        Some(Kind::Word(words)) => format!("one of {}", words.join(", ")),
        Some(Kind::Number(low, high)) => format!("a number from {low} to {high}"),
        Some(Kind::Signed(low, high)) => format!("a number from {low} to {high}"),
        Some(Kind::Size) => "a number, a size such as \"64M\", or \"infinity\"".to_owned(),
        Some(Kind::Octal) => "octal digits such as \"0027\"".to_owned(),
        Some(Kind::Filter) => "names such as \"@system-service @mount\"".to_owned(),
        Some(Kind::Paths) => "absolute paths such as \"/mnt -/srv/old\"".to_owned(),
        Some(Kind::Addresses) => "addresses such as \"127.0.0.1 10.0.0.0/8\"".to_owned(),
        None => "a directive of the list in docs/CONFIG.md".to_owned(),
    }
}

/// Whether `text` is a value of `name`.
#[must_use]
pub fn accepts(name: &str, text: &str) -> bool {
    find(name).is_some_and(|directive| value(directive.kind, text).is_some())
}

/// The first of `set` that systemd of this version lacks, and the version that has it.
pub(super) fn too_new(set: &BTreeMap<String, String>, systemd: u32) -> Option<(&'static str, u32)> {
    let wanted = set.keys().filter_map(|name| find(name));
    wanted.filter(|d| d.since > systemd).map(|d| (d.name, d.since)).next()
}

/// Puts what `set` says in place of ours, or beside it where it is a list of paths.
pub(super) fn replace(set: &BTreeMap<String, String>, list: &mut Vec<Property>) {
    for (name, text) in set {
        let Some(directive) = find(name) else { continue };
        let Some(value) = value(directive.kind, text) else { continue };
        if directive.kind != Kind::Paths {
            list.retain(|property| property.name != directive.name);
        }
        list.push(Property { name: directive.name, value });
    }
}

fn find(name: &str) -> Option<&'static Directive> {
    TABLE.iter().find(|directive| directive.name == name)
}

fn value(kind: Kind, text: &str) -> Option<Value> {
    let words = || text.split_ascii_whitespace();
    Some(match kind {
        Kind::Bool => Value::Bool(boolean(text)?),
        Kind::Word(known) => {
            let text = match text {
                "true" => "yes",
                "false" => "no",
                other => other,
            };
            Value::Str(known.contains(&text).then(|| text.to_owned())?)
        }
        Kind::Number(low, high) => {
            Value::U64(text.parse().ok().filter(|n| (low..=high).contains(n))?)
        }
        Kind::Signed(low, high) => {
            Value::I32(text.parse().ok().filter(|n| (low..=high).contains(n))?)
        }
        Kind::Size => Value::U64(size(text)?),
        Kind::Octal => Value::U32(octal(text)?),
        Kind::Filter => {
            let (allow, rest) = match text.strip_prefix('~') {
                Some(rest) => (false, rest),
                None => (true, text),
            };
            let names: Vec<String> = rest.split_ascii_whitespace().map(str::to_owned).collect();
            let good = |name: &String| {
                name.bytes().all(|b| b.is_ascii_alphanumeric() || b"@_-".contains(&b))
            };
            Value::Filter(allow, (!names.is_empty() && names.iter().all(good)).then_some(names)?)
        }
        Kind::Paths => {
            let good = |path: &str| {
                let path = path.strip_prefix('-').unwrap_or(path);
                path.starts_with('/') && !path.split('/').any(|part| part == "..")
            };
            let paths: Vec<String> = words().map(str::to_owned).collect();
            Value::Strs((!paths.is_empty() && paths.iter().all(|p| good(p))).then_some(paths)?)
        }
        Kind::Addresses => {
            let lists: Option<Vec<_>> = words().map(addresses).collect();
            Value::Addresses(lists.filter(|l| !l.is_empty())?.concat())
        }
    })
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn octal(text: &str) -> Option<u32> {
    let digits = matches!(text.len(), 3 | 4) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777)
}

/// Binary multiples, as in systemd.syntax(7).
fn size(text: &str) -> Option<u64> {
    if text == "infinity" {
        return Some(u64::MAX);
    }
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let shift = match &text[split..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    text[..split].parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// `AF_INET` and `AF_INET6` of Linux.
const INET: i32 = 2;
const INET6: i32 = 10;

/// Family, address, prefix, as systemd.resource-control(5) has the words.
pub(super) fn addresses(word: &str) -> Option<Vec<(i32, Vec<u8>, u32)>> {
    let six = |head: &[u8], prefix| {
        let mut address = head.to_vec();
        address.resize(16, 0);
        (INET6, address, prefix)
    };
    let four = |address: [u8; 4], prefix| (INET, address.to_vec(), prefix);
    Some(match word {
        "any" => vec![four([0; 4], 0), six(&[], 0)],
        "localhost" => {
            let mut one = vec![0; 16];
            one[15] = 1;
            vec![four([127, 0, 0, 0], 8), (INET6, one, 128)]
        }
        "link-local" => vec![four([169, 254, 0, 0], 16), six(&[0xfe, 0x80], 64)],
        "multicast" => vec![four([224, 0, 0, 0], 4), six(&[0xff], 8)],
        _ => {
            let (address, prefix) = match word.split_once('/') {
                Some((address, prefix)) => (address, Some(prefix.parse::<u32>().ok()?)),
                None => (word, None),
            };
            let (family, bytes) = match address.parse().ok()? {
                IpAddr::V4(ip) => (INET, ip.octets().to_vec()),
                IpAddr::V6(ip) => (INET6, ip.octets().to_vec()),
            };
            let most = if family == INET { 32 } else { 128 };
            vec![(family, bytes, prefix.unwrap_or(most).min(most))]
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directive_takes_its_kind_and_nothing_else() {
        for (name, good, bad) in [
            ("MemoryDenyWriteExecute", "true", "maybe"),
            ("ProtectHome", "tmpfs", "hidden"),
            ("LimitMEMLOCK", "64M", "64X"),
            ("LimitNOFILE", "infinity", "-1"),
            ("UMask", "0027", "9"),
            ("Nice", "5", "-5"),
            ("SystemCallFilter", "@system-service @mount", "a;b"),
            ("SystemCallFilter", "~@mount", "~"),
            ("IPAddressAllow", "10.0.0.0/8 ::1 localhost", "10.0.0.0/x"),
            ("InaccessiblePaths", "/mnt -/srv/old", "/mnt/../etc"),
            ("TimerSlackNSec", "50000", "0"),
        ] {
            assert!(accepts(name, good), "{name}={good}");
            assert!(!accepts(name, bad), "{name}={bad}");
        }
    }

    #[test]
    fn no_directive_gives_a_privilege_or_runs_anything() {
        for name in names() {
            let never = ["Exec", "User", "Group", "Environment", "LoadCredential"];
            let begins = never.iter().any(|word| name.starts_with(word)) && name != "ExecPaths";
            assert!(!begins && !name.contains("Capabilit"), "{name}");
        }
        for name in ["ExecStartPre", "User", "AmbientCapabilities", "NoNewPrivileges", "BindPaths"]
        {
            assert!(!accepts(name, "true"), "{name}");
        }
    }

    #[test]
    fn a_directive_that_came_later_names_its_version() {
        let set = BTreeMap::from([("PrivatePIDs".to_owned(), "true".to_owned())]);
        assert_eq!(too_new(&set, 252), Some(("PrivatePIDs", 257)));
        assert_eq!(too_new(&set, 257), None);
    }
}
