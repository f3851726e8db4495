//! Accepting, and ending without anybody noticing.
//!
//! The listeners belong to systemd and stay open when the agent ends: what is not accepted here
//! waits in the kernel for the next agent. So the end goes in stages ([`Stage`]).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::admission::Admitted;
use super::connection;
use super::error::{self, Failure};
use super::policy::Policy;
use super::preface;
use super::secure;
use super::stage::{Stage, Stages};
use super::state::{Arrival, Client, Counters, Proxy};
use crate::flows::Tenants;

/// How long clients have to leave by themselves.
const LEAVE: Duration = Duration::from_secs(1);
/// How long a client that was accepted last has to send its first byte.
const FIRST_BYTE: Duration = Duration::from_secs(1);
/// How often the stages look whether there is anything left to wait for.
const LOOK: Duration = Duration::from_millis(10);
/// Pause after accept(2) failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A client that says nothing is asked after the first, then every second, and is gone after so many that it did not answer.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEP_ALIVE_PAUSE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_TRIES: u32 = 4;

/// A listener, and what is spoken on it.
#[derive(Debug)]
pub struct Door {
    /// The listener.
    pub listener: TcpListener,
    /// Whether clients speak TLS there.
    pub secure: bool,
}

impl From<TcpListener> for Door {
    fn from(listener: TcpListener) -> Self {
        Self { listener, secure: false }
    }
}

/// Serves `listeners` until `shutdown` ends, or one can't be served any more, and the connections are
/// drained.
pub async fn serve<T: Tenants, D: Into<Door>>(
    listeners: Vec<D>,
    proxy: Arc<Proxy<T>>,
    shutdown: impl Future<Output = ()>,
) {
    let stages = proxy.stages.clone();
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener.into(), proxy.clone()));
    }
    tokio::select! {
        () = shutdown => {}
        // Only a bug could make it; whoever called sees that it ended without being asked to.
        Some(ended) = accepting.join_next() => log::error!("a listener is not served any more: {ended:?}"),
    }
    let drain_until = Instant::now() + proxy.policy.load().drain_timeout;
    stages.enter(Stage::Draining);
    until_empty(&proxy, Instant::now() + LEAVE).await;
    stages.enter(Stage::CloseIdle);
    while accepting.join_next().await.is_some() {}
    until_empty(&proxy, Instant::now() + FIRST_BYTE).await;
    stages.enter(Stage::CloseNew);
    until_empty(&proxy, drain_until).await;
    stages.enter(Stage::Abort);
}

/// Returns when no connection is open, or at `deadline`.
async fn until_empty<T: Tenants>(proxy: &Proxy<T>, deadline: Instant) {
    while proxy.open_connections() > 0 && Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
}

async fn accept<T: Tenants>(door: Door, proxy: Arc<Proxy<T>>) {
    let Door { listener, secure } = door;
    let port = listener.local_addr().map_or(0, |address| address.port());
    keep_alive(&listener);
    let watcher = Stages::watch(&proxy.stages);
    loop {
        let accepted = tokio::select! {
            biased;
            () = watcher.reached(Stage::CloseIdle) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(&proxy, stream, peer, (!secure).then_some(port)),
            Err(error) if is_about_the_connection(&error) => {}
            Err(error) => {
                log::warn!(error = error::chain(&error); "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// `plain` is the port, if clients speak no TLS on it.
fn admit<T: Tenants>(
    proxy: &Arc<Proxy<T>>,
    stream: TcpStream,
    peer: SocketAddr,
    plain: Option<u16>,
) {
    Counters::add(&proxy.counters.connections);
    let policy = proxy.policy.load_full();
    let limited = !policy.trusts(peer.ip()) && !policy.awaits_client(peer.ip());
    let Some(admitted) = proxy.admission.admit(peer.ip(), &policy.limits, limited) else {
        Counters::add(&proxy.counters.connections_refused);
        // Written as far as it goes at once: a refusal must not take more than the refused.
        // Not through the runtime, which does not know yet that the socket can be written to.
        // A client of TLS could not read it.
        if plain.is_none() {
            return;
        }
        let flags = rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL;
        let _ = rustix::net::send(&stream, &Failure::Busy.raw(&proxy.ids.next()), flags);
        return;
    };
    // Without it, the last piece of an answer waits for an acknowledgement.
    let _ = stream.set_nodelay(true);
    if policy.awaits_client(peer.ip()) {
        tokio::spawn(behind_balancer(proxy.clone(), stream, peer, policy, admitted, plain));
        return;
    }
    begin(proxy, stream, secure::Comer { peer, policy, admitted }, plain, false);
}

/// Serves a connection; `plain` is the port, if clients speak no TLS on it. `secured`: its load balancer says that
/// they did so there.
fn begin<T: Tenants>(
    proxy: &Arc<Proxy<T>>,
    stream: TcpStream,
    comer: secure::Comer,
    plain: Option<u16>,
    secured: bool,
) {
    let stage = Stages::watch(&proxy.stages);
    let Some(port) = plain else {
        tokio::spawn(secure::run(proxy.clone(), stream, comer, stage));
        return;
    };
    let secure::Comer { peer, policy, admitted } = comer;
    let client = Arc::new(Client::new(peer, policy, admitted, Arrival::Plain { port, secured }));
    tokio::spawn(connection::run(proxy.clone(), stream, client, stage));
}

/// Serves a connection that begins with who the client is.
async fn behind_balancer<T: Tenants>(
    proxy: Arc<Proxy<T>>,
    mut stream: TcpStream,
    peer: SocketAddr,
    policy: Arc<Policy>,
    admitted: Admitted,
    plain: Option<u16>,
) {
    match preface::read(&mut stream, policy.limits.header_timeout).await {
        Ok(told) => {
            let peer = told.client.unwrap_or(peer);
            let comer = secure::Comer { peer, policy, admitted };
            begin(&proxy, stream, comer, plain, told.secured);
        }
        Err(error) => {
            Counters::add(&proxy.counters.connections_refused);
            log::debug!(peer:% = peer; "no PROXY protocol from a load balancer: {error}");
        }
    }
}

/// Has the kernel ask clients that say nothing whether they are still there: one that vanished without a word would
/// keep its instance awake for ever. Linux hands the options on to what the listener accepts (tcp(7)).
pub(super) fn keep_alive(listener: &TcpListener) {
    use rustix::net::sockopt;
    let set = sockopt::set_socket_keepalive(listener, true)
        .and_then(|()| sockopt::set_tcp_keepidle(listener, KEEP_ALIVE_IDLE))
        .and_then(|()| sockopt::set_tcp_keepintvl(listener, KEEP_ALIVE_PAUSE))
        .and_then(|()| sockopt::set_tcp_keepcnt(listener, KEEP_ALIVE_TRIES));
    if let Err(error) = set {
        log::warn!("no TCP keepalive: {error}");
    }
}

/// Whether accept(2) reports what happened to one connection rather than to the listener.
fn is_about_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::WouldBlock
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_asks_silent_clients_whether_they_are_still_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        keep_alive(&listener);
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert!(rustix::net::sockopt::socket_keepalive(&accepted).unwrap());
        let idle = rustix::net::sockopt::tcp_keepidle(&accepted).unwrap();
        assert_eq!(idle, KEEP_ALIVE_IDLE);
    }
}
