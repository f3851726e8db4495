//! One request on a connection of its own, over TLS if the URL says so.

use std::error::Error;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::HookError;

/// Sends `request`, whose URL names host and port, and reads at most `answer_max` bytes of an answer: of a longer
/// one, none. No redirect is followed. The caller bounds the time.
///
/// # Errors
/// [`HookError::Unreachable`] says how far it came.
pub async fn send(
    request: Request<Full<Bytes>>,
    answer_max: usize,
) -> Result<Response<Bytes>, HookError> {
    let url = request.uri().clone();
    let request = in_origin_form(request, &url)?;
    let host = url.host().unwrap_or_default();
    let tls = url.scheme_str() == Some("https");
    let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
    // Addresses of version 6 have brackets in URLs and none elsewhere.
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((plain, port)).await;
    let stream = stream.map_err(|error| unreachable("can't connect", &error))?;
    if !tls {
        return exchange(stream, request, answer_max).await;
    }
    let name = ServerName::try_from(plain.to_owned());
    let name = name.map_err(|error| HookError::Unreachable(error.to_string()))?;
    let stream = TlsConnector::from(config()?).connect(name, stream).await;
    let stream = stream.map_err(|error| unreachable("no secure connection", &error))?;
    exchange(stream, request, answer_max).await
}

fn in_origin_form(
    mut request: Request<Full<Bytes>>,
    url: &Uri,
) -> Result<Request<Full<Bytes>>, HookError> {
    let wrong = |error: &dyn std::fmt::Display| HookError::Unreachable(error.to_string());
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let host = HeaderValue::from_str(authority).map_err(|error| wrong(&error))?;
    request.headers_mut().insert(HOST, host);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|error: http::uri::InvalidUri| wrong(&error))?;
    Ok(request)
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    answer_max: usize,
) -> Result<Response<Bytes>, HookError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let broke = |error: hyper::Error| unreachable("the connection broke", &error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
    let driver = tokio::spawn(connection);
    let _ends_with_us = Ends(driver.abort_handle());
    let (parts, body) = sender.send_request(request).await.map_err(broke)?.into_parts();
    let body = Limited::new(body, answer_max).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    Ok(Response::from_parts(parts, body))
}

/// Ends the task of a connection when nobody waits for it any more.
struct Ends(tokio::task::AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
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
