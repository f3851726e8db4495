//! What all connections share, and what belongs to one of them.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tenement_wire::dto::Traffic;

use super::admission::{Admission, Admitted};
use super::forwarded::PeerHeaders;
use super::policy::Policy;
use super::request_id::RequestIds;
use super::root::Root;
use super::rules::Doorman;
use super::stage::Stages;
use super::tracer::Watch;
use crate::flows::Tenants;
use crate::tls::Tls;
use crate::{access, otlp};

/// The proxy: generic over what knows the instances.
#[derive(Debug)]
pub struct Proxy<T> {
    pub(super) tenants: Arc<T>,
    pub(super) policy: ArcSwap<Policy>,
    pub(super) admission: Admission,
    pub(super) ids: RequestIds,
    pub(super) stages: Arc<Stages>,
    pub(super) root: OnceLock<Arc<dyn Root>>,
    pub(super) tls: OnceLock<Arc<Tls>>,
    /// Connections within their handshake.
    pub(super) handshakes: Admission,
    pub(super) doorman: Doorman,
    /// What is watched of each request.
    pub watch: Watch,
    /// What happened so far, for the metrics.
    pub counters: Counters,
}

/// Monotonic counts. Relaxed atomics: they order nothing.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections turned away by a limit.
    pub connections_refused: AtomicU64,
    /// Requests that reached a route decision.
    pub requests: AtomicU64,
    /// Requests refused for their framing.
    pub requests_refused: AtomicU64,
    /// Exchanges that were tried again on a fresh connection.
    pub retries: AtomicU64,
    /// Requests answered with 502, 503 or 504 by the proxy itself.
    pub failures: AtomicU64,
    /// Connections switched to another protocol.
    pub upgrades: AtomicU64,
    /// TLS handshakes that came to nothing.
    pub handshakes_failed: AtomicU64,
    /// What became of spans.
    pub spans: Arc<otlp::Counts>,
    /// What became of lines of the access log.
    pub access: Arc<access::Counts>,
}

impl Counters {
    /// All of them, as the API tells them.
    #[must_use]
    pub fn sum(&self) -> Traffic {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            connections: of(&self.connections),
            connections_refused: of(&self.connections_refused),
            requests: of(&self.requests),
            requests_refused: of(&self.requests_refused),
            failures: of(&self.failures),
            retries: of(&self.retries),
            upgrades: of(&self.upgrades),
            handshakes_failed: of(&self.handshakes_failed),
            spans_sent: of(&self.spans.sent),
            spans_dropped: of(&self.spans.dropped),
            access_lines: of(&self.access.written),
            access_lines_dropped: of(&self.access.dropped),
        }
    }

    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl<T: Tenants> Proxy<T> {
    /// A proxy to `tenants` under `policy`.
    #[must_use]
    pub fn new(tenants: Arc<T>, policy: Policy) -> Self {
        Self {
            tenants,
            policy: ArcSwap::from_pointee(policy),
            admission: Admission::default(),
            ids: RequestIds::new(),
            stages: Arc::default(),
            root: OnceLock::new(),
            tls: OnceLock::new(),
            handshakes: Admission::default(),
            doorman: Doorman::default(),
            watch: Watch::default(),
            counters: Counters::default(),
        }
    }

    /// Replaces the policy for connections accepted from now on.
    pub fn set_policy(&self, policy: Policy) {
        self.policy.store(Arc::new(policy));
    }

    /// Names what answers on the domain itself. Until then, and the second time, nothing changes.
    pub fn set_root(&self, root: Arc<dyn Root>) {
        let _ = self.root.set(root);
    }

    /// Names what has the certificates. Until then, and the second time, nothing changes.
    pub fn set_tls(&self, tls: Arc<Tls>) {
        let _ = self.tls.set(tls);
    }

    /// Client connections open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.admission.open()
    }
}

/// By which way a connection came.
#[derive(Debug)]
pub(super) enum Arrival {
    /// Unencrypted, on this port; `secured` if a load balancer says that its client came by TLS.
    Plain { port: u16, secured: bool },
    /// By TLS, for this host, in lower case.
    Tls { host: Box<str> },
}

impl Arrival {
    /// Whether the client's bytes were encrypted on their way.
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls { .. } | Self::Plain { secured: true, .. })
    }
}

/// One client connection, as its guard and its requests see it.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) peer: IpAddr,
    pub(super) trusted: bool,
    pub(super) headers: PeerHeaders,
    pub(super) policy: Arc<Policy>,
    /// The way by which it came.
    pub(super) arrival: Arrival,
    /// Requests whose answer has not ended.
    pub(super) active: AtomicU32,
    /// Requests that came at all.
    pub(super) served: AtomicBool,
    /// An answer switched protocols.
    pub(super) switched: AtomicBool,
    _admitted: Admitted,
}

impl Client {
    pub(super) fn new(
        peer: SocketAddr,
        policy: Arc<Policy>,
        admitted: Admitted,
        arrival: Arrival,
    ) -> Self {
        let peer = peer.ip().to_canonical();
        Self {
            peer,
            trusted: policy.trusts(peer),
            headers: PeerHeaders::new(peer, arrival.is_encrypted()),
            policy,
            arrival,
            active: AtomicU32::new(0),
            served: AtomicBool::new(false),
            switched: AtomicBool::new(false),
            _admitted: admitted,
        }
    }
}

/// Counts a request of a connection until its answer's body has ended.
#[derive(Debug)]
pub(super) struct Active(Arc<Client>);

impl Active {
    pub(super) fn begin(client: &Arc<Client>) -> Self {
        client.served.store(true, Ordering::Relaxed);
        client.active.fetch_add(1, Ordering::AcqRel);
        Self(client.clone())
    }

    pub(super) fn client(&self) -> &Arc<Client> {
        &self.0
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::AcqRel);
    }
}
