//! What the config asks of the host that the host can't do. Such steps are left out, which is said once
//! for each config: in the log, in `ten doctor` and by the API.

use super::agent::Agent;
use super::host::{Host, Lacks};
use crate::config::Config;

/// Why a host has no reclaim, and what gives it one.
const RECLAIM: &str = "this host has no swap, no zram, no memory controller or a kernel before 5.19; add swap or zram";
/// The same of freezing.
const FREEZE: &str = "this host has no unified cgroup hierarchy with a freezer; boot with systemd.unified_cgroup_hierarchy=1";

/// A sentence for each key of `config` that comes to nothing.
fn unmet(config: &Config, lacks: Lacks) -> Vec<String> {
    let mut found = Vec::new();
    for definition in config.processes.values() {
        let tiers = &definition.tiers;
        for (key, asked, lacking, why) in [
            ("reclaim_after", tiers.reclaim_after.is_some(), lacks.reclaim, RECLAIM),
            ("freeze_after", tiers.freeze_after.is_some(), lacks.freeze, FREEZE),
        ] {
            if asked && lacking {
                found.push(format!("`{key}` of process `{}` is left out: {why}", definition.name));
            }
        }
    }
    found
}

impl<H: Host> Agent<H> {
    /// What the config in force asks and this host can't do, in order of process.
    pub fn unmet(&self) -> Vec<String> {
        unmet(&self.config.load(), self.host.lacks())
    }

    /// Logs that.
    pub fn log_unmet(&self) {
        for line in self.unmet() {
            log::warn!("{line}");
        }
    }
}
