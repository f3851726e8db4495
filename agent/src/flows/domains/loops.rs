//! Domains are looked at by themselves: pending ones until they are verified, others once a day.

use std::sync::Arc;
use std::time::Duration;

use super::Domains;
use crate::flows::clock::now_ms;
use crate::routes::DomainName;
use crate::store::domains::StoredDomain;
use crate::token::Reach;

/// Pauses between two looks at a pending domain, in seconds; the last one again and again.
const PAUSES: [u64; 8] = [15, 30, 60, 120, 300, 600, 1800, 3600];
/// How long one is looked at by itself after it was added. `ten domain check` goes on.
const PATIENCE_MS: u64 = 7 * DAY_MS;
const DAY_MS: u64 = 86_400_000;
/// How long a domain that nobody proves is kept.
const STALE_MS: u64 = 30 * DAY_MS;
/// How often it is looked whether one is due.
const LOOK: Duration = Duration::from_secs(5);
/// Looks side by side: fewer than there may be, so that `ten domain check` finds a place.
const AT_ONCE: usize = 4;

/// When a domain is looked at that was stored before the agent began.
pub(super) fn first_look(stored: &StoredDomain, now: u64) -> Option<u64> {
    match stored.verified {
        Some(_) => Some(now + spread(&stored.name) % DAY_MS),
        None => within_patience(stored, now + spread(&stored.name) % 60_000),
    }
}

/// When it is looked at after so many looks.
pub(super) fn next_look(stored: &StoredDomain, tries: u32, now: u64) -> Option<u64> {
    if stored.verified.is_some() {
        return Some(now + DAY_MS + spread(&stored.name) % 3_600_000);
    }
    let pause = PAUSES[(tries.max(1) as usize - 1).min(PAUSES.len() - 1)] * 1000;
    // A tenth more or less for each, so that those that were added together are not looked at together for ever.
    within_patience(stored, now + pause + spread(&stored.name) % (pause / 10))
}

fn within_patience(stored: &StoredDomain, at: u64) -> Option<u64> {
    (at < stored.created_ms + PATIENCE_MS).then_some(at)
}

/// Whether a pending domain was added so long ago that it is forgotten.
pub(super) fn is_stale(stored: &StoredDomain, now: u64) -> bool {
    now >= stored.created_ms.saturating_add(STALE_MS)
}

/// A number of its own for each name (FNV-1a).
fn spread(name: &DomainName) -> u64 {
    name.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Domains {
    /// Looks at what is due, for as long as the agent lives.
    pub async fn keep_checking(self: Arc<Self>) {
        loop {
            if let Err(error) = self.end_stale().await {
                log::warn!("custom domains that nobody has proven could not be forgotten: {error}");
            }
            let due = self.due_now();
            if due.is_empty() {
                let _ = tokio::time::timeout(LOOK, self.due.notified()).await;
                continue;
            }
            let mut looks = tokio::task::JoinSet::new();
            for name in due {
                let domains = self.clone();
                looks.spawn(async move {
                    if let Err(error) = domains.check(&name, &Reach::Host).await {
                        log::warn!("the custom domain {name} could not be checked: {error}");
                        domains.put_off(&name);
                    }
                });
            }
            while looks.join_next().await.is_some() {}
        }
    }

    fn due_now(&self) -> Vec<DomainName> {
        let now = now_ms();
        let held = self.read();
        let due = held.values().filter(|one| one.next_ms.is_some_and(|at| at <= now));
        // The one that has waited longest first, so that none waits for ever.
        let mut due: Vec<_> = due.map(|one| (one.next_ms, &one.stored.name)).collect();
        due.sort();
        due.into_iter().take(AT_ONCE).map(|(_, name)| name.clone()).collect()
    }

    /// After a look that failed (a full disk, say): the next must not follow at once.
    fn put_off(&self, name: &DomainName) {
        if let Some(held) = self.write().get_mut(name) {
            held.tries = held.tries.saturating_add(1);
            held.next_ms = next_look(&held.stored, held.tries, now_ms());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_after_a_week() {
        let mut stored = StoredDomain {
            name: "a.example".parse().unwrap(),
            target: "api:a".parse().unwrap(),
            token: String::new(),
            http: true,
            created_ms: 0,
            created_by: String::new(),
            verified: None,
        };
        let pause = |tries| next_look(&stored, tries, 0).unwrap();
        assert!((15_000..16_500).contains(&pause(1)), "{}", pause(1));
        assert!(pause(2) > pause(1) && pause(8) > pause(7));
        assert!((3_600_000..=3_960_000).contains(&pause(99)));
        assert_eq!(next_look(&stored, 9, PATIENCE_MS), None, "it is not looked at for ever");
        assert!(!is_stale(&stored, PATIENCE_MS) && is_stale(&stored, STALE_MS));
        stored.verified = Some((tenement_wire::domains::DomainProof::Txt, 1));
        assert!(next_look(&stored, 1, PATIENCE_MS).unwrap() >= PATIENCE_MS + DAY_MS);
    }
}
