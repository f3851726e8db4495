//! Floor 1: text of config files to validated definitions, every error at once.

pub mod types;

pub use types::{Cidr, Config, Definition, Limits, Listen, Restart, RunAs, Settings};
