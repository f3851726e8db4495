//! The signature of what is posted: `t=SECONDS,v1=HEX`, where HEX is HMAC-SHA256 over `SECONDS.BODY`.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Header that has it.
pub const SIGNATURE: &str = "tenement-signature";

/// Signs `body` as of `now`, in Unix seconds.
#[must_use]
pub fn sign(secret: &[u8], now: u64, body: &[u8]) -> String {
    let mut text = format!("t={now},v1=");
    for byte in mac(secret, now, body).finalize().into_bytes() {
        // Writing into a string can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Whether `signature` is that of `body`, and not older or newer than `tolerance` seconds: what a receiver does.
#[must_use]
pub fn verify(secret: &[u8], signature: &str, body: &[u8], now: u64, tolerance: u64) -> bool {
    let part = |name: &str| signature.split(',').find_map(|part| part.strip_prefix(name));
    let Some(time) = part("t=").and_then(|time| time.parse::<u64>().ok()) else { return false };
    let Some(hex) = part("v1=").filter(|hex| hex.len() == 64 && hex.is_ascii()) else {
        return false;
    };
    let bytes: Option<Vec<u8>> =
        (0..32).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()).collect();
    let Some(bytes) = bytes else { return false };
    // In constant time, so that it can't be found byte by byte.
    time.abs_diff(now) <= tolerance && mac(secret, time, body).verify_slice(&bytes).is_ok()
}

fn mac(secret: &[u8], time: u64, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(time.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}
