//! A health check: one GET to an instance, and what came of it.
//!
//! An idle connection of the pool is used if there is one, else a new one; either is closed
//! afterwards. A server that serves one connection at a time would otherwise be kept from its
//! requests by the connection of its own checks.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use http::{HeaderValue, Request, Uri, header};

use super::{ExchangeError, Link, Pool, Target, UploadBody};

/// The most bytes of an answer's body that are read, so that the app does not see a broken pipe.
const BODY_MAX: usize = 64 * 1024;

/// What is asked of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    uri: Uri,
    host: HeaderValue,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// This status.
    Answered(u16),
    /// connect(2) failed.
    Unreachable(io::ErrorKind),
    /// It closed the connection without an answer.
    Broke,
    /// Its answer breaks HTTP framing.
    Malformed,
    /// No answer in time.
    TimedOut(Duration),
}

impl Outcome {
    /// Whether the instance is well: any status from 200 to 399.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Answered(200..=399))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answered(status) => write!(f, "its health check was answered with {status}"),
            Self::Unreachable(kind) => write!(f, "its health check could not connect: {kind}"),
            Self::Broke => write!(f, "it closed the connection of its health check"),
            Self::Malformed => write!(f, "the answer to its health check is malformed"),
            Self::TimedOut(after) => write!(f, "no answer to its health check within {after:?}"),
        }
    }
}

impl Check {
    /// A check of `path` (and query) under the name `host`; `None` if either can't be sent.
    #[must_use]
    pub fn new(path: &str, host: &str) -> Option<Self> {
        Some(Self { uri: Uri::try_from(path).ok()?, host: HeaderValue::from_str(host).ok()? })
    }

    /// Asks the instance, for `timeout` at most.
    pub async fn ask(&self, target: &Target, pool: &Pool, timeout: Duration) -> Outcome {
        let asked = tokio::time::timeout(timeout, self.exchange(target, pool)).await;
        asked.unwrap_or(Outcome::TimedOut(timeout))
    }

    async fn exchange(&self, target: &Target, pool: &Pool) -> Outcome {
        let mut idle = pool.take();
        loop {
            let was_idle = idle.is_some();
            let mut link = match idle.take() {
                Some(link) => link,
                None => match Link::open(target, pool).await {
                    Ok(link) => link,
                    Err(error) => return Outcome::Unreachable(error.kind()),
                },
            };
            let error = match link.exchange(self.request(), None).await {
                Ok(answer) => {
                    let (head, mut body) = answer.into_parts();
                    let mut left = BODY_MAX;
                    while left > 0 && !body.is_end_stream() {
                        let frame = poll_fn(|cx| body.poll_frame(&mut link, cx)).await;
                        let Some(Ok(frame)) = frame else { break };
                        let length = frame.data_ref().map_or(0, bytes::Bytes::len);
                        left = left.saturating_sub(length);
                    }
                    return Outcome::Answered(head.status.as_u16());
                }
                Err(error) => error,
            };
            match error {
                // The instance may close an idle connection at any time.
                ExchangeError::Unsent(_) | ExchangeError::Broken { answered: false, .. }
                    if was_idle => {}
                ExchangeError::Violated => return Outcome::Malformed,
                _ => return Outcome::Broke,
            }
        }
    }

    fn request(&self) -> Request<UploadBody> {
        let mut request = Request::new(UploadBody::empty());
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.reserve(3);
        headers.insert(header::HOST, self.host.clone());
        headers.insert(header::USER_AGENT, HeaderValue::from_static("tenement-health"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        request
    }
}
