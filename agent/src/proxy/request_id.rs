//! Request ids: 128 bits in hexadecimal, cheap to make and not to be guessed.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;

use crate::framing::hex;

/// The longest id that is taken over from a trusted proxy.
const FOREIGN_MAX: usize = 128;

/// Makes ids: a keyed hash (SipHash with two random keys) of a counter, so that knowing some ids
/// tells nothing of others, without a system call per request.
#[derive(Debug)]
pub(super) struct RequestIds {
    keys: [RandomState; 2],
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        Self { keys: [RandomState::new(), RandomState::new()], next: AtomicU64::new(0) }
    }

    pub(super) fn next(&self) -> HeaderValue {
        let mut text = [0; 32];
        for (half, random) in text.chunks_exact_mut(16).zip(self.random()) {
            hex(&random.to_be_bytes(), half);
        }
        // Digits are always good in a header.
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("unknown"))
    }

    /// Two numbers that nobody can foretell.
    pub(super) fn random(&self) -> [u64; 2] {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        self.keys.each_ref().map(|key| key.hash_one(count))
    }
}

/// Whether `id` may be taken over: visible, short, and harmless in a log.
pub(super) fn is_valid(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    let harmless = |b: &u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=')
    };
    !id.is_empty() && id.len() <= FOREIGN_MAX && id.iter().all(harmless)
}
