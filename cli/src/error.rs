//! The one error of `ten`: what kind it is (which gives the exit code), what happened, what to do.
//!
//! Every error is made here or through here, so that none is printed without a next step, and so
//! that `docs/CLI.md` and the exit codes can't drift apart.

use std::fmt;
use std::path::Path;

use hyper::StatusCode;
use tenement_wire::{ApiError, FieldError};

/// What sort of failure it is. The numbers are documented in `docs/CLI.md` and never change meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// It was tried and did not work.
    Failure = 1,
    /// The command line (or the request made from it) is wrong.
    Usage = 2,
    /// What it names does not exist.
    NotFound = 3,
    /// The caller may not.
    Denied = 4,
    /// The agent, or something that it needs, does not answer.
    Unreachable = 5,
    /// It exists already, is in use, or something else is changing it.
    Conflict = 6,
    /// It did not get there in time.
    TimedOut = 7,
    /// The instance did not start.
    StartFailed = 8,
}

/// An error with its kind, its hint and the fields that are wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliError {
    /// Gives the exit code.
    pub kind: Kind,
    /// Stable and machine-readable: the API's `code`, or one of ours.
    pub code: Box<str>,
    /// What happened.
    pub detail: String,
    /// What to do next.
    pub hint: Option<String>,
    /// Finds the request in the agent's log.
    pub request_id: Option<String>,
    /// Every bad field.
    pub fields: Vec<FieldError>,
}

impl CliError {
    /// An error of ours. The hint is not optional: an error says what to do next.
    pub fn new(kind: Kind, code: &str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            kind,
            code: code.into(),
            detail: detail.into(),
            hint: Some(hint.into()),
            request_id: None,
            fields: Vec::new(),
        }
    }

    /// A wrong command line that clap could not see.
    pub fn usage(detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Kind::Usage, "usage", detail, hint)
    }

    /// Something on this machine failed (a file, a command).
    pub fn failure(detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Kind::Failure, "failure", detail, hint)
    }

    /// A file could not be read or written.
    pub fn file(verb: &str, path: &Path, error: &std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            std::io::ErrorKind::PermissionDenied => Kind::Denied,
            std::io::ErrorKind::AlreadyExists => Kind::Conflict,
            _ => Kind::Failure,
        };
        let hint = match kind {
            Kind::NotFound => "check the path",
            Kind::Denied => "try it with sudo, or choose another path",
            Kind::Conflict => "it is never overwritten: choose another name, or remove it first",
            _ => "check the path and the disk",
        };
        Self::new(kind, "file", format!("can't {verb} {}: {error}", path.display()), hint)
    }

    /// What the exit code is.
    pub fn exit_code(&self) -> u8 {
        self.kind as u8
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for CliError {}

/// The only place where an answer of the agent becomes an exit code.
impl From<ApiError> for CliError {
    fn from(api: ApiError) -> Self {
        let status = StatusCode::from_u16(api.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = match (status, api.code.as_str()) {
            (_, "start_failed") => Kind::StartFailed,
            (_, "config_rejected") => Kind::Failure,
            (StatusCode::NOT_FOUND, "no_route") => Kind::Failure,
            (StatusCode::NOT_FOUND, _) => Kind::NotFound,
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Kind::Denied,
            (StatusCode::CONFLICT, _) => Kind::Conflict,
            (StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT, _) => Kind::TimedOut,
            (StatusCode::SERVICE_UNAVAILABLE, _) => Kind::Unreachable,
            (StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY, _) => Kind::Usage,
            _ => Kind::Failure,
        };
        let hint = api.hint.unwrap_or_else(|| match api.request_id.as_deref() {
            Some(id) => {
                format!("find the cause in the agent's log: journalctl -u tenement -g {id}")
            }
            None => "look into the agent's log: journalctl -u tenement".to_owned(),
        });
        Self {
            kind,
            code: api.code.into(),
            detail: api.detail,
            hint: Some(hint),
            request_id: api.request_id,
            fields: api.errors,
        }
    }
}

/// Result of everything in `ten`.
pub type Result<T, E = CliError> = std::result::Result<T, E>;
