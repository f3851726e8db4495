//! Floor 1: strict HTTP/1.1 framing, as scanners without I/O.
//!
//! A scanner is shown every byte before hyper is, and refuses what two parsers could understand
//! differently (RFC 9112 sections 2.2, 3.2, 5.1, 5.2, 6.1, 6.3, 7.1 and 11.2). It tracks where
//! messages begin and end, skips bodies by count, and keeps nothing but the current partial line.
//!
//! ```text
//! bytes ─► RequestScanner ─► good up to here ─► hyper ─► service ─► hyper ─► ResponseScanner ◄─ bytes
//! ```
//!
//! It does not build header maps, decode bodies or judge what a request means.

mod body;
mod chars;
mod cookie;
mod field;
mod frames;
pub mod host;
mod line;
mod origin;
mod reason;
mod request;
mod response;
mod trace;
mod visitor;

pub use cookie::cookie;
pub use frames::FrameMeter;
pub use origin::is_own_origin;
pub use reason::Reason;
pub use request::{Phase, Rejected, RequestLimits, RequestScanner};
pub use response::ResponseScanner;
pub use trace::{TRACEPARENT_LEN, TraceParent, hex, unhex};
pub use visitor::{Visitor, visitor};
