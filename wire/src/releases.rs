//! Releases: immutable directories that instances run from.

mod view;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use view::{
    ReleaseList, ReleaseRemoved, ReleaseSource, ReleaseStatus, ReleaseView, SOURCE_MAX,
};

/// The longest name of a release, in bytes.
pub const RELEASE_NAME_MAX: usize = 63;

/// Why a text names no release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no name of a release: up to {RELEASE_NAME_MAX} of a-z, A-Z, 0-9, `.`, `_`, `+` and `-`, beginning \
     with a letter or a digit and without `..`, such as v2 or 2026-11-21.1"
)]
pub struct ReleaseNameError {
    /// The start of the offending text.
    pub text: String,
}

/// The name of a release within its process. It is the name of its directory, too.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReleaseName(Arc<str>);

impl ReleaseName {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`ReleaseNameError`] says what a name is.
    pub fn new(text: &str) -> Result<Self, ReleaseNameError> {
        let known = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let fits = text.len() <= RELEASE_NAME_MAX && !text.contains("..");
        if begins && fits && text.bytes().all(known) {
            return Ok(Self(text.into()));
        }
        let start: String = text.chars().take(RELEASE_NAME_MAX).collect();
        Err(ReleaseNameError { text: start.escape_default().to_string() })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReleaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ReleaseName {
    type Err = ReleaseNameError;
    fn from_str(text: &str) -> Result<Self, ReleaseNameError> {
        Self::new(text)
    }
}

impl TryFrom<String> for ReleaseName {
    type Error = ReleaseNameError;
    fn try_from(text: String) -> Result<Self, ReleaseNameError> {
        Self::new(&text)
    }
}

impl From<ReleaseName> for String {
    fn from(name: ReleaseName) -> String {
        name.0.as_ref().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_named_by_one_safe_part_of_a_path() {
        for good in ["v2", "2026-11-21.1", "1.0.0+build.5", "A_b", &"a".repeat(63)] {
            assert_eq!(ReleaseName::new(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(64);
        for bad in ["", ".", "..", ".v2", "-v2", "a..b", "a/b", "a b", "a\n", "é", "%i", &long] {
            assert!(ReleaseName::new(bad).is_err(), "{bad:?} was taken");
        }
    }
}
