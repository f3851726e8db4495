//! The log index: what instances print, from journald into something that finds any line in milliseconds.
//!
//! The modules stand on floors, and `use` only points down (a test proves it):
//! 1 pure: [`line`], [`query`], [`search`], [`shape`], [`token`], [`when`] · 2 edges: [`index`], [`journal`] ·
//! 3 flow: [`indexer`].
//!
//! ```text
//!  journald ──► journal (libsystemd, own thread) ──► indexer ──► index (SQLite, a file per day)
//!                                                        └─────► live hub ──► streams
//!  query ──► index: blocks by token, hits verified against the text; then the unflushed tail
//! ```

pub mod index;
pub mod indexer;
pub mod journal;
pub mod line;
pub mod query;
pub mod search;
pub mod shape;
pub mod token;
pub mod when;
