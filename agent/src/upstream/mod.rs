//! Floor 2: connections to instances.
//!
//! ```text
//! Pool::take ─► Link ─ exchange(request) ─► response head + body ─► Pool::put (when the body ended)
//!                └─ hyper's client connection, polled by whoever holds the link: no task of its own
//! ```
//!
//! This module decides nothing about retries or status codes; it only says what went wrong and
//! whether the request may have reached the instance.

mod checked_io;
pub(crate) mod flatten;
pub mod link;
pub mod pool;
mod replay;
pub mod target;
pub(crate) mod timer;
mod upload;

pub use link::{ExchangeError, Link, UploadFault};
pub use pool::Pool;
pub use target::Target;
pub use upload::{UploadBody, UploadError};
