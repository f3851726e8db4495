//! Secrets of an instance: their names, and what may be said of them. Never their values.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest value of one secret, in bytes. systemd 252 reads an encrypted credential from a file of
/// at most 1 MiB in Base64.
pub const SECRET_MAX: usize = 512 * 1024;
/// All secrets of an instance together, in bytes: systemd hands a unit 1 MiB of credentials at most,
/// their names included (`CREDENTIALS_TOTAL_SIZE_MAX`).
pub const SECRETS_TOTAL_MAX: u64 = 1_000_000;
/// All credentials of a unit together, those of the config included (`CREDENTIALS_TOTAL_SIZE_MAX` of
/// systemd 252 and 257).
pub const CREDENTIALS_TOTAL_MAX: u64 = 1024 * 1024;
/// Why [`SECRET_MAX`], and what to do: for people who are over it.
pub const TOO_LONG: &str = "a secret has at most 524288 bytes (512 KiB), for systemd 252 reads no longer ones \
    encrypted: keep large files in the data directory, or the key of an encrypted one as the secret";
/// The longest name, in bytes.
pub const NAME_MAX: usize = 100;

/// The name of a secret: 1 to 100 letters, digits, `_`, `-` and `.`, not beginning with `.`. Each is a
/// valid credential for systemd (systemd.exec(5), `LoadCredential=`) and a valid file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

/// Why a text is no name of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the name of a secret: use 1 to 100 letters, digits, `_`, `-` or `.`, and no `.` at the beginning"
)]
pub struct SecretNameError(String);

impl SecretName {
    /// Takes `text` if it is one.
    ///
    /// # Errors
    /// [`SecretNameError`] if it is none.
    pub fn new(text: &str) -> Result<Self, SecretNameError> {
        let known = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
        let good = (1..=NAME_MAX).contains(&text.len())
            && !text.starts_with('.')
            && text.bytes().all(known);
        if good {
            return Ok(Self(text.to_owned()));
        }
        Err(SecretNameError(text.chars().take(NAME_MAX).flat_map(char::escape_default).collect()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretName {
    type Err = SecretNameError;
    fn from_str(text: &str) -> Result<Self, SecretNameError> {
        Self::new(text)
    }
}

impl TryFrom<String> for SecretName {
    type Error = SecretNameError;
    fn try_from(text: String) -> Result<Self, SecretNameError> {
        Self::new(&text)
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What may be known of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SecretView {
    /// Its name, which is that of its file in `$CREDENTIALS_DIRECTORY`.
    pub name: SecretName,
    /// Bytes that it takes on disk: more than the value has, where it is encrypted.
    pub stored_bytes: u64,
    /// When it was set, in Unix milliseconds.
    pub set_ms: u64,
    /// Whether it lies on disk encrypted with this host's key (systemd-creds(1)).
    pub encrypted: bool,
}

/// Answer of the API about the secrets of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SecretList {
    /// In order of name.
    pub secrets: Vec<SecretView>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_file_name_and_a_credential_and_nothing_else() {
        for good in ["API_KEY", "tls.key", "a", "db-password", &"x".repeat(NAME_MAX)] {
            assert!(SecretName::new(good).is_ok(), "{good:?}");
        }
        let long = "x".repeat(NAME_MAX + 1);
        for bad in ["", ".", "..", ".x", "a/b", "a:b", "a b", "%n", "a\n", "é", long.as_str()] {
            assert!(SecretName::new(bad).is_err(), "{bad:?}");
        }
    }
}
