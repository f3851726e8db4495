//! What there is, for the API and the metrics.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use tenement_wire::tls::{CertificateList, CertificateSource, CertificateView};

use super::certificate::{Certificate, Facts};
use super::kept::{Kept, Orders};
use super::{Tls, Wanted};

/// A certificate that is served. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expiry {
    /// Its first name.
    pub name: String,
    /// When it ends.
    pub ends: i64,
    /// When it began.
    pub begins: i64,
}

/// How the certificate of a name stands.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// When it ends, in Unix seconds; none: there is no certificate.
    pub not_after: Option<u64>,
    /// Who has issued it.
    pub issuer: Option<String>,
    /// Why there is none, or no new one.
    pub error: Option<String>,
    /// Whether a CA was ever asked for it.
    pub ordered: bool,
}

impl Standing {
    fn of(facts: Option<&Facts>, error: Option<String>) -> Self {
        Self {
            not_after: facts.map(|facts| facts.not_after),
            issuer: facts.map(|facts| facts.issuer.clone()),
            error,
            ordered: true,
        }
    }

    /// Of two names below one wildcard: the first to expire, and what is wrong with one that has a certificate before
    /// what is wrong with one that never had any, which anybody may have asked for.
    fn and(self, other: Self) -> Self {
        match (self.not_after, other.not_after) {
            (Some(a), Some(b)) => {
                let error = self.error.clone().or(other.error.clone());
                Self { error, ..if b < a { other } else { self } }
            }
            (None, Some(_)) => other,
            (Some(_), None) => self,
            (None, None) => Self { error: self.error.or(other.error), ..Self::of(None, None) },
        }
    }
}

impl From<&Kept> for Standing {
    fn from(kept: &Kept) -> Self {
        Self::of(kept.facts.as_ref(), kept.error.clone())
    }
}

/// What is kept, by what follows the first label of its name.
fn below(orders: &Orders) -> HashMap<&str, Standing> {
    let mut all: HashMap<&str, Standing> = HashMap::new();
    for (name, kept) in orders.kept.iter().filter(|(_, kept)| !kept.managed) {
        let Some((_, base)) = name.split_once('.') else { continue };
        let mut one = Standing::from(kept);
        one.error = one.error.map(|error| format!("{name}: {error}"));
        let both = match all.remove(base) {
            Some(other) => other.and(one),
            None => one,
        };
        all.insert(base, both);
    }
    all
}

impl Tls {
    /// All certificates, and those that should be there, by name.
    #[must_use]
    pub fn list(&self) -> CertificateList {
        let wanted = self.wanted.load();
        let mut certificates = Vec::new();
        let sources = self.sources();
        for own in &sources.own {
            let file = own.files.certificate.display().to_string();
            let mut view = view(CertificateSource::File, own.certificate.as_deref(), &[]);
            view.error.clone_from(&own.error);
            if view.name.is_empty() {
                view.name.clone_from(&file);
            }
            view.file = Some(file);
            certificates.push(view);
        }
        certificates.extend(internal(
            &wanted,
            sources.internal.as_deref(),
            &sources.internal_error,
        ));
        drop(sources);
        let orders = self.orders();
        for kept in orders.kept.values() {
            let mut view = view(CertificateSource::Acme, None, &kept.names);
            if let Some(facts) = &kept.facts {
                fill(&mut view, facts);
            }
            view.renew_ms = Some(kept.due * 1000);
            view.error = kept.error.clone();
            certificates.push(view);
        }
        if let Some(error) = &orders.error {
            let mut view =
                view(CertificateSource::Acme, None, std::slice::from_ref(&wanted.domain));
            view.error = Some(error.clone());
            certificates.push(view);
        }
        drop(orders);
        certificates.sort_by(|a, b| a.name.cmp(&b.name));
        CertificateList {
            enabled: wanted.settings.is_on(),
            listeners: self.listeners.load(Ordering::Relaxed),
            certificates,
        }
    }

    /// The certificate with this name, if there is one or should be.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<CertificateView> {
        let list = self.list().certificates.into_iter();
        let mut found = list.filter(|one| one.name == name || one.names.iter().any(|n| n == name));
        found.next()
    }

    /// Has a certificate renewed as soon as possible. False: it is the operator's own.
    pub fn renew(&self, view: &CertificateView) -> bool {
        match view.source {
            CertificateSource::File => return false,
            CertificateSource::Internal => {
                let mut sources = self.sources();
                (sources.internal, sources.internal_error) = (None, None);
            }
            CertificateSource::Acme => self.order_soon(&view.name),
        }
        self.news.notify_one();
        true
    }

    /// The root of the host's own CA in PEM, if there is one.
    #[must_use]
    pub fn root(&self) -> Option<String> {
        self.sources().ca.as_ref().map(|ca| ca.root().to_owned())
    }

    /// How the certificates of these names stand, in the same order: what is served for them now, or what a CA
    /// was asked for. A wildcard's is the first to expire of all names below it. `None`: there is none, and no CA is asked.
    #[must_use]
    pub fn standings(&self, names: &[&str]) -> Vec<Option<Standing>> {
        let is_asked = self.wanted.load().settings.acme.is_some();
        let orders = self.orders();
        // One look at all of them, whatever number of wildcards is asked for.
        let below = names.iter().any(|name| name.starts_with("*.")).then(|| below(&orders));
        let of = |name: &&str| {
            if let Some(fixed) = self.certificates.fixed(name) {
                return Some(Standing::of(Some(&fixed.facts), None));
            }
            let kept = match (name.strip_prefix("*."), &below) {
                (Some(base), Some(below)) => below.get(base).cloned(),
                _ => orders.kept.get(*name).map(Standing::from),
            };
            is_asked.then(|| kept.unwrap_or_default())
        };
        names.iter().map(of).collect()
    }

    /// When each certificate that is served expires, by name, in Unix seconds. Those of custom domains, which may be
    /// thousands, are one: the first that expires.
    #[must_use]
    pub fn expiries(&self) -> Vec<Expiry> {
        let seconds = |at: u64| i64::try_from(at).unwrap_or(i64::MAX);
        let told = |name: &str, facts: &Facts| Expiry {
            name: name.to_owned(),
            ends: seconds(facts.not_after),
            begins: seconds(facts.not_before),
        };
        let named = |facts: &Facts| Some(told(facts.names.first()?, facts));
        let sources = self.sources();
        let own = sources.own.iter().filter_map(|own| own.certificate.as_ref());
        let mut all: Vec<_> =
            own.chain(&sources.internal).filter_map(|one| named(&one.facts)).collect();
        drop(sources);
        let orders = self.orders();
        let (managed, custom): (Vec<_>, Vec<_>) =
            orders.kept.values().partition(|kept| kept.managed);
        all.extend(managed.iter().filter_map(|kept| named(kept.facts.as_ref()?)));
        let first = custom.iter().filter_map(|kept| kept.facts.as_ref());
        let first = first.min_by_key(|facts| facts.not_after);
        all.extend(first.map(|facts| told("custom domains", facts)));
        drop(orders);
        // A label that is there twice would spoil the whole scrape.
        all.sort();
        all.dedup_by(|b, a| a.name == b.name);
        all
    }
}

fn internal(
    wanted: &Wanted,
    certificate: Option<&Certificate>,
    error: &Option<String>,
) -> Option<CertificateView> {
    let names = wanted.internal_names();
    if names.is_empty() {
        return None;
    }
    let mut view = view(CertificateSource::Internal, certificate, &names);
    view.renew_ms = certificate.map(|certificate| certificate.facts.due(0.5) * 1000);
    view.error.clone_from(error);
    Some(view)
}

/// A view of `certificate`, or of one that should be there for `names`.
fn view(
    source: CertificateSource,
    certificate: Option<&Certificate>,
    names: &[String],
) -> CertificateView {
    let mut view = CertificateView {
        name: names.first().cloned().unwrap_or_default(),
        names: names.to_vec(),
        source,
        issuer: None,
        from_ms: None,
        expires_ms: None,
        renew_ms: None,
        file: None,
        error: None,
    };
    if let Some(certificate) = certificate {
        fill(&mut view, &certificate.facts);
    }
    view
}

fn fill(view: &mut CertificateView, facts: &Facts) {
    view.name = facts.names.first().cloned().unwrap_or_default();
    view.names.clone_from(&facts.names);
    view.issuer = Some(facts.issuer.clone());
    view.from_ms = Some(facts.not_before * 1000);
    view.expires_ms = Some(facts.not_after * 1000);
}
