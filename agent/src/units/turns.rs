//! One instance's verbs run one after another; those of different instances don't wait for each other. The same
//! holds for releases of a process.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

type Map<K> = Mutex<HashMap<K, Arc<Semaphore>>>;

#[derive(Debug, Clone)]
pub(super) struct Turns<K>(Arc<Map<K>>);

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// The right to act on one of them, until dropped.
pub(super) struct Turn<K: Eq + Hash> {
    map: Arc<Map<K>>,
    name: K,
    permit: Option<OwnedSemaphorePermit>,
}

impl<K: Eq + Hash + Clone> Turns<K> {
    /// Waits until nobody else acts on `name`.
    pub(super) async fn take(&self, name: &K) -> Turn<K> {
        let queue = {
            let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            map.entry(name.clone()).or_insert_with(|| Arc::new(Semaphore::new(1))).clone()
        };
        // Made before the wait, so that a caller who gives up while waiting tidies up too.
        let mut turn = Turn { map: self.0.clone(), name: name.clone(), permit: None };
        // The semaphore is never closed, so there is always a permit in the end.
        turn.permit = queue.acquire_owned().await.ok();
        turn
    }
}

impl<K: Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        drop(self.permit.take());
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        if map.get(&self.name).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            map.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tenement_wire::InstanceName;

    #[tokio::test]
    async fn verbs_of_one_instance_exclude_each_other_and_leave_nothing() {
        let (turns, inside) = (Turns::default(), Arc::new(AtomicU32::new(0)));
        let name: InstanceName = "api:prod".parse().unwrap();
        let tasks = (0..50).map(|_| {
            let (turns, name, inside) = (turns.clone(), name.clone(), inside.clone());
            tokio::spawn(async move {
                let _turn = turns.take(&name).await;
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert!(turns.0.lock().unwrap().is_empty());
    }
}
