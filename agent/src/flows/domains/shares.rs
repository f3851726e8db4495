//! Weights of instances, and processes in maintenance.

use tenement_wire::domains::{ProcessRouting, RoutingChange, WeightView};
use tenement_wire::{InstanceName, ProcessName};

use super::{Domains, read, write};
use crate::flows::ManageError;
use crate::flows::clock::now_ms;

impl Domains {
    /// How requests to a process are shared.
    ///
    /// # Errors
    /// [`ManageError::UnknownProcess`].
    pub fn routing(&self, process: &ProcessName) -> Result<ProcessRouting, ManageError> {
        let (default, instances) = self.instances_of(process)?;
        let mut weights: Vec<_> = instances
            .into_iter()
            .map(|name| {
                let set = self.weight(&name);
                WeightView {
                    name,
                    weight: set.unwrap_or(default),
                    set: set.is_some(),
                    percent: 0.0,
                }
            })
            .collect();
        weights.sort_by(|a, b| a.name.cmp(&b.name));
        let sum: u64 = weights.iter().map(|one| u64::from(one.weight)).sum();
        for one in &mut weights {
            let share = f64::from(one.weight) / sum.max(1) as f64;
            one.percent = (share * 1000.0).round() / 10.0;
        }
        let since_ms = read(&self.maintained).get(process).copied();
        let maintenance = since_ms.is_some();
        Ok(ProcessRouting { process: process.clone(), maintenance, since_ms, weights })
    }

    /// Changes it; the next request is shared as it is then.
    ///
    /// # Errors
    /// If there is no such process or instance, or the store can't be written.
    pub async fn change_routing(
        &self,
        process: &ProcessName,
        change: RoutingChange,
    ) -> Result<ProcessRouting, ManageError> {
        let (_, instances) = self.instances_of(process)?;
        let _turn = self.changes.lock().await;
        if let Some(id) = change.instance {
            let name = InstanceName::new(process.clone(), id);
            if !instances.contains(&name) {
                return Err(ManageError::NotFound { name, similar: Vec::new() });
            }
            if let Some(store) = &self.store {
                store.weigh(vec![(name.clone(), change.weight)]).await?;
            }
            match change.weight {
                Some(weight) => drop(write(&self.weights).insert(name, weight)),
                None => drop(write(&self.weights).remove(&name)),
            }
        }
        if let Some(on) = change.maintenance {
            let since = on.then(now_ms);
            if let Some(store) = &self.store {
                store.maintain(process.clone(), since).await?;
            }
            let mut maintained = write(&self.maintained);
            match since {
                Some(since) => drop(maintained.entry(process.clone()).or_insert(since)),
                None => drop(maintained.remove(process)),
            }
        }
        self.publish();
        self.routing(process)
    }

    /// Sets several weights at once, or gives back the default of the process: one step in the store, and the next
    /// request is shared by all of them.
    ///
    /// # Errors
    /// If the store can't be written; nothing is changed then.
    pub(in crate::flows) async fn weigh(
        &self,
        weights: Vec<(InstanceName, Option<u32>)>,
    ) -> Result<(), ManageError> {
        let _turn = self.changes.lock().await;
        if let Some(store) = &self.store {
            store.weigh(weights.clone()).await?;
        }
        self.note_weights(weights);
        self.publish();
        Ok(())
    }

    /// Takes in weights that are stored.
    pub(in crate::flows) fn note_weights(&self, weights: Vec<(InstanceName, Option<u32>)>) {
        let mut known = write(&self.weights);
        for (name, weight) in weights {
            match weight {
                Some(weight) => drop(known.insert(name, weight)),
                None => drop(known.remove(&name)),
            }
        }
    }

    fn instances_of(&self, process: &ProcessName) -> Result<(u32, Vec<InstanceName>), ManageError> {
        let Some(home) = self.home.get() else { return Ok((0, Vec::new())) };
        let known = home.process(process);
        known.ok_or_else(|| ManageError::UnknownProcess {
            process: process.clone(),
            known: Vec::new(),
        })
    }
}
