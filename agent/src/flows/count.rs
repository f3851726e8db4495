//! What the agent counts, and whether it can do its work.

use std::time::Duration;

use tenement_wire::dto::{InstanceRow, MetricsSummary};

use super::host::Host;
use super::manage::Manager;
use super::management::ManageError;

/// How long systemd may take to say that it is there.
const ANSWER: Duration = Duration::from_secs(2);

impl<H: Host> Manager<H> {
    pub(super) fn at_hand(&self) -> Vec<InstanceRow> {
        let mut rows: Vec<InstanceRow> = self.agent.views_at_hand().map(Into::into).collect();
        let orphans = self.agent.orphans.lock().expect("no panic while held").clone();
        rows.extend(orphans.iter().map(|orphan| self.agent.view_orphan(orphan).into()));
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }

    pub(super) async fn count(&self) -> Result<MetricsSummary, ManageError> {
        let mut sum = MetricsSummary {
            processes: self.agent.config.load().processes.len() as u64,
            traffic: (self.traffic)(),
            store_trouble: self.agent.store.report().await?.trouble,
            ..MetricsSummary::default()
        };
        for view in self.agent.views_at_hand() {
            sum.instances += 1;
            *sum.states.entry(view.state.as_str().to_owned()).or_default() += 1;
            *sum.tiers.entry(view.tier.as_str().to_owned()).or_default() += 1;
            sum.in_flight += u64::from(view.in_flight);
            sum.wakes += view.wakes;
        }
        Ok(sum)
    }

    pub(super) async fn check_ready(&self) -> Result<(), ManageError> {
        let gone = |what, why: String| ManageError::Unavailable { what, source: why.into() };
        match tokio::time::timeout(ANSWER, self.agent.store.report()).await {
            Err(_) => return Err(gone("the state database", "it took too long".into())),
            Ok(Err(error)) => return Err(gone("the state database", error.to_string())),
            Ok(Ok(report)) => {
                if let Some(trouble) = report.trouble {
                    return Err(gone("the state database", trouble));
                }
            }
        }
        match tokio::time::timeout(ANSWER, self.agent.host.answers()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(gone("systemd", "it does not answer".into())),
            Err(_) => Err(gone("systemd", "it took too long".into())),
        }
    }
}
