//! One-time codes of authenticator apps: TOTP (RFC 6238) with HMAC-SHA-1, 30 seconds and 6 digits, which is
//! what all of them know.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

/// Bytes of a secret (RFC 4226 section 4: 160 bits are recommended).
pub const TOTP_LEN: usize = 20;
/// Seconds for which a code is good.
const STEP_S: u64 = 30;
const DIGITS: u32 = 6;
/// Steps before and after the present one whose codes are taken: clocks differ, and people type slowly
/// (RFC 6238 section 5.2).
const DRIFT: u64 = 1;

/// The step in which `code` is right at `now_s` (Unix seconds), if it is and comes after `last`: a code is
/// good once.
#[must_use]
pub fn verify(secret: &[u8], code: &str, now_s: u64, last: u64) -> Option<u64> {
    let now = now_s / STEP_S;
    let mut found = None;
    for step in now.saturating_sub(DRIFT)..=now.saturating_add(DRIFT) {
        let right: bool = code_at(secret, step, DIGITS).as_bytes().ct_eq(code.as_bytes()).into();
        if right && step > last && found.is_none() {
            found = Some(step);
        }
    }
    found
}

/// The code that an authenticator app shows at `now_s` (Unix seconds).
#[must_use]
pub fn code(secret: &[u8], now_s: u64) -> String {
    code_at(secret, now_s / STEP_S, DIGITS)
}

/// The code of a step (RFC 4226 section 5.3).
fn code_at(secret: &[u8], step: u64, digits: u32) -> String {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret) else { return String::new() };
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let offset = usize::from(hash[hash.len() - 1] & 15);
    let bytes = [hash[offset], hash[offset + 1], hash[offset + 2], hash[offset + 3]];
    let number = (u32::from_be_bytes(bytes) & 0x7fff_ffff) % 10_u32.pow(digits);
    format!("{number:0width$}", width = digits as usize)
}

/// What an authenticator app reads from a QR code
/// (<https://github.com/google/google-authenticator/wiki/Key-Uri-Format>). `account` holds nothing that would
/// have to be escaped.
#[must_use]
pub fn uri(secret: &[u8], issuer: &str, account: &str) -> String {
    format!(
        "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={STEP_S}",
        base32(secret)
    )
}

/// Base32 (RFC 4648 section 6) without padding.
#[must_use]
pub fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::new();
    for chunk in bytes.chunks(5) {
        let mut group = [0; 8];
        group[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(group);
        for n in 0..(chunk.len() * 8).div_ceil(5) {
            text.push(char::from(ALPHABET[(bits >> (35 - 5 * n)) as usize & 31]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn the_test_vectors_of_rfc_6238_appendix_b_hold() {
        let vectors = [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ];
        for (time, code) in vectors {
            assert_eq!(code_at(SECRET, time / STEP_S, 8), code, "{time}");
            assert_eq!(verify(SECRET, &code[2..], time, 0), Some(time / STEP_S));
        }
    }

    #[test]
    fn a_code_is_good_once_and_not_for_long() {
        let code = code_at(SECRET, 1_000, DIGITS);
        let at = |step: u64| step * STEP_S;
        assert_eq!(verify(SECRET, &code, at(1_000), 0), Some(1_000));
        assert_eq!(verify(SECRET, &code, at(1_001), 999), Some(1_000), "a slow clock");
        assert_eq!(verify(SECRET, &code, at(999), 0), Some(1_000), "a fast clock");
        assert_eq!(verify(SECRET, &code, at(1_000), 1_000), None, "it was used");
        assert_eq!(verify(SECRET, &code, at(1_002), 0), None, "it is over");
        assert_eq!(verify(SECRET, &code, at(998), 0), None);
        for wrong in ["", "00000", "0000000", "abcdef", &format!("{code} ")] {
            assert_eq!(verify(SECRET, wrong, at(1_000), 0), None, "{wrong:?}");
        }
    }

    #[test]
    fn base32_is_that_of_rfc_4648_section_10() {
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
        assert!(uri(SECRET, "tenement", "ci").contains("secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&"));
    }
}
