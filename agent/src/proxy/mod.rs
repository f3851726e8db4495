//! Floor 4: the data path, from a client's connection to an instance's and back.
//!
//! ```text
//! serve ─ accept ─► connection ─► GuardIo (framing, deadlines) ─► hyper ─► Proxy::handle
//!                                                                              │
//!     route ─► Tenants::ensure ─► Lease ─► forward (pool, retries) ─► AnswerBody (lease, link)
//! ```
//!
//! Everything about one request happens in its connection's task. The proxy knows neither systemd
//! nor the database: [`crate::flows::Tenants`] is all that it asks.

mod admission;
mod answer;
mod compress;
mod connection;
mod error;
mod flood;
mod forward;
mod forwarded;
#[cfg(any(fuzzing, test))]
mod fuzz;
mod guard_io;
mod handle;
mod headers;
mod lost;
mod metered;
mod outward;
mod policy;
mod preface;
mod record;
mod request_id;
mod root;
mod rules;
mod secure;
mod serve;
mod stage;
mod stall;
mod state;
mod steer;
mod tcp;
mod tracer;
mod tunnel;
mod waiting;
mod way;

pub use answer::ProxyBody;
#[cfg(fuzzing)]
pub use fuzz::check as fuzz_headers;
pub use policy::{Policy, Secure};
pub use root::{Root, RootBody, RootFuture, Visit};
pub use serve::{Door, serve};
pub use state::{Counters, Proxy};
pub use tcp::TcpDoor;
pub use tracer::{Tracer, Watch};
