//! Request ids: 128 bits in hexadecimal, cheap to make and not to be guessed.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;

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
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let mut text = [0; 32];
        for (half, key) in text.chunks_exact_mut(16).zip(&self.keys) {
            let hash = key.hash_one(count).to_be_bytes();
            for (pair, byte) in half.chunks_exact_mut(2).zip(hash) {
                pair[0] = HEX[usize::from(byte >> 4)];
                pair[1] = HEX[usize::from(byte & 15)];
            }
        }
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from(count))
    }
}

static HEX: &[u8; 16] = b"0123456789abcdef";

/// Whether `id` may be taken over: visible, short, and harmless in a log.
pub(super) fn is_valid(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    let harmless = |b: &u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=')
    };
    !id.is_empty() && id.len() <= FOREIGN_MAX && id.iter().all(harmless)
}
