//! Who may have a name: what a token may add, and whose a name is that somebody else has added without a proof.

use tenement_wire::domains::{DOMAINS_MAX, DomainProof, DomainState, DomainView};

use super::check::TURN;
use super::desk::{fresh_token, sees};
use super::view::{ask, txt_name, txt_value};
use super::{DomainError, Domains, Held, Wish};
use crate::flows::clock::now_ms;
use crate::store::domains::StoredDomain;
use crate::token::Reach;

/// Hex digits of what proves a claim, as many as a token has.
const DIGITS: usize = 40;

/// How many pending domains, and how many in all, there may be within `reach`.
fn limits(reach: &Reach) -> (usize, usize) {
    match reach {
        Reach::Host => (DOMAINS_MAX, DOMAINS_MAX),
        Reach::Process(_) => (1_000, 10_000),
        Reach::Instance(_) => (50, 1_000),
    }
}

/// What a TXT record has to say, so that a name leads to `target` although somebody else has added it. It is always the same
/// for that target, whatever becomes of the other's claim, and proves nothing for any other target or host.
fn claim_token(name: &str, target: &str, identity: &str) -> String {
    use sha2::Digest as _;
    let sum = sha2::Sha256::digest(format!("tenement-claim\n{name}\n{target}\n{identity}"));
    let digits: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    digits[..DIGITS].to_owned()
}

impl Domains {
    /// Refuses one domain more than the caller may have.
    pub(super) fn check_room(&self, wish: &Wish) -> Result<(), DomainError> {
        let held = self.read();
        if held.len() >= DOMAINS_MAX {
            return Err(DomainError::TooMany);
        }
        if wish.reach == Reach::Host {
            return Ok(());
        }
        let (pending_max, max) = limits(&wish.reach);
        // An own name that is there already is replaced.
        let own = held.values().filter(|one| one.stored.name != wish.name);
        let own = own.filter(|one| sees(&wish.reach, &one.stored.target));
        let (mut pending, mut all) = (0, 0);
        for one in own {
            all += 1;
            pending += usize::from(one.state() == DomainState::Pending);
        }
        match () {
            () if pending >= pending_max => Err(DomainError::TooManyOfYours {
                count: pending,
                what: "custom domains that are not verified",
            }),
            () if all >= max => {
                Err(DomainError::TooManyOfYours { count: all, what: "custom domains" })
            }
            () => Ok(()),
        }
    }

    /// Gives a name that somebody else has added, and not proven, to whoever has put the record there that names
    /// the own target.
    pub(super) async fn contest(&self, wish: Wish) -> Result<DomainView, DomainError> {
        let Some(identity) = self.home.get().and_then(|home| home.identity(&wish.target)) else {
            return Err(DomainError::Taken(wish.name));
        };
        let token = claim_token(wish.name.as_str(), &wish.target.to_string(), &identity);
        let claim = StoredDomain {
            token: token.clone(),
            http: false,
            name: wish.name.clone(),
            target: wish.target.clone(),
            created_ms: now_ms(),
            created_by: wish.by,
            verified: None,
        };
        let turn = tokio::time::timeout(TURN, self.checks.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(DomainError::Busy) };
        let findings = match self.prober() {
            Some(prober) => Some(prober.probe(ask(&claim)).await),
            None => None,
        };
        if findings.and_then(|findings| findings.txt) != Some(true) {
            let (txt_name, txt_value) = (txt_name(&wish.name), txt_value(&token));
            return Err(DomainError::Claimed { name: wish.name, txt_name, txt_value });
        }
        let _turn = self.changes.lock().await;
        let verified = self.read().get(&wish.name).is_some_and(|one| one.stored.verified.is_some());
        if verified {
            return Err(DomainError::Taken(wish.name));
        }
        let now = now_ms();
        // What stood in the DNS is known to all; what shows that the name leads here must not be.
        let (token, verified) = (fresh_token()?, Some((DomainProof::Txt, now)));
        let stored = StoredDomain { token, verified, ..claim };
        if let Some(store) = &self.store {
            store.put_domain(stored.clone()).await?;
        }
        let held = Held::new(stored, Some(now));
        self.write().insert(wish.name.clone(), held.clone());
        log::info!("the custom domain {} is proven for {} and leads there", wish.name, wish.target);
        self.publish();
        self.due.notify_one();
        Ok(self.view(&held))
    }
}
