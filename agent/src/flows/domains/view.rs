//! What is said of a domain, and what its owner has to do.

use tenement_wire::domains::{DnsState, DomainCertificate, DomainChallenge, DomainView};

use super::{Domains, Held};
use crate::dns::Ask;
use crate::routes::DomainName;
use crate::store::domains::StoredDomain;

/// What stands before the name of the TXT record.
const TXT_LABEL: &str = "_tenement-challenge";
/// Below which path the proof is asked for.
pub const PROOF_PATH: &str = "/.well-known/tenement-challenge/";
/// Digits of the token that stand in the path. The others are in the answer alone, so that who repeats the path
/// proves nothing.
const IN_PATH: usize = 12;

/// The URL path of a token's proof.
pub(super) fn path_of(token: &str) -> String {
    format!("{PROOF_PATH}{}", token.get(..IN_PATH).unwrap_or_default())
}

/// What `path` proves, if it is that of `token`.
#[must_use]
pub fn proves<'t>(path: &str, token: &'t str) -> Option<&'t str> {
    let asked = path.strip_prefix(PROOF_PATH)?;
    (asked.len() == IN_PATH && token.starts_with(asked)).then_some(token)
}

/// What is to be looked up.
pub(super) fn ask(stored: &StoredDomain) -> Ask {
    let base = stored.name.base();
    let host = if stored.name.is_wildcard() { format!("check.{base}") } else { base.to_owned() };
    Ask {
        host,
        txt_name: txt_name(&stored.name),
        txt_value: txt_value(&stored.token),
        path: path_of(&stored.token),
        answer: stored.token.clone(),
    }
}

pub(super) fn txt_name(name: &DomainName) -> String {
    format!("{TXT_LABEL}.{}", name.base())
}

pub(super) fn txt_value(token: &str) -> String {
    format!("tenement={token}")
}

impl Domains {
    /// What is said of one.
    pub(super) fn view(&self, held: &Held) -> DomainView {
        let name = held.stored.name.as_str();
        let certificate = self.certificates.get().and_then(|of| of.of(&[name]).pop().flatten());
        self.view_with(held, certificate)
    }

    /// What is said of each.
    pub(super) fn views(&self, held: &[Held]) -> Vec<DomainView> {
        let names: Vec<&str> = held.iter().map(|one| one.stored.name.as_str()).collect();
        let mut certificates = self.certificates.get().map(|of| of.of(&names)).unwrap_or_default();
        certificates.resize(held.len(), None);
        held.iter().zip(certificates).map(|(one, of)| self.view_with(one, of)).collect()
    }

    fn view_with(&self, held: &Held, certificate: Option<DomainCertificate>) -> DomainView {
        let stored = &held.stored;
        let challenge = stored.verified.is_none().then(|| challenge(stored));
        let mut fix = held.found.clone();
        if let Some(problem) = certificate.as_ref().and_then(|one| one.problem.as_ref()) {
            fix.push(format!("certificate: {problem}"));
        }
        DomainView {
            domain: stored.name.to_string(),
            unicode: stored.name.unicode(),
            target: stored.target.clone(),
            state: held.state(),
            proof: stored.verified.map(|(proof, _)| proof),
            verified_ms: stored.verified.map(|(_, at)| at),
            fix: self.fixes(held, challenge.as_ref(), fix),
            challenge,
            dns: held.dns.clone(),
            certificate,
            created_ms: stored.created_ms,
            created_by: stored.created_by.clone(),
            checked_ms: held.checked_ms,
            next_check_ms: held.next_ms,
        }
    }

    fn fixes(
        &self,
        held: &Held,
        challenge: Option<&DomainChallenge>,
        mut fix: Vec<String>,
    ) -> Vec<String> {
        let target = &held.stored.target;
        if let Some(challenge) = challenge {
            let http = challenge.http_url.is_some();
            let or = if http { ", or let the name itself lead to this host" } else { "" };
            let DomainChallenge { txt_name, txt_value, .. } = challenge;
            fix.insert(0, format!("add the DNS record {txt_name} TXT \"{txt_value}\"{or}"));
        }
        if self.home.get().is_some_and(|home| !home.has(target)) {
            fix.push(format!(
                "there is nothing at {target}: ten spawn {target}, or remove the domain"
            ));
        }
        fix
    }
}

fn challenge(stored: &StoredDomain) -> DomainChallenge {
    let url = || format!("http://{}{}", stored.name.base(), path_of(&stored.token));
    DomainChallenge {
        txt_name: txt_name(&stored.name),
        txt_value: txt_value(&stored.token),
        http_url: stored.http.then(url),
    }
}

/// What is in the way of requests, beside the proof.
pub(super) fn dns_fix(name: &DomainName, state: DnsState, why: Option<&str>) -> Option<String> {
    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
    match state {
        DnsState::Unknown | DnsState::Here => None,
        DnsState::Missing => {
            Some(format!("add a DNS record {name} CNAME (or A, AAAA) to this host"))
        }
        DnsState::Elsewhere => {
            Some(format!("let the DNS records of {name} lead to this host{why}"))
        }
        DnsState::Failed => Some(format!("the DNS of {name} does not answer{why}")),
    }
}
