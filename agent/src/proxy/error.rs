//! The one place where failures become answers.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tenement_wire::ApiError;

use super::answer::ProxyBody;
use crate::flows::metrics::wakes::Outcome;
use crate::flows::{Refusal, WakeError};
use crate::framing::Reason;

/// Why the proxy answers by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The framing is ambiguous or malformed.
    BadRequest(Reason),
    /// The request's body broke off or broke the framing.
    BadBody,
    /// The client did not finish its request in time.
    RequestTimeout,
    /// The body is longer than allowed.
    BodyTooLarge,
    /// The head is longer than allowed.
    HeadTooLarge,
    /// A custom domain that is not verified yet.
    DomainPending,
    /// The client's address may not ask.
    Forbidden,
    /// Too many passwords are being checked.
    AuthBusy,
    /// No such host here.
    UnknownHost,
    /// The connection was made for another host.
    Misdirected,
    /// The process is known, the instance is not.
    UnknownInstance,
    /// The instance could not be reached, or broke off before it answered.
    BadGateway,
    /// The instance's answer has ambiguous framing.
    BadAnswer,
    /// The instance did not start.
    WakeFailed(Duration),
    /// The instance has failed for good.
    GaveUp,
    /// The instance's breaker is open for so long at least.
    BreakerOpen(Duration),
    /// The instance was not ready in time.
    WakeTimeout,
    /// The instance did not answer in time.
    AnswerTimeout,
    /// Too many connections.
    Busy,
    /// As many requests as the instance may have are in flight.
    InstanceBusy,
    /// More requests a second than the instance may have.
    TooFast(Duration),
    /// The instance's data directory is full.
    DiskFull,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Busy => Self::InstanceBusy,
            Refusal::TooFast(after) => Self::TooFast(after),
            Refusal::DiskFull => Self::DiskFull,
        }
    }
}

impl From<&WakeError> for Failure {
    fn from(error: &WakeError) -> Self {
        match error {
            WakeError::Failed { retry_after, .. } => Self::WakeFailed(*retry_after),
            WakeError::NotStarted { .. } => Self::WakeFailed(Duration::from_secs(1)),
            WakeError::TimedOut { .. } => Self::WakeTimeout,
            WakeError::GaveUp { .. } => Self::GaveUp,
            WakeError::DiskFull { .. } => Self::DiskFull,
            WakeError::Gone { .. } => Self::UnknownInstance,
        }
    }
}

impl Failure {
    /// Status, stable code, and a sentence for the client. It names no path, unit or reason of
    /// systemd's: those are in the log, under the request id.
    fn describe(self) -> (StatusCode, &'static str, String) {
        let (status, code, text) = match self {
            Self::BadRequest(reason) => {
                return (
                    StatusCode::BAD_REQUEST,
                    "bad_request",
                    format!("The request is malformed: {reason}."),
                );
            }
            Self::BadBody => (400, "bad_body", "The request body is malformed or ended early."),
            Self::RequestTimeout => (408, "request_timeout", "The request did not arrive in time."),
            Self::BodyTooLarge => (413, "body_too_large", "The request body is too large."),
            Self::HeadTooLarge => (431, "head_too_large", "The request head is too large."),
            Self::DomainPending => (
                404,
                "domain_pending",
                "This domain is not verified yet: ten domain check says why.",
            ),
            Self::Forbidden => (403, "forbidden", "Your address may not use this."),
            Self::AuthBusy => (503, "busy", "Too many passwords are being checked."),
            Self::UnknownHost => (404, "unknown_host", "Nothing is served under this host name."),
            Self::Misdirected => {
                (421, "misdirected", "This connection was made for another host name.")
            }
            Self::UnknownInstance => (404, "unknown_instance", "There is no such instance."),
            Self::BadGateway => {
                (502, "bad_gateway", "The instance closed the connection before it answered.")
            }
            Self::BadAnswer => (502, "bad_answer", "The instance's answer is malformed."),
            Self::WakeFailed(_) => (503, "wake_failed", "The instance did not start."),
            Self::GaveUp => {
                (503, "instance_failed", "The instance has failed and waits for its operator.")
            }
            Self::BreakerOpen(_) => {
                (503, "not_answering", "The instance has stopped answering; it is being probed.")
            }
            Self::WakeTimeout => (504, "wake_timeout", "The instance was not ready in time."),
            Self::AnswerTimeout => (504, "answer_timeout", "The instance did not answer in time."),
            Self::Busy => (503, "busy", "There are too many connections."),
            Self::InstanceBusy => {
                (503, "instance_busy", "The instance has as many requests as it may.")
            }
            Self::TooFast(_) => (429, "too_many_requests", "Requests come faster than they may."),
            Self::DiskFull => (507, "disk_full", "The instance has used up its disk space."),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, code, text.to_owned())
    }

    /// The status of the answer.
    pub(super) fn status(self) -> StatusCode {
        self.describe().0
    }

    /// The stable code of the answer.
    pub(super) fn code(self) -> &'static str {
        self.describe().1
    }

    /// What became of the wake, if it was one that failed.
    pub(super) fn wake_outcome(self) -> Option<Outcome> {
        match self {
            Self::WakeFailed(_) => Some(Outcome::Failed),
            Self::WakeTimeout => Some(Outcome::TimedOut),
            Self::GaveUp | Self::DiskFull => Some(Outcome::Refused),
            _ => None,
        }
    }

    /// Whether nothing more can be read from the client after this.
    fn closes(self) -> bool {
        matches!(
            self,
            Self::BadRequest(_)
                | Self::BadBody
                | Self::RequestTimeout
                | Self::BodyTooLarge
                | Self::HeadTooLarge
                | Self::Busy
        )
    }

    fn retry_after(self) -> Option<u64> {
        match self {
            // Rounded up: a client that comes back too early only fails again.
            Self::WakeFailed(after) | Self::TooFast(after) | Self::BreakerOpen(after) => {
                Some(after.as_millis().div_ceil(1000).max(1) as u64)
            }
            Self::Busy | Self::InstanceBusy | Self::AuthBusy => Some(1),
            // Only an operator can help.
            Self::GaveUp => Some(60),
            _ => None,
        }
    }

    /// Whether the proxy or the instance is at fault rather than the client.
    pub(super) fn is_ours(self) -> bool {
        self.describe().0.is_server_error()
    }

    /// The answer, in HTML or JSON, and to HEAD without the text.
    pub(super) fn answer(self, is_head: bool, html: bool, id: &HeaderValue) -> Response<ProxyBody> {
        let (status, code, text) = self.describe();
        let id_text = id.to_str().unwrap_or_default();
        let body =
            if html { page(status, &text, id_text) } else { problem(status, code, &text, id_text) };
        let mut answer = Response::new(ProxyBody::empty());
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        describe_body(headers, html, body.len());
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.closes() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if !is_head {
            *answer.body_mut() = ProxyBody::full(body);
        }
        answer
    }

    /// The same answer as bytes, for when hyper is not there to write it.
    pub(super) fn raw(self, id: &HeaderValue) -> Vec<u8> {
        let (status, code, text) = self.describe();
        let id_text = id.to_str().unwrap_or_default();
        let body = problem(status, code, &text, id_text);
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
             cache-control: no-store\r\nx-request-id: {id_text}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

fn describe_body(headers: &mut HeaderMap, html: bool, length: usize) {
    let kind = if html { "text/html; charset=utf-8" } else { "application/problem+json" };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
}

fn problem(status: StatusCode, code: &str, text: &str, id: &str) -> String {
    let title = status.canonical_reason().unwrap_or_default();
    let mut error = ApiError::new(status.as_u16(), code, text).title(title);
    error.request_id = Some(id.to_owned());
    // Plain strings and numbers always serialize.
    serde_json::to_string(&error).unwrap_or_default()
}

/// `text` and `id` hold nothing that HTML would read as markup: the first is ours, the second was
/// checked by [`super::request_id::is_valid`].
fn page(status: StatusCode, text: &str, id: &str) -> String {
    let reason = status.canonical_reason().unwrap_or("Error");
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{reason}</title><style>body{{font:1em/1.5 system-ui,sans-serif;max-width:36em;\
         margin:15vh auto;padding:0 1em;color:#222;background:#fff}}small{{color:#666}}\
         @media(prefers-color-scheme:dark){{body{{color:#ddd;background:#111}}}}</style>\
         <h1>{} {reason}</h1><p>{text}</p><p><small>Request {id}</small></p></html>\n",
        status.as_u16()
    )
}

/// Whether the client is a browser.
pub(super) fn wants_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).map(HeaderValue::as_bytes).unwrap_or_default();
    // Most API clients send a few bytes, such as `*/*`.
    accept.len() >= 9 && memchr::memmem::find(accept, b"text/html").is_some()
}

/// An error with its sources, for the log.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
