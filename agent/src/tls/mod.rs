//! Floor 2: certificates, and the TLS side of HTTPS.
//!
//! ```text
//!   own files ─┐                                 ┌─► handshake ─► proxy
//!   ACME ──────┼─► Certificates (names → keys) ──┤
//!   own CA ────┘        ▲                        └─► what there is, when it expires (API, metrics)
//!                 keeper: reads, has, renews
//! ```
//!
//! Private keys lie in files that only the agent may read, and nowhere else: they are never logged and never leave
//! by the API.

mod acme;
mod ca;
mod certificate;
mod certificates;
mod challenges;
mod fetch;
mod files;
mod limits;
mod names;
mod orders;
mod own;
mod server;
mod shelf;
mod show;
mod wanted;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tenement_wire::events::{Actor, Event, EventKind};
use tokio::sync::Notify;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::{ClientHello, ProducesTickets};

use ca::OwnCa;
use certificate::Certificate;
use certificates::Certificates;
use challenges::Challenges;
pub use challenges::PATH as CHALLENGE_PATH;
use names::NameMap;
use orders::Orders;
use own::OwnFile;
pub use show::Expiry;
pub use wanted::Wanted;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long after a failure the host's own CA is tried again, in seconds.
const AGAIN: u64 = 60;

/// Unix seconds.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// All of it.
pub struct Tls {
    dir: PathBuf,
    host: String,
    wanted: ArcSwap<Wanted>,
    certificates: Arc<Certificates>,
    challenges: Arc<Challenges>,
    tickets: Arc<dyn ProducesTickets>,
    clients: ArcSwap<ServerConfig>,
    ca_asks: Arc<ServerConfig>,
    sources: Mutex<Sources>,
    orders: Mutex<Orders>,
    hooks: Hooks,
    /// Something is to be looked at before its time.
    news: Notify,
    listeners: AtomicU32,
}

/// What the certificates need of the rest of the agent.
pub struct Hooks {
    /// Whether a host is a verified custom domain of this host, in lower case: for others no CA is asked.
    pub allowed: Box<dyn Fn(&str) -> bool + Send + Sync>,
    /// Takes in that a certificate could not be had.
    pub tell: Box<dyn Fn(Event) + Send + Sync>,
}

/// Where certificates come from, with what they gave.
#[derive(Default)]
struct Sources {
    own: Vec<OwnFile>,
    ca: Option<OwnCa>,
    internal: Option<Arc<Certificate>>,
    internal_error: Option<String>,
    internal_tried: u64,
}

/// What a client asks for.
#[derive(Debug)]
pub struct Asked {
    host: Option<String>,
    by_ca: bool,
}

impl Asked {
    /// Reads it from what a client says first.
    ///
    /// # Errors
    /// If it names what is no host name.
    pub fn by(hello: &ClientHello<'_>) -> Result<Self, NoCertificate> {
        let host = match hello.server_name() {
            Some(name) => Some(names::normal(name).ok_or(NoCertificate)?),
            None => None,
        };
        let by_ca = hello.alpn().is_some_and(|mut all| all.any(|one| one == server::ACME_ALPN));
        Ok(Self { host, by_ca })
    }
}

/// What a client is served with.
#[derive(Debug)]
pub struct Chosen {
    /// For rustls.
    pub config: Arc<ServerConfig>,
    /// The host that the client named, in lower case; without one the domain.
    pub host: String,
    /// It is a CA that asks, not a client: the connection ends with the handshake.
    pub is_challenge: bool,
}

impl Tls {
    /// Reads and makes what `wanted` says, with files in `dir`.
    ///
    /// # Errors
    /// If the kernel gives no random bytes.
    pub fn open(dir: &Path, host: &str, wanted: Wanted, hooks: Hooks) -> Result<Arc<Self>, String> {
        let wrong = |error: tokio_rustls::rustls::Error| format!("TLS: {error}");
        let certificates = Arc::new(Certificates::new());
        let challenges = Arc::new(Challenges::default());
        let tickets = server::ticketer().map_err(wrong)?;
        let tls12 = wanted.settings.tls12;
        let clients = server::for_clients(certificates.clone(), tickets.clone(), tls12);
        let tls = Self {
            dir: dir.to_owned(),
            host: host.to_owned(),
            wanted: ArcSwap::from_pointee(Wanted::default()),
            clients: ArcSwap::new(clients.map_err(wrong)?),
            ca_asks: server::for_the_ca(challenges.clone()).map_err(wrong)?,
            certificates,
            challenges,
            tickets,
            sources: Mutex::default(),
            orders: Mutex::default(),
            hooks,
            news: Notify::new(),
            listeners: AtomicU32::new(0),
        };
        tls.adopt(wanted);
        tls.look();
        Ok(Arc::new(tls))
    }

    /// What the config says from now on.
    pub fn set(&self, wanted: Wanted) {
        if **self.wanted.load() != wanted {
            self.adopt(wanted);
            self.news.notify_one();
        }
    }

    fn adopt(&self, wanted: Wanted) {
        let tls12 = wanted.settings.tls12;
        match server::for_clients(self.certificates.clone(), self.tickets.clone(), tls12) {
            Ok(config) => self.clients.store(config),
            Err(error) => log::error!("TLS: {error}"),
        }
        let mut sources = self.sources();
        let mut before = std::mem::take(&mut sources.own);
        for files in &wanted.settings.certificates {
            let same = before.iter().position(|own| own.files == *files);
            let own = same.map(|at| before.swap_remove(at));
            sources.own.push(own.unwrap_or_else(|| OwnFile::new(files.clone())));
        }
        drop(sources);
        self.adopt_orders(&wanted);
        self.wanted.store(Arc::new(wanted));
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that HTTPS is served on so many sockets.
    pub fn listens(&self, count: u32) {
        self.listeners.store(count, Ordering::Relaxed);
    }

    /// Keeps the certificates until the agent ends.
    pub async fn run(self: Arc<Self>) {
        loop {
            let tls = self.clone();
            // Files may lie on a disk that does not answer.
            let looked = tokio::task::spawn_blocking(move || tls.look()).await;
            if let Err(error) = looked {
                log::error!("looking at certificates broke off: {error}");
            }
            self.order_due().await;
            let _ = tokio::time::timeout(LOOK, self.news.notified()).await;
        }
    }

    /// Reads what has changed and renews what the host's own CA signs.
    fn look(&self) {
        let wanted = self.wanted.load_full();
        let mut sources = self.sources();
        let mut bad = Vec::new();
        for own in &mut sources.own {
            let before = own.error.clone();
            own.look();
            bad.extend(own.error.clone().filter(|error| before.as_ref() != Some(error)));
        }
        sources.renew_internal(&wanted, &self.dir.join("ca"), &self.host);
        drop(sources);
        self.serve();
        for error in bad {
            let message = format!("a certificate can't be used: {error}");
            (self.hooks.tell)(Event::new(EventKind::Certificate, message).by(Actor::agent()));
        }
    }

    /// Serves what there is: the operator's own before the CA's, and those before the host's own CA's.
    fn serve(&self) {
        let wanted = self.wanted.load_full();
        let mut all: Vec<Arc<Certificate>> = Vec::new();
        let sources = self.sources();
        all.extend(sources.own.iter().filter_map(|own| own.certificate.clone()));
        let internal = sources.internal.clone();
        drop(sources);
        all.extend(self.orders().kept.values().filter_map(|kept| kept.certificate.clone()));
        all.extend(internal);
        let mut map = NameMap::default();
        for certificate in &all {
            for name in &certificate.facts.names {
                map.put(name, certificate.clone());
            }
        }
        self.certificates.set_fixed(map, &wanted.domain, wanted.settings.cache);
    }

    /// Chooses what a client is served with, by what it says first. It makes sure that the certificate is in memory.
    ///
    /// # Errors
    /// If there is none for the host that it names.
    pub async fn choose(self: &Arc<Self>, asked: Asked) -> Result<Chosen, NoCertificate> {
        let Asked { host: asked, by_ca } = asked;
        if by_ca {
            let host = asked.filter(|host| self.challenges.has(host)).ok_or(NoCertificate)?;
            return Ok(Chosen { config: self.ca_asks.clone(), host, is_challenge: true });
        }
        let host = asked.unwrap_or_else(|| self.certificates.default_name().to_string());
        if self.certificates.find(&host).is_none() && !self.bring(&host).await {
            return Err(NoCertificate);
        }
        Ok(Chosen { config: self.clients.load_full(), host, is_challenge: false })
    }

    /// Whether clients that ask for `host`, in lower case, by plain HTTP can be sent to HTTPS: it is served at all, and
    /// there is a certificate, or one comes with the first handshake as far as known.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        let served = self.listeners.load(Ordering::Relaxed) > 0;
        served && (self.certificates.has_fixed(host) || self.can_bring(host))
    }

    /// Whether `host` is a custom domain that has a certificate, or none of whose orders has failed.
    fn can_bring(&self, host: &str) -> bool {
        if self.wanted.load().settings.acme.is_none() || !(self.hooks.allowed)(host) {
            return false;
        }
        let orders = self.orders();
        let fine = |kept: &orders::Kept| {
            let good = kept.facts.as_ref().is_some_and(|facts| facts.not_after > now());
            good || kept.error.is_none()
        };
        orders.acme.is_some() && orders.kept.get(host).is_none_or(fine)
    }

    /// What a CA that asks for `token` by HTTP is answered.
    #[must_use]
    pub fn token(&self, token: &str) -> Option<String> {
        self.challenges.text(token)
    }
}

impl Sources {
    fn renew_internal(&mut self, wanted: &Wanted, dir: &Path, host: &str) {
        let names = wanted.internal_names();
        if names.is_empty() {
            (self.internal, self.internal_error) = (None, None);
            return;
        }
        let now = now();
        let good = self.internal.as_ref().is_some_and(|certificate| {
            certificate.facts.names == names && certificate.facts.due(0.5) > now
        });
        let too_soon = self.internal_error.is_some() && now < self.internal_tried + AGAIN;
        if good || too_soon {
            return;
        }
        self.internal_tried = now;
        let issued = match &self.ca {
            Some(ca) => ca.issue(&names),
            None => OwnCa::open(dir, host).and_then(|ca| self.ca.insert(ca).issue(&names)),
        };
        match issued {
            Ok(certificate) => {
                (self.internal, self.internal_error) = (Some(Arc::new(certificate)), None);
            }
            Err(error) => {
                log::error!("the host's own CA: {error}");
                self.internal_error = Some(error);
            }
        }
    }
}

/// There is no certificate for the host that a client named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no certificate for that name")]
pub struct NoCertificate;

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("dir", &self.dir).finish_non_exhaustive()
    }
}
