//! Who has shown wrong tokens, and for how long wrong ones of theirs are not listened to.
//!
//! Failures count for an address and for an address with the id that was tried, never for an id alone: else
//! whoever knows the id of an administrator's token could lock the administrator out. An IPv6 address
//! counts as its /64, which is what one host is given.
//!
//! The table is bounded. When it is full, the quarter that failed longest ago is forgotten.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tenement_wire::TokenId;

/// Failures of one address with one id before it is locked out for that id.
const FREE_WITH_ID: u32 = 5;
/// Failures of one address before it is locked out.
const FREE: u32 = 20;
/// The first lock-out; each further failure after it doubles it.
const FIRST: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// How long failures are remembered.
const MEMORY: Duration = Duration::from_secs(3600);
/// Entries: about 100 bytes each.
pub const ENTRIES_MAX: usize = 8192;

/// The table. Its times are those of any clock that does not go back.
#[derive(Debug, Default)]
pub struct Lockouts {
    entries: HashMap<Key, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key(IpAddr, Option<TokenId>);

#[derive(Debug, Clone, Copy)]
struct Entry {
    failures: u32,
    last: Duration,
    until: Duration,
}

impl Lockouts {
    /// How much longer wrong tokens with this id from this address are not listened to.
    #[must_use]
    pub fn remaining(&self, from: IpAddr, id: Option<&TokenId>, now: Duration) -> Option<Duration> {
        let from = network_of(from);
        let keys = [Some(Key(from, None)), id.map(|id| Key(from, Some(id.clone())))];
        let until = keys.iter().flatten().filter_map(|key| self.entries.get(key)).map(|e| e.until);
        until.max().and_then(|until| until.checked_sub(now)).filter(|left| !left.is_zero())
    }

    /// Notes a failure. Returns the lock-out that begins with it.
    pub fn failed(
        &mut self,
        from: IpAddr,
        id: Option<&TokenId>,
        now: Duration,
    ) -> Option<Duration> {
        let from = network_of(from);
        let alone = self.count(Key(from, None), FREE, now);
        let with_id = id.and_then(|id| self.count(Key(from, Some(id.clone())), FREE_WITH_ID, now));
        alone.max(with_id)
    }

    /// Forgets the failures with an id from an address that has shown the right token.
    pub fn succeeded(&mut self, from: IpAddr, id: &TokenId) {
        self.entries.remove(&Key(network_of(from), Some(id.clone())));
    }

    /// Addresses that are locked out.
    #[must_use]
    pub fn locked(&self, now: Duration) -> usize {
        let locked = self.entries.iter().filter(|(_, entry)| entry.until > now);
        locked.map(|(key, _)| key.0).collect::<std::collections::HashSet<_>>().len()
    }

    fn count(&mut self, key: Key, free: u32, now: Duration) -> Option<Duration> {
        if self.entries.len() >= ENTRIES_MAX && !self.entries.contains_key(&key) {
            self.forget_some(now);
        }
        let fresh = Entry { failures: 0, last: now, until: Duration::ZERO };
        let entry = self.entries.entry(key).or_insert(fresh);
        if now.saturating_sub(entry.last) > MEMORY {
            *entry = fresh;
        }
        entry.failures = entry.failures.saturating_add(1);
        entry.last = now;
        let doublings = entry.failures.checked_sub(free)?;
        let factor = 2_u32.saturating_pow(doublings.min(20));
        let lock = FIRST.saturating_mul(factor).min(LONGEST);
        entry.until = now + lock;
        Some(lock)
    }

    fn forget_some(&mut self, now: Duration) {
        self.entries.retain(|_, entry| now.saturating_sub(entry.last) <= MEMORY);
        if self.entries.len() < ENTRIES_MAX {
            return;
        }
        let mut times: Vec<_> = self.entries.values().map(|entry| entry.last).collect();
        let quarter = times.len() / 4;
        let (_, bound, _) = times.select_nth_unstable(quarter);
        let bound = *bound;
        let mut left = quarter + 1;
        self.entries.retain(|_, entry| {
            let goes = entry.last <= bound && left > 0;
            left -= usize::from(goes);
            !goes
        });
    }
}

/// An IPv4 address, or the /64 of an IPv6 one.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn id(n: u8) -> TokenId {
        TokenId::from_random([n; 12])
    }

    fn ip(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn the_lock_out_grows_with_each_failure_up_to_a_quarter_of_an_hour() {
        let mut lockouts = Lockouts::default();
        let mut locks = Vec::new();
        let mut now = Duration::ZERO;
        for _ in 0..18 {
            let lock = lockouts.failed(ip(1), Some(&id(1)), now);
            locks.push(lock.map_or(0, |lock| lock.as_secs()));
            assert_eq!(lockouts.remaining(ip(1), Some(&id(1)), now), lock);
            now += lock.unwrap_or_default();
            assert_eq!(lockouts.remaining(ip(1), Some(&id(1)), now), None, "it is over by then");
        }
        assert_eq!(locks[..8], [0, 0, 0, 0, 1, 2, 4, 8]);
        assert_eq!(locks[14..], [900, 900, 900, 900]);
    }

    #[test]
    fn other_addresses_and_other_ids_are_not_locked_out() {
        let mut lockouts = Lockouts::default();
        for _ in 0..10 {
            lockouts.failed(ip(1), Some(&id(1)), S(0));
        }
        assert!(lockouts.remaining(ip(1), Some(&id(1)), S(0)).is_some());
        assert_eq!(lockouts.remaining(ip(1), Some(&id(2)), S(0)), None);
        assert_eq!(lockouts.remaining(ip(2), Some(&id(1)), S(0)), None);
        assert_eq!(lockouts.locked(S(0)), 1);
        for n in 0..10 {
            lockouts.failed(ip(1), Some(&id(n + 10)), S(0));
        }
        assert!(lockouts.remaining(ip(1), Some(&id(2)), S(0)).is_some(), "as all ids are by now");
        assert_eq!(lockouts.remaining(ip(2), Some(&id(1)), S(0)), None);
    }

    #[test]
    fn failures_are_forgotten_after_an_hour_or_with_a_success() {
        let mut lockouts = Lockouts::default();
        for _ in 0..4 {
            assert_eq!(lockouts.failed(ip(1), Some(&id(1)), S(0)), None);
        }
        assert_eq!(lockouts.failed(ip(1), Some(&id(1)), S(3601)), None);
        for _ in 0..3 {
            lockouts.failed(ip(1), Some(&id(1)), S(3601));
        }
        lockouts.succeeded(ip(1), &id(1));
        assert_eq!(lockouts.failed(ip(1), Some(&id(1)), S(3601)), None);
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_count_together() {
        let mut lockouts = Lockouts::default();
        for n in 0..10 {
            let from = format!("2001:db8::{n:x}").parse().unwrap();
            lockouts.failed(from, Some(&id(1)), S(0));
        }
        let locked = |text: &str| lockouts.remaining(text.parse().unwrap(), Some(&id(1)), S(0));
        assert!(locked("2001:db8::ffff").is_some());
        assert!(locked("2001:db8:0:1::1").is_none());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_oldest() {
        let mut lockouts = Lockouts::default();
        for _ in 0..30 {
            lockouts.failed(ip(7), None, S(0));
        }
        for n in 0..20_000 {
            lockouts.failed(ip(100 + n), Some(&id(1)), S(u64::from(n) / 100));
            assert!(lockouts.entries.len() <= ENTRIES_MAX);
        }
        assert!(lockouts.entries.len() > ENTRIES_MAX / 2);
        assert_eq!(lockouts.remaining(ip(7), None, S(1)), None, "it failed longest ago");
        assert!(lockouts.entries.contains_key(&Key(ip(20_099), None)));
    }
}
