//! Which releases are not needed any more. Pure.

use tenement_wire::ReleaseName;

/// Failed releases that are kept, for their logs.
const FAILED_KEPT: usize = 3;

/// What is known of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: ReleaseName,
    /// When its making was begun, in Unix milliseconds.
    pub at_ms: u64,
    /// Whether it was made, or could not be; `None` while it is being made.
    pub ready: Option<bool>,
    /// Current, previous, pinned, loaded by an instance, or being deployed.
    pub needed: bool,
}

/// Those to delete, the oldest first. Besides what is needed, the newest `keep` that are ready stay; and the newest of
/// all always does, since it was made to be deployed.
#[must_use]
pub fn superfluous(mut all: Vec<Candidate>, keep: usize) -> Vec<ReleaseName> {
    all.sort_by(|a, b| (b.at_ms, &b.name).cmp(&(a.at_ms, &a.name)));
    let newest = all.iter().position(|one| one.ready == Some(true));
    let (mut ready, mut failed) = (0, 0);
    let mut gone = Vec::new();
    for (at, one) in all.into_iter().enumerate() {
        let (count, most) = match one.ready {
            _ if one.needed || Some(at) == newest => continue,
            None => continue,
            Some(true) => (&mut ready, keep),
            Some(false) => (&mut failed, FAILED_KEPT),
        };
        *count += 1;
        if *count > most {
            gone.push(one.name);
        }
    }
    gone.reverse();
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(name: &str, at_ms: u64, ready: Option<bool>, needed: bool) -> Candidate {
        Candidate { name: name.parse().unwrap(), at_ms, ready, needed }
    }

    fn gone(all: &[Candidate], keep: usize) -> Vec<String> {
        superfluous(all.to_vec(), keep).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_oldest_beyond_those_to_keep_go_and_never_one_that_is_needed() {
        let ready = |name, at, needed| one(name, at, Some(true), needed);
        let all = [
            ready("v1", 1, true),
            ready("v2", 2, false),
            ready("v3", 3, false),
            ready("v4", 4, true),
            ready("v5", 5, false),
            ready("v6", 6, false),
        ];
        assert_eq!(gone(&all, 2), ["v2"]);
        assert_eq!(gone(&all, 1), ["v2", "v3"]);
        assert_eq!(gone(&all, 5), [""; 0]);
        assert_eq!(gone(&all, 0), ["v2", "v3", "v5"], "the newest was made to be deployed");
    }

    #[test]
    fn a_release_in_the_making_stays_and_a_few_failed_ones_for_their_logs() {
        let mut all = vec![one("now", 9, None, false), one("ok", 1, Some(true), false)];
        all.extend((0..5).map(|n| one(&format!("f{n}"), 2 + n, Some(false), false)));
        assert_eq!(gone(&all, 0), ["f0", "f1"]);
    }

    proptest! {
        #[test]
        fn whatever_there_is_what_is_needed_stays_and_keep_is_kept(
            kinds in prop::collection::vec((0..3_u8, any::<bool>(), 0..5_u64), 0..20), keep in 0..6_usize,
        ) {
            let ready = |kind| match kind { 0 => Some(true), 1 => Some(false), _ => None };
            let all: Vec<_> = kinds.iter().enumerate()
                .map(|(n, (kind, needed, at))| one(&format!("r{n}"), *at, ready(*kind), *needed))
                .collect();
            let gone = superfluous(all.clone(), keep);
            let stays = |one: &&Candidate| !gone.contains(&one.name);
            for one in all.iter().filter(|one| one.needed || one.ready.is_none()) {
                prop_assert!(stays(&one));
            }
            let free = all.iter().filter(|one| one.ready == Some(true) && !one.needed);
            let (left, had) = (free.clone().filter(stays).count(), free.count());
            prop_assert!(left >= keep.min(had) && left <= keep + 1);
        }
    }
}
