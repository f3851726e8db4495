//! Floor 2: connections to instances.
//!
//! ```text
//! Pool::take ─► Link ─ exchange(request) ─► response head + body ─► Pool::put (when the body ended)
//!                ├─ Plain: requests without a body, which is nearly all
//!                └─ hyper's client connection from the first other request on, polled by whoever
//!                   holds the link: no task of its own
//! ```
//!
//! This module decides nothing about retries or status codes; it only says what went wrong and
//! whether the request may have reached the instance.

mod answer_body;
mod answer_head;
pub mod check;
mod checked_io;
mod decode;
pub(crate) mod flatten;
pub mod link;
mod plain;
pub mod pool;
mod replay;
pub mod target;
pub(crate) mod timer;
mod upload;

pub use answer_body::{AnswerBody, BrokenBody};
pub use check::{Check, Outcome};
pub use link::{ExchangeError, Link, UploadFault};
pub use pool::Pool;
pub use target::Target;
pub use upload::{UploadBody, UploadError};
