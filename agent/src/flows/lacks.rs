//! Steps that the config asks for and this host can't do: said once, not at each try.

use tenement_wire::ProcessName;

use super::agent::Agent;
use super::host::Host;

impl<H: Host> Agent<H> {
    /// Whether `what` of `process` is said for the first time since the agent started.
    pub(super) fn is_news(&self, process: &ProcessName, what: &'static str) -> bool {
        self.said.lock().expect("no panic while held").insert((process.clone(), what))
    }

    /// Warns of the configured steps that this host can't do; returns how many warnings that made.
    pub fn warn_of_lacks(&self) -> usize {
        let (lacks, config) = (self.host.lacks(), self.config.load());
        let mut warnings = 0;
        for one in config.processes.values() {
            let tiers = &one.tiers;
            for (lacking, set, needs) in [
                (
                    lacks.reclaim,
                    tiers.reclaim_after,
                    "reclaim_after needs swap or zram, and memory.reclaim",
                ),
                (lacks.freeze, tiers.freeze_after, "freeze_after needs the freezer of cgroup v2"),
            ] {
                if lacking && set.is_some() && self.is_news(&one.name, needs) {
                    warnings += 1;
                    log::warn!(
                        "process {}: {needs}, which this host lacks; the step is left out",
                        one.name
                    );
                }
            }
        }
        warnings
    }
}
