//! Floor 2: posts a signed text to a webhook.
//!
//! ```text
//! secret file ─► HMAC-SHA256 over "time.body" ─► POST over TLS (rustls, the system's roots) ─► status and a little text
//! ```
//!
//! One request, one connection, one deadline over all of it. It follows no redirect, so a receiver can't send the
//! agent elsewhere, and reads no more of an answer than it shows.

mod sign;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Request, Uri};
use http_body_util::Full;

pub use sign::{SIGNATURE, sign, verify};
pub use wire::send;

/// How the agent calls itself.
pub const AGENT: &str = concat!("tenement/", env!("CARGO_PKG_VERSION"));

/// Header with the id of what is sent, the same in every try.
pub const ID: &str = "tenement-alert-id";
/// Longest answer that is read, in bytes.
const ANSWER_MAX: usize = 4 * 1024;
/// Characters of an answer that are shown.
const SAID_MAX: usize = 200;
/// Longest secret, in bytes.
const SECRET_MAX: u64 = 4 * 1024;
/// Shortest: a key of fewer bits could be found by trying.
const SECRET_MIN: usize = 16;

/// What is posted, and where.
#[derive(Debug, Clone)]
pub struct Order {
    /// Where; `https`, or `http` on this host.
    pub url: Uri,
    /// File with the secret, which is read for each request: a new one counts at once.
    pub secret_file: PathBuf,
    /// Id of what is sent.
    pub id: String,
    /// JSON.
    pub body: Bytes,
    /// Unix seconds, as the signature says them.
    pub now: u64,
    /// How long all of it may take.
    pub timeout: Duration,
}

/// What the receiver answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The beginning of its text, on one line.
    pub said: String,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The secret can't be used. Another try would not help.
    #[error("the secret {}: {why}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The receiver could not be reached, or did not answer.
    #[error("{0}")]
    Unreachable(String),
}

/// Posts.
///
/// # Errors
/// [`HookError`] if there was no answer; one of any status is an answer.
pub async fn post(order: Order) -> Result<Answer, HookError> {
    let timeout = order.timeout;
    match tokio::time::timeout(timeout, exchange(order)).await {
        Ok(answer) => answer,
        Err(_) => Err(HookError::Unreachable(format!("no answer within {timeout:?}"))),
    }
}

async fn exchange(order: Order) -> Result<Answer, HookError> {
    let secret = secret(&order.secret_file).await?;
    let request = Request::post(order.url)
        .header(USER_AGENT, AGENT)
        .header(CONTENT_TYPE, "application/json")
        .header(ID, &order.id)
        .header(SIGNATURE, sign(&secret, order.now, &order.body))
        .body(Full::new(order.body))
        .map_err(|error| HookError::Unreachable(error.to_string()))?;
    let answer = wire::send(request, ANSWER_MAX).await?;
    let said = String::from_utf8_lossy(answer.body());
    let said = said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_MAX).collect();
    Ok(Answer { status: answer.status().as_u16(), said })
}

/// Reads the secret; white space at its ends is none of it.
async fn secret(path: &std::path::Path) -> Result<Vec<u8>, HookError> {
    let wrong = |why: String| HookError::Secret { path: path.to_owned(), why };
    let meta = tokio::fs::metadata(path).await.map_err(|error| wrong(error.to_string()))?;
    if !meta.is_file() || meta.len() > SECRET_MAX {
        return Err(wrong(format!("it is not a file of at most {SECRET_MAX} bytes")));
    }
    let bytes = tokio::fs::read(path).await.map_err(|error| wrong(error.to_string()))?;
    let secret = bytes.trim_ascii().to_vec();
    if secret.len() < SECRET_MIN {
        return Err(wrong(format!(
            "it is shorter than {SECRET_MIN} bytes: openssl rand -hex 32 makes a good one"
        )));
    }
    Ok(secret)
}

impl From<io::Error> for HookError {
    fn from(error: io::Error) -> Self {
        Self::Unreachable(error.to_string())
    }
}
