//! The next step down, pure: what an unused instance does next, and when.
//!
//! ```text
//! running ──reclaim_after──► reclaimed ──freeze_after──► frozen ──idle_timeout──► parked, if it has a place ──┐
//!                                                                     ┌── or stopped ◄──stop_after────────────┘
//!                                                                     └──dormant_after──► dormant
//! ```
//! Every step is optional and counted from the last use; only `dormant_after` counts from the stop (or
//! the parking), for nobody wants an instance stopped and unloaded in one go.

use std::time::Duration;

use super::phase::{Depth, Phase};
use crate::config::Tiers;

/// One step down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Its memory is reclaimed; it goes on answering by itself.
    Reclaim,
    /// Its processes are frozen.
    Freeze,
    /// Its service is stopped (or parked).
    Stop,
    /// Its units are unloaded.
    Unload,
}

impl Step {
    /// The word for "it … in 40 s".
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::Reclaim => "has its memory reclaimed",
            Self::Freeze => "freezes",
            Self::Stop => "stops",
            Self::Unload => "is unloaded",
        }
    }
}

/// What the decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Milliseconds of one clock.
    pub now_ms: u64,
    /// Its last use, on the same clock.
    pub used_ms: u64,
    /// When its service ended, on the same clock.
    pub rests_ms: u64,
    /// What it is doing.
    pub phase: Phase,
    /// How deep its active service lies.
    pub depth: Depth,
    /// Open requests and streams.
    pub leases: u32,
    /// Whether a window of `keep_warm` or `min_running` keeps it running.
    pub kept: bool,
    /// From running to stopped; `None` = never.
    pub idle_timeout: Option<Duration>,
    /// The other steps.
    pub tiers: &'a Tiers,
    /// Steps that this host can't do, or that have failed since the last use.
    pub without: Without,
}

/// Steps that are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Without {
    /// No reclaim.
    pub reclaim: bool,
    /// No freeze.
    pub freeze: bool,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has been unused long enough for this step.
    Go(Step),
    /// It may be after this time.
    Wait(Duration, Step),
    /// Something uses it; its end will be told.
    InUse,
    /// There is no further step: nothing but a change of its state or config makes one.
    Rest,
}

/// The next step down.
#[must_use]
pub fn decide(look: &Look) -> Verdict {
    if look.leases > 0 {
        return Verdict::InUse;
    }
    let mut waiting = None::<(Duration, Step)>;
    // From the coldest up: one that has been unused long enough for a colder step skips the others.
    for (step, after, since_ms) in steps(look).into_iter().rev().flatten() {
        let idle = Duration::from_millis(look.now_ms.saturating_sub(since_ms));
        match after.checked_sub(idle) {
            None | Some(Duration::ZERO) => return Verdict::Go(step),
            Some(left) if waiting.is_none_or(|(least, _)| left <= least) => {
                waiting = Some((left, step));
            }
            Some(_) => {}
        }
    }
    waiting.map_or(Verdict::Rest, |(left, step)| Verdict::Wait(left, step))
}

/// The step that would be next whatever the time, for a host that is short of memory: never one for
/// an instance in use, and none at all from one that is kept running except the first.
#[must_use]
pub fn early(look: &Look) -> Option<Step> {
    if look.leases > 0 {
        return None;
    }
    steps(look).into_iter().flatten().map(|(step, ..)| step).find(|step| *step != Step::Unload)
}

type Timed = Option<(Step, Duration, u64)>;

/// The steps that are below it, from warm to cold.
fn steps(look: &Look) -> [Timed; 4] {
    let Look { tiers, without, phase, depth, .. } = *look;
    let at = |step, after: Option<Duration>, may: bool| {
        after.filter(|_| may).map(|after| (step, after, look.used_ms))
    };
    let running = phase == Phase::Running;
    let up = matches!(phase, Phase::Running | Phase::Starting | Phase::Frozen);
    let parked = phase == Phase::Parked;
    let unload = tiers.dormant_after.filter(|_| (parked || phase == Phase::Asleep) && !look.kept);
    let to_stop = if parked { tiers.stop_after } else { look.idle_timeout };
    [
        at(Step::Reclaim, tiers.reclaim_after, running && depth == Depth::None && !without.reclaim),
        at(Step::Freeze, tiers.freeze_after, running && !look.kept && !without.freeze),
        at(Step::Stop, to_stop, (up || parked) && !look.kept),
        unload.map(|after| (Step::Unload, after, look.rests_ms.max(look.used_ms))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn tiers() -> Tiers {
        Tiers {
            reclaim_after: Some(s(10)),
            freeze_after: Some(s(20)),
            dormant_after: Some(s(100)),
            ..Tiers::default()
        }
    }

    fn look(tiers: &Tiers, idle: u64) -> Look<'_> {
        Look {
            now_ms: 1_000_000,
            used_ms: 1_000_000 - idle * 1000,
            rests_ms: 0,
            phase: Phase::Running,
            depth: Depth::None,
            leases: 0,
            kept: false,
            idle_timeout: Some(s(30)),
            tiers,
            without: Without::default(),
        }
    }

    #[test]
    fn the_steps_come_in_order_and_each_at_its_time_since_the_last_use() {
        let tiers = tiers();
        let at = |idle, depth, phase| decide(&Look { depth, phase, ..look(&tiers, idle) });
        use Verdict::{Go, Wait};
        assert_eq!(at(0, Depth::None, Phase::Running), Wait(s(10), Step::Reclaim));
        assert_eq!(at(10, Depth::None, Phase::Running), Go(Step::Reclaim));
        assert_eq!(at(11, Depth::Reclaimed, Phase::Running), Wait(s(9), Step::Freeze));
        assert_eq!(at(20, Depth::Reclaimed, Phase::Running), Go(Step::Freeze));
        assert_eq!(at(21, Depth::Frozen, Phase::Frozen), Wait(s(9), Step::Stop));
        assert_eq!(at(30, Depth::Frozen, Phase::Frozen), Go(Step::Stop));
        assert_eq!(at(999, Depth::None, Phase::Running), Go(Step::Stop), "the coldest that is due");
    }

    #[test]
    fn every_step_is_optional() {
        let all = tiers();
        for bits in 0..16_u32 {
            let on = |bit: u32| bits & (1 << bit) != 0;
            let tiers = Tiers {
                reclaim_after: all.reclaim_after.filter(|_| on(0)),
                freeze_after: all.freeze_after.filter(|_| on(1)),
                dormant_after: all.dormant_after.filter(|_| on(3)),
                ..Tiers::default()
            };
            let idle_timeout = Some(s(30)).filter(|_| on(2));
            let first = decide(&Look { idle_timeout, ..look(&tiers, 0) });
            let expected = [(0, 10, Step::Reclaim), (1, 20, Step::Freeze), (2, 30, Step::Stop)]
                .into_iter()
                .find(|(bit, ..)| on(*bit))
                .map_or(Verdict::Rest, |(_, after, step)| Verdict::Wait(s(after), step));
            assert_eq!(first, expected, "{bits:04b}");
            let asleep = Look { phase: Phase::Asleep, idle_timeout, ..look(&tiers, 200) };
            let expected = if on(3) { Verdict::Go(Step::Unload) } else { Verdict::Rest };
            assert_eq!(decide(&asleep), expected, "{bits:04b}");
        }
    }

    #[test]
    fn a_host_that_cannot_do_a_step_goes_on_to_the_next() {
        let tiers = tiers();
        let without = Without { reclaim: true, freeze: false };
        let verdict = decide(&Look { without, ..look(&tiers, 12) });
        assert_eq!(verdict, Verdict::Wait(s(8), Step::Freeze));
        let without = Without { reclaim: true, freeze: true };
        assert_eq!(decide(&Look { without, ..look(&tiers, 30) }), Verdict::Go(Step::Stop));
    }

    #[test]
    fn whoever_is_kept_running_may_be_reclaimed_and_nothing_more() {
        let tiers = tiers();
        let kept = |idle, depth| decide(&Look { kept: true, depth, ..look(&tiers, idle) });
        assert_eq!(kept(999, Depth::None), Verdict::Go(Step::Reclaim));
        assert_eq!(kept(999, Depth::Reclaimed), Verdict::Rest);
        let asleep = Look { kept: true, phase: Phase::Asleep, ..look(&tiers, 999) };
        assert_eq!(decide(&asleep), Verdict::Rest);
    }

    #[test]
    fn one_in_use_takes_no_step_however_old_its_last_use() {
        let tiers = tiers();
        for phase in [Phase::Running, Phase::Starting, Phase::Frozen, Phase::Asleep] {
            let used = Look { leases: 1, phase, ..look(&tiers, 900) };
            assert_eq!(decide(&used), Verdict::InUse);
            assert_eq!(early(&used), None);
        }
    }

    #[test]
    fn units_are_unloaded_a_time_after_the_stop_not_after_the_use() {
        let tiers = tiers();
        let asleep = |rests: u64| {
            let rests_ms = 1_000_000 - rests * 1000;
            decide(&Look { phase: Phase::Asleep, rests_ms, ..look(&tiers, 500) })
        };
        assert_eq!(asleep(99), Verdict::Wait(s(1), Step::Unload));
        assert_eq!(asleep(100), Verdict::Go(Step::Unload));
    }

    #[test]
    fn a_parked_one_is_stopped_at_its_own_time_and_unloaded_like_a_stopped_one() {
        let tiers = Tiers { stop_after: Some(s(60)), ..tiers() };
        let parked = |tiers, idle| {
            decide(&Look {
                phase: Phase::Parked,
                depth: Depth::Parked,
                rests_ms: 970_000,
                ..look(tiers, idle)
            })
        };
        assert_eq!(parked(&tiers, 40), Verdict::Wait(s(20), Step::Stop));
        assert_eq!(parked(&tiers, 60), Verdict::Go(Step::Stop));
        let without = Tiers { stop_after: None, ..tiers.clone() };
        assert_eq!(parked(&without, 60), Verdict::Wait(s(70), Step::Unload), "since the parking");
        let none = Tiers { dormant_after: None, ..without.clone() };
        assert_eq!(parked(&none, 999), Verdict::Rest);
    }

    #[test]
    fn a_clock_behind_the_last_use_counts_as_no_idleness() {
        let tiers = Tiers::default();
        let ahead = Look { used_ms: 2_000_000, ..look(&tiers, 0) };
        assert_eq!(decide(&ahead), Verdict::Wait(s(30), Step::Stop));
    }

    #[test]
    fn short_of_memory_the_next_step_comes_early_but_none_is_left_out() {
        let tiers = tiers();
        assert_eq!(early(&look(&tiers, 0)), Some(Step::Reclaim));
        let reclaimed = Look { depth: Depth::Reclaimed, ..look(&tiers, 0) };
        assert_eq!(early(&reclaimed), Some(Step::Freeze));
        let frozen = Look { depth: Depth::Frozen, phase: Phase::Frozen, ..look(&tiers, 0) };
        assert_eq!(early(&frozen), Some(Step::Stop));
        assert_eq!(early(&Look { kept: true, ..reclaimed }), None);
        assert_eq!(early(&Look { idle_timeout: None, ..frozen }), None);
        assert_eq!(early(&Look { phase: Phase::Asleep, ..look(&tiers, 0) }), None);
    }
}
