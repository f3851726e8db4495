//! Requests that wait: until a stop is over, or a move to another release.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::WakeError;
use super::agent::Agent;
use super::deploys::held_at_most;
use super::host::Host;
use super::instance::{Instance, mono_ms};
use super::lease::Lease;
use super::wake::STOP_MARGIN;

impl<H: Host> Agent<H> {
    /// Waits until a stop of ours has ended and takes a lease then.
    pub(super) async fn lease_after_stop(
        &self,
        instance: &Arc<Instance>,
    ) -> Result<Lease, WakeError> {
        // Once for the requests that are under way, once for the service itself.
        let held = instance.gate.held_until_ms().saturating_sub(mono_ms());
        let bound = {
            let definition = &instance.setup().definition;
            let moved = definition.uses_releases().then(|| held_at_most(definition));
            let moved = (definition.stop_timeout * 2).max(moved.unwrap_or_default());
            // While its data is backed up or restored, requests wait longer.
            moved.max(Duration::from_millis(held)) + STOP_MARGIN
        };
        let wait = async {
            loop {
                // Registered before the look, so that an opening in between is not missed.
                let changed = instance.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if instance.removed.load(Ordering::Acquire) {
                    return Err(WakeError::Gone { name: instance.name.clone() });
                }
                if let Some(lease) = Lease::take(instance) {
                    return Ok(lease);
                }
                changed.await;
            }
        };
        let name = || instance.name.clone();
        let timed_out = || WakeError::TimedOut { name: name(), after: bound, last: None };
        tokio::time::timeout(bound, wait).await.unwrap_or_else(|_| Err(timed_out()))
    }
}
