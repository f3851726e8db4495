//! Floor 4: the management API on the admin socket (axum).
//!
//! ```text
//! accept → who connects? (SO_PEERCRED) → request id → route → may they? → input, every bad field at once
//!        → Management, in a task of its own → JSON, or one problem+json made in one place
//! ```
//!
//! It knows HTTP and nothing else: what a verb does is behind [`crate::flows::Management`]. Whoever may
//! connect to the socket may do everything; others need a token ([`guard`]).

mod access;
mod alerts;
mod audit;
mod backups;
mod bounds;
mod codes;
mod cron;
mod dashboard;
mod deploys;
mod document;
mod domains;
mod drain;
mod etag;
mod events;
mod exclusive;
mod gate;
mod guard;
mod health;
mod host;
mod idempotency;
mod input;
mod instances;
mod lapse;
mod logs;
mod metrics;
mod peer;
mod problem;
mod refusals;
mod releases;
mod remote;
mod routes;
mod rows;
mod run;
mod scrape;
mod seats;
mod secrets;
mod serve;
mod session;
mod sse;
mod strict;
mod tls;
mod tokens;
mod totp;
mod trace;
mod verbs;
mod wait;

pub use access::{Caller, Where};
pub use codes::CODES;
pub use document::Document;
pub use guard::{FILTERED, Need, Rules};
pub use idempotency::ShownOnce;
pub use peer::{Access, Peer};
pub use remote::{AskedHost, Remote};
pub use routes::{Services, router_with};
pub use serve::serve;
pub use trace::RequestId;
