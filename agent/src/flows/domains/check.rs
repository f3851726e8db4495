//! Looking at a domain, and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use tenement_wire::domains::{DnsState, DomainDns, DomainProof, DomainState, DomainView};

use super::view::{ask, dns_fix};
use super::{DomainError, Domains, Held, loops, read};
use crate::dns::{Findings, Prober};
use crate::flows::clock::now_ms;
use crate::routes::DomainName;
use crate::token::Reach;

/// How long a check waits for its turn.
pub(super) const TURN: Duration = Duration::from_secs(20);

impl Domains {
    /// Looks at a domain now. It routes when this returns, if that verified it.
    ///
    /// # Errors
    /// See [`DomainError`].
    pub async fn check(&self, name: &DomainName, reach: &Reach) -> Result<DomainView, DomainError> {
        let held = self.find(name, reach)?;
        let turn = tokio::time::timeout(TURN, self.checks.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(DomainError::Busy) };
        let findings = match self.prober() {
            Some(prober) => prober.probe(ask(&held.stored)).await,
            None => {
                Findings { failed: Some("no DNS server is known".into()), ..Findings::default() }
            }
        };
        self.take(&held, findings).await?;
        self.show(name, reach)
    }

    pub(super) fn prober(&self) -> Option<Arc<dyn Prober>> {
        read(&self.prober).clone()
    }

    async fn take(&self, before: &Held, findings: Findings) -> Result<(), DomainError> {
        let _turn = self.changes.lock().await;
        let name = &before.stored.name;
        let Some(mut held) = self.read().get(name).cloned() else { return Ok(()) };
        if held.stored.token != before.stored.token {
            // It was removed and added again meanwhile: this is about the one before.
            return Ok(());
        }
        let now = now_ms();
        let proof = match (findings.txt, findings.http && held.stored.http) {
            (Some(true), _) => Some(DomainProof::Txt),
            (_, true) => Some(DomainProof::Http),
            _ => None,
        };
        let fresh = held.state() == DomainState::Pending && proof.is_some();
        if fresh {
            held.stored.verified = proof.map(|proof| (proof, now));
            if let Some(store) = &self.store {
                store.put_domain(held.stored.clone()).await?;
            }
            held.tries = 0;
        }
        held.tries = held.tries.saturating_add(1);
        held.checked_ms = Some(now);
        held.next_ms = loops::next_look(&held.stored, held.tries, now);
        (held.dns, held.found) = judge(&held, &findings);
        self.write().insert(name.clone(), held);
        if fresh {
            log::info!("the custom domain {name} is verified, and routes");
            self.publish();
        }
        Ok(())
    }
}

fn judge(held: &Held, findings: &Findings) -> (DomainDns, Vec<String>) {
    let name = &held.stored.name;
    let (state, why) = if findings.http {
        (DnsState::Here, None)
    } else if !findings.addresses.is_empty() {
        (DnsState::Elsewhere, findings.http_problem.as_deref())
    } else if let Some(failed) = &findings.failed {
        (DnsState::Failed, Some(failed.as_str()))
    } else {
        (DnsState::Missing, None)
    };
    let mut found: Vec<String> = dns_fix(name, state, why).into_iter().collect();
    if held.state() == DomainState::Pending && !findings.other_txt.is_empty() {
        let others = findings.other_txt.join("\", \"");
        found.insert(0, format!("its TXT record has another value: \"{others}\""));
    }
    let addresses = findings.addresses.iter().map(ToString::to_string).collect();
    (DomainDns { state, addresses, txt: findings.txt }, found)
}
