//! Whether a token that somebody shows is right, at a price that nobody can drive up.
//!
//! ```text
//! text → id known? → check of the secret → expired? → verified a moment ago? ──────► in
//!          no │            wrong │                        no │
//!             ▼                  ▼                           ▼ one per token, one per core, few waiting
//!        failures of the address: 401, then 429           argon2 ──► in
//! ```
//! Only who has a secret whose check is right gets as far as argon2, so wrong tokens cost microseconds, however
//! many come. The lock-out concerns wrong tokens alone: a right one is let in from wherever it comes, so that
//! nobody behind the same address or proxy can lock out an administrator. Guessing 256 bits is hopeless
//! with and without a lock-out; it saves work, and shows in the counters and events who tries.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tenement_wire::TokenId;
use tenement_wire::events::{Event, EventKind};

use super::held::{Held, Lapse};
use super::{ManageError, Tokens, internal};
use crate::token::{Grant, Secret, Token, hash};

/// Hashes that are waited for at once.
pub(super) const WAITING_MAX: usize = 64;
/// How long one is waited for.
const WAIT: Duration = Duration::from_secs(10);

/// Since the agent started.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub cached: AtomicU64,
    pub hashed: AtomicU64,
    pub refused: AtomicU64,
    pub locked: AtomicU64,
    pub busy: AtomicU64,
    pub hashes: AtomicU64,
}

/// What a right token gives.
#[derive(Debug, Clone)]
pub struct Verified {
    /// What its holder may do.
    pub grant: Arc<Grant>,
    /// When that ends.
    pub lapse: Lapse,
}

/// Why a token was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is none, or not of this agent, or revoked.
    #[error("this token is not known")]
    Wrong,
    /// It was right, and its time is over.
    #[error("this token has expired")]
    Expired,
    /// The address has shown too many wrong ones, and here is another.
    #[error("too many wrong tokens came from your address")]
    Locked {
        /// When the next is looked at.
        retry_after: Duration,
    },
    /// Too many are being checked.
    #[error("too many tokens are being checked right now")]
    Busy,
    /// It could not be checked.
    #[error(transparent)]
    Failed(ManageError),
}

impl Tokens {
    /// Checks a token that `from` shows.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn verify(&self, text: &str, from: IpAddr) -> Result<Verified, Refused> {
        let Ok(token) = Token::parse(text) else { return Err(self.wrong(from, None)) };
        let held = self.read().get(&token.id).cloned();
        // An id that is not known takes as long as a secret that is wrong.
        let check = held.as_ref().map_or([0; hash::CHECK_LEN], |held| held.secret.check);
        let passes = hash::passes(&token.secret, &check);
        let Some(held) = held.filter(|_| passes) else {
            return Err(self.wrong(from, Some(&token.id)));
        };
        if held.expired((self.clocks.wall_ms)()) {
            self.counters.refused.fetch_add(1, Relaxed);
            return Err(Refused::Expired);
        }
        let mac = self.mac(&token.secret);
        if held.is_fresh(&mac, (self.clocks.steady)()) {
            self.counters.cached.fetch_add(1, Relaxed);
        } else if self.hash_matches(&held, token.secret, mac).await? {
            self.counters.hashed.fetch_add(1, Relaxed);
            let mut lockouts = self.lockouts.lock().unwrap_or_else(PoisonError::into_inner);
            lockouts.succeeded(from, &token.id);
        } else {
            return Err(self.wrong(from, Some(&token.id)));
        }
        if held.has_ended() {
            // Revoked while it was being hashed.
            return Err(self.wrong(from, Some(&token.id)));
        }
        self.note_use(&held);
        Ok(self.verified(&held))
    }

    pub(super) fn verified(&self, held: &Held) -> Verified {
        Verified { grant: held.grant.clone(), lapse: held.lapse(&self.clocks) }
    }

    /// Runs `work`, which hashes, when a core is free for it. None if too many wait for that already, or it
    /// takes too long.
    pub(super) async fn hash_when_possible<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let _place = self.waiting.try_acquire().ok()?;
        let turn = tokio::time::timeout(WAIT, self.hashing.clone().acquire_owned());
        let turn = turn.await.ok()?.ok()?;
        self.counters.hashes.fetch_add(1, Relaxed);
        let done = tokio::task::spawn_blocking(move || {
            // Given back when the work is done, even if whoever asked has gone.
            let _turn = turn;
            work()
        });
        done.await.ok()
    }

    async fn hash_matches(
        &self,
        held: &Arc<Held>,
        secret: Secret,
        mac: [u8; 32],
    ) -> Result<bool, Refused> {
        let alone = tokio::time::timeout(WAIT, held.hashing.lock());
        let Ok(_alone) = alone.await else { return Err(self.busy()) };
        // Somebody else may have shown it meanwhile.
        if held.is_fresh(&mac, (self.clocks.steady)()) {
            return Ok(true);
        }
        let one = held.clone();
        let matches = move || hash::matches(&secret, &one.secret.hash);
        let matches = self.hash_when_possible(matches).await.ok_or_else(|| self.busy())?;
        let matches = matches.map_err(|error| Refused::Failed(internal(error)))?;
        if matches {
            held.freshen(mac, (self.clocks.steady)());
        }
        Ok(matches)
    }

    fn busy(&self) -> Refused {
        self.counters.busy.fetch_add(1, Relaxed);
        Refused::Busy
    }

    /// Notes a wrong token of `from`, or that it is not listened to.
    fn wrong(&self, from: IpAddr, id: Option<&TokenId>) -> Refused {
        let now = (self.clocks.steady)();
        let mut lockouts = self.lockouts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(retry_after) = lockouts.remaining(from, id, now) {
            self.counters.locked.fetch_add(1, Relaxed);
            return Refused::Locked { retry_after };
        }
        let lock = lockouts.failed(from, id, now);
        drop(lockouts);
        self.counters.refused.fetch_add(1, Relaxed);
        if let Some(lock) = lock {
            self.locked_out(from, id, lock);
        }
        Refused::Wrong
    }

    /// A lock-out begins. They grow, so one address makes few of these.
    fn locked_out(&self, from: IpAddr, id: Option<&TokenId>, lock: Duration) {
        let id = id.map_or_else(String::new, |id| format!(" with the id {id}"));
        log::warn!(
            "wrong tokens{id} come from {from}: more of them are not listened to for {} s",
            lock.as_secs()
        );
        if let Some(events) = &self.events {
            let seconds = lock.as_secs();
            let message = format!("wrong tokens{id} come from {from}: locked out for {seconds} s");
            let event = Event::new(EventKind::Lockout, message);
            events.record(
                event.with("address", from.to_string()).with("seconds", seconds.to_string()),
            );
        }
    }

    /// The keyed hash under which a verified secret is remembered.
    fn mac(&self, secret: &Secret) -> [u8; 32] {
        let mut mac =
            <Hmac<Sha256>>::new_from_slice(&self.key).expect("a key of any length will do");
        mac.update(secret.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Notes a use, and in a while writes it down. The request does not wait for that.
    fn note_use(&self, held: &Held) {
        let now = (self.clocks.wall_ms)();
        if held.used(now)
            && let Some(store) = self.store.clone()
        {
            let id = held.grant.id.clone();
            tokio::spawn(async move {
                if let Err(error) = store.token_used(id, now).await {
                    log::warn!("the last use of a token could not be written down: {error}");
                }
            });
        }
    }
}
