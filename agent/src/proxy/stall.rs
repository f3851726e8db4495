//! Clients of HTTP/2 that take nothing.
//!
//! hyper asks a body for more only when the client's window has room, so that the body's own time limit does not
//! run while the client takes nothing; and the connection lives on as long as pings are answered. So each stream is
//! watched from outside: one whose client took nothing for a while is dropped, which resets it and lets its instance go.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::rt::Executor;

use crate::flows::instance::mono_us;

tokio::task_local! {
    /// Since when the stream of this task waits for its client, in microseconds; 0 while it is not the client's turn.
    static WAITS: Arc<AtomicU64>;
}

/// Runs the streams of a connection.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    /// How long a client may take nothing; zero: for ever.
    pub(super) patience: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Watched {
    fn execute(&self, stream: F) {
        if self.patience.is_zero() {
            tokio::spawn(stream);
        } else {
            tokio::spawn(watch(stream, self.patience));
        }
    }
}

async fn watch(stream: impl Future<Output = ()>, patience: Duration) {
    let waits = Arc::new(AtomicU64::new(0));
    let mut stream = pin!(WAITS.scope(waits.clone(), stream));
    let mut look = patience;
    loop {
        // The stream is polled first, so that one that ends at once costs no timer.
        if tokio::time::timeout(look, stream.as_mut()).await.is_ok() {
            return;
        }
        let since = waits.load(Ordering::Relaxed);
        let waited = Duration::from_micros(mono_us().saturating_sub(since));
        look = match since {
            0 => patience,
            _ if waited < patience => patience - waited,
            _ => {
                log::debug!("a client takes nothing: its stream is reset");
                return;
            }
        };
    }
}

/// The answer's head is there: what follows is the client's to take.
pub(super) fn begins() {
    polled(true);
}

/// The body was asked for more, and had something or not. Without an effect where streams are not watched.
pub(super) fn polled(had: bool) {
    let _ = WAITS.try_with(|waits| {
        waits.store(if had { mono_us().max(1) } else { 0 }, Ordering::Relaxed);
    });
}
