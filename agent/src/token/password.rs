//! Passwords that people choose, hashed by argon2id or bcrypt as other tools write them.

use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};

/// Whether `hash` is that of `password`. It takes tens of milliseconds: never in an async task. A hash that can't be
/// used is nobody's.
#[must_use]
pub fn matches(password: &[u8], hash: &str) -> bool {
    if !hash.starts_with("$argon2id$") {
        return bcrypt::verify(password, hash).unwrap_or(false);
    }
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    // The parameters are the hash's own; these are only where none stand.
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default())
        .verify_password(password, &hash)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_htpasswd_and_argon2_are_understood() {
        // htpasswd -nbB -C 4 alice sesame
        let bcrypt = bcrypt::hash_with_salt("sesame", 4, [7; 16]).unwrap();
        let bcrypt = bcrypt.format_for_version(bcrypt::Version::TwoY);
        assert!(bcrypt.starts_with("$2y$04$"), "{bcrypt}");
        assert!(matches(b"sesame", &bcrypt) && !matches(b"Sesame", &bcrypt));
        let argon2 =
            crate::token::hash::hash(&crate::token::Secret::new([7; 32]), &[1; 16]).unwrap();
        assert!(matches(crate::token::Secret::new([7; 32]).as_bytes(), &argon2.hash));
        assert!(!matches(b"other", &argon2.hash));
        assert!(!matches(b"x", "$argon2id$nonsense") && !matches(b"x", "$2y$nonsense"));
    }
}
