//! How many calls are under way.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Calls under way at once; more wait. The bus lets one caller have 128.
const CALLS: u32 = 256;

/// Counts the calls that are under way.
#[derive(Debug, Clone)]
pub(super) struct Calls(Arc<Semaphore>);

impl Calls {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(CALLS as usize)))
    }

    pub(super) async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        self.0.acquire().await.ok()
    }

    /// Waits until none is under way; `false` if that takes longer than `bound`.
    pub(super) async fn drained(&self, bound: Duration) -> bool {
        tokio::time::timeout(bound, self.0.acquire_many(CALLS)).await.is_ok()
    }
}
