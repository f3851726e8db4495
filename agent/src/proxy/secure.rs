//! HTTPS: the handshake before a connection, and what it changes for its requests.
//!
//! ```text
//! accept ─► room for a handshake? ─► ClientHello ─► which certificate? ─► handshake ─► ALPN ─► GuardIo, as on plain HTTP
//! ```
//!
//! The host of the handshake is the only one that is served on the connection: a client that comes for another host
//! is sent away with 421 (RFC 9110 section 15.5.20), even where one certificate is good for both.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::Authority;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::server::TlsStream;

use super::admission::Admitted;
use super::answer::ProxyBody;
use super::connection;
use super::error::{self, Failure};
use super::forwarded::X_FORWARDED_PROTO;
use super::policy::Policy;
use super::stage::{Stage, StageWatch};
use super::state::{Arrival, Client, Counters, Proxy};
use crate::config::Limits;
use crate::flows::Tenants;
use crate::framing::host;
use crate::tls::{Asked, CHALLENGE_PATH};

/// One who was let in and has not shaken hands yet.
pub(super) struct Comer {
    pub(super) peer: SocketAddr,
    pub(super) policy: Arc<Policy>,
    pub(super) admitted: Admitted,
}

/// Shakes hands and serves the connection until it ends or the proxy does.
pub(super) async fn run<T: Tenants>(
    proxy: Arc<Proxy<T>>,
    stream: TcpStream,
    comer: Comer,
    stage: StageWatch,
) {
    let served = async {
        let shaken = tokio::select! {
            shaken = shake(&proxy, stream, &comer) => shaken,
            () = stage.reached(Stage::CloseNew) => return,
        };
        let (mut stream, host) = match shaken {
            Ok(Some(shaken)) => shaken,
            Ok(None) => return,
            Err(error) => {
                Counters::add(&proxy.counters.handshakes_failed);
                log::debug!(peer:% = comer.peer, error = error::chain(&error); "handshake failed");
                return;
            }
        };
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let Comer { peer, policy, admitted } = comer;
        let timeout = policy.limits.header_timeout;
        let client = Client::new(peer, policy, admitted, Arrival::Tls { host });
        let first = tokio::select! {
            first = first_bytes(&mut stream, Instant::now() + timeout) => first,
            () = stage.reached(Stage::CloseNew) => return,
        };
        let Ok(Some(first)) = first else { return };
        connection::serve_either(proxy, stream, Arc::new(client), &stage, first, is_http2).await;
    };
    connection::until_abort(served, &stage).await;
}

/// The handshake, and the host that it was for. None: it was no client, and all is said.
async fn shake<T: Tenants>(
    proxy: &Proxy<T>,
    stream: TcpStream,
    comer: &Comer,
) -> io::Result<Option<(TlsStream<TcpStream>, Box<str>)>> {
    let secure = &comer.policy.secure;
    let Some(tls) = proxy.tls.get() else { return Err(io::ErrorKind::Unsupported.into()) };
    let limited = !comer.policy.trusts(comer.peer.ip());
    let limits = Limits {
        connections: secure.handshakes,
        connections_per_client: (secure.handshakes / 10).max(1),
        ..comer.policy.limits
    };
    // Until the handshake is over: a flood of half-open ones must not take the place of those who serve.
    let Some(_room) = proxy.handshakes.admit(comer.peer.ip(), &limits, limited) else {
        return Err(io::Error::other("too many handshakes at once"));
    };
    let handshake = async {
        let started = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let asked = Asked::by(&started.client_hello()).map_err(io::Error::other)?;
        let chosen = tls.choose(asked).await.map_err(io::Error::other)?;
        let stream = started.into_stream(chosen.config).await?;
        Ok((!chosen.is_challenge).then(|| (stream, chosen.host.into_boxed_str())))
    };
    let deadline = Instant::now() + secure.handshake_timeout;
    timeout_at(deadline, handshake).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// What the client sends first, by `deadline`. None: it left.
async fn first_bytes(
    stream: &mut TlsStream<TcpStream>,
    deadline: Instant,
) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = [0; 4096];
    let n = timeout_at(deadline, stream.read(&mut bytes)).await??;
    Ok((n > 0).then(|| bytes[..n].to_vec()))
}

/// `Strict-Transport-Security` for answers to `client`.
pub(super) fn hsts(client: &Client) -> Option<HeaderValue> {
    match client.arrival {
        Arrival::Tls { .. } => client.policy.secure.hsts.clone(),
        Arrival::Plain { secured: true, .. } => client.policy.secure.hsts.clone(),
        Arrival::Plain { .. } => None,
    }
}

/// What is answered before the host is looked up: a CA that asks, and a client that should have come by HTTPS.
///
/// # Errors
/// [`Failure::Misdirected`] if the connection was made for another host.
pub(super) fn before<T: Tenants>(
    proxy: &Proxy<T>,
    client: &Client,
    request: &Request<Incoming>,
    asked: &HeaderValue,
) -> Result<Option<Response<ProxyBody>>, Failure> {
    let name = || host::parse(asked.as_bytes()).map(|host| host.name).unwrap_or_default();
    let port = match &client.arrival {
        Arrival::Tls { host } if name().eq_ignore_ascii_case(host.as_bytes()) => return Ok(None),
        Arrival::Tls { .. } => return Err(Failure::Misdirected),
        Arrival::Plain { port, .. } => *port,
    };
    let Some(tls) = proxy.tls.get() else { return Ok(None) };
    let path = request.uri().path();
    if let Some(text) = path.strip_prefix(CHALLENGE_PATH).and_then(|token| tls.token(token)) {
        return Ok(Some(challenge(text)));
    }
    let Some(secure_port) = client.policy.secure.redirect else { return Ok(None) };
    // On another port than 80 it is most often this host's operator, by curl or a forwarded port.
    let local = port != 80 && client.peer.is_loopback();
    let vouched = client.arrival.is_encrypted() || (client.trusted && is_https(request));
    if local || vouched || matches!(path, "/health" | "/healthz") {
        return Ok(None);
    }
    let name = String::from_utf8_lossy(name()).to_ascii_lowercase();
    if !tls.covers(&name) {
        return Ok(None);
    }
    Ok(redirect(&name, secure_port, request).map(Some).unwrap_or_default())
}

/// Whether a proxy that is trusted says that its client came by HTTPS.
fn is_https(request: &Request<Incoming>) -> bool {
    let mut said = request.headers().get_all(X_FORWARDED_PROTO).iter().peekable();
    said.peek().is_some()
        && said.all(|value| {
            let mut words = value.as_bytes().split(|b| *b == b',');
            words.all(|word| word.trim_ascii().eq_ignore_ascii_case(b"https"))
        })
}

fn challenge(text: String) -> Response<ProxyBody> {
    let mut answer = Response::new(ProxyBody::full(text));
    let kind = HeaderValue::from_static("application/octet-stream");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// 308 keeps the method and the body, which 301 does not (RFC 9110 section 15.4.9).
fn redirect(name: &str, port: u16, request: &Request<Incoming>) -> Option<Response<ProxyBody>> {
    let authority = if port == 443 { name.to_owned() } else { format!("{name}:{port}") };
    let authority: Authority = authority.parse().ok()?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let target = HeaderValue::from_str(&format!("https://{authority}{path}")).ok()?;
    let mut answer = Response::new(ProxyBody::empty());
    *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
    answer.headers_mut().insert(header::LOCATION, target);
    answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    Some(answer)
}
