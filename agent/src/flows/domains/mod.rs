//! Custom domains: added, verified, listed, removed; and what requests to a process are shared by.
//!
//! ```text
//! add ─► pending ── TXT record, or HTTP challenge where the host's own people have added it ──► verified: it routes
//!          └─ checked by itself with growing pauses, for a week
//! ```
//! Everything is in memory, as the route table is; the store is written first, and when an answer is there the
//! table holds the change. That a name leads to this host says nothing of whose it is: many tenants live here. So what
//! a restricted token adds is verified by TXT record alone, and so is a wildcard.

mod check;
mod claims;
mod desk;
mod ends;
mod loops;
mod shares;
mod view;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tenement_wire::domains::{DOMAINS_MAX, DnsState, DomainCertificate, DomainDns, DomainState};
use tenement_wire::events::Event;
use tenement_wire::{InstanceName, ProcessName, RouteTarget};
use tokio::sync::{Notify, Semaphore};

use super::ManageError;
use super::clock::now_ms;
use super::routing::Rates;
use crate::dns::Prober;
use crate::routes::DomainName;
use crate::store::domains::StoredDomain;
use crate::store::{Store, StoreError};

pub use desk::{Page, Wish};
pub use view::{PROOF_PATH, proves};

/// Domains that are looked at side by side.
const CHECKS: usize = 8;

/// What the domains need of the agent around them.
pub trait Home: Send + Sync + 'static {
    /// Whether the host has this name for itself.
    fn owns(&self, name: &DomainName) -> bool;
    /// The default weight of a process of the config, and its instances.
    fn process(&self, process: &ProcessName) -> Option<(u32, Vec<InstanceName>)>;
    /// Whether the config has this process.
    fn has_process(&self, process: &ProcessName) -> bool;
    /// Whether that instance is registered, or any instance of that process. It costs the same for any number of them.
    fn has(&self, target: &RouteTarget) -> bool;
    /// What tells a target from all others of that name, elsewhere or later. None: there is no such target.
    fn identity(&self, target: &RouteTarget) -> Option<String>;
    /// Takes in what is to be told.
    fn tell(&self, event: Event);
    /// Makes the route table anew.
    fn publish(&self);
}

/// Who knows of certificates.
pub trait Certificates: Send + Sync + 'static {
    /// Those of custom domains, as [`DomainName`] writes them, in the same order.
    fn of(&self, domains: &[&str]) -> Vec<Option<DomainCertificate>>;
}

/// Why nothing was done. Display is what the client reads.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    /// There is none, or none that the caller may know of.
    #[error("there is no custom domain {0}")]
    Unknown(String),
    /// Somebody has added it.
    #[error("the domain {0} has been added already")]
    Taken(DomainName),
    /// It is one of the host's own.
    #[error("the domain {0} is one of this host's own names")]
    Ours(DomainName),
    /// Somebody has added it and not proven it, so this record decides.
    #[error("the domain {name} has been added already, and is not proven yet")]
    Claimed {
        /// The domain.
        name: DomainName,
        /// The name of the TXT record.
        txt_name: String,
        /// What it has to say for this caller's target.
        txt_value: String,
    },
    /// There are [`DOMAINS_MAX`].
    #[error("there are {DOMAINS_MAX} custom domains already")]
    TooMany,
    /// As many as whoever may not change the whole host may have.
    #[error(
        "there are {count} {what} already, as many as there may be within what the token reaches"
    )]
    TooManyOfYours {
        /// How many.
        count: usize,
        /// Of which kind.
        what: &'static str,
    },
    /// Too many are being looked at.
    #[error("too many domains are being checked right now")]
    Busy,
    /// Something else.
    #[error(transparent)]
    Failed(#[from] ManageError),
}

impl From<StoreError> for DomainError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// A domain and what was found out about it.
#[derive(Debug, Clone)]
struct Held {
    stored: StoredDomain,
    dns: DomainDns,
    checked_ms: Option<u64>,
    /// When it is looked at again by itself.
    next_ms: Option<u64>,
    tries: u32,
    /// What the last look said is in the way.
    found: Vec<String>,
}

impl Held {
    fn new(stored: StoredDomain, next_ms: Option<u64>) -> Self {
        let dns = DomainDns { state: DnsState::Unknown, addresses: Vec::new(), txt: None };
        Self { stored, dns, checked_ms: None, next_ms, tries: 0, found: Vec::new() }
    }

    fn state(&self) -> DomainState {
        match self.stored.verified {
            Some(_) => DomainState::Verified,
            None => DomainState::Pending,
        }
    }
}

/// The custom domains of this agent, the weights of its instances, and what is in maintenance.
pub struct Domains {
    /// None: they live as long as the agent.
    store: Option<Store>,
    held: RwLock<BTreeMap<DomainName, Held>>,
    weights: RwLock<BTreeMap<InstanceName, u32>>,
    maintained: RwLock<BTreeMap<ProcessName, u64>>,
    /// One change at a time, so that store and memory agree.
    changes: tokio::sync::Mutex<()>,
    checks: Semaphore,
    prober: RwLock<Option<Arc<dyn Prober>>>,
    home: OnceLock<Box<dyn Home>>,
    certificates: OnceLock<Arc<dyn Certificates>>,
    /// Notified when something new waits to be checked.
    due: Notify,
    pub(super) rates: Rates,
}

impl Domains {
    /// None yet; with a store they outlive the agent.
    #[must_use]
    pub fn new(store: Option<Store>) -> Self {
        Self {
            store,
            held: RwLock::default(),
            weights: RwLock::default(),
            maintained: RwLock::default(),
            changes: tokio::sync::Mutex::default(),
            checks: Semaphore::new(CHECKS),
            prober: RwLock::default(),
            home: OnceLock::new(),
            certificates: OnceLock::new(),
            due: Notify::new(),
            rates: Rates::default(),
        }
    }

    /// Takes in what is stored.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn load(&self) -> Result<usize, StoreError> {
        let Some(store) = &self.store else { return Ok(0) };
        let stored = store.routing().await?;
        let now = now_ms();
        let count = stored.domains.len();
        *self.write() = stored
            .domains
            .into_iter()
            .map(|one| (one.name.clone(), Held::new(one.clone(), loops::first_look(&one, now))))
            .collect();
        *write(&self.weights) = stored.weights.into_iter().collect();
        *write(&self.maintained) = stored.maintenance.into_iter().collect();
        Ok(count)
    }

    /// Names the agent around it. Only the first counts.
    pub fn set_home(&self, home: impl Home) {
        let _ = self.home.set(Box::new(home));
    }

    /// Names who looks at domains from now on.
    pub fn set_prober(&self, prober: Arc<dyn Prober>) {
        *write(&self.prober) = Some(prober);
    }

    /// Names who knows of certificates. Only the first counts.
    pub fn set_certificates(&self, certificates: Arc<dyn Certificates>) {
        let _ = self.certificates.set(certificates);
    }

    /// Tells of every domain: its name, where it leads, whether it does, and its token.
    pub fn each(&self, mut tell: impl FnMut(&DomainName, &RouteTarget, DomainState, &str)) {
        for (name, held) in self.read().iter() {
            tell(name, &held.stored.target, held.state(), &held.stored.token);
        }
    }

    /// The weight that was set for an instance.
    #[must_use]
    pub fn weight(&self, name: &InstanceName) -> Option<u32> {
        read(&self.weights).get(name).copied()
    }

    /// Whether a process is in maintenance.
    #[must_use]
    pub fn is_maintained(&self, process: &ProcessName) -> bool {
        read(&self.maintained).contains_key(process)
    }

    /// An instance is gone, and with it its weight.
    pub(super) fn forget(&self, name: &InstanceName) {
        write(&self.weights).remove(name);
    }

    fn publish(&self) {
        if let Some(home) = self.home.get() {
            home.publish();
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<DomainName, Held>> {
        read(&self.held)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<DomainName, Held>> {
        write(&self.held)
    }
}

// Every change of these maps is one step, so a poisoned lock still holds what is true.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
