use proptest::prelude::*;

use super::*;

const RULES: Rules = Rules { requests: 20, errors: 5, latency: 200 };

fn share(requests: u64, errors: u64, ms: u64) -> Share {
    let mut took = Spread::default();
    took.buckets[bucket(Duration::from_millis(ms))] = requests;
    Share { requests, errors, took }
}

fn numbers(canary: Share, others: Share) -> Numbers {
    Numbers { canary, others }
}

fn is_bad(numbers: &Numbers) -> bool {
    matches!(judge(numbers, &RULES), Verdict::Bad(_))
}

#[test]
fn half_the_requests_failing_is_seen_with_twenty_requests_and_all_failing_with_five() {
    let others = share(400, 0, 2);
    assert_eq!(judge(&numbers(share(19, 9, 2), others), &RULES), Verdict::Unclear);
    let Verdict::Bad(why) = judge(&numbers(share(20, 10, 2), others), &RULES) else { panic!() };
    assert_eq!(why, "50.0 % errors (10 of 20 requests), the others 0.0 % (0 of 400)");
    assert!(!is_bad(&numbers(share(4, 4, 2), others)));
    assert!(is_bad(&numbers(share(5, 5, 2), others)));
}

#[test]
fn errors_that_the_others_have_too_are_not_held_against_it() {
    assert!(!is_bad(&numbers(share(100, 34, 2), share(900, 270, 2))), "4 points more");
    assert!(is_bad(&numbers(share(100, 36, 2), share(900, 270, 2))), "6 points more");
    assert!(!is_bad(&numbers(share(10, 10, 2), share(90, 90, 2))), "all of them fail");
}

#[test]
fn a_p95_beyond_the_limit_is_seen_and_neither_one_slow_request_nor_a_few_milliseconds_are() {
    let others = share(400, 0, 20);
    assert!(is_bad(&numbers(share(40, 0, 200), others)));
    assert!(!is_bad(&numbers(share(40, 0, 20), others)));
    let mut one = share(39, 0, 20);
    one.took.buckets[bucket(Duration::from_secs(5))] += 1;
    one.requests += 1;
    assert!(!is_bad(&numbers(one, others)), "one request woke it");
    assert!(!is_bad(&numbers(share(40, 0, 3), share(400, 0, 1))), "of a millisecond or two");
    assert!(!is_bad(&numbers(share(40, 0, 200), share(0, 0, 1))), "nothing to compare with");
}

#[test]
fn a_step_lasts_its_time_and_twice_that_with_too_few_requests() {
    let second = Duration::from_secs(1);
    let mut busy = Step::new(RULES, second * 3, Duration::ZERO, Numbers::default());
    let mut quiet = Step::new(RULES, second * 3, Duration::ZERO, Numbers::default());
    for n in 1..=6 {
        let next = busy.look(second, numbers(share(n * 10, 0, 2), share(n * 90, 0, 2))).1;
        assert_eq!(next == Next::On, n < 3, "{n}: {next:?}");
        let next = quiet.look(second, numbers(share(n, 0, 2), share(n, 0, 2))).1;
        assert_eq!(next == Next::On, n < 6, "{n}: {next:?}");
    }
    let mut resumed = Step::new(RULES, second * 3, second * 2, Numbers::default());
    let next = resumed.look(second, numbers(share(30, 0, 2), share(300, 0, 2))).1;
    assert_eq!(next, Next::Over("passed".into()), "what was over before counts");
}

#[test]
fn a_break_after_hours_of_good_answers_is_seen_within_half_a_minute() {
    let second = Duration::from_secs(1);
    let mut step = Step::new(RULES, second * 100_000, Duration::ZERO, Numbers::default());
    let mut canary = share(0, 0, 2);
    for n in 0..10_000u64 {
        canary.add(&Reading {
            statuses: vec![(200, 10)],
            took: share(10, 0, 2).took,
            ..Reading::default()
        });
        let others = share(n * 90, 0, 2);
        assert_eq!(step.look(second, numbers(canary, others)).1, Next::On);
    }
    let broke = (0..30u64).find(|n| {
        canary.add(&Reading {
            statuses: vec![(500, 5), (200, 5)],
            took: share(10, 0, 2).took,
            ..Reading::default()
        });
        let others = share((10_000 + n) * 90, 0, 2);
        matches!(step.look(second, numbers(canary, others)).1, Next::Back(_))
    });
    assert!(broke.is_some_and(|after| after < 10), "{broke:?}");
}

prop_compose! {
    fn some_share()(requests in 0u64..5000, ratio in 0u64..=100, ms in 1u64..2000) -> Share {
        share(requests, requests * ratio / 100, ms)
    }
}

proptest! {
    #[test]
    fn one_that_does_just_as_the_others_is_never_bad(one in some_share()) {
        prop_assert!(!is_bad(&numbers(one, one)));
    }

    #[test]
    fn more_errors_never_make_it_better(canary in some_share(), others in some_share(), more in 0u64..100) {
        let errors = (canary.errors + more).min(canary.requests);
        let worse = Share { errors, ..canary };
        prop_assert!(!is_bad(&numbers(canary, others)) || is_bad(&numbers(worse, others)));
    }

    #[test]
    fn too_few_requests_decide_nothing_unless_all_failed(requests in 0u64..20, others in some_share(), failed in 0u64..20) {
        let errors = failed.min(requests);
        prop_assume!(errors < requests || requests < 5);
        let own = share(requests, errors, 1000);
        prop_assert_eq!(judge(&numbers(own, others), &RULES), Verdict::Unclear);
    }

    #[test]
    fn a_step_ends_within_twice_its_time(looks in proptest::collection::vec(some_share(), 1..40)) {
        let second = Duration::from_secs(1);
        let mut step = Step::new(RULES, second * 10, Duration::ZERO, Numbers::default());
        for (n, others) in looks.into_iter().enumerate() {
            let next = step.look(second, numbers(Share::default(), others)).1;
            prop_assert_eq!(next == Next::On, n + 1 < 20);
            if next != Next::On { break }
        }
    }
}
