//! Connections: to a unix socket, or to another host by TLS. One is kept for the next request.

use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::endpoint::{Endpoint, Remote};

/// Why there is no answer.
pub(super) enum DialError {
    /// The connection could not be made, or broke.
    Broken(Box<dyn Error + Send + Sync>),
    /// The other host is not this one, and would be asked without TLS.
    Plain(SocketAddr),
}

impl<E: Error + Send + Sync + 'static> From<E> for DialError {
    fn from(error: E) -> Self {
        Self::Broken(Box::new(error))
    }
}

/// A stream to an agent.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The connection that was used last.
#[derive(Default)]
pub(super) struct Line {
    idle: RefCell<Option<SendRequest<Full<Bytes>>>>,
}

impl Line {
    /// Sends `request`, whose URL is only a path, and gives back the head of the answer.
    pub(super) async fn send(
        &self,
        endpoint: &Endpoint,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, DialError> {
        address(endpoint, &mut request)?;
        let kept = self.idle.borrow_mut().take();
        if let Some(mut sender) = kept
            && sender.ready().await.is_ok()
        {
            match sender.try_send_request(request).await {
                Ok(answer) => return Ok(self.keep(sender, answer)),
                // The agent closed the connection meanwhile: what was not sent may be sent again.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
        let stream = connect(endpoint).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let answer = sender.send_request(request).await?;
        Ok(self.keep(sender, answer))
    }

    fn keep(
        &self,
        sender: SendRequest<Full<Bytes>>,
        answer: Response<Incoming>,
    ) -> Response<Incoming> {
        *self.idle.borrow_mut() = Some(sender);
        answer
    }
}

/// Sends `request`, whose URL is only a path, on a connection of its own.
pub(super) async fn send_fresh<B>(
    endpoint: &Endpoint,
    mut request: Request<B>,
) -> Result<Response<Incoming>, DialError>
where
    B: hyper::body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    address(endpoint, &mut request)?;
    let stream = connect(endpoint).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

/// Says whom `request` is for, and who asks.
fn address<B>(endpoint: &Endpoint, request: &mut Request<B>) -> Result<(), DialError> {
    let remote = endpoint.remote.as_ref();
    let host = remote.map_or("localhost", Remote::authority);
    request.headers_mut().insert(HOST, HeaderValue::from_str(host)?);
    if let Some(remote) = remote {
        request.headers_mut().insert(AUTHORIZATION, remote.bearer());
    }
    Ok(())
}

async fn connect(endpoint: &Endpoint) -> Result<Box<dyn Stream>, DialError> {
    let Some(remote) = &endpoint.remote else {
        return Ok(Box::new(UnixStream::connect(&endpoint.path).await?));
    };
    // Names below `localhost` are this host's, also where no resolver says so (RFC 6761 section 6.3).
    let name = remote.host();
    let name = if name.ends_with(".localhost") { "localhost" } else { name };
    let found = tokio::net::lookup_host((name, remote.port())).await?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    if !remote.tls() {
        // Anybody on the way could read the token and use it.
        addresses.sort_by_key(|address| address.ip().to_canonical().is_loopback());
        if let Some(other) = addresses.iter().find(|one| !one.ip().to_canonical().is_loopback()) {
            return Err(DialError::Plain(*other));
        }
    }
    let stream = TcpStream::connect(&*addresses).await?;
    stream.set_nodelay(true)?;
    if !remote.tls() {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(remote.host().to_owned())?;
    Ok(Box::new(TlsConnector::from(config()?).connect(name, stream).await?))
}

/// TLS with the roots of this host, or those that `SSL_CERT_FILE` names.
fn config() -> Result<Arc<ClientConfig>, DialError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let why = "this host has no root certificates: install ca-certificates";
        return Err(io::Error::other(why).into());
    }
    let provider = Arc::new(crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
