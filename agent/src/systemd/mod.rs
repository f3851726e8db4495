//! Floor 2: D-Bus to systemd.
//!
//! ```text
//!   Manager ── calls ──► org.freedesktop.systemd1 (PID 1, or the user's manager)
//!      │ current link
//!      ▼
//!   Link (one connection) ── signals ──► one draining task ──► job waiters, watchers
//! ```
//!
//! systemd is the truth: nothing is mirrored here but the ends of jobs that someone waits for and the
//! last reason that a service gave for ending. The bus may go away at any moment; calls then fail with
//! [`SystemdError::Unreachable`], and after a reconnect every watcher gets [`UnitEvent::Resync`].
//!
//! It does *not* decide what a unit looks like (`plan` does), nor when one starts (`flows` do).

mod encode;
mod error;
mod escape;
mod jobs;
mod link;
mod manager;
mod proxy;
mod read;
mod state;
mod status;
mod task;
mod timers;
mod watch;

pub use error::SystemdError;
pub use manager::{Bus, JobResult, Manager};
pub use read::Brief;
pub use state::{ActiveState, UnitEvent, UnitKind, UnitListing, UnitState};
pub use status::ServiceStatus;
pub use task::{JobEnd, Started, Stdio};
pub use timers::TimerState;
