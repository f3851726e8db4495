//! `org.tenement.Units1`, as the agent calls it.

use std::collections::HashMap;

use zbus::Fd;

use crate::plan::Particulars;

/// The helper's name on the bus.
pub const SERVICE_NAME: &str = "org.tenement.Units1";
/// The helper's object.
pub const OBJECT_PATH: &str = "/org/tenement/Units1";

/// Limits by name, as they go over the bus (`a{st}`).
pub(super) type Overrides<'a> = HashMap<&'a str, u64>;

pub(super) fn overrides(with: &Particulars) -> Overrides<'static> {
    with.overrides.iter().map(|(limit, value)| (limit.as_str(), value)).collect()
}

/// The release of an instance, as it goes over the bus: empty without one.
pub(super) fn release(with: &Particulars) -> &str {
    with.release.as_ref().map(tenement_wire::ReleaseName::as_str).unwrap_or_default()
}

/// See `unitd`.
#[zbus::proxy(
    interface = "org.tenement.Units1",
    default_service = "org.tenement.Units1",
    default_path = "/org/tenement/Units1"
)]
pub(super) trait Units1 {
    fn load(
        &self,
        process: &str,
        id: &str,
        port: u16,
        overrides: Overrides<'_>,
        release: &str,
    ) -> zbus::Result<(bool, String, bool)>;
    fn unload(&self, process: &str, id: &str) -> zbus::Result<()>;
    fn start(
        &self,
        process: &str,
        id: &str,
        port: u16,
        overrides: Overrides<'_>,
        release: &str,
    ) -> zbus::Result<()>;
    fn stop(&self, process: &str, id: &str) -> zbus::Result<()>;
    fn restart(
        &self,
        process: &str,
        id: &str,
        port: u16,
        overrides: Overrides<'_>,
        release: &str,
    ) -> zbus::Result<()>;
    fn reset(&self, process: &str, id: &str) -> zbus::Result<()>;
    fn freeze(&self, process: &str, id: &str) -> zbus::Result<Vec<zbus::wire::OwnedFd>>;
    fn thaw(&self, process: &str, id: &str) -> zbus::Result<()>;
    fn reclaim(&self, process: &str, id: &str) -> zbus::Result<()>;
    fn purge(&self, process: &str, id: &str) -> zbus::Result<()>;
    fn secrets(&self, process: &str, id: &str) -> zbus::Result<Vec<(String, u64, u64, bool)>>;
    fn set_secret(&self, process: &str, id: &str, secret: &str, value: Fd<'_>) -> zbus::Result<()>;
    fn remove_secret(&self, process: &str, id: &str, secret: &str) -> zbus::Result<()>;
    fn apply(
        &self,
        process: &str,
        id: &str,
        port: u16,
        overrides: Overrides<'_>,
        release: &str,
    ) -> zbus::Result<bool>;
    fn measure(&self, process: &str, id: &str) -> zbus::Result<u64>;
}
