//! Floor 1: tokens of the management API, without I/O and without a clock.
//!
//! ```text
//! text ── Token::parse ──► id, secret ── hash::passes, hash::matches ──► Grant: what, and to which instances
//!                             └── wrong ──► Lockouts: who shows wrong ones
//! ```
//! Where they are kept and who may hash at what time is [`crate::flows::tokens`]'s business.

mod grant;
pub mod hash;
pub mod lockout;
pub mod password;
mod seal;
mod text;
pub mod totp;

pub use grant::{Grant, Reach};
pub use hash::{HashError, Stored};
pub use lockout::Lockouts;
pub use seal::{KEY_LEN, NONCE_LEN, Seal};
pub use text::{NotAToken, SECRET_LEN, Secret, Token};
