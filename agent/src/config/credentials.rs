//! Secrets that instances of a process get as systemd credentials.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::node::Fields;
use super::problems::Problems;

/// The keys of a process.
pub(super) const KEYS: [&str; 1] = ["credentials"];

/// `[process.X.credentials]`: name to the root-owned file that holds it.
pub type Credentials = BTreeMap<String, PathBuf>;

/// Reads what `fields` says.
pub(super) fn read(fields: &Fields, _problems: &mut Problems) -> Credentials {
    let _ = fields;
    Credentials::new()
}
