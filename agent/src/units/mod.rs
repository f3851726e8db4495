//! Floor 2: builds unit pairs from root-owned config, and the agent's client for that.
//!
//! ```text
//!   tenementd ── Client::Bus ── D-Bus org.tenement.Units1 ──► tenement-unitd (root) ─► Builder ─► systemd
//!   tenementd --user ── Client::Local ──────────────────────────────────────────────► Builder ─► systemd --user
//! ```
//!
//! A caller names a process, an id and a port; everything else comes from files that only root can
//! write. Every verb is idempotent, and one instance's verbs run one after another.
//!
//! It does *not* decide when an instance runs, and it keeps no state that systemd or the file system
//! has: whether a pair is loaded, and of which revision, is asked of systemd each time.

mod accounts;
mod archive;
mod builder;
mod client;
mod dirs;
mod envfile;
mod error;
pub mod flag;
mod interface;
mod limits;
mod measure;
mod place;
mod program;
mod purge;
mod recipe;
mod reclaim;
mod release;
mod seal;
mod secrets;
mod source;
mod task;
mod timers;
mod turns;
mod uids;
mod verbs;

pub use builder::{Builder, Loaded};
pub use client::Client;
pub use error::UnitsError;
pub use interface::{OBJECT_PATH, SERVICE_NAME};
pub use place::Place;
pub use seal::Sealed;
pub use source::Source;

/// User id of a user of the host, by `passwd` in `etc`.
#[must_use]
pub fn user_id(etc: &std::path::Path, name: &str) -> Option<u32> {
    accounts::user(etc, name).map(|(uid, _)| uid)
}

#[cfg(test)]
mod tests;
