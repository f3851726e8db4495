//! All certificates that can be served now, for rustls to choose from.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::certificate::Certificate;
use super::names::NameMap;

/// The certificates, and a bounded number of those of custom domains.
pub struct Certificates {
    /// The operator's own, those of the domain, and the host's own CA's.
    fixed: ArcSwap<NameMap<Arc<Certificate>>>,
    custom: Mutex<Cache>,
    /// What is shown to a client that names no host.
    default_name: ArcSwap<String>,
}

#[derive(Default)]
struct Cache {
    held: HashMap<Box<str>, Arc<Certificate>>,
    /// In the order in which they came, the oldest first.
    order: VecDeque<Box<str>>,
    max: usize,
}

impl Certificates {
    pub(super) fn new() -> Self {
        Self {
            fixed: ArcSwap::default(),
            custom: Mutex::default(),
            default_name: ArcSwap::default(),
        }
    }

    /// Replaces all but those of custom domains.
    pub(super) fn set_fixed(
        &self,
        map: NameMap<Arc<Certificate>>,
        default_name: &str,
        cache: usize,
    ) {
        self.fixed.store(Arc::new(map));
        self.default_name.store(Arc::new(default_name.to_owned()));
        let mut custom = self.custom();
        custom.max = cache;
        custom.shrink();
    }

    fn custom(&self) -> MutexGuard<'_, Cache> {
        self.custom.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a custom domain's certificate in memory.
    pub(super) fn hold(&self, name: &str, certificate: Arc<Certificate>) {
        let mut custom = self.custom();
        if custom.held.insert(name.into(), certificate).is_none() {
            custom.order.push_back(name.into());
        }
        custom.shrink();
    }

    /// Holds a custom domain's certificate no more.
    pub(super) fn drop_custom(&self, name: &str) {
        let mut custom = self.custom();
        if custom.held.remove(name).is_some() {
            custom.order.retain(|one| **one != *name);
        }
    }

    /// Holds no custom domain's certificate any more.
    pub(super) fn drop_all_custom(&self) {
        let mut custom = self.custom();
        custom.held.clear();
        custom.order.clear();
    }

    /// The certificate for `host`, if it is in memory.
    pub(super) fn find(&self, host: &str) -> Option<Arc<Certificate>> {
        let fixed = self.fixed.load().find(host).cloned();
        fixed.or_else(|| self.custom().held.get(host).cloned())
    }

    /// The certificate for `host`, if it is one that is not a custom domain's.
    pub(super) fn fixed(&self, host: &str) -> Option<Arc<Certificate>> {
        self.fixed.load().find(host).cloned()
    }

    /// Whether `host` has a certificate that is not a custom domain's.
    pub(super) fn has_fixed(&self, host: &str) -> bool {
        self.fixed.load().find(host).is_some()
    }

    /// The host that a client who names none gets.
    pub(super) fn default_name(&self) -> Arc<String> {
        self.default_name.load_full()
    }
}

impl Cache {
    fn shrink(&mut self) {
        while self.held.len() > self.max.max(1)
            && let Some(oldest) = self.order.pop_front()
        {
            self.held.remove(&oldest);
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = match hello.server_name() {
            Some(name) => self.find(&super::names::normal(name)?),
            None => self.find(&self.default_name()),
        };
        found.map(|certificate| certificate.key.clone())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}
