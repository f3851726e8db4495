//! Basic authentication (RFC 7617), at a price that nobody can drive up.
//!
//! A password is hashed once and remembered for a while by a keyed hash, so that a page with fifty images costs one
//! hash. Hashes run on a bounded pool, few at a time, and only for names that the config knows; who has given
//! too many wrong ones waits.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, header};
use sha2::Sha256;
use tokio::sync::Semaphore;

use super::super::error::Failure;
use crate::config::BasicUser;
use crate::flows::instance::mono_ms;
use crate::routes::Rules;
use crate::token::{Lockouts, password};

/// How long a password is remembered as right.
const MEMORY_MS: u64 = 60_000;
/// Passwords that are remembered.
const REMEMBERED_MAX: usize = 4096;
/// Hashes that are waited for, and for how long.
const WAITING_MAX: usize = 32;
const WAIT: Duration = Duration::from_secs(5);
/// Longest `name:password`, in bytes.
const TEXT_MAX: usize = 512;

/// Checks passwords for all processes.
pub struct Doorman {
    /// Of no use to who reads the memory of another run. None: the kernel gave no random bytes, and nothing is
    /// remembered.
    key: Option<[u8; 32]>,
    right: Mutex<HashMap<[u8; 32], u64>>,
    hashing: Arc<Semaphore>,
    waiting: Semaphore,
    lockouts: Mutex<Lockouts>,
}

impl std::fmt::Debug for Doorman {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doorman").finish_non_exhaustive()
    }
}

impl Default for Doorman {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut key = [0; 32];
        let key = getrandom::fill(&mut key).is_ok().then_some(key);
        Self {
            key,
            right: Mutex::default(),
            hashing: Arc::new(Semaphore::new(cores.div_ceil(2))),
            waiting: Semaphore::new(WAITING_MAX),
            lockouts: Mutex::default(),
        }
    }
}

impl Doorman {
    /// Whether the request holds the name and password of one of the process's users.
    pub(in super::super) async fn knows(
        &self,
        rules: &Rules,
        headers: &HeaderMap,
        from: IpAddr,
    ) -> Result<bool, Failure> {
        let Some((name, password)) = credentials(headers) else { return Ok(false) };
        let user = rules.policy.users.iter().find(|user| user.name == name);
        // A name that nobody has is hashed for nothing: else it would be told from one that somebody has.
        let user = user.or(rules.policy.users.first());
        let Some(user) = user else { return Ok(false) };
        let known = user.name == name;
        let mac = self.mac(user, &password);
        let now = mono_ms();
        if known && mac.is_some_and(|mac| self.remembers(&mac, now)) {
            return Ok(true);
        }
        let elapsed = Duration::from_millis(now);
        let locked = self.lockouts().remaining(from, None, elapsed);
        if let Some(left) = locked {
            return Err(Failure::TooFast(left));
        }
        let matches = self.hash(user.hash.clone(), password).await?;
        if known && matches {
            if let Some(mac) = mac {
                self.remember(mac, mono_ms());
            }
            return Ok(true);
        }
        self.lockouts().failed(from, None, elapsed);
        Ok(false)
    }

    async fn hash(&self, hash: String, password: Vec<u8>) -> Result<bool, Failure> {
        let Ok(_place) = self.waiting.try_acquire() else { return Err(Failure::AuthBusy) };
        let turn = tokio::time::timeout(WAIT, self.hashing.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Failure::AuthBusy) };
        let hashed = tokio::task::spawn_blocking(move || {
            // Given back when the work is done, even if whoever asked has gone.
            let _turn = turn;
            password::matches(&password, &hash)
        });
        hashed.await.map_err(|_| Failure::AuthBusy)
    }

    fn lockouts(&self) -> std::sync::MutexGuard<'_, Lockouts> {
        self.lockouts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of the hash too: a password that was changed is forgotten.
    fn mac(&self, user: &BasicUser, password: &[u8]) -> Option<[u8; 32]> {
        let mut mac = <Hmac<Sha256>>::new_from_slice(&self.key?).ok()?;
        mac.update(user.hash.as_bytes());
        mac.update(&[0]);
        mac.update(password);
        Some(mac.finalize().into_bytes().into())
    }

    fn remembers(&self, mac: &[u8; 32], now: u64) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.get(mac).is_some_and(|until| *until > now)
    }

    fn remember(&self, mac: [u8; 32], now: u64) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= REMEMBERED_MAX {
            right.retain(|_, until| *until > now);
        }
        if right.len() < REMEMBERED_MAX {
            right.insert(mac, now + MEMORY_MS);
        }
    }
}

/// Name and password of `Authorization: Basic …`.
fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|value| value.len() <= 2 * TEXT_MAX)?.as_bytes();
    if values.next().is_some() {
        return None;
    }
    let (scheme, text) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let text = decode(text.trim_ascii()).filter(|text| text.len() <= TEXT_MAX)?;
    let at = memchr::memchr(b':', &text)?;
    let name = String::from_utf8(text[..at].to_vec()).ok()?;
    Some((name, text[at + 1..].to_vec()))
}

/// Base64 (RFC 4648 section 4), with or without its padding.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|b| *b != b'=').map_or(0, |at| at + 1);
    if text.len() - end > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(end * 3 / 4);
    let (mut held, mut bits) = (0u32, 0);
    for byte in &text[..end] {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = (held << 6) | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    // What is left over must be nothing: two texts must not stand for one password.
    (held == 0 && bits < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_one_reading() {
        assert_eq!(decode(b"YWxpY2U6c2VzYW1l").unwrap(), b"alice:sesame");
        assert_eq!(decode(b"YTpi").unwrap(), b"a:b");
        assert_eq!(decode(b"YTo=").unwrap(), b"a:");
        assert_eq!(decode(b"YQ==").unwrap(), b"a");
        for bad in [&b"YR=="[..], b"Y", b"YQ===", b"Y Q=", b"-_8=", b"=YQ="] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_one_whole_basic_header_counts() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            credentials(&headers)
        };
        assert_eq!(of(&["Basic YTpi"]), Some(("a".into(), b"b".to_vec())));
        assert_eq!(of(&["bASIC YTpiOmM="]), Some(("a".into(), b"b:c".to_vec())));
        assert_eq!(of(&["Bearer YTpi"]), None);
        assert_eq!(of(&["Basic YTpi", "Basic YTpi"]), None);
        assert_eq!(of(&["Basic YWI="]), None, "no colon");
        assert_eq!(of(&[]), None);
    }
}
