//! The log index's beginning and end.

use std::sync::Arc;
use std::time::Duration;

use tenement_logs::index::Settings;
use tenement_logs::indexer::Indexer;
use tenement_logs::journal::Scope;

use super::Places;
use crate::flows::agent::Agent;
use crate::flows::edge::Edge;
use crate::flows::logs::Indexed;

/// How long the last commit may take when the agent stops; what it does not write is read again.
const STOP: Duration = Duration::from_secs(10);

/// Starts to index logs. An agent that can't, says so and does everything else.
pub(super) fn start(places: &Places, agent: &Arc<Agent<Edge>>) -> Option<Indexer> {
    let scope = match places.user {
        true => Scope::User(rustix::process::getuid().as_raw()),
        false => Scope::System,
    };
    match Indexer::start(&places.logs(), scope, Settings::default()) {
        Ok(indexer) => {
            let logs = Indexed::new(indexer.clone());
            logs.keep(&agent.config.load());
            // Nobody else has set it.
            let _ = agent.logs.set(logs);
            Some(indexer)
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            log::error!("logs are not indexed: {error}{cause}");
            None
        }
    }
}

/// Writes what was read and ends.
pub(super) async fn stop(indexer: Option<Indexer>) {
    if let Some(indexer) = indexer {
        // It blocks; a runtime that is ending would not wait for it otherwise.
        let _ = tokio::task::spawn_blocking(move || indexer.stop(STOP)).await;
    }
}
