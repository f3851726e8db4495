//! The app of `tests/apps/rollout`, and deployments of it.

use serde_json::Value;

use crate::host::{Host, Ran};

/// Where its files are, on the host.
pub const APP: &str = "/srv/roll";
/// Its program.
const SERVER: &str = include_str!("../apps/rollout/server");

/// Puts the app on the host.
pub fn install(host: &Host) {
    host.write(&format!("{APP}/server"), SERVER);
    host.write(&format!("{APP}/migrate"), "echo \"$TENEMENT_RELEASE\" >> migrated\n");
    host.run(&format!("chmod 755 {APP}/server"));
}

/// Deploys a release of this kind: `good`, `crashes`, `sick` or `half`.
#[must_use]
pub fn deploy(host: &Host, process: &str, name: &str, kind: &str, how: &str) -> Ran {
    // Each has a directory of its own, so that several can be deployed side by side.
    let from = format!("{APP}-{process}");
    host.run(&format!("mkdir -p {from} && cp {APP}/server {APP}/migrate {from}"));
    host.write(&format!("{from}/kind"), kind);
    host.try_run(&format!("ten --timeout 300 deploy {process} {from} --release {name} {how}"))
}

/// Deploys a good one.
///
/// # Panics
/// When that fails.
pub fn deployed(host: &Host, process: &str, name: &str, how: &str) {
    let ran = deploy(host, process, name, "good", how);
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// When an instance was closed to new requests and its open connections had a bound from then on.
#[derive(Debug, Clone)]
pub struct Drain {
    /// `process:id`.
    pub instance: String,
    /// In Unix milliseconds.
    pub began_ms: u64,
    /// How long what was open might go on.
    pub bound_ms: u64,
}

/// The drains of a deployment, out of its progress: `… is ready on v2 (1 of 4, 1234 ms)`, written when it was over, and
/// `… has 3 open WebSockets, …`, written when those were given notice.
#[must_use]
pub fn drains(deployment: &Value, bound_ms: u64) -> Vec<Drain> {
    let lines = deployment["log"].as_array().map(Vec::as_slice).unwrap_or_default();
    let drain = |line: &Value| {
        let (text, at) = (line["text"].as_str()?, line["time_ms"].as_u64()?);
        let (instance, rest) = text.split_once(" is ready on ")?;
        let took = rest.strip_suffix(" ms)")?.rsplit([' ', '(']).next()?.parse::<u64>().ok()?;
        let noticed = |line: &&Value| {
            line["text"].as_str().is_some_and(|text| text.starts_with(&format!("{instance} has ")))
        };
        let notice = lines.iter().find(noticed).and_then(|line| line["time_ms"].as_u64());
        let began_ms = notice.unwrap_or(at.saturating_sub(took));
        Some(Drain { instance: instance.to_owned(), began_ms, bound_ms })
    };
    lines.iter().filter_map(drain).collect()
}
