//! Floor 5: builds the agent, binds, says READY=1, drains.
//!
//! ```text
//! listeners (systemd's) → config → lock of the state directory → store → bus → adopt what runs → READY=1 → serve → drain
//! ```
//! Whatever happens here, no instance is touched: units and their sockets belong to systemd.

mod backups;
mod begin;
mod check;
mod checks;
mod domains;
mod events;
mod files;
mod listeners;
pub mod logging;
mod logs;
mod loops;
mod metrics;
mod only;
mod paths;
mod root;
mod run;
mod signals;
mod tls;
mod tokens;
mod watching;

pub use check::check;
pub use paths::Places;
pub use run::run;

/// Exit status for a config that can't be used (sysexits.h `EX_CONFIG`).
pub const EXIT_CONFIG: u8 = 78;
