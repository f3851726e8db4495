//! Tokens of the API: made, listed, rotated, revoked, and checked when somebody shows one.
//!
//! ```text
//! create, rotate, revoke ──► store, then the table in memory ◄── verify: never asks the store
//! ```
//! All tokens are in memory, so a token that does not exist costs a look into a table. Whoever changes one
//! changes the store first; when the answer is there, the change is in force: a revoked token is refused and
//! what it had open ends.

mod held;
mod verify;

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tenement_wire::events::{Event, EventKind};
use tenement_wire::tokens::{ID_LEN, TokenChecks, TokenView};
use tenement_wire::{Scope, TokenId, TokenName};
use tokio::sync::Semaphore;

use super::ManageError;
use super::clock::{mono_ms, now_ms};
use super::events::Events;
use crate::store::tokens::StoredToken;
use crate::store::{Store, StoreError};
use crate::token::hash::SALT_LEN;
use crate::token::{Grant, Lockouts, Reach, SECRET_LEN, Secret, Stored, Token, hash};
use held::Held;
pub use held::Lapse;
use verify::Counters;
pub use verify::{Refused, Verified};

/// Most tokens at once: one for each of 10,000 tenants, about 1 kB of memory each.
pub const TOKENS_MAX: usize = 10_000;

/// The two clocks, so that tests can turn them.
pub struct Clocks {
    /// Unix milliseconds.
    pub wall_ms: Box<dyn Fn() -> u64 + Send + Sync>,
    /// A clock that never goes back.
    pub steady: Box<dyn Fn() -> Duration + Send + Sync>,
}

impl Default for Clocks {
    fn default() -> Self {
        let steady = || Duration::from_millis(mono_ms());
        Self { wall_ms: Box::new(now_ms), steady: Box::new(steady) }
    }
}

/// The tokens of this agent.
pub struct Tokens {
    /// None: they live as long as the agent.
    store: Option<Store>,
    clocks: Arc<Clocks>,
    held: RwLock<HashMap<TokenId, Arc<Held>>>,
    /// One change at a time, so that store and memory agree.
    changes: tokio::sync::Mutex<()>,
    /// For [`Held::fresh`]: of no use to who reads the memory of another run.
    key: [u8; 32],
    hashing: Arc<Semaphore>,
    waiting: Semaphore,
    lockouts: Mutex<Lockouts>,
    counters: Counters,
    events: Option<Events>,
}

/// What is wanted of a new token.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What people call it; its id by default.
    pub name: Option<TokenName>,
    /// What it may do.
    pub scope: Scope,
    /// And to what.
    pub reach: Reach,
    /// How long it is good for.
    pub life: Option<Duration>,
}

/// Why nothing was done. Display is what the client reads.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There is none, or none that the caller may know of.
    #[error("there is no token {0}")]
    Unknown(TokenId),
    /// A token makes none that may do more than itself.
    #[error("a token can't make one that may do more, or to more, than it may itself")]
    Beyond,
    /// There are [`TOKENS_MAX`].
    #[error("there are {TOKENS_MAX} tokens already")]
    TooMany,
    /// Too many hashes are waited for.
    #[error("too many tokens are being checked right now")]
    Busy,
    /// Something else.
    #[error(transparent)]
    Failed(#[from] ManageError),
}

impl From<StoreError> for TokenError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl Tokens {
    /// Those in the store.
    ///
    /// # Errors
    /// If the store can't be read, or the kernel gives no random bytes.
    pub async fn load(store: Store, clocks: Clocks) -> Result<Self, ManageError> {
        let mut tokens = Self::in_memory(clocks)?;
        let stored = store.tokens().await?;
        let held = stored.into_iter().filter_map(Held::new);
        tokens.held =
            RwLock::new(held.map(|held| (held.grant.id.clone(), Arc::new(held))).collect());
        tokens.store = Some(store);
        Ok(tokens)
    }

    /// None yet, and none that outlives the agent.
    ///
    /// # Errors
    /// If the kernel gives no random bytes.
    pub fn in_memory(clocks: Clocks) -> Result<Self, ManageError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            store: None,
            clocks: Arc::new(clocks),
            held: RwLock::default(),
            changes: tokio::sync::Mutex::default(),
            key: random()?,
            hashing: Arc::new(Semaphore::new(cores)),
            waiting: Semaphore::new(verify::WAITING_MAX),
            lockouts: Mutex::default(),
            counters: Counters::default(),
            events: None,
        })
    }

    /// The same, and what happens to them is recorded.
    #[must_use]
    pub fn with_events(mut self, events: Events) -> Self {
        self.events = Some(events);
        self
    }

    /// Makes a token for `by`, who may do what `limit` says; None: everything. The text is in the answer and
    /// nowhere else.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn create(
        &self,
        wish: Wish,
        by: String,
        limit: Option<&Grant>,
    ) -> Result<(Token, TokenView), TokenError> {
        if limit.is_some_and(|own| !own.may(wish.scope) || !own.reach.covers(&wish.reach)) {
            return Err(TokenError::Beyond);
        }
        let _turn = self.changes.lock().await;
        if self.read().len() >= TOKENS_MAX {
            return Err(TokenError::TooMany);
        }
        let token = self.fresh_token(TokenId::from_random(random::<ID_LEN>()?))?;
        let now = (self.clocks.wall_ms)();
        let ends = |life: Duration| now.saturating_add(life.as_millis() as u64);
        let view = TokenView {
            name: wish.name.unwrap_or_else(|| TokenName::from(&token.id)),
            id: token.id.clone(),
            scope: wish.scope,
            process: wish.reach.process().cloned(),
            instance: wish.reach.instance().cloned(),
            created_ms: now,
            created_by: by,
            expires_ms: wish.life.map(ends),
            last_used_ms: None,
        };
        let stored =
            StoredToken { view: view.clone(), secret: self.store_form(&token.secret).await? };
        if self.read().contains_key(&token.id) {
            // 60 random bits. A token is never replaced by another.
            return Err(TokenError::Busy);
        }
        if let Some(store) = &self.store {
            store.add_token(stored.clone()).await?;
        }
        self.hold(stored);
        self.tell("made", &view);
        Ok((token, view))
    }

    /// Gives a token another secret. The old one counts for nothing any more, and what it had open ends.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn rotate(
        &self,
        id: &TokenId,
        limit: Option<&Grant>,
    ) -> Result<(Token, TokenView), TokenError> {
        let _turn = self.changes.lock().await;
        let view = self.show(id, limit)?;
        let token = self.fresh_token(id.clone())?;
        let secret = self.store_form(&token.secret).await?;
        if let Some(store) = &self.store
            && !store.replace_token(id.clone(), secret.clone()).await?
        {
            self.drop_held(id);
            return Err(TokenError::Unknown(id.clone()));
        }
        self.hold(StoredToken { view: view.clone(), secret });
        self.tell("given another secret", &view);
        Ok((token, view))
    }

    /// Revokes a token. What it had open ends.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn revoke(
        &self,
        id: &TokenId,
        limit: Option<&Grant>,
    ) -> Result<TokenView, TokenError> {
        let _turn = self.changes.lock().await;
        let view = self.show(id, limit)?;
        // Whatever becomes of the store, nobody is let in with it from now on.
        self.drop_held(id);
        if let Some(store) = &self.store {
            store.remove_token(id.clone()).await?;
        }
        self.tell("revoked", &view);
        Ok(view)
    }

    /// One token.
    ///
    /// # Errors
    /// [`TokenError::Unknown`], too if it reaches beyond `limit`.
    pub fn show(&self, id: &TokenId, limit: Option<&Grant>) -> Result<TokenView, TokenError> {
        let held = self.read().get(id).cloned();
        let held = held.filter(|held| within(held, limit));
        held.map(|held| held.view()).ok_or_else(|| TokenError::Unknown(id.clone()))
    }

    /// Those that reach no further than `limit`, the oldest first.
    #[must_use]
    pub fn list(&self, limit: Option<&Grant>) -> Vec<TokenView> {
        let held = self.read();
        let seen = held.values().filter(|held| within(held, limit));
        let mut views: Vec<_> = seen.map(|held| held.view()).collect();
        views.sort_by(|a, b| (a.created_ms, &a.id).cmp(&(b.created_ms, &b.id)));
        views
    }

    /// The grant of a token that has not ended, and what tells its end: for a session that stands for it.
    #[must_use]
    pub fn grant(&self, id: &TokenId) -> Option<Verified> {
        let held = self.read().get(id).cloned()?;
        (!held.expired((self.clocks.wall_ms)())).then(|| self.verified(&held))
    }

    /// How tokens were checked since the agent started.
    #[must_use]
    pub fn checks(&self) -> TokenChecks {
        let now = (self.clocks.steady)();
        let locked = self.lockouts.lock().unwrap_or_else(PoisonError::into_inner).locked(now);
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
        let Counters { cached, hashed, refused, locked: turned_away, busy, hashes } =
            &self.counters;
        TokenChecks {
            cached: count(cached),
            hashed: count(hashed),
            refused: count(refused),
            locked: count(turned_away),
            busy: count(busy),
            hashes: count(hashes),
            locked_addresses: locked as u64,
        }
    }

    /// Who did it, the audit of the request says too.
    fn tell(&self, what: &str, view: &TokenView) {
        let Some(events) = &self.events else { return };
        let message = format!("the token {} ({}) was {what}", view.name, view.id);
        let mut event = Event::new(EventKind::Token, message).with("token", view.id.as_str());
        (event.process, event.instance_id) = (view.process.clone(), view.instance.clone());
        event = event.with("scope", view.scope.as_str()).with("made_by", view.created_by.as_str());
        events.record(event);
    }

    fn fresh_token(&self, id: TokenId) -> Result<Token, TokenError> {
        Ok(Token { id, secret: Secret::new(random::<SECRET_LEN>()?) })
    }

    async fn store_form(&self, secret: &Secret) -> Result<Stored, TokenError> {
        let (secret, salt) = (secret.clone(), random::<SALT_LEN>()?);
        let stored = self.hash_when_possible(move || hash::hash(&secret, &salt)).await;
        stored.ok_or(TokenError::Busy)?.map_err(|error| internal(error).into())
    }

    fn hold(&self, stored: StoredToken) {
        // What was just made is well-formed.
        let Some(held) = Held::new(stored) else { return };
        let id = held.grant.id.clone();
        let before = self.write().insert(id, Arc::new(held));
        before.inspect(|before| before.end());
    }

    fn drop_held(&self, id: &TokenId) {
        let before = self.write().remove(id);
        before.inspect(|before| before.end());
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<TokenId, Arc<Held>>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<TokenId, Arc<Held>>> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn within(held: &Held, limit: Option<&Grant>) -> bool {
    limit.is_none_or(|own| own.reach.covers(&held.grant.reach))
}

fn random<const N: usize>() -> Result<[u8; N], ManageError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(internal)?;
    Ok(bytes)
}

fn internal(error: impl std::error::Error + Send + Sync + 'static) -> ManageError {
    ManageError::Internal(Box::new(error))
}

#[cfg(test)]
mod tests;
