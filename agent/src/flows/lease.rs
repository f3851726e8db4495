//! Leases: the in-flight count of an instance, with a gate that a stop closes.
//!
//! One atomic word holds both, so that "nobody is using it" and "nobody may begin" are one step: an
//! idle stop succeeds only by swapping *zero leases, gate open* for *zero leases, gate closed*. A
//! request therefore either has its lease before the stop (and the stop is off) or finds the gate
//! closed (and waits for the stop to end); there is no moment in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::tunnels::{Notice, Tunnel, Tunnels};
use super::{Instance, Turn};

const CLOSED: u32 = 1 << 31;
/// A health check is under way. It is no lease, and yet no idle stop begins meanwhile.
const CHECKED: u32 = 1 << 30;
/// It is being moved to another release: only who moves it gets a lease. Its service may be stopped and started
/// meanwhile.
const MOVING: u32 = 1 << 29;
const FLAGS: u32 = CLOSED | CHECKED | MOVING;

/// Lease count and gate in one word; and until when requests are asked to wait at it, on the clock of
/// [`super::instance::mono_ms`]. Beside them, the tunnels among the leases.
#[derive(Debug, Default)]
pub struct Gate(AtomicU32, AtomicU64, Tunnels);

impl Gate {
    /// Counts one more lease, unless the gate is closed or it is being moved.
    pub fn enter(&self) -> bool {
        self.enter_unless(CLOSED | MOVING)
    }

    fn enter_unless(&self, flags: u32) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & flags != 0 {
                return false;
            }
            match self.0.compare_exchange_weak(word, word + 1, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Counts one lease less and says how many are left.
    pub fn leave(&self) -> u32 {
        (self.0.fetch_sub(1, Ordering::AcqRel) & !FLAGS) - 1
    }

    /// Begins a health check, unless the gate is closed or another check is under way.
    pub(super) fn enter_check(&self) -> bool {
        let enter = |word| (word & (CLOSED | CHECKED) == 0).then_some(word | CHECKED);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, enter).is_ok()
    }

    /// Ends a health check.
    pub(super) fn leave_check(&self) {
        self.0.fetch_and(!CHECKED, Ordering::AcqRel);
    }

    /// Whether a health check is under way.
    pub(super) fn is_checked(&self) -> bool {
        self.0.load(Ordering::Acquire) & CHECKED != 0
    }

    /// Whether a health check is all that goes on.
    pub(super) fn is_only_checked(&self) -> bool {
        self.0.load(Ordering::Acquire) & !MOVING == CHECKED
    }

    /// Closes the gate if there is no lease and no check, and it is open.
    fn close_if_idle(&self) -> bool {
        self.0.compare_exchange(0, CLOSED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Closes the gate whatever is in flight. `false` if it was closed already.
    fn close(&self) -> bool {
        self.0.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED == 0
    }

    fn open(&self) {
        self.1.store(0, Ordering::Relaxed);
        self.0.fetch_and(!CLOSED, Ordering::AcqRel);
    }

    /// Has requests wait until `until_ms` before they give up, because the gate stays closed longer than a stop takes.
    pub(super) fn hold(&self, until_ms: u64) {
        self.1.store(until_ms, Ordering::Relaxed);
    }

    /// Until when they are to wait; 0: no longer than a stop may take.
    pub(super) fn held_until_ms(&self) -> u64 {
        self.1.load(Ordering::Relaxed)
    }

    /// Begins a move; `false` if one is under way.
    fn begin_move(&self) -> bool {
        self.0.fetch_or(MOVING, Ordering::AcqRel) & MOVING == 0
    }

    fn end_move(&self) {
        self.0.fetch_and(!MOVING, Ordering::AcqRel);
    }

    /// Whether it is being moved to another release.
    pub fn is_moving(&self) -> bool {
        self.0.load(Ordering::Acquire) & MOVING != 0
    }

    /// Whether a request that comes now has to wait.
    pub fn holds(&self) -> bool {
        self.0.load(Ordering::Relaxed) & (CLOSED | MOVING) != 0
    }

    /// Leases now.
    pub fn leases(&self) -> u32 {
        self.0.load(Ordering::Acquire) & !FLAGS
    }

    /// Gives notice to the tunnels that are open now.
    pub(super) fn give_notice(&self) -> Notice {
        self.2.give_notice()
    }

    /// Whether a stop has closed it.
    pub fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire) & CLOSED != 0
    }
}

/// Keeps an instance awake until dropped. It belongs to the response *body* (or the upgraded
/// stream), so that a long download, SSE or WebSocket holds its instance to its end.
#[derive(Debug)]
pub struct Lease(Arc<Instance>, Option<Turn>, Option<Tunnel>);

impl Lease {
    /// Takes a lease, or `None` while a stop is under way.
    #[must_use]
    pub fn take(instance: &Arc<Instance>) -> Option<Self> {
        instance.gate.enter().then(|| Self(instance.clone(), None, None))
    }

    /// Takes a lease for who moves it.
    pub(super) fn of_move(moving: &Moving) -> Option<Self> {
        let instance = &moving.0;
        instance.gate.enter_unless(CLOSED).then(|| Self(instance.clone(), None, None))
    }

    /// The same lease with the request's turn, which then ends with it.
    #[must_use]
    pub fn with(mut self, turn: Turn) -> Self {
        self.1 = Some(turn);
        self
    }

    /// The same lease for a tunnel: what has left HTTP and may stay open for hours.
    #[must_use]
    pub fn of_tunnel(mut self) -> Self {
        self.2 = Some(self.0.gate.2.open());
        self
    }

    /// The instance that it holds.
    #[must_use]
    pub fn instance(&self) -> &Arc<Instance> {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.touch();
        let was_tunnel = self.2.take().is_some();
        if self.0.gate.leave() == 0 {
            // Nobody waits for a first byte any more, whether it came or not.
            self.0.waking.store(false, Ordering::Relaxed);
            self.0.wake_abandoned();
            self.0.idle.notify_waiters();
        } else if was_tunnel || self.0.gate.holds() {
            // Whoever replaces it may wait for the tunnels, or for all but them.
            self.0.idle.notify_waiters();
        }
    }
}

/// A closed gate, which opens again when this is dropped: at the end of the stop, at an error, at a
/// panic, or when whoever asked for it has gone. A gate that stayed closed would make every later
/// request wait in vain.
#[derive(Debug)]
pub struct Closed(Arc<Instance>);

impl Closed {
    /// Closes the gate if nobody uses the instance and no other stop is under way.
    #[must_use]
    pub fn if_idle(instance: &Arc<Instance>) -> Option<Self> {
        instance.gate.close_if_idle().then(|| Self(instance.clone()))
    }

    /// Closes the gate whatever is in flight; `None` if another stop has closed it.
    #[must_use]
    pub fn force(instance: &Arc<Instance>) -> Option<Self> {
        instance.gate.close().then(|| Self(instance.clone()))
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.gate.open();
        self.0.changed.notify_waiters();
    }
}

/// A move to another release, until this is dropped: requests wait, whether its service runs or not.
#[derive(Debug)]
pub struct Moving(Arc<Instance>, Notice);

impl Moving {
    /// Begins one; `None` if one is under way.
    #[must_use]
    pub fn begin(instance: &Arc<Instance>) -> Option<Self> {
        instance.gate.begin_move().then(|| Self(instance.clone(), Notice::default()))
    }

    /// The instance.
    #[must_use]
    pub fn instance(&self) -> &Arc<Instance> {
        &self.0
    }

    /// The same after these tunnels had their time: it does not wait for them again.
    pub(super) fn after(mut self, notice: Notice) -> Self {
        self.1 = notice;
        self
    }

    /// The tunnels that had their time.
    pub(super) fn notice(&self) -> &Notice {
        &self.1
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.0.gate.end_move();
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_stop_and_a_lease_exclude_each_other() {
        let gate = Gate::default();
        assert!(gate.enter());
        assert!(!gate.close_if_idle(), "stopped under a lease");
        assert_eq!(gate.leave(), 0);
        assert!(gate.close_if_idle());
        assert!(!gate.enter(), "a lease was given during a stop");
        gate.open();
        assert!(gate.enter());
    }

    #[test]
    fn an_idle_stop_and_a_check_exclude_each_other_and_a_check_is_no_lease() {
        let gate = Gate::default();
        assert!(gate.enter_check() && !gate.enter_check());
        assert!(!gate.close_if_idle(), "stopped under a check");
        assert_eq!(gate.leases(), 0);
        assert!(gate.enter() && !gate.is_only_checked());
        assert_eq!(gate.leave(), 0);
        gate.leave_check();
        assert!(gate.close_if_idle());
        assert!(!gate.enter_check(), "checked during a stop");
    }

    #[test]
    fn a_move_keeps_requests_out_and_lets_stops_and_checks_in() {
        let gate = Gate::default();
        assert!(gate.begin_move() && !gate.begin_move());
        assert!(!gate.enter() && gate.holds(), "a request got in");
        assert!(gate.enter_unless(CLOSED), "who moves it is kept out");
        assert!(gate.enter_check());
        gate.leave_check();
        assert!(gate.close() && !gate.enter_unless(CLOSED));
        gate.open();
        assert_eq!(gate.leave(), 0);
        assert!(!gate.close_if_idle(), "an idle stop in the middle of a move");
        gate.end_move();
        assert!(gate.enter() && !gate.holds());
    }

    #[test]
    fn a_forced_stop_keeps_counting_the_leases_that_were_there() {
        let gate = Gate::default();
        assert!(gate.enter() && gate.enter());
        assert!(gate.close());
        assert!(!gate.close());
        assert_eq!(gate.leave(), 1);
        assert_eq!(gate.leases(), 1);
        assert!(gate.is_closed());
    }
}
