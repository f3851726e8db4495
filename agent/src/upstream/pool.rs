//! Idle keep-alive connections to one instance.

use std::sync::Mutex;

/// Idle connections, newest last.
#[derive(Debug, Default)]
pub struct Pool(Mutex<Vec<()>>);

impl Pool {
    /// Drops every idle connection: before a stop, so that none of them is used across it.
    pub fn clear(&self) {
        self.0.lock().expect("no panic while held").clear();
    }
}
