//! Weights that give an instance its share of the requests, pure.

use tenement_wire::domains::WEIGHT_MAX;

/// Weights that give one instance `percent` of the requests, and the others the rest as they share it by `theirs`: its
/// own, and those of the others in the same order. As exact as whole numbers up to [`WEIGHT_MAX`] allow.
#[must_use]
pub fn shared(theirs: &[u32], percent: u32) -> (u32, Vec<u32>) {
    let percent = u64::from(percent.min(100));
    let sum: u64 = theirs.iter().map(|weight| u64::from(*weight)).sum();
    let own = sum * percent;
    let rest: Vec<u64> = theirs.iter().map(|weight| u64::from(*weight) * (100 - percent)).collect();
    let largest = rest.iter().copied().chain([own]).max().unwrap_or(0);
    // Down into the range, and no further.
    let fit = |weight: u64| {
        let fitted = match largest > u64::from(WEIGHT_MAX) {
            true => (weight * u64::from(WEIGHT_MAX) + largest / 2) / largest,
            false => weight,
        };
        // Who has a share keeps one.
        u32::try_from(fitted).unwrap_or(WEIGHT_MAX).max(u32::from(weight > 0))
    };
    (fit(own), rest.into_iter().map(fit).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_other_shares_exactly() {
        assert_eq!(shared(&[100], 5), (500, vec![9500]));
        assert_eq!(shared(&[100], 50), (5000, vec![5000]));
        assert_eq!(shared(&[100], 100), (10_000, vec![0]));
        assert_eq!(shared(&[1], 25), (25, vec![75]));
    }

    proptest! {
        #[test]
        fn the_share_is_right_to_a_fiftieth(theirs in proptest::collection::vec(0u32..=10_000, 1..20), percent in 1u32..=99) {
            prop_assume!(theirs.iter().sum::<u32>() > 0);
            let (own, rest) = shared(&theirs, percent);
            prop_assert!(own <= WEIGHT_MAX && rest.iter().all(|weight| *weight <= WEIGHT_MAX));
            for (before, after) in theirs.iter().zip(&rest) {
                prop_assert_eq!(*before > 0, *after > 0);
            }
            let sum = f64::from(own) + rest.iter().map(|w| f64::from(*w)).sum::<f64>();
            let share = f64::from(own) * 100.0 / sum;
            // Nineteen small ones that keep a weight of 1 are the worst.
            prop_assert!((share - f64::from(percent)).abs() <= f64::from(percent) / 50.0 + 0.2, "{share} for {percent}");
        }
    }
}
