//! `[settings]`, `[settings.limits]` and `[settings.defaults]`.

use std::path::PathBuf;
use std::time::Duration;

use super::merge::Merged;
use super::node::{Fields, Node, Text};
use super::problems::Problems;
use super::supervision::{self, Supervision};
use super::tiers::{self, Tiers};
use super::types::{Cidr, Limits, Origin, Restart, Settings};
use super::{access, api, backup, domain, events, logs, metrics, quantity, tls, tracing};

/// Keys of `[settings]` that are not tables.
pub(super) const KEYS: [&str; 8] = [
    "domain",
    "port",
    "data_dir",
    "port_range",
    "loaded_max",
    "drain_timeout",
    "trusted_proxies",
    "proxy_protocol",
];

const LIMIT_KEYS: [&str; 9] = [
    "header_bytes",
    "header_count",
    "header_timeout",
    "keepalive_timeout",
    "response_timeout",
    "body_timeout",
    "body_bytes",
    "connections",
    "connections_per_client",
];

const DEFAULT_KEYS: [&str; 5] =
    ["idle_timeout", "startup_timeout", "stop_timeout", "restart", "spawn_on_request"];

/// The shortest timeout that can be meant.
const TICK: Duration = Duration::from_millis(1);

/// What a process has where it doesn't say otherwise.
#[derive(Debug, Clone)]
pub(super) struct Defaults {
    pub(super) idle_timeout: Option<Duration>,
    pub(super) startup_timeout: Duration,
    pub(super) stop_timeout: Duration,
    pub(super) restart: Restart,
    pub(super) spawn_on_request: bool,
    pub(super) tiers: Tiers,
    pub(super) supervision: Supervision,
    pub(super) access: access::Access,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            idle_timeout: Some(Duration::from_secs(300)),
            startup_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(10),
            restart: Restart::OnFailure,
            spawn_on_request: false,
            tiers: Tiers::default(),
            supervision: Supervision::default(),
            access: access::Access::default(),
        }
    }
}

impl Defaults {
    /// These, with what `fields` says instead. Processes have the same keys.
    pub(super) fn overridden(mut self, fields: &Fields, problems: &mut Problems) -> Self {
        if let Some(node) = fields.get("idle_timeout")
            && let Some(timeout) = quantity::duration(node, Duration::ZERO, problems)
        {
            self.idle_timeout = (!timeout.is_zero()).then_some(timeout);
        }
        // For systemd 0 means "no limit" here: that a start or a stop hangs for good is never meant.
        set(fields, "startup_timeout", &mut self.startup_timeout, problems, positive);
        set(fields, "stop_timeout", &mut self.stop_timeout, problems, positive);
        set(fields, "restart", &mut self.restart, problems, restart);
        set(fields, "spawn_on_request", &mut self.spawn_on_request, problems, Node::boolean);
        self.tiers = self.tiers.overridden(fields, problems);
        self.supervision = self.supervision.overridden(fields, problems);
        self.access = self.access.overridden(fields, problems);
        self
    }
}

/// Sets `slot` to what `read` makes of `key`, if the key is there and good.
pub(super) fn set<'a, T>(
    fields: &Fields<'a>,
    key: &str,
    slot: &mut T,
    problems: &mut Problems,
    read: impl FnOnce(&Node<'a>, &mut Problems) -> Option<T>,
) {
    if let Some(value) = fields.get(key).and_then(|node| read(node, problems)) {
        *slot = value;
    }
}

fn positive(node: &Node, problems: &mut Problems) -> Option<Duration> {
    quantity::duration(node, TICK, problems)
}

fn restart(node: &Node, problems: &mut Problems) -> Option<Restart> {
    let text = node.string("\"on-failure\"", problems)?;
    let word = match text.value.as_str() {
        "no" => Restart::No,
        "on-failure" => Restart::OnFailure,
        "always" => Restart::Always,
        other => {
            let message = format!("`restart` can't be `{other}`");
            problems.add(&node.at, message, "write \"no\", \"on-failure\" or \"always\"");
            return None;
        }
    };
    Some(word)
}

/// Reads what the files say of the agent itself.
pub(super) fn read(
    merged: &Merged,
    origins: &mut Vec<Origin>,
    problems: &mut Problems,
) -> (Settings, Defaults) {
    let fields = &merged.settings;
    let known: Vec<&str> =
        KEYS.into_iter().chain(logs::KEYS).chain(["limits", "defaults", "total", "max"]).collect();
    fields.refuse_unknown("[settings]", &known, problems);
    let known: Vec<&str> = DEFAULT_KEYS
        .into_iter()
        .chain(tiers::KEYS)
        .chain(supervision::KEYS)
        .chain(access::KEYS)
        .collect();
    merged.defaults.refuse_unknown("[settings.defaults]", &known, problems);
    let mut s = Settings::default();
    set(fields, "domain", &mut s.domain, problems, |node, problems| {
        let text = node.string("\"example.com\"", problems)?;
        domain::domain(&text.value)
            .map_err(|(message, fix)| problems.add(&node.at, message, fix))
            .ok()
    });
    set(fields, "port", &mut s.port, problems, |node, problems| {
        node.integer(1, 65_535, problems).and_then(|n| u16::try_from(n).ok())
    });
    set(fields, "data_dir", &mut s.data_dir, problems, |node, problems| {
        let text = node.string("\"/var/lib/tenement\"", problems)?;
        path(&text, "data_dir", problems)
    });
    set(fields, "port_range", &mut s.port_range, problems, quantity::port_range);
    set(fields, "loaded_max", &mut s.loaded_max, problems, |node, problems| {
        count(node, 1, 100_000, problems)
    });
    set(fields, "drain_timeout", &mut s.drain_timeout, problems, any_duration);
    set(fields, "trusted_proxies", &mut s.trusted_proxies, problems, |node, problems| {
        Some(ranges(node, problems))
    });
    set(fields, "proxy_protocol", &mut s.proxy_protocol, problems, |node, problems| {
        Some(ranges(node, problems))
    });
    s.api = api::read(&merged.api, problems);
    s.metrics = metrics::read(&merged.metrics, problems);
    s.tls = tls::read(merged, problems);
    s.limits = limits(&merged.limits, problems);
    s.logs = s.logs.overridden(fields, problems);
    s.events = events::keep(&merged.events, problems);
    s.alerts = events::alerts(&merged.alerts, origins, problems);
    s.tracing = tracing::read(&merged.tracing, origins, problems);
    s.backup = backup::common(&merged.backup, origins, problems);
    backup::check(&merged.processes, &s.backup, problems);
    if let Some(node) = fields.get("total") {
        s.total = super::limits::totals(node, "[settings.total]", problems);
    }
    if let Some(node) = fields.get("max") {
        s.max = super::limits::table(node, "[settings.max]", problems);
    }
    if (s.port_range.0..=s.port_range.1).contains(&s.port)
        && let Some(node) = fields.get("port").or_else(|| fields.get("port_range"))
    {
        let (low, high) = s.port_range;
        let message =
            format!("port {} lies within the instances' `port_range` {low}-{high}", s.port);
        problems.add(&node.at, message, "choose a port outside of port_range, or move port_range");
    }
    let defaults = Defaults::default().overridden(&merged.defaults, problems);
    (s, defaults)
}

fn limits(fields: &Fields, problems: &mut Problems) -> Limits {
    fields.refuse_unknown("[settings.limits]", &LIMIT_KEYS, problems);
    let mut l = Limits::default();
    // hyper's HTTP/1 buffer cannot be smaller than 8 KiB.
    set(fields, "header_bytes", &mut l.header_bytes, problems, |node, problems| {
        quantity::size(node, 8_192, 1 << 20, problems).and_then(|n| usize::try_from(n).ok())
    });
    set(fields, "header_count", &mut l.header_count, problems, |n, p| count(n, 10, 10_000, p));
    set(fields, "header_timeout", &mut l.header_timeout, problems, positive);
    set(fields, "keepalive_timeout", &mut l.keepalive_timeout, problems, positive);
    set(fields, "response_timeout", &mut l.response_timeout, problems, any_duration);
    set(fields, "body_timeout", &mut l.body_timeout, problems, any_duration);
    set(fields, "body_bytes", &mut l.body_bytes, problems, |n, p| quantity::size(n, 0, 1 << 50, p));
    set(fields, "connections", &mut l.connections, problems, |n, p| count(n, 1, 1_000_000, p));
    set(fields, "connections_per_client", &mut l.connections_per_client, problems, |n, p| {
        count(n, 1, 1_000_000, p)
    });
    l
}

fn any_duration(node: &Node, problems: &mut Problems) -> Option<Duration> {
    quantity::duration(node, Duration::ZERO, problems)
}

fn count(node: &Node, min: u64, max: u64, problems: &mut Problems) -> Option<usize> {
    node.integer(min, max, problems).and_then(|n| usize::try_from(n).ok())
}

/// Ranges of addresses: a list of texts.
pub(super) fn ranges(node: &Node, problems: &mut Problems) -> Vec<Cidr> {
    let mut ranges = Vec::new();
    for text in node.strings(true, "[\"10.0.0.0/8\"]", problems) {
        match quantity::cidr(&text.value) {
            Ok(range) => ranges.push(range),
            Err(message) => {
                problems.add(&text.at, message, "write \"192.0.2.1\" or \"10.0.0.0/8\"");
            }
        }
    }
    ranges
}

/// An absolute path that stands in units as it is: systemd splits lists of paths at white space and
/// expands `%` when it reads a unit back.
pub(super) fn path(text: &Text, key: &str, problems: &mut Problems) -> Option<PathBuf> {
    if let Err((message, fix)) = check_path(&text.value, key) {
        problems.add(&text.at, message, fix);
        return None;
    }
    Some(PathBuf::from(&text.value))
}

/// What is wrong with an absolute path of the config, and what to write.
pub(super) fn check_path(path: &str, key: &str) -> Result<(), (String, String)> {
    if !path.starts_with('/') {
        let fix = format!("write the whole path: {key} = \"/{}\"", path.trim_start_matches("./"));
        return Err((format!("`{key}` must be an absolute path"), fix));
    }
    if path.split('/').any(|part| part == "..") {
        return Err((format!("`{key}` climbs with `..`"), "write the path without `..`".into()));
    }
    if path.trim_matches('/').is_empty() {
        return Err((format!("`{key}` can't be the root directory"), "write a directory".into()));
    }
    if let Some(c) = path.chars().find(|c| c.is_whitespace() || "%\"'\\:".contains(*c)) {
        let message =
            format!("`{key}` holds {c:?}, which has a meaning to systemd in lists of paths");
        return Err((message, "use a path without blanks, quotes, `\\`, `%` and `:`".into()));
    }
    Ok(())
}
