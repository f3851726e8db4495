//! What is said to those who may not, and about tokens.

use std::time::Duration;

use http::StatusCode;
use tenement_wire::{InstanceName, Scope};

use super::Problem;
use crate::flows::ManageError;
use crate::flows::tokens::{Refused, TokenError};

impl Problem {
    /// Nobody has said who asks.
    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "this needs a token",
            "send one as Authorization: Bearer ten_...; on the host, ten token-gen makes them",
        )
    }

    /// The token may not do this.
    pub fn forbidden_scope(needed: Scope, held: Scope) -> Self {
        let detail = format!("this needs a token of scope {needed}, and yours is of scope {held}");
        let hint = "ask an administrator for a token that may";
        Self::new(StatusCode::FORBIDDEN, "forbidden_scope", detail, hint)
    }

    /// The token is restricted, and this is not about what it is restricted to.
    pub fn forbidden_reach() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden_reach",
            "your token is restricted to some instances, and this is about more than those",
            "ask an administrator for a token that may",
        )
    }

    /// There is no such token.
    pub fn unknown_token(text: &str) -> Self {
        let text: String = text.chars().take(20).collect();
        let detail = format!("there is no token {text}");
        let hint = "ten token ls lists them, by id";
        Self::new(StatusCode::NOT_FOUND, "unknown_token", detail, hint)
    }

    /// Somebody may not know whether there is such an instance: what they hear if there is none.
    pub fn unknown_instance(name: &InstanceName) -> Self {
        ManageError::NotFound { name: name.clone(), similar: Vec::new() }.into()
    }

    /// The same for a process.
    pub fn unknown_process(process: &str) -> Self {
        let detail = format!("there is no process {process} in the config");
        Self::new(StatusCode::NOT_FOUND, "unknown_process", detail, "see GET /api/v1/config")
    }

    /// Leaves out what tells of instances and processes that were not asked for.
    pub fn hide_others(&mut self) {
        if matches!(self.api.code.as_str(), "unknown_instance" | "unknown_process") {
            self.api.hint = Some("your token shows only some instances: ten ps lists them".into());
        }
        // Where the host keeps backups, and what its disks say, is for those who see the whole host.
        if self.api.code == "backup_failed" {
            let told = std::mem::replace(&mut self.api.detail, "it did not go".into());
            self.cause = Some(told);
            let hint =
                "the data is as it was; the log of the agent has the cause under the request id";
            self.api.hint = Some(hint.into());
        }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        use StatusCode as S;
        let (status, code, hint) = match error {
            TokenError::Failed(error) => return error.into(),
            TokenError::Unknown(id) => return Self::unknown_token(id.as_str()),
            TokenError::Beyond => {
                (S::FORBIDDEN, "forbidden_scope", "ask for less, or an administrator for it")
            }
            TokenError::TooMany => {
                (S::CONFLICT, "too_many_tokens", "revoke those that nobody uses: ten token ls")
            }
            TokenError::Busy => (S::SERVICE_UNAVAILABLE, "too_many", "try again soon"),
        };
        let mut problem = Self::new(status, code, error.to_string(), hint);
        problem.retry_after = matches!(error, TokenError::Busy).then_some(Duration::from_secs(1));
        problem
    }
}

impl From<Refused> for Problem {
    fn from(error: Refused) -> Self {
        use StatusCode as S;
        let text = error.to_string();
        match error {
            Refused::Failed(error) => error.into(),
            Refused::Wrong => {
                let hint = "was it revoked or rotated? ten token ls lists those that count";
                Self::new(S::UNAUTHORIZED, "unauthenticated", text, hint)
            }
            Refused::Expired => {
                let hint = "ten token-gen makes another";
                Self::new(S::UNAUTHORIZED, "unauthenticated", text, hint)
            }
            Refused::Locked { retry_after } => {
                let hint = "a right token is let in all the same; others wait as Retry-After says";
                let mut problem = Self::new(S::TOO_MANY_REQUESTS, "locked_out", text, hint);
                problem.retry_after = Some(retry_after);
                problem
            }
            Refused::Busy => {
                let mut problem =
                    Self::new(S::SERVICE_UNAVAILABLE, "too_many", text, "try again soon");
                problem.retry_after = Some(Duration::from_secs(1));
                problem
            }
        }
    }
}
