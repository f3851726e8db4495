//! One token in memory.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use subtle::ConstantTimeEq as _;
use tenement_wire::tokens::TokenView;
use tokio::sync::watch;

use super::Clocks;
use crate::store::tokens::StoredToken;
use crate::token::{Grant, Reach, Stored};

/// How long a verified secret is believed without another hash.
const BELIEVED: Duration = Duration::from_secs(60);
/// How often at most the time of use is written to the store.
const NOTE_EVERY_MS: u64 = 60_000;
/// How often an expiry is looked at: the wall clock may be set.
const LOOK: Duration = Duration::from_secs(60);

/// A token that may be shown.
#[derive(Debug)]
pub(super) struct Held {
    pub grant: Arc<Grant>,
    pub secret: Stored,
    /// Held by the one who hashes: those who show the same token meanwhile wait for the outcome.
    pub hashing: tokio::sync::Mutex<()>,
    view: TokenView,
    last_used_ms: AtomicU64,
    noted_ms: AtomicU64,
    fresh: Mutex<Option<Fresh>>,
    ended: watch::Sender<bool>,
}

/// The keyed hash of the secret that was verified last.
#[derive(Debug)]
struct Fresh {
    mac: [u8; 32],
    until: Duration,
}

impl Held {
    /// None if its restrictions make no sense, which the store's own rules exclude.
    pub fn new(stored: StoredToken) -> Option<Self> {
        let StoredToken { view, secret } = stored;
        let Some(reach) = Reach::new(view.process.clone(), view.instance.clone()) else {
            log::error!("token {} has an instance and no process, and is not accepted", view.id);
            return None;
        };
        let (id, name, scope) = (view.id.clone(), view.name.clone(), view.scope);
        let last_used = view.last_used_ms.unwrap_or(0);
        Some(Self {
            grant: Arc::new(Grant { id, name, scope, reach }),
            secret,
            hashing: tokio::sync::Mutex::default(),
            view,
            last_used_ms: AtomicU64::new(last_used),
            noted_ms: AtomicU64::new(last_used),
            fresh: Mutex::default(),
            ended: watch::Sender::new(false),
        })
    }

    pub fn view(&self) -> TokenView {
        let last = self.last_used_ms.load(Relaxed);
        TokenView { last_used_ms: (last > 0).then_some(last), ..self.view.clone() }
    }

    pub fn expired(&self, now_ms: u64) -> bool {
        self.view.expires_ms.is_some_and(|ends| ends <= now_ms)
    }

    /// Whether `mac` is that of the secret, verified not long ago. In constant time.
    pub fn is_fresh(&self, mac: &[u8; 32], now: Duration) -> bool {
        let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        fresh.as_ref().is_some_and(|fresh| {
            fresh.until > now && bool::from(fresh.mac.as_slice().ct_eq(mac.as_slice()))
        })
    }

    pub fn freshen(&self, mac: [u8; 32], now: Duration) {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        *fresh = Some(Fresh { mac, until: now + BELIEVED });
    }

    /// Notes a use. Returns whether it is time to write it down.
    pub fn used(&self, now_ms: u64) -> bool {
        self.last_used_ms.store(now_ms, Relaxed);
        let noted = self.noted_ms.load(Relaxed);
        // A clock that was set back must not stop the notes.
        let due = now_ms.abs_diff(noted) >= NOTE_EVERY_MS;
        due && self.noted_ms.compare_exchange(noted, now_ms, Relaxed, Relaxed).is_ok()
    }

    /// It is revoked, or replaced by another of its id.
    pub fn end(&self) {
        self.ended.send_replace(true);
    }

    pub fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    pub fn lapse(&self, clocks: &Arc<Clocks>) -> Lapse {
        let expires_ms = self.view.expires_ms;
        Lapse { ended: self.ended.subscribe(), also: None, expires_ms, clocks: clocks.clone() }
    }
}

/// Tells when a token ends, for what is still open by then.
#[derive(Clone)]
pub struct Lapse {
    ended: watch::Receiver<bool>,
    also: Option<watch::Receiver<bool>>,
    expires_ms: Option<u64>,
    clocks: Arc<Clocks>,
}

impl Lapse {
    /// The same, which ends too when `also` says so, or at `ends_ms` of the wall clock.
    #[must_use]
    pub fn and(mut self, also: watch::Receiver<bool>, ends_ms: u64) -> Self {
        self.also = Some(also);
        self.expires_ms = Some(self.expires_ms.map_or(ends_ms, |own| own.min(ends_ms)));
        self
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let also = self.also.as_ref().is_some_and(|also| *also.borrow());
        let now = (self.clocks.wall_ms)();
        *self.ended.borrow() || also || self.expires_ms.is_some_and(|ends| ends <= now)
    }

    /// Returns when the token is revoked, gets another secret or expires.
    pub async fn over(mut self) {
        loop {
            let now = (self.clocks.wall_ms)();
            let left = self.expires_ms.map_or(u64::MAX, |ends| ends.saturating_sub(now));
            if left == 0 {
                return;
            }
            tokio::select! {
                _ = self.ended.wait_for(|ended| *ended) => return,
                () = ended(&mut self.also) => return,
                () = tokio::time::sleep(LOOK.min(Duration::from_millis(left))) => {}
            }
        }
    }
}

async fn ended(also: &mut Option<watch::Receiver<bool>>) {
    match also {
        // A sender that is gone means the same.
        Some(also) => drop(also.wait_for(|ended| *ended).await),
        None => std::future::pending().await,
    }
}

impl std::fmt::Debug for Lapse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lapse").field("expires_ms", &self.expires_ms).finish_non_exhaustive()
    }
}
