//! Waiting for a condition, with a bound.

use std::time::Duration;

use super::support::PATIENCE;

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain until {what}");
}

/// The pace of a played peer that is slow on purpose: part of what is tested, not a wait for it.
pub async fn pace(pause: Duration) {
    tokio::time::sleep(pause).await;
}
