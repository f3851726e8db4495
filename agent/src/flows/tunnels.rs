//! Tunnels: WebSockets and other connections that have left HTTP, and those of them that were told to end.
//!
//! They last for hours, so that a stop which waited for them while requests wait for the stop would always take all
//! the time that it may. Before a replacement they are given notice and have their time while requests go on; after
//! that only answers under way are waited for.

use std::sync::{Arc, Mutex, PoisonError};

/// Open tunnels of an instance.
#[derive(Debug, Default)]
pub(super) struct Tunnels(Mutex<Option<Tunnel>>);

/// Belongs to one open tunnel.
pub(super) type Tunnel = Arc<()>;

/// Tunnels that were given notice.
#[derive(Debug, Default)]
pub(super) struct Notice(Tunnel);

impl Tunnels {
    /// One more.
    pub(super) fn open(&self) -> Tunnel {
        self.lock().get_or_insert_default().clone()
    }

    /// Gives notice to all that are open now.
    pub(super) fn give_notice(&self) -> Notice {
        Notice(self.lock().take().unwrap_or_default())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Tunnel>> {
        // Nothing is half done while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notice {
    /// How many of them are still open.
    pub(super) fn open(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_counts_those_that_were_open_and_no_later_ones() {
        let tunnels = Tunnels::default();
        assert_eq!(tunnels.give_notice().open(), 0);
        let (one, two) = (tunnels.open(), tunnels.open());
        let notice = tunnels.give_notice();
        let later = tunnels.open();
        assert_eq!(notice.open(), 2);
        drop((one, later));
        assert_eq!(notice.open(), 1);
        drop(two);
        assert_eq!(notice.open(), 0);
    }
}
