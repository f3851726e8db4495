//! How secrets are stored: an argon2id hash, and a short check in front of it.
//!
//! A secret has 256 random bits, so that no dictionary helps whoever steals the database; argon2id is what
//! such a thief meets all the same. It is slow by intent, and must not run for everybody who sends a text: the
//! check, a few bytes of the secret's SHA-256, turns a wrong secret away in a microsecond. It gives a thief
//! [`CHECK_LEN`] bytes of 32, which leaves 224 bits to guess, and a client nothing it can use.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::text::Secret;

/// Bytes of the salt (RFC 9106 section 3.1: 16 are recommended).
pub const SALT_LEN: usize = 16;
/// Bytes of the check.
pub const CHECK_LEN: usize = 4;
const HASH_LEN: usize = 32;

/// OWASP Password Storage Cheat Sheet, Argon2id: 19 MiB of memory, 2 passes, 1 lane
/// (<https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>).
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What is stored instead of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The first bytes of the secret's SHA-256.
    pub check: [u8; CHECK_LEN],
    /// argon2id of the secret, as a PHC string (`$argon2id$v=19$m=19456,t=2,p=1$salt$hash`).
    pub hash: String,
}

/// A stored hash that can't be used, or one that could not be computed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the stored hash of a token can't be used: {0}")]
pub struct HashError(String);

impl From<argon2::Error> for HashError {
    fn from(error: argon2::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<argon2::password_hash::Error> for HashError {
    fn from(error: argon2::password_hash::Error) -> Self {
        Self(error.to_string())
    }
}

/// The check of a secret.
#[must_use]
pub fn check(secret: &Secret) -> [u8; CHECK_LEN] {
    let digest = Sha256::digest(secret.as_bytes());
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&digest[..CHECK_LEN]);
    check
}

/// Whether the secret passes the check, in constant time. One that does not is wrong.
#[must_use]
pub fn passes(secret: &Secret, stored: &[u8; CHECK_LEN]) -> bool {
    check(secret).as_slice().ct_eq(stored.as_slice()).into()
}

/// What is stored of a secret. It takes tens of milliseconds and 19 MiB: never in an async task.
///
/// # Errors
/// If there is not enough memory.
pub fn hash(secret: &Secret, salt: &[u8; SALT_LEN]) -> Result<Stored, HashError> {
    let hash: PasswordHash = argon2id()?.hash_password_with_salt(secret.as_bytes(), salt)?;
    Ok(Stored { check: check(secret), hash: hash.to_string() })
}

/// Whether `hash` is that of the secret. It takes as long as [`hash`].
///
/// # Errors
/// If `hash` is none, or there is not enough memory.
pub fn matches(secret: &Secret, hash: &str) -> Result<bool, HashError> {
    let hash = PasswordHash::new(hash).map_err(|error| HashError(error.to_string()))?;
    match argon2id()?.verify_password(secret.as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn argon2id() -> Result<Argon2<'static>, HashError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_LEN))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_matches_its_hash_and_no_other_does() {
        let (right, wrong) = (Secret::new([7; 32]), Secret::new([8; 32]));
        let stored = hash(&right, &[1; SALT_LEN]).unwrap();
        assert!(stored.hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", stored.hash);
        assert!(passes(&right, &stored.check) && !passes(&wrong, &stored.check));
        assert!(matches(&right, &stored.hash).unwrap());
        assert!(!matches(&wrong, &stored.hash).unwrap());
        assert!(matches(&right, "$argon2id$nonsense").is_err());
        assert_ne!(hash(&right, &[2; SALT_LEN]).unwrap().hash, stored.hash);
    }
}
