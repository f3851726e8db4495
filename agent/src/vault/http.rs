//! Requests to an endpoint: one connection each, bounds on every wait.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

const CONNECT: Duration = Duration::from_secs(15);
/// From the beginning of a request to the head of its answer: 16 MiB in it at 1 Mbit/s.
const EXCHANGE: Duration = Duration::from_secs(180);
/// Longest answer that is read as a whole.
const ANSWER_MAX: usize = 4 << 20;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Ends the task of a connection when nobody reads from it any more.
pub(super) struct Ends(tokio::task::AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends a request, whose URL is whole, and returns when the head of the answer is there.
pub(super) async fn begin(
    mut request: Request<Full<Bytes>>,
) -> Result<(Response<Incoming>, Ends), String> {
    let uri = request.uri().clone();
    let authority = uri.authority().ok_or("the URL has no host")?.as_str().to_owned();
    let stream = tokio::time::timeout(CONNECT, connect(&uri)).await;
    let stream = stream.map_err(|_| format!("{authority} does not answer"))?;
    let stream = stream.map_err(|error| format!("{authority}: {error}"))?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(&authority).map_err(|e| e.to_string())?);
    let agent = HeaderValue::from_static(concat!("tenement/", env!("CARGO_PKG_VERSION")));
    headers.insert(USER_AGENT, agent);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|_| "the path can't be sent".to_owned())?;
    let broke = |error: hyper::Error| format!("the connection to {authority} broke: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
    let driver = tokio::spawn(connection);
    let ends = Ends(driver.abort_handle());
    let answer = tokio::time::timeout(EXCHANGE, sender.send_request(request)).await;
    let answer = answer.map_err(|_| format!("{authority} did not answer in time"))?;
    Ok((answer.map_err(broke)?, ends))
}

/// The same, with the answer as a whole.
pub(super) async fn whole(request: Request<Full<Bytes>>) -> Result<Response<Bytes>, String> {
    let (answer, _ends) = begin(request).await?;
    let (parts, body) = answer.into_parts();
    let body = tokio::time::timeout(EXCHANGE, Limited::new(body, ANSWER_MAX).collect()).await;
    let body = body.map_err(|_| "the answer did not arrive in time".to_owned())?;
    let body = body.map_err(|error| format!("the answer broke off: {error}"))?;
    Ok(Response::from_parts(parts, body.to_bytes()))
}

async fn connect(uri: &http::Uri) -> io::Result<Box<dyn Stream>> {
    let tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    // Addresses of version 6 have brackets in URLs and none elsewhere.
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, port)).await?;
    if !tls {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(config()?).connect(name, stream).await?))
}

/// The system's roots, read once.
fn config() -> io::Result<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(io::Error::other(
            "this host has no root certificates: install ca-certificates",
        ));
    }
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    Ok(CONFIG.get_or_init(|| config).clone())
}
