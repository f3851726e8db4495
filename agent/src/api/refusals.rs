//! What the door on the domain itself and browser sessions answer instead of what was asked for.

use std::time::Duration;

use http::StatusCode;

use super::problem::Problem;
use crate::flows::sessions::FactorError;

impl Problem {
    /// A token or a cookie came over plain HTTP from another host.
    pub fn readable() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "insecure_transport",
            "this request could be read on its way, and so could the token or cookie in it",
            "use https through a proxy in trusted_proxies that sends X-Forwarded-Proto, a forwarded port (ssh -L), \
             or [api] insecure = true; and make a new token: this one may have been seen",
        )
    }

    /// Too many requests at once.
    pub fn too_many() -> Self {
        let detail = "the API has as many requests as it may";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let mut problem = Self::new(status, "too_many", detail, "try again soon");
        problem.retry_after = Some(Duration::from_secs(1));
        problem
    }

    /// Too many answers are waited for.
    pub fn too_many_waits() -> Self {
        let detail = "as many requests wait for something as may";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let hint = "ask without wait, and again in a while";
        let mut problem = Self::new(status, "too_many", detail, hint);
        problem.retry_after = Some(Duration::from_secs(1));
        problem
    }

    /// A page of another origin sends what only ours may.
    pub fn cross_origin() -> Self {
        let detail = "a page of another origin has sent this";
        let hint = "open the domain itself; a script uses a token and no cookie";
        Self::new(StatusCode::FORBIDDEN, "cross_origin", detail, hint)
    }

    /// A change by cookie without the token that only our pages know.
    pub fn no_csrf_token() -> Self {
        let detail = "the CSRF token of the session is missing or wrong";
        let hint = "send the csrf of GET /api/v1/session as X-CSRF-Token";
        Self::new(StatusCode::FORBIDDEN, "csrf", detail, hint)
    }

    /// Somebody without a session asks for it.
    pub fn no_session() -> Self {
        let detail = "there is no browser session here";
        Self::new(StatusCode::NOT_FOUND, "no_session", detail, "log in: POST /api/v1/session")
    }
}

impl From<FactorError> for Problem {
    fn from(error: FactorError) -> Self {
        use StatusCode as S;
        let text = error.to_string();
        let (status, code, hint) = match &error {
            FactorError::Failed(_) => (S::INTERNAL_SERVER_ERROR, "internal", ""),
            FactorError::Needed => (S::UNAUTHORIZED, "code_needed", "send it as code"),
            FactorError::Wrong => (
                S::UNAUTHORIZED,
                "wrong_code",
                "wait for the next one; is the clock of the phone right?",
            ),
            FactorError::Locked { .. } => {
                (S::TOO_MANY_REQUESTS, "locked_out", "wait as Retry-After says")
            }
            FactorError::Enabled => {
                (S::CONFLICT, "factor_enabled", "take it away first: ten totp disable")
            }
            FactorError::NotBegun => {
                (S::CONFLICT, "factor_not_begun", "begin one: ten totp enable")
            }
        };
        let mut problem = Self::new(status, code, text, hint);
        match error {
            FactorError::Failed(error) => return error.into(),
            FactorError::Locked { retry_after } => problem.retry_after = Some(retry_after),
            _ => {}
        }
        problem
    }
}
