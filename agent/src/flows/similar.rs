//! Finding an instance by its name, and those that somebody who mistyped it may have meant.

use std::sync::Arc;

use tenement_wire::InstanceName;

use super::host::Host;
use super::instance::Instance;
use super::manage::Manager;
use super::management::ManageError;

/// Names less alike than this are no help.
const ALIKE: f64 = 0.85;
/// How many are named.
const NAMED: usize = 3;

impl<H: Host> Manager<H> {
    pub(super) fn find(&self, name: &InstanceName) -> Result<Arc<Instance>, ManageError> {
        self.agent.get(name).ok_or_else(|| {
            let mut similar: Vec<_> = self
                .agent
                .all()
                .iter()
                .map(|one| (strsim::jaro_winkler(&one.name.to_string(), &name.to_string()), one))
                .filter(|(score, _)| *score > ALIKE)
                .map(|(score, one)| (score, one.name.clone()))
                .collect();
            similar.sort_by(|a, b| b.0.total_cmp(&a.0));
            let similar = similar.into_iter().take(NAMED).map(|(_, name)| name).collect();
            ManageError::NotFound { name: name.clone(), similar }
        })
    }
}
