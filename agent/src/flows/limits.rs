//! Limits of instances: which are in force, `ten set`, and the size of their data.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tenement_wire::dto::LimitsSet;
use tenement_wire::events::EventKind;
use tenement_wire::{InstanceName, Limit, ResourceLimits};

use super::agent::Agent;
use super::host::{Host, HostError};
use super::instance::{Instance, Phase};
use super::management::ManageError;
use crate::config::Config;
use crate::plan;

/// How often data directories with a limit are measured.
const MEASURE_EVERY: Duration = Duration::from_secs(60);
/// Between two measurements, so that a thousand of them are no burst for the disk.
const MEASURE_PAUSE: Duration = Duration::from_millis(10);

/// The limits in force of an instance.
pub(super) fn in_force(config: &Config, instance: &Instance) -> ResourceLimits {
    let overrides = instance.particulars().overrides;
    match config.processes.get(instance.name.process()) {
        Some(definition) => definition.limits_of(&overrides, &config.settings),
        None => overrides,
    }
}

/// Tells an instance how large its data may be.
pub(super) fn renew(config: &Config, instance: &Instance) {
    instance.disk.limit(in_force(config, instance).get(Limit::DiskMax));
}

impl<H: Host> Agent<H> {
    /// Changes limits of one instance: a value sets one, `None` takes it away. They are kept, and what
    /// can be changed while the instance runs is in force when this returns.
    ///
    /// # Errors
    /// [`ManageError::Invalid`] if the limits contradict each other, or those of the database.
    pub(super) async fn set_limits(
        &self,
        instance: &Arc<Instance>,
        changes: &BTreeMap<Limit, Option<u64>>,
    ) -> Result<LimitsSet, ManageError> {
        let turn = self.changes.lock().await;
        let config = self.config.load_full();
        let mut overrides = instance.particulars().overrides;
        for (limit, value) in changes {
            overrides.set(*limit, *value).map_err(invalid)?;
        }
        let before = in_force(&config, instance);
        let definition = instance.setup().definition.clone();
        let after = definition.limits_of(&overrides, &config.settings);
        if let (Some(high), Some(max)) = (after.get(Limit::MemoryHigh), after.get(Limit::MemoryMax))
            && high > max
        {
            let (high, max) = (Limit::MemoryHigh.show(high), Limit::MemoryMax.show(max));
            return Err(invalid(format!(
                "memory_high would be {high}, above memory_max, which is {max}"
            )));
        }
        if changes.is_empty() {
            return Ok(answer(instance, after, overrides, Vec::new()));
        }
        self.store.set_overrides(instance.name.clone(), overrides.clone()).await?;
        self.retune(instance, overrides.clone());
        renew(&config, instance);
        // The loaded units have the old limits in their files.
        instance.mark_stale();
        // Others need not wait for systemd.
        drop(turn);
        let applied = match self.host.apply(&instance.name, &instance.particulars()).await {
            Ok(applied) => applied,
            Err(error) => {
                log::warn!(TENEMENT_INSTANCE = instance.name.to_string(); "{}: the new limits count from its next start: {error}", instance.name);
                false
            }
        };
        let running = instance.phase() != Phase::Asleep && instance.phase() != Phase::Dormant;
        let own = |limit: Limit| {
            matches!(limit, Limit::DiskMax | Limit::RequestsMax | Limit::RequestRate)
        };
        let changed = Limit::ALL.into_iter().filter(|l| before.get(*l) != after.get(*l));
        let at_next_start =
            changed.filter(|l| running && !own(*l) && !(applied && plan::is_live(*l))).collect();
        Ok(answer(instance, after, overrides, at_next_start))
    }

    /// Measures the data of one instance that has a limit for it, and stops it when it is full.
    pub async fn measure(self: &Arc<Self>, instance: &Arc<Instance>) {
        let Some(max) = instance.disk.max() else { return };
        let name = &instance.name;
        let used = match self.host.measure(name).await {
            Ok(used) => used,
            Err(HostError::Unreachable(error)) => return log::debug!("{name}: {error}"),
            Err(error) => {
                log::warn!(TENEMENT_INSTANCE = name.to_string(); "{name}: its data can't be measured: {error}");
                return;
            }
        };
        let before = instance.disk.used().unwrap_or(0);
        let was_full = instance.disk.is_full();
        let full = instance.disk.measured(used);
        let (shown, limit) = (megabytes(used), Limit::DiskMax.show(max));
        if full {
            if !was_full {
                let message = format!(
                    "{name}: its data takes {shown}, its disk_max is {limit}: it is stopped"
                );
                instance.happened(EventKind::Quota, message);
                log::error!(TENEMENT_INSTANCE = name.to_string(); "{name}: its data takes {shown}, its disk_max is {limit}: it is stopped and its requests get 507 until data is deleted or the limit raised");
            }
            if !matches!(instance.phase(), Phase::Asleep | Phase::Dormant | Phase::Failed)
                && let Err(error) = self.stop(instance).await
            {
                log::warn!(TENEMENT_INSTANCE = name.to_string(); "{name}: it can't be stopped: {error}");
            }
        } else if was_full {
            log::info!(TENEMENT_INSTANCE = name.to_string(); "{name}: its data takes {shown} again, below its disk_max of {limit}");
        } else if is_much(used, max) && !is_much(before, max) {
            let message = format!(
                "{name}: its data takes {shown}, more than 80 % of its disk_max of {limit}"
            );
            instance.happened(EventKind::Quota, message);
            log::warn!(TENEMENT_INSTANCE = name.to_string(); "{name}: its data takes {shown}, more than 80 % of its disk_max of {limit}");
        }
    }

    /// Measures for ever: each minute those that run or are full, one after the other.
    pub async fn keep_measuring(self: Arc<Self>) {
        loop {
            // Jitter, so that hosts that booted together don't measure shared storage together.
            let jitter = u64::from(std::process::id()) * 7_919 % 10_000;
            tokio::time::sleep(MEASURE_EVERY + Duration::from_millis(jitter)).await;
            for instance in self.all() {
                let due = instance.disk.max().is_some()
                    && (instance.disk.take_due()
                        || instance.disk.is_full()
                        || !matches!(instance.phase(), Phase::Asleep | Phase::Dormant));
                if due {
                    self.measure(&instance).await;
                    tokio::time::sleep(MEASURE_PAUSE).await;
                }
            }
        }
    }
}

fn answer(
    instance: &Instance,
    limits: ResourceLimits,
    overrides: ResourceLimits,
    at_next_start: Vec<Limit>,
) -> LimitsSet {
    let clamped = overrides.iter().filter(|(limit, value)| limits.get(*limit) != Some(*value));
    let clamped = clamped.map(|(limit, _)| limit).collect();
    LimitsSet { name: instance.name.clone(), limits, overrides, clamped, at_next_start }
}

/// More than 80 %.
fn is_much(used: u64, max: u64) -> bool {
    used / 4 >= max / 5
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn invalid(message: String) -> ManageError {
    ManageError::Invalid { field: "limits", message }
}

/// What full data says to those who want to start the instance.
pub(super) fn disk_full(name: &InstanceName, instance: &Instance) -> Option<String> {
    let max = instance.disk.max().filter(|_| instance.disk.is_full())?;
    let used = megabytes(instance.disk.used().unwrap_or(max));
    let limit = Limit::DiskMax.show(max);
    Some(format!(
        "its data takes {used} and its disk_max is {limit}: delete data and run ten wake {name}, or raise the limit with ten set {name} disk_max=…"
    ))
}
