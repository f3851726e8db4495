//! Browser sessions and second factors, as the API tells of them.

use serde::{Deserialize, Serialize};

use crate::{InstanceId, ProcessName, Scope, TokenId, TokenName};

/// A code as it was typed: six digits, or a recovery code with its dashes. Whether it is right is another question.
#[derive(Clone, PartialEq, Eq)]
pub struct FactorCode(String);

impl FactorCode {
    /// Longest code, in bytes.
    pub const MAX: usize = 40;

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for FactorCode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = !text.is_empty() && text.len() <= Self::MAX && text.is_ascii();
        good.then(|| Self(text.to_owned())).ok_or("must have from 1 to 40 characters of ASCII")
    }
}

/// Body of `POST /api/v1/session`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// A token of `ten token-gen`.
    #[cfg_attr(feature = "schema", schema(max_length = 200))]
    pub token: String,
    /// The six digits of the authenticator app, or a recovery code.
    #[cfg_attr(
        feature = "schema",
        schema(min_length = 1, max_length = 40, pattern = "^[\\x00-\\x7f]*$", nullable = false)
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// Who asks: answer of `GET` and `POST /api/v1/session`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SessionView {
    /// The token that was shown, or that the session stands for.
    pub token: TokenId,
    /// What people call it.
    pub name: TokenName,
    /// What it may do.
    pub scope: Scope,
    /// The only process that it sees, if it is restricted.
    pub process: Option<ProcessName>,
    /// The only instance of that process that it sees, if it is restricted to one.
    pub instance: Option<InstanceId>,
    /// The browser session; null for who shows a token with each request.
    pub session: Option<BrowserSession>,
}

/// What a page needs to know of its session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BrowserSession {
    /// To be sent as `X-CSRF-Token` with everything but GET and HEAD.
    pub csrf: String,
    /// When it ends at the latest, Unix milliseconds.
    pub ends_ms: u64,
    /// When it ends if it is not used, Unix milliseconds.
    pub idle_ends_ms: u64,
}

/// Answer to logging out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LoggedOut {
    /// How many sessions have ended.
    pub sessions: u64,
}

/// Whether logins with a token need a second factor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SecondFactor {
    /// Whether they do.
    pub enabled: bool,
    /// Whether one was begun that no code has confirmed yet.
    pub pending: bool,
    /// Recovery codes that are left.
    pub recovery_codes: u32,
}

/// A second factor that waits to be confirmed: answer of `POST /api/v1/tokens/{id}/totp`, this once.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NewFactor {
    /// For the authenticator app, usually as a QR code.
    pub uri: String,
    /// The same secret in Base32, to be typed.
    pub secret: String,
}

impl std::fmt::Debug for NewFactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewFactor(…)")
    }
}

/// Body of `PATCH /api/v1/tokens/{id}/totp`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ConfirmFactor {
    /// The six digits that the authenticator app shows.
    #[cfg_attr(feature = "schema", schema(min_length = 1, max_length = 40, pattern = "^[ -~]+$"))]
    pub code: String,
}

/// Each takes the place of a code once: answer of `PATCH /api/v1/tokens/{id}/totp`, this once.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RecoveryCodes {
    /// The codes.
    pub recovery_codes: Vec<String>,
}
