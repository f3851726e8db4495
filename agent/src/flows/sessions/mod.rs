//! Browser sessions: a cookie that stands for a token, and the second factor of a login.
//!
//! ```text
//! login: token verified ─► second factor, if the token has one ─► 256 random bits ─► cookie
//! request: cookie ─ keyed hash ─► table in memory ─► the token's grant, while the token lives
//! ```
//! The table is in memory, and in the store so that an upgrade logs nobody out. Only hashes are kept.

mod factor;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tenement_wire::TokenId;
use tenement_wire::sessions::BrowserSession;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::ManageError;
use super::tokens::{Clocks, Tokens, Verified};
use crate::store::Store;
use crate::store::sessions::StoredSession;
use crate::token::Seal;
use factor::Factor;
pub use factor::FactorError;

/// A session ends so long after its login.
pub const LASTS: Duration = Duration::from_secs(24 * 3600);
/// A session ends when it was not used for so long.
pub const IDLE: Duration = Duration::from_secs(2 * 3600);
/// Sessions of one token; another login ends the one that was idle longest.
pub const PER_TOKEN: usize = 20;
/// Sessions in all.
const MOST: usize = 10_000;
/// How often at most the time of use is written to the store.
const NOTE_EVERY_MS: u64 = 5 * 60_000;

/// How often sessions are looked through for idle ones.
const SWEEP: Duration = Duration::from_secs(60);

/// What a cookie is kept as.
pub type SessionHash = [u8; 32];

/// The sessions of this agent.
pub struct Sessions {
    /// None: they live as long as the agent.
    store: Option<Store>,
    seal: Seal,
    wall_ms: Box<dyn Fn() -> u64 + Send + Sync>,
    held: Mutex<HashMap<SessionHash, Held>>,
    factors: Mutex<HashMap<TokenId, Factor>>,
    /// One change of a factor is stored at a time.
    saving: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Held {
    verified: Verified,
    created_ms: u64,
    used_ms: u64,
    noted_ms: u64,
    ended: watch::Sender<bool>,
}

/// A session that is good right now.
#[derive(Debug)]
pub struct Live {
    /// What it may do, and when that ends.
    pub verified: Verified,
    /// What it is kept as.
    pub hash: SessionHash,
    /// What its page needs to know.
    pub view: BrowserSession,
}

impl Held {
    fn is_over(&self, now_ms: u64) -> bool {
        let idle = now_ms.saturating_sub(self.used_ms) >= IDLE.as_millis() as u64;
        idle || now_ms >= self.ends_ms() || self.verified.lapse.is_over()
    }

    fn ends_ms(&self) -> u64 {
        self.created_ms.saturating_add(LASTS.as_millis() as u64)
    }

    fn end(self) {
        self.ended.send_replace(true);
    }
}

impl Sessions {
    /// Those in the store whose tokens are still there.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn load(tokens: &Tokens, store: Store, seal: Seal) -> Result<Self, ManageError> {
        let (stored, factors) = store.sessions().await?;
        let mut sessions = Self::in_memory(seal, Clocks::default());
        for factor in factors {
            lock(&sessions.factors).insert(factor.token.clone(), Factor::new(factor));
        }
        let (mut lost, now) = (Vec::new(), (sessions.wall_ms)());
        for StoredSession { hash, token, created_ms, used_ms } in stored {
            let Some(verified) = tokens.grant(&token) else {
                lost.push(hash);
                continue;
            };
            let held = sessions.held_for(verified, created_ms, used_ms);
            if held.is_over(now) {
                lost.push(hash);
            } else {
                lock(&sessions.held).insert(hash, held);
            }
        }
        if !lost.is_empty()
            && let Err(error) = store.drop_sessions(lost).await
        {
            // They count for nothing all the same, and the next start tries again.
            log::warn!("browser sessions that have ended are not forgotten yet: {error}");
        }
        sessions.store = Some(store);
        Ok(sessions)
    }

    /// None yet, and none that outlives the agent.
    #[must_use]
    pub fn in_memory(seal: Seal, clocks: Clocks) -> Self {
        let (held, factors, saving) = Default::default();
        Self { store: None, seal, wall_ms: clocks.wall_ms, held, factors, saving }
    }

    /// Begins a session for a token that was just verified and, if it has one, for its second factor.
    /// Returns the cookie's value, which is kept nowhere.
    ///
    /// # Errors
    /// See [`FactorError`].
    pub async fn login(
        &self,
        verified: Verified,
        code: Option<&str>,
    ) -> Result<(String, Live), FactorError> {
        self.pass_factor(&verified.grant.id, code).await?;
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|e| ManageError::Internal(Box::new(e)))?;
        let cookie = hex(&bytes);
        let hash = self.hash_of(&cookie);
        let now = (self.wall_ms)();
        let token = verified.grant.id.clone();
        let held = self.held_for(verified, now, now);
        let live = self.live(hash, &held);
        let ended = self.make_room(&token);
        if let Some(store) = &self.store {
            store.drop_sessions(ended).await?;
            let stored = StoredSession { hash, token, created_ms: now, used_ms: now };
            store.put_session(stored).await?;
        }
        lock(&self.held).insert(hash, held);
        Ok((cookie, live))
    }

    /// The session of a cookie, if it is one and has not ended. Counts as a use.
    #[must_use]
    pub fn find(&self, cookie: &str) -> Option<Live> {
        // What is looked up is a keyed hash, so that the time it takes tells nothing of other cookies.
        let hash = self.hash_of(cookie);
        let now = (self.wall_ms)();
        let mut all = lock(&self.held);
        let held = all.get_mut(&hash)?;
        if held.is_over(now) {
            all.remove(&hash)?.end();
            return None;
        }
        held.used_ms = held.used_ms.max(now);
        let note = now.abs_diff(held.noted_ms) >= NOTE_EVERY_MS;
        if note {
            held.noted_ms = now;
        }
        let live = self.live(hash, held);
        let token = held.verified.grant.id.clone();
        let stored = StoredSession { hash, token, created_ms: held.created_ms, used_ms: now };
        drop(all);
        if let (true, Some(store)) = (note, self.store.clone()) {
            tokio::spawn(async move {
                if let Err(error) = store.put_session(stored).await {
                    log::warn!("the use of a session could not be noted: {error}");
                }
            });
        }
        Some(live)
    }

    /// Whether `text` is what the page of `session` was told to send along. In constant time.
    #[must_use]
    pub fn csrf_matches(&self, session: &SessionHash, text: &str) -> bool {
        use subtle::ConstantTimeEq as _;
        self.csrf(session).as_bytes().ct_eq(text.as_bytes()).into()
    }

    /// Ends one session.
    ///
    /// # Errors
    /// If that can't be stored; it has ended until the agent starts anew.
    pub async fn logout(&self, session: &SessionHash) -> Result<u64, ManageError> {
        self.end_those(|hash, _| hash == session).await
    }

    /// Ends every session of `token`; without one, of all.
    ///
    /// # Errors
    /// As [`Self::logout`].
    pub async fn logout_everywhere(&self, token: Option<&TokenId>) -> Result<u64, ManageError> {
        self.end_those(|_, held| token.is_none_or(|token| held.verified.grant.id == *token)).await
    }

    /// Ends those that nobody has used for too long, so that what they have open breaks off.
    ///
    /// # Errors
    /// As [`Self::logout`].
    pub async fn end_idle(&self) -> Result<u64, ManageError> {
        let now = (self.wall_ms)();
        self.end_those(|_, held| held.is_over(now)).await
    }

    /// Ends what is idle once a minute, for as long as the agent lives.
    pub async fn keep_sweeping(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.end_idle().await {
                log::warn!("browser sessions that have ended are not forgotten yet: {error}");
            }
        }
    }

    async fn end_those(
        &self,
        which: impl Fn(&SessionHash, &Held) -> bool,
    ) -> Result<u64, ManageError> {
        let ended: Vec<_> = lock(&self.held).extract_if(|hash, held| which(hash, held)).collect();
        let hashes: Vec<_> = ended.iter().map(|(hash, _)| *hash).collect();
        ended.into_iter().for_each(|(_, held)| held.end());
        let count = hashes.len() as u64;
        if let Some(store) = self.store.as_ref().filter(|_| count > 0) {
            store.drop_sessions(hashes).await?;
        }
        Ok(count)
    }

    /// Ends what is over, and what was idle longest where there are too many.
    fn make_room(&self, token: &TokenId) -> Vec<SessionHash> {
        let now = (self.wall_ms)();
        let mut all = lock(&self.held);
        let mut ended: Vec<_> = all.extract_if(|_, held| held.is_over(now)).collect();
        let oldest = |all: &HashMap<SessionHash, Held>, own: bool| {
            let mine = |held: &&Held| !own || held.verified.grant.id == *token;
            let of = all.iter().filter(|(_, held)| mine(held));
            of.min_by_key(|(_, held)| held.used_ms).map(|(hash, _)| *hash)
        };
        let own = all.values().filter(|held| held.verified.grant.id == *token).count();
        let too_many = [own >= PER_TOKEN, all.len() >= MOST];
        for own in
            too_many.into_iter().zip([true, false]).filter_map(|(many, own)| many.then_some(own))
        {
            if let Some(hash) = oldest(&all, own) {
                ended.extend(all.remove(&hash).map(|held| (hash, held)));
            }
        }
        drop(all);
        ended
            .into_iter()
            .map(|(hash, held)| {
                held.end();
                hash
            })
            .collect()
    }

    fn held_for(&self, mut verified: Verified, created_ms: u64, used_ms: u64) -> Held {
        let (ended, told) = watch::channel(false);
        let lasts = LASTS.as_millis() as u64;
        verified.lapse = verified.lapse.and(told, created_ms.saturating_add(lasts));
        Held { verified, created_ms, used_ms, noted_ms: used_ms, ended }
    }

    fn live(&self, hash: SessionHash, held: &Held) -> Live {
        let view = BrowserSession {
            csrf: self.csrf(&hash),
            ends_ms: held.ends_ms(),
            idle_ends_ms: held.used_ms.saturating_add(IDLE.as_millis() as u64).min(held.ends_ms()),
        };
        Live { verified: held.verified.clone(), hash, view }
    }

    fn hash_of(&self, cookie: &str) -> SessionHash {
        self.seal.mark("session", cookie.as_bytes())
    }

    fn csrf(&self, session: &SessionHash) -> String {
        hex(&self.seal.mark("csrf", session)[..16])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under these locks can panic half way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
