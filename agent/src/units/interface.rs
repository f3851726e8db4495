//! `org.tenement.Units1`, as the agent calls it.

use std::collections::HashMap;

use zbus::Fd;

use crate::plan::Particulars;

/// The helper's name on the bus.
pub const SERVICE_NAME: &str = "org.tenement.Units1";
/// The helper's object.
pub const OBJECT_PATH: &str = "/org/tenement/Units1";

/// What the config doesn't say of an instance, as it goes over the bus (`(qa{st}s)`): its port, limits that were
/// set for it, and its release, empty without one.
pub(super) type With<'a> = (u16, HashMap<&'a str, u64>, &'a str);

pub(super) fn with(with: &Particulars) -> With<'_> {
    let limits = with.overrides.iter().map(|(limit, value)| (limit.as_str(), value)).collect();
    let release = with.release.as_ref().map(tenement_wire::ReleaseName::as_str);
    (with.port, limits, release.unwrap_or_default())
}

/// A one-off command, as it goes over the bus (`(sasa(ss)t)`): tag, words, variables, microseconds.
pub(super) type Command<'a> = (&'a str, &'a [String], &'a [(String, String)], u64);

/// See `unitd`.
#[zbus::proxy(
    interface = "org.tenement.Units1",
    default_service = "org.tenement.Units1",
    default_path = "/org/tenement/Units1"
)]
pub(super) trait Units1 {
    fn load(&self, process: &str, id: &str, with: With<'_>) -> zbus::Result<(bool, String, bool)>;
    fn unload(&self, process: &str, id: &str) -> zbus::Result<()>;
    fn start(&self, process: &str, id: &str, with: With<'_>) -> zbus::Result<()>;
    fn stop(&self, process: &str, id: &str) -> zbus::Result<()>;
    fn restart(&self, process: &str, id: &str, with: With<'_>) -> zbus::Result<()>;
    fn reset(&self, process: &str, id: &str) -> zbus::Result<()>;
    fn freeze(&self, process: &str, id: &str) -> zbus::Result<Vec<zbus::wire::OwnedFd>>;
    fn thaw(&self, process: &str, id: &str) -> zbus::Result<()>;
    fn reclaim(&self, process: &str, id: &str) -> zbus::Result<()>;
    fn purge(&self, process: &str, id: &str) -> zbus::Result<()>;
    fn secrets(&self, process: &str, id: &str) -> zbus::Result<Vec<(String, u64, u64, bool)>>;
    fn set_secret(&self, process: &str, id: &str, secret: &str, value: Fd<'_>) -> zbus::Result<()>;
    fn remove_secret(&self, process: &str, id: &str, secret: &str) -> zbus::Result<()>;
    fn apply(&self, process: &str, id: &str, with: With<'_>) -> zbus::Result<bool>;
    fn measure(&self, process: &str, id: &str) -> zbus::Result<u64>;
    fn start_task(
        &self,
        process: &str,
        id: &str,
        with: With<'_>,
        what: (Command<'_>, Vec<Fd<'_>>),
    ) -> zbus::Result<String>;
    fn set_timers(
        &self,
        process: &str,
        id: &str,
        with: With<'_>,
        jobs: (bool, &[&str]),
    ) -> zbus::Result<bool>;
    fn start_job(&self, process: &str, id: &str, job: &str) -> zbus::Result<String>;
    fn end_task(&self, process: &str, id: &str, tag: &str) -> zbus::Result<()>;
    fn signal_task(&self, process: &str, id: &str, tag: &str, signal: i32) -> zbus::Result<()>;
}

/// See `unitd::archive`.
#[zbus::proxy(
    interface = "org.tenement.Archive1",
    default_service = "org.tenement.Units1",
    default_path = "/org/tenement/Units1"
)]
pub(super) trait Archive1 {
    #[allow(clippy::too_many_arguments, reason = "they are those of the method on the bus")]
    fn pack(
        &self,
        process: &str,
        id: &str,
        with: With<'_>,
        online: bool,
        timeout_ms: u64,
        out: Fd<'_>,
        said: Fd<'_>,
    ) -> zbus::Result<bool>;
    fn unpack(
        &self,
        process: &str,
        id: &str,
        with: With<'_>,
        input: Fd<'_>,
        said: Fd<'_>,
    ) -> zbus::Result<bool>;
    fn exchange(&self, process: &str, id: &str, keep_old: bool) -> zbus::Result<String>;
    fn discard(&self, process: &str, id: &str) -> zbus::Result<()>;
}
