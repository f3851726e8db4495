//! Tokens of the management API: what they allow and what may be said of them. The secret half of a token
//! is in [`NewToken`] alone, once.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{InstanceId, ProcessName};

/// Characters of a [`TokenId`].
pub const ID_LEN: usize = 12;
/// The longest name, in bytes.
pub const NAME_MAX: usize = 64;
/// The shortest life that can be asked for, in seconds.
pub const LIFE_MIN_S: u64 = 60;
/// The longest life that can be asked for, in seconds: ten years. A token without an end has none.
pub const LIFE_MAX_S: u64 = 10 * 365 * 24 * 3600;

/// What a token may do. Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Scope {
    /// Look: lists, logs, events.
    Read,
    /// And wake, put to sleep, stop, restart and reset; register instances and forget them.
    Operator,
    /// And everything else: limits, secrets, deletion of data, tokens, the config.
    Admin,
}

impl Scope {
    /// All of them, from the least to the most.
    pub const ALL: [Self; 3] = [Self::Read, Self::Operator, Self::Admin];

    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = Self::ALL.into_iter();
        all.into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or("must be read, operator or admin")
    }
}

/// The public half of a token, by which it is found and named: 12 characters of `a-z2-7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(Box<str>);

/// Why a text is no id of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a token: 12 characters of a-z and 2-7, as `ten token ls` shows them")]
pub struct TokenIdError;

const ID_CHARS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl TokenId {
    /// Takes `text` if it is one.
    ///
    /// # Errors
    /// [`TokenIdError`] if it is none.
    pub fn new(text: &str) -> Result<Self, TokenIdError> {
        let good = text.len() == ID_LEN && text.bytes().all(|byte| ID_CHARS.contains(&byte));
        if good { Ok(Self(text.into())) } else { Err(TokenIdError) }
    }

    /// The id that these random bytes stand for: five bits of each.
    #[must_use]
    pub fn from_random(bytes: [u8; ID_LEN]) -> Self {
        Self(bytes.iter().map(|byte| char::from(ID_CHARS[usize::from(byte % 32)])).collect())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TokenId {
    type Err = TokenIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for TokenId {
    type Error = TokenIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.0.into()
    }
}

/// What people call a token: 1 to 64 letters, digits, `_`, `-`, `.` and `@`. Two may have the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenName(Box<str>);

/// Why a text is no name of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 letters, digits, `_`, `-`, `.` or `@`")]
pub struct TokenNameError;

impl TokenName {
    /// Takes `text` if it is one.
    ///
    /// # Errors
    /// [`TokenNameError`] if it is none.
    pub fn new(text: &str) -> Result<Self, TokenNameError> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.@".contains(&byte);
        let good = (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(known);
        if good { Ok(Self(text.into())) } else { Err(TokenNameError) }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&TokenId> for TokenName {
    fn from(id: &TokenId) -> Self {
        Self(id.0.clone())
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TokenName {
    type Err = TokenNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for TokenName {
    type Error = TokenNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<TokenName> for String {
    fn from(name: TokenName) -> Self {
        name.0.into()
    }
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TokenView {
    /// Its public half.
    pub id: TokenId,
    /// What people call it.
    pub name: TokenName,
    /// What it may do.
    pub scope: Scope,
    /// The only process that it sees, if it is restricted.
    #[serde(default)]
    pub process: Option<ProcessName>,
    /// The only instance of that process that it sees, if it is restricted to one.
    #[serde(default)]
    pub instance: Option<InstanceId>,
    /// When it was made, Unix milliseconds.
    pub created_ms: u64,
    /// Who made it: `uid 0` on the admin socket, or `token ID`.
    pub created_by: String,
    /// When it ends, Unix milliseconds.
    #[serde(default)]
    pub expires_ms: Option<u64>,
    /// When it was last used, to the minute, Unix milliseconds.
    #[serde(default)]
    pub last_used_ms: Option<u64>,
}

/// Answer of `GET /api/v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TokenList {
    /// The oldest first.
    pub tokens: Vec<TokenView>,
    /// How tokens were checked since the agent started; only for those who see the whole host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<TokenChecks>,
}

/// How tokens were checked since the agent started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TokenChecks {
    /// Accepted from memory.
    pub cached: u64,
    /// Accepted after a hash.
    pub hashed: u64,
    /// Refused: no token, unknown, wrong, expired.
    pub refused: u64,
    /// Refused unseen, since the address had failed too often.
    pub locked: u64,
    /// Refused since as many hashes were waited for as may.
    pub busy: u64,
    /// Hashes that were computed, those of new tokens included.
    pub hashes: u64,
    /// Addresses that are locked out now.
    pub locked_addresses: u64,
}

/// Body of `POST /api/v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CreateToken {
    /// What people call it; its id by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<TokenName>,
    /// What it may do.
    pub scope: Scope,
    /// Restricts it to one process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessName>,
    /// Restricts it to one instance of that process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// How long it is good for, in seconds; without it there is no end.
    #[cfg_attr(feature = "schema", schema(minimum = 60, maximum = 315_360_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_s: Option<u64>,
}

/// Answer of `POST /api/v1/tokens` and of a rotation: the only one with the token itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NewToken {
    /// The whole token, to be sent as `Authorization: Bearer …`. It can't be read again.
    pub secret: String,
    /// What it is.
    pub token: TokenView,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken").field("token", &self.token).finish_non_exhaustive()
    }
}

/// Answer of `DELETE /api/v1/tokens/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TokenRevoked {
    /// Which one.
    pub id: TokenId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_in_order_and_read_back() {
        assert!(Scope::Read < Scope::Operator && Scope::Operator < Scope::Admin);
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
        }
        assert!("Admin".parse::<Scope>().is_err() && "".parse::<Scope>().is_err());
    }

    #[test]
    fn ids_and_names_outside_the_grammar_are_refused() {
        let id = TokenId::from_random([255, 0, 31, 32, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(TokenId::new(id.as_str()), Ok(id));
        for bad in [
            "",
            "abcdefghijk",
            "abcdefghijklm",
            "abcdefghijk1",
            "Abcdefghijkl",
            "abcdefghijk\u{e9}",
        ] {
            assert!(TokenId::new(bad).is_err(), "{bad}");
        }
        assert!(TokenName::new("ci@build-1.x_y").is_ok());
        for bad in ["", "a b", "a\n", "\u{e9}", &"a".repeat(NAME_MAX + 1)] {
            assert!(TokenName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_written_of_a_new_token_for_debugging_has_no_secret() {
        let token = TokenView {
            id: TokenId::from_random([0; ID_LEN]),
            name: TokenName::new("ci").unwrap(),
            scope: Scope::Read,
            process: None,
            instance: None,
            created_ms: 0,
            created_by: "uid 0".into(),
            expires_ms: None,
            last_used_ms: None,
        };
        let text = format!("{:?}", NewToken { secret: "ten_hush".into(), token });
        assert!(!text.contains("hush") && text.contains("ci"), "{text}");
    }
}
