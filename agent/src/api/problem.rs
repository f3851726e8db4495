//! The one place where errors become answers: status, stable code, text, hint (RFC 9457).
//!
//! A handler returns a [`Problem`]; it travels in the response's extensions to `trace`, which knows
//! the request id, logs the whole chain under it and writes the body. So no handler can leak a cause.

mod access;
mod backups;
mod deploys;
mod domains;
mod releases;

use std::error::Error;
use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use tenement_wire::dto::{InstanceView, Wanted};
use tenement_wire::secrets::TOO_LONG;
use tenement_wire::{ApiError, FieldError, InstanceName, NameError, ProcessName};

use super::codes::known;
use crate::flows::ManageError;
use crate::flows::logbook::LogsError;

/// An error answer in the making.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What the client reads, still without the request id.
    pub api: Box<ApiError>,
    /// What only the log reads.
    pub cause: Option<String>,
    pub(super) retry_after: Option<Duration>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: &str,
        detail: impl Into<String>,
        hint: &str,
    ) -> Self {
        let title = known(code).map_or("", |(_, title)| title);
        let api = ApiError::new(status.as_u16(), code, detail).title(title).hint(hint);
        Self { api: Box::new(api), cause: None, retry_after: None }
    }

    /// The peer may not use this socket.
    pub fn forbidden() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "you may not manage this agent",
            "join the group and log in again: sudo usermod -aG tenement $USER (or use sudo)",
        )
    }

    /// No such route.
    pub fn no_route(path: &str) -> Self {
        let path: String = path.chars().take(200).collect();
        let detail = format!("there is nothing at {path}");
        Self::new(StatusCode::NOT_FOUND, "no_route", detail, "the routes are under /api/v1")
    }

    /// The route exists, for other methods.
    pub fn method_not_allowed(method: &http::Method) -> Self {
        let detail = format!("{} does not work here", shorten(method.as_str()));
        let hint = "the Allow header lists the methods that do";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail, hint)
    }

    /// The instance in the path is not a name.
    pub fn invalid_name(error: &NameError) -> Self {
        let hint = "instances in paths are written process:id, such as api:prod";
        Self::new(StatusCode::BAD_REQUEST, "invalid_name", error.to_string(), hint)
    }

    /// The body is not what it claims to be.
    pub fn malformed(detail: impl Into<String>) -> Self {
        let hint = "send one JSON object in UTF-8";
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail, hint)
    }

    /// The body is of another type.
    pub fn not_json() -> Self {
        let detail = "the body is not declared to be JSON";
        let hint = "send it with Content-Type: application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail, hint)
    }

    /// The body is longer than the limit.
    pub fn too_large(limit: usize) -> Self {
        let detail = format!("the body is longer than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail, "send less at once")
    }

    /// The value of a secret is too long.
    pub fn too_long_a_secret() -> Self {
        let (what, fix) = TOO_LONG.split_once(": ").unwrap_or((TOO_LONG, "set a shorter one"));
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", what, fix)
    }

    /// The path and query are longer than the limit.
    pub fn uri_too_long(limit: usize) -> Self {
        let detail = format!("the path and query are longer than {limit} bytes");
        Self::new(StatusCode::URI_TOO_LONG, "uri_too_long", detail, "ask for less at once")
    }

    /// The headers are more, or longer, than the limits.
    pub fn headers_too_large(count: usize, bytes: usize) -> Self {
        let detail = format!("there are more than {count} headers, or {bytes} bytes of them");
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        Self::new(status, "head_too_large", detail, "send fewer and shorter headers")
    }

    /// An idempotency key that is none.
    pub fn bad_key(max: usize) -> Self {
        let message = format!("must be 1 to {max} visible ASCII characters");
        Self::invalid(vec![FieldError { field: "Idempotency-Key".into(), message }])
    }

    /// An idempotency key that stands for another request.
    pub fn key_reused() -> Self {
        let detail = "this Idempotency-Key was used for another request";
        let hint = "make a new key, such as a UUID, for each change";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", detail, hint)
    }

    /// A change that was made, and whose answer is not kept.
    pub fn already_answered() -> Self {
        let detail = "this was done under the same Idempotency-Key, and its answer is shown once";
        let hint =
            "undo what was made if its answer did not arrive, and make another with a new key";
        Self::new(StatusCode::CONFLICT, "already_answered", detail, hint)
    }

    /// An instance did not get where it was waited for.
    pub fn not_reached(
        view: &InstanceView,
        wanted: Wanted,
        after: Duration,
        hopeless: bool,
    ) -> Self {
        let (name, state, wanted) = (&view.name, view.state.as_str(), wanted.as_str());
        let health = view.health.map_or("", |health| health.as_str());
        let now = [state, health].join(" ");
        let mut detail = format!("{name} is {}, not {wanted}", now.trim_end());
        if hopeless {
            detail.push_str(
                view.failure.as_deref().map_or(String::new(), |f| format!(": {f}")).as_str(),
            );
        } else {
            detail.push_str(&format!(" after {} s", after.as_secs()));
        }
        let hint = format!("see why: ten why {name}");
        Self::new(StatusCode::CONFLICT, "not_reached", detail, &hint)
    }

    /// The agent can't do its work. The reason stays in the log.
    pub fn not_ready(why: Self) -> Self {
        let hint = "find out what is wrong: ten doctor";
        let mut problem =
            Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "the agent is not ready", hint);
        problem.cause = why.cause.or(Some(why.api.detail));
        problem
    }

    /// A task of ours broke off.
    pub fn internal(error: &tokio::task::JoinError) -> Self {
        ManageError::Internal(error.to_string().into()).into()
    }

    /// The body did not arrive.
    pub fn body_late() -> Self {
        let detail = "the body did not arrive in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, "body_late", detail, "send the request again")
    }

    /// Fields that can't be taken, every one of them.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => format!("{}: {}", one.field, one.message),
            many => format!("{} fields can't be taken", many.len()),
        };
        let hint = "see the fields in errors";
        let mut problem =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", detail, hint);
        problem.api.errors = errors;
        problem
    }

    /// Writes it down. The header names what the body is, and nobody may cache it.
    pub fn render(self, request_id: &str) -> Response {
        let status =
            StatusCode::from_u16(self.api.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let api = ApiError { request_id: Some(request_id.to_owned()), ..*self.api };
        let mut response = (status, Json(api)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        *response.status_mut() =
            StatusCode::from_u16(self.api.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.extensions_mut().insert(self);
        response
    }
}

impl From<ManageError> for Problem {
    fn from(error: ManageError) -> Self {
        let (status, code, hint) = classify(&error);
        let mut problem = Self::new(status, code, error.to_string(), &hint);
        problem.cause = Some(chain(&error));
        match error {
            ManageError::StartFailed { retry_after, .. } => problem.retry_after = retry_after,
            ManageError::TooMany { .. } => problem.retry_after = Some(Duration::from_secs(5)),
            ManageError::Invalid { field, message } => {
                problem.api.errors = vec![FieldError { field: field.into(), message }];
            }
            ManageError::ConfigRejected(found) => {
                let place = |p: tenement_wire::dto::ConfigProblem| FieldError {
                    field: format!("{}:{}:{}", p.file, p.line, p.column),
                    message: format!("{} ({}): {}", p.message, p.text, p.fix),
                };
                problem.api.errors = found.into_iter().map(place).collect();
            }
            _ => {}
        }
        problem
    }
}

impl From<LogsError> for Problem {
    fn from(error: LogsError) -> Self {
        use StatusCode as S;
        let (status, code, hint) = match &error {
            LogsError::Off { .. } => (
                S::SERVICE_UNAVAILABLE,
                "logs_off",
                "the journal has them all: journalctl TENEMENT_INSTANCE=<id>",
            ),
            LogsError::Busy { .. } => {
                (S::SERVICE_UNAVAILABLE, "too_many", "end one of them, or try again soon")
            }
            LogsError::Sql { .. } => (
                S::UNPROCESSABLE_ENTITY,
                "invalid_request",
                "see docs/LOGS.md for what the view has",
            ),
            LogsError::Internal(_) => (
                S::INTERNAL_SERVER_ERROR,
                "internal",
                "the agent's log has the cause under the request id: journalctl -u tenement",
            ),
        };
        let mut problem = Self::new(status, code, error.to_string(), hint);
        problem.cause = Some(chain(&error));
        match error {
            LogsError::Busy { .. } => problem.retry_after = Some(Duration::from_secs(1)),
            LogsError::Sql { message } => {
                problem.api.errors = vec![FieldError { field: "sql".into(), message }];
            }
            LogsError::Off { .. } | LogsError::Internal(_) => {}
        }
        problem
    }
}

/// Status, code and hint of each error.
fn classify(error: &ManageError) -> (StatusCode, &'static str, String) {
    use StatusCode as S;
    match error {
        ManageError::NotFound { name, similar } => {
            (S::NOT_FOUND, "unknown_instance", not_found_hint(name, similar))
        }
        ManageError::UnknownSecret { name, .. } => {
            (S::NOT_FOUND, "unknown_secret", format!("see ten secret ls {name}"))
        }
        ManageError::UnknownJob { name, .. } => {
            (S::NOT_FOUND, "unknown_job", format!("see ten cron ls {name}"))
        }
        ManageError::AlreadyExists { .. } => {
            (S::CONFLICT, "already_exists", "leave it out, or start it with ten wake".into())
        }
        ManageError::Conflict { .. } => {
            (S::CONFLICT, "busy", "try again when that is done; see ten ps".into())
        }
        ManageError::UnknownProcess { process, known } => {
            (S::NOT_FOUND, "unknown_process", unknown_process_hint(process, known))
        }
        ManageError::Invalid { .. } => {
            (S::UNPROCESSABLE_ENTITY, "invalid_request", "see the fields in errors".into())
        }
        ManageError::InUse { name, .. } => {
            let hint = format!("wait until it is done, or cut it off: ten sleep --force {name}");
            (S::CONFLICT, "in_use", hint)
        }
        ManageError::NoRelease { process } => {
            (S::CONFLICT, "no_release", format!("make one: ten deploy {process} DIRECTORY"))
        }
        ManageError::NoReleases { .. } => {
            let hint = "mention {release} in its command or directory, then: ten config reload";
            (S::CONFLICT, "no_releases", hint.into())
        }
        ManageError::UnknownRelease { process, .. } => {
            (S::NOT_FOUND, "unknown_release", format!("ten releases {process} lists them"))
        }
        ManageError::StartFailed { name, .. } => {
            (S::SERVICE_UNAVAILABLE, "start_failed", format!("see its log: ten logs {name}"))
        }
        ManageError::StopFailed { name, .. } => {
            (S::SERVICE_UNAVAILABLE, "stop_failed", format!("see why: ten why {name}"))
        }
        ManageError::NoFreePort { .. } => {
            (S::CONFLICT, "no_free_port", "widen port_range, or remove instances".into())
        }
        ManageError::TimedOut { name, .. } => {
            (S::GATEWAY_TIMEOUT, "timed_out", format!("see its log: ten logs {name}"))
        }
        ManageError::TooMany { .. } => {
            (S::SERVICE_UNAVAILABLE, "too_many", "try again when one of them has ended".into())
        }
        ManageError::ConfigRejected(_) => (
            S::UNPROCESSABLE_ENTITY,
            "config_rejected",
            "correct the files, check them with ten config check, then reload again".into(),
        ),
        ManageError::StoreFull => (
            S::INSUFFICIENT_STORAGE,
            "store_full",
            "free space on the disk of /var/lib/tenement".into(),
        ),
        ManageError::StoreReadOnly => (
            S::INSUFFICIENT_STORAGE,
            "store_read_only",
            "see why it is read-only (dmesg), then mount it writable again".into(),
        ),
        ManageError::Unavailable { .. } => {
            (S::SERVICE_UNAVAILABLE, "unavailable", "find out what is wrong: ten doctor".into())
        }
        ManageError::Internal(_) => (
            S::INTERNAL_SERVER_ERROR,
            "internal",
            "the agent's log has the cause under the request id: journalctl -u tenement".into(),
        ),
    }
}

fn not_found_hint(name: &InstanceName, similar: &[InstanceName]) -> String {
    match similar.first() {
        Some(like) => format!("did you mean {like}? ten ps lists them all"),
        None => format!("ten ps lists them all; ten spawn {name} registers it"),
    }
}

fn unknown_process_hint(process: &ProcessName, known: &[ProcessName]) -> String {
    if known.is_empty() {
        return format!(
            "add a [process.{process}] to /etc/tenement/conf.d/{process}.toml (ten init writes one), then ten config reload"
        );
    }
    let list = known.iter().map(ProcessName::as_str).collect::<Vec<_>>().join(", ");
    let like = known
        .iter()
        .filter(|k| strsim::damerau_levenshtein(k.as_str(), process.as_str()) <= 2)
        .map(|k| format!("did you mean {k}? "))
        .next()
        .unwrap_or_default();
    format!("{like}the config has {list}; after adding one: ten config reload")
}

/// The error and its sources, which Display leaves out.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

fn shorten(text: &str) -> String {
    text.chars().take(20).collect()
}
