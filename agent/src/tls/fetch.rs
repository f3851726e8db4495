//! Small HTTPS client: one request, one connection, bounds on everything. For CAs and DNS providers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{HOST, USER_AGENT};
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::files;

/// How long one request may take, all of it.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest answer.
const ANSWER_MAX: usize = 1 << 20;

/// How a request is sent: [`by_https`], or a test's.
pub(super) type Fetch = Arc<
    dyn Fn(Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>, String>> + Send + Sync,
>;

/// Sends by HTTPS, believing the system's roots, or those in `roots`.
///
/// # Errors
/// A text that names the file, or says that there are no roots.
pub(super) fn by_https(roots: Option<&Path>) -> Result<Fetch, String> {
    let mut store = RootCertStore::empty();
    if let Some(path) = roots {
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let pem = files::read(path).map_err(|e| wrong(&e))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            store.add(certificate.map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
        }
    } else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if store.is_empty() {
        return Err("there are no root certificates: install ca-certificates".into());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
    let config = Arc::new(config.with_root_certificates(store).with_no_client_auth());
    Ok(Arc::new(move |request| {
        let config = config.clone();
        Box::pin(async move {
            let host = request.uri().host().unwrap_or_default().to_owned();
            let sent = tokio::time::timeout(TIMEOUT, send(config, request)).await;
            sent.unwrap_or_else(|_| Err("no answer in time".into()))
                .map_err(|why| format!("{host}: {why}"))
        })
    }))
}

async fn send(
    config: Arc<ClientConfig>,
    mut request: Request<Bytes>,
) -> Result<Response<Bytes>, String> {
    let uri = request.uri().clone();
    let host = uri.host().ok_or("the URL has no host")?;
    let port = uri.port_u16().unwrap_or(443);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream =
        TcpStream::connect((bare, port)).await.map_err(|e| format!("no connection: {e}"))?;
    let name = ServerName::try_from(bare.to_owned()).map_err(|e| e.to_string())?;
    let stream = TlsConnector::from(config).connect(name, stream).await;
    let stream = stream.map_err(|e| format!("no secure connection: {e}"))?;
    let authority = uri.authority().map_or("", |a| a.as_str());
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(authority).map_err(|e| e.to_string())?);
    let agent = HeaderValue::from_static(concat!("tenement/", env!("CARGO_PKG_VERSION")));
    headers.entry(USER_AGENT).or_insert(agent);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|_| "the path can't be sent".to_owned())?;
    let broke = |error: hyper::Error| format!("the connection broke: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
    let driver = tokio::spawn(connection);
    let _ends_with_us = Ends(driver.abort_handle());
    let answer = sender.send_request(request.map(Full::new)).await.map_err(broke)?;
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_MAX).collect().await;
    let body = body.map_err(|e| format!("the answer broke off: {e}"))?;
    Ok(Response::from_parts(parts, body.to_bytes()))
}

/// Ends the task of a connection when nobody waits for it any more.
struct Ends(tokio::task::AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}
