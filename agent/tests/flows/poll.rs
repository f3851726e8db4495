//! Waiting for a condition, with a bound; and the time that the played systemd takes.

use std::time::Duration;

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain until {what}");
}

/// Something takes this long.
pub async fn takes(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}
