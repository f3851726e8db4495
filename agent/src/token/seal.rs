//! The agent's own key: what is sealed with it can't be read, and what is marked with it can't be made, by
//! who has only the database.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Bytes of the key.
pub const KEY_LEN: usize = 32;
/// Bytes of a nonce, which is never used twice.
pub const NONCE_LEN: usize = 12;

/// The key. No formatter shows it.
#[derive(Clone)]
pub struct Seal([u8; KEY_LEN]);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(…)")
    }
}

impl Seal {
    /// From random bytes.
    #[must_use]
    pub fn new(key: [u8; KEY_LEN]) -> Self {
        Self(key)
    }

    /// A keyed hash of `parts` for one `purpose`: HMAC-SHA-256.
    #[must_use]
    pub fn mark(&self, purpose: &str, parts: &[u8]) -> [u8; 32] {
        // A key of any length will do.
        let Ok(mut mac) = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&self.0) else {
            return [0; 32];
        };
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(parts);
        mac.finalize().into_bytes().into()
    }

    /// Seals `plain` for `owner` alone: what was sealed for another can't be put in its place.
    #[must_use]
    pub fn close(&self, owner: &str, plain: &[u8], nonce: [u8; NONCE_LEN]) -> Option<Vec<u8>> {
        let payload = Payload { msg: plain, aad: owner.as_bytes() };
        let sealed = self.cipher().encrypt(&Nonce::from(nonce), payload).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`Self::close`] sealed for `owner`.
    #[must_use]
    pub fn open(&self, owner: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let payload = Payload { msg: sealed, aad: owner.as_bytes() };
        self.cipher().decrypt(&Nonce::from(*nonce), payload).ok()
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        // Not the key of the marks itself: one key, one use.
        ChaCha20Poly1305::new(&Key::from(self.mark("seal", &[])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_owner_with_its_key_only() {
        let seal = Seal::new([1; KEY_LEN]);
        let sealed = seal.close("ci", b"secret", [2; NONCE_LEN]).unwrap();
        assert!(!sealed.windows(6).any(|w| w == b"secret"));
        assert_eq!(seal.open("ci", &sealed).unwrap(), b"secret");
        assert_eq!(seal.open("other", &sealed), None);
        assert_eq!(Seal::new([3; KEY_LEN]).open("ci", &sealed), None);
        let mut changed = sealed.clone();
        changed[NONCE_LEN] ^= 1;
        assert_eq!(seal.open("ci", &changed), None);
        assert_eq!(seal.open("ci", &sealed[..5]), None);
        assert_ne!(seal.mark("a", b"x"), seal.mark("b", b"x"));
        assert!(!format!("{seal:?}").contains('1'));
    }
}
