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

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

pub use sign::{SIGNATURE, sign, verify};

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
    let host = order.url.host().unwrap_or_default();
    let tls = order.url.scheme_str() == Some("https");
    let port = order.url.port_u16().unwrap_or(if tls { 443 } else { 80 });
    // Addresses of version 6 have brackets in URLs and none elsewhere.
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((plain, port)).await;
    let stream = stream.map_err(|error| unreachable("can't connect", &error))?;
    let authority = order.url.authority().map_or(host, |authority| authority.as_str());
    let path = order.url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::post(path)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("tenement/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header(ID, &order.id)
        .header(SIGNATURE, sign(&secret, order.now, &order.body))
        .body(Full::new(order.body))
        .map_err(|error| HookError::Unreachable(error.to_string()))?;
    if !tls {
        return send(stream, request).await;
    }
    let name = ServerName::try_from(plain.to_owned());
    let name = name.map_err(|error| HookError::Unreachable(error.to_string()))?;
    let stream = TlsConnector::from(config()?).connect(name, stream).await;
    send(stream.map_err(|error| unreachable("no secure connection", &error))?, request).await
}

async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, HookError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let broke = |error: hyper::Error| unreachable("the connection broke", &error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
    let driver = tokio::spawn(connection);
    let _ends_with_us = Ends(driver.abort_handle());
    let answer = sender.send_request(request).await.map_err(broke)?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
    let text = body.map(|body| body.to_bytes()).unwrap_or_default();
    let said = String::from_utf8_lossy(&text);
    let said = said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_MAX).collect();
    Ok(Answer { status, said })
}

/// Ends the task of a connection when nobody waits for it any more.
struct Ends(tokio::task::AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
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

/// The system's roots, read once.
fn config() -> Result<Arc<ClientConfig>, HookError> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = "this host has no root certificates: install ca-certificates";
        return Err(HookError::Unreachable(why.into()));
    }
    let provider = Arc::new(crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| HookError::Unreachable(error.to_string()))?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}

fn unreachable(what: &str, error: &(dyn Error + 'static)) -> HookError {
    let mut text = format!("{what}: {error}");
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    HookError::Unreachable(text)
}

impl From<io::Error> for HookError {
    fn from(error: io::Error) -> Self {
        Self::Unreachable(error.to_string())
    }
}
