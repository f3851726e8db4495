//! Several instances that share the requests of one name, by weight.

use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

/// Hexadecimal digits of a sticky token.
pub const STICKY_LEN: usize = 32;

/// One of them.
#[derive(Debug, Clone)]
pub struct Member<T> {
    /// The instance.
    pub value: T,
    /// Its share; those with none are left out.
    pub weight: u32,
    /// What a sticky cookie says of it: opaque, and not to be guessed.
    pub token: [u8; STICKY_LEN],
}

/// What a sticky cookie says of the instance with `uuid`: random bits that nobody else can guess, hashed so
/// that they say nothing.
#[must_use]
pub fn sticky_token(uuid: &[u8; 16]) -> [u8; STICKY_LEN] {
    let mut hash = Sha256::new();
    hash.update(b"tenement sticky 1");
    hash.update(uuid);
    let mut token = [0; STICKY_LEN];
    for (digits, byte) in token.chunks_exact_mut(2).zip(hash.finalize()) {
        digits[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        digits[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    token
}

/// All of them. Picking takes one atomic step and no lock.
#[derive(Debug)]
pub struct Group<T> {
    members: Box<[Member<T>]>,
    /// The sum of the weights up to and with each member.
    sums: Box<[u64]>,
    turn: AtomicU64,
}

impl<T> Group<T> {
    /// A group of those members that have a weight; none if there is no such.
    pub fn new(members: impl IntoIterator<Item = Member<T>>) -> Option<Self> {
        let members: Box<[_]> = members.into_iter().filter(|m| m.weight > 0).collect();
        let mut sum = 0;
        let sums: Box<[u64]> = members
            .iter()
            .map(|member| {
                sum += u64::from(member.weight);
                sum
            })
            .collect();
        (sum > 0).then_some(Self { members, sums, turn: AtomicU64::new(0) })
    }

    /// Those that share.
    pub fn members(&self) -> &[Member<T>] {
        &self.members
    }

    /// The next one's place. In any run of requests each gets very nearly its share: the turns are spread by
    /// the golden ratio (Weyl's sequence) and not by chance.
    pub fn pick(&self) -> usize {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let spread = turn.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let sum = self.sums.last().copied().unwrap_or(1);
        let at = (u128::from(spread) * u128::from(sum)) >> 64;
        let at = u64::try_from(at).unwrap_or(0);
        self.sums.partition_point(|upto| *upto <= at).min(self.members.len() - 1)
    }

    /// The place of the one that `token` names.
    pub fn stuck_to(&self, token: &[u8]) -> Option<usize> {
        self.members.iter().position(|member| member.token == token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(weights: &[u32]) -> Option<Group<usize>> {
        let member = |(value, weight): (usize, &u32)| Member {
            value,
            weight: *weight,
            token: sticky_token(&[value as u8; 16]),
        };
        Group::new(weights.iter().enumerate().map(member))
    }

    #[test]
    fn each_gets_its_share_in_every_run_of_requests() {
        let group = group(&[90, 0, 10]).unwrap();
        assert_eq!(group.members().len(), 2, "who has no weight is left out");
        for run in 0..10 {
            let mut counts = [0; 2];
            (0..1000).for_each(|_| counts[group.pick()] += 1);
            assert!((85..=115).contains(&counts[1]), "run {run}: {counts:?}");
        }
    }

    #[test]
    fn there_is_no_group_without_a_weight() {
        assert!(group(&[]).is_none());
        assert!(group(&[0, 0]).is_none());
    }

    #[test]
    fn a_sticky_token_names_its_member_alone() {
        let group = group(&[1, 1, 1]).unwrap();
        let token = group.members()[2].token;
        assert_eq!(group.stuck_to(&token), Some(2));
        assert_eq!(group.stuck_to(b"2"), None);
        assert_ne!(sticky_token(&[1; 16]), sticky_token(&[2; 16]));
        assert!(token.iter().all(u8::is_ascii_hexdigit));
    }
}
