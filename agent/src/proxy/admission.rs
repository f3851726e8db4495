//! How many connections there may be, in total and per client address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Limits;

/// Counts open connections.
#[derive(Debug, Default)]
pub(super) struct Admission {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    open: AtomicUsize,
    per_client: Mutex<HashMap<IpAddr, usize>>,
}

/// One admitted connection, until dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    shared: Arc<Shared>,
    client: IpAddr,
}

impl Admission {
    pub(super) fn open(&self) -> usize {
        self.shared.open.load(Ordering::Acquire)
    }

    /// Counts a connection from `peer`, unless that is one too many. `limited` is false for trusted
    /// proxies, behind which many clients share an address.
    pub(super) fn admit(&self, peer: IpAddr, limits: &Limits, limited: bool) -> Option<Admitted> {
        let client = client_of(peer);
        if self.shared.open.fetch_add(1, Ordering::AcqRel) >= limits.connections {
            self.shared.open.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        let mut per_client = self.shared.lock();
        let count = per_client.entry(client).or_default();
        *count += 1;
        let over = limited && *count > limits.connections_per_client;
        drop(per_client);
        // Dropping the guard takes back what was counted.
        let admitted = Admitted { shared: self.shared.clone(), client };
        (!over).then_some(admitted)
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Counting cannot panic half way, so a poisoned lock still holds true counts.
        self.per_client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::AcqRel);
        let mut per_client = self.shared.lock();
        if let Some(count) = per_client.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                per_client.remove(&self.client);
            }
        }
    }
}

/// Who counts as one client: an IPv4 address, or an IPv6 /64, which is what one host is given.
fn client_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => {
            let prefix = u128::from(v6) >> 64 << 64;
            IpAddr::V6(prefix.into())
        }
        v4 => v4,
    }
}
