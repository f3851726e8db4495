//! Floor 4: the management API on the admin socket (axum).
//!
//! ```text
//! accept → who connects? (SO_PEERCRED) → request id → route → input, every bad field at once
//!        → Management, in a task of its own → JSON, or one problem+json made in one place
//! ```
//!
//! It knows HTTP and nothing else: what a verb does is behind [`crate::flows::Management`]. It does
//! not check tokens; whoever may connect to the socket may do everything.

mod audit;
mod bounds;
mod codes;
mod document;
mod events;
mod host;
mod input;
mod instances;
mod logs;
mod peer;
mod problem;
mod routes;
mod secrets;
mod serve;
mod trace;
mod verbs;

pub use codes::CODES;
pub use document::Document;
pub use peer::{Access, Peer};
pub use routes::{router, router_with, router_with_logs};
pub use serve::serve;
pub use trace::RequestId;
