//! The second factor of a token's logins: codes of an authenticator app, and recovery codes.
//!
//! It is each token's own, for those who hold different tokens are different people with different phones.

use std::time::Duration;

use subtle::ConstantTimeEq as _;
use tenement_wire::TokenId;
use tenement_wire::sessions::{NewFactor, SecondFactor};

use super::{ManageError, Sessions, lock};
use crate::store::StoreError;
use crate::store::sessions::StoredFactor;
use crate::token::totp;

/// Recovery codes of one factor.
const RECOVERY: usize = 10;
/// Bytes of a recovery code: 80 random bits.
const RECOVERY_LEN: usize = 10;
/// Wrong codes in a row that cost nothing yet.
const FREE: u32 = 5;
/// The wait after one more, which doubles with each.
const WAIT_MS: u64 = 30_000;
const WAIT_MAX_MS: u64 = 15 * 60_000;

/// Why a second factor was not passed, or not changed. Display is what the client reads.
#[derive(Debug, thiserror::Error)]
pub enum FactorError {
    /// The login needs a code.
    #[error("a login with this token needs a code of its authenticator app")]
    Needed,
    /// The code is wrong, or was used.
    #[error("the code is wrong, or has been used")]
    Wrong,
    /// Too many wrong codes.
    #[error("too many wrong codes were sent for this token")]
    Locked {
        /// When the next is looked at.
        retry_after: Duration,
    },
    /// There is one already.
    #[error("this token has a second factor already")]
    Enabled,
    /// None was begun.
    #[error("no second factor was begun for this token")]
    NotBegun,
    /// Something else.
    #[error(transparent)]
    Failed(#[from] ManageError),
}

impl From<StoreError> for FactorError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// One factor with its failures, which need not outlive the agent.
#[derive(Debug)]
pub(super) struct Factor {
    pub(super) stored: StoredFactor,
    wrong: u32,
    closed_until_ms: u64,
}

impl Factor {
    pub(super) fn new(stored: StoredFactor) -> Self {
        Self { stored, wrong: 0, closed_until_ms: 0 }
    }

    fn failed(&mut self, now_ms: u64) {
        self.wrong = self.wrong.saturating_add(1);
        if let Some(over) = self.wrong.checked_sub(FREE) {
            let wait = WAIT_MS.saturating_mul(1 << over.min(10)).min(WAIT_MAX_MS);
            self.closed_until_ms = now_ms.saturating_add(wait);
        }
    }
}

impl Sessions {
    /// How it stands with `token`'s second factor.
    #[must_use]
    pub fn factor(&self, token: &TokenId) -> SecondFactor {
        let factors = lock(&self.factors);
        let stored = factors.get(token).map(|factor| &factor.stored);
        let enabled = stored.is_some_and(|stored| stored.confirmed);
        let left = stored.map_or(0, |stored| stored.recovery.len() / 32);
        let recovery_codes = u32::try_from(left).unwrap_or(u32::MAX);
        SecondFactor { enabled, pending: stored.is_some() && !enabled, recovery_codes }
    }

    /// Begins a second factor; logins need it only once it is confirmed.
    ///
    /// # Errors
    /// See [`FactorError`].
    pub async fn begin_factor(&self, token: &TokenId) -> Result<NewFactor, FactorError> {
        if self.factor(token).enabled {
            return Err(FactorError::Enabled);
        }
        let (secret, nonce) = (random::<{ totp::TOTP_LEN }>()?, random()?);
        let sealed = self.seal.close(token.as_str(), &secret, nonce).ok_or_else(unsealed)?;
        let (owner, recovery) = (token.clone(), Vec::new());
        let stored =
            StoredFactor { token: owner.clone(), sealed, confirmed: false, last_step: 0, recovery };
        lock(&self.factors).insert(owner, Factor::new(stored));
        self.save(token).await?;
        let uri = totp::uri(&secret, "tenement", token.as_str());
        Ok(NewFactor { uri, secret: totp::base32(&secret) })
    }

    /// Confirms it with a code of the app. Returns the recovery codes, which are kept as hashes only.
    ///
    /// # Errors
    /// See [`FactorError`].
    pub async fn confirm_factor(
        &self,
        token: &TokenId,
        code: &str,
    ) -> Result<Vec<String>, FactorError> {
        if self.factor(token).enabled {
            return Err(FactorError::Enabled);
        }
        let mut codes = Vec::new();
        let mut hashes = Vec::new();
        for _ in 0..RECOVERY {
            let text = totp::base32(&random::<RECOVERY_LEN>()?).to_ascii_lowercase();
            hashes.extend(self.recovery_hash(token, &text));
            let parts: Vec<_> = text.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
            codes.push(parts.join("-"));
        }
        if !self.try_code(token, code)? {
            return Err(FactorError::NotBegun);
        }
        let set = |confirmed, recovery| {
            if let Some(factor) = lock(&self.factors).get_mut(token) {
                (factor.stored.confirmed, factor.stored.recovery) = (confirmed, recovery);
            }
        };
        set(true, hashes);
        let saved = self.save(token).await;
        if saved.is_err() {
            // Nobody has seen the recovery codes.
            set(false, Vec::new());
        }
        saved.map(|()| codes)
    }

    /// Takes it away; says whether there was one.
    ///
    /// # Errors
    /// If that can't be stored.
    pub async fn remove_factor(&self, token: &TokenId) -> Result<bool, FactorError> {
        let _turn = self.saving.lock().await;
        if let Some(store) = &self.store {
            store.drop_factor(token.clone()).await?;
        }
        Ok(lock(&self.factors).remove(token).is_some())
    }

    /// Lets a login with `token` pass, if it needs no code or `code` is right. Each code counts once.
    pub(super) async fn pass_factor(
        &self,
        token: &TokenId,
        code: Option<&str>,
    ) -> Result<(), FactorError> {
        if !self.factor(token).enabled {
            return Ok(());
        }
        let code = code.filter(|code| !code.is_empty()).ok_or(FactorError::Needed)?;
        if self.try_code(token, code)? {
            self.save(token).await?;
        }
        Ok(())
    }

    /// Uses `code`; says whether there is a factor at all. The table has it at once, so that two logins
    /// with one code can't both pass.
    fn try_code(&self, token: &TokenId, code: &str) -> Result<bool, FactorError> {
        let now_ms = (self.wall_ms)();
        let mut factors = lock(&self.factors);
        let Some(factor) = factors.get_mut(token) else { return Ok(false) };
        if let Some(left @ 1..) = factor.closed_until_ms.checked_sub(now_ms) {
            // A clock that was set back must not close it for long.
            let retry_after = Duration::from_millis(left.min(WAIT_MAX_MS));
            return Err(FactorError::Locked { retry_after });
        }
        let secret = self.seal.open(token.as_str(), &factor.stored.sealed).ok_or_else(unsealed)?;
        let last = factor.stored.last_step;
        if let Some(step) = totp::verify(&secret, code, now_ms / 1000, last) {
            factor.stored.last_step = step;
        } else if let Some(at) = self.recovery_at(&factor.stored, code) {
            factor.stored.recovery.drain(32 * at..32 * (at + 1));
        } else {
            factor.failed(now_ms);
            return Err(FactorError::Wrong);
        }
        (factor.wrong, factor.closed_until_ms) = (0, 0);
        Ok(true)
    }

    fn recovery_at(&self, stored: &StoredFactor, code: &str) -> Option<usize> {
        let plain: String = code.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
        let hash = self.recovery_hash(&stored.token, &plain.to_ascii_lowercase());
        stored.recovery.chunks_exact(32).position(|one| one.ct_eq(&hash).into())
    }

    fn recovery_hash(&self, token: &TokenId, plain: &str) -> [u8; 32] {
        self.seal.mark("recovery", format!("{token} {plain}").as_bytes())
    }

    /// Stores what the table has. One at a time, so that what is stored last is what was there last.
    async fn save(&self, token: &TokenId) -> Result<(), FactorError> {
        let _turn = self.saving.lock().await;
        let stored = lock(&self.factors).get(token).map(|factor| factor.stored.clone());
        if let (Some(store), Some(stored)) = (&self.store, stored) {
            store.set_factor(stored).await?;
        }
        Ok(())
    }
}

fn random<const N: usize>() -> Result<[u8; N], FactorError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| ManageError::Internal(Box::new(e)))?;
    Ok(bytes)
}

fn unsealed() -> FactorError {
    let text = "the second factor was sealed with another key (door.key in the state directory)";
    ManageError::Internal(text.into()).into()
}
