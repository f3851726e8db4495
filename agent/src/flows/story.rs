//! The story of an instance: each change of its state, with what made it change.
//!
//! Who acts says so first ([`Instance::because`]); all else is told apart by what systemd reports: a
//! crash has a bad result, a stop that nobody here asked for was made by hand.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock};

use tenement_wire::events::{Actor, Event, EventKind};
use tenement_wire::status::{Cause, HistoryEntry};

use super::events::{Events, of_state};
use super::host::Active;
use super::instance::{Depth, Instance, Phase, now_ms};
use super::observe::Report;
use crate::store::history::History;

const DORMANT: &str = "dormant";
const ASLEEP: &str = "asleep";
const STARTING: &str = "starting";
const RUNNING: &str = "running";
const STOPPING: &str = "stopping";
const FAILED: &str = "failed";
const WORDS: [&str; 9] =
    [DORMANT, ASLEEP, STARTING, RUNNING, "reclaimed", "frozen", "parked", STOPPING, FAILED];

/// Which way a change goes: who stops an instance does not make it start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Towards running.
    Up = 0,
    /// Away from it.
    Down = 1,
}

/// What is told of one instance so far.
#[derive(Debug)]
pub(super) struct Story {
    history: OnceLock<History>,
    events: OnceLock<Events>,
    told: Mutex<Told>,
    /// Who acts on it now, each way: a place in [`Cause::ALL`] plus one; 0 = nobody.
    acting: [AtomicU8; 2],
    /// What the report says that is being taken in, likewise.
    evidence: AtomicU8,
}

#[derive(Debug)]
struct Told {
    state: &'static str,
    cause: Cause,
    /// Whether the state is that of an earlier agent's time.
    old: bool,
}

impl Default for Story {
    fn default() -> Self {
        let told = Told { state: DORMANT, cause: Cause::AgentStart, old: false };
        let nobody = || AtomicU8::new(0);
        let (history, events, told) = (OnceLock::new(), OnceLock::new(), Mutex::new(told));
        Self { history, events, told, acting: [nobody(), nobody()], evidence: nobody() }
    }
}

/// Somebody acts on an instance until this is dropped.
pub(super) struct Because<'a> {
    slot: Option<&'a AtomicU8>,
}

impl Drop for Because<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            slot.store(0, Ordering::Release);
        }
    }
}

fn code(cause: Cause) -> u8 {
    Cause::ALL.iter().position(|one| *one == cause).map_or(0, |at| at as u8 + 1)
}

fn decode(code: &AtomicU8) -> Option<Cause> {
    Cause::ALL.get(usize::from(code.load(Ordering::Acquire)).checked_sub(1)?).copied()
}

impl Instance {
    /// Has the changes of its state kept in `history`. `old`: it is of an earlier agent's time.
    pub(super) fn keep_history(&self, history: &History, old: bool) {
        let mut told = self.story.told.lock().expect("no panic while held");
        if self.story.history.set(history.clone()).is_err() {
            return;
        }
        let last = history.take_last(self.uuid);
        told.old = old || last.is_some();
        let known = last.and_then(|last| WORDS.into_iter().find(|word| *word == last));
        told.state = known.unwrap_or(told.state);
    }

    /// Has the changes of its state recorded as events too.
    pub(super) fn tell_events(&self, events: &Events) {
        // Once is enough.
        let _ = self.story.events.set(events.clone());
    }

    /// Records that something happened to it.
    pub(super) fn happened(&self, kind: EventKind, message: String) {
        if let Some(events) = self.story.events.get() {
            events.record(Event::new(kind, message).about(&self.name).by(Actor::agent()));
        }
    }

    /// Says what the changes that come now are due to. Within another's deed, that one's cause holds.
    pub(super) fn because(&self, way: Way, cause: Cause) -> Because<'_> {
        let slot = &self.story.acting[way as usize];
        let free = slot.compare_exchange(0, code(cause), Ordering::AcqRel, Ordering::Acquire);
        Because { slot: free.is_ok().then_some(slot) }
    }

    /// Notes what systemd reported of the service, with the report as evidence of the cause.
    pub(super) fn set_service_as(&self, report: &Report) {
        let bad = !matches!(report.result.as_str(), "" | "success");
        let ended = report.active == Active::Failed
            || report.auto_restart
            // On its way down or to a restart; a start has a good result from its beginning.
            || (bad && matches!(report.active, Active::Deactivating | Active::Activating));
        let evidence = match report.result.as_str() {
            _ if !ended => 0,
            "oom-kill" => code(Cause::Oom),
            _ => code(Cause::Crash),
        };
        self.story.evidence.store(evidence, Ordering::Release);
        self.set_service(report.active);
        self.story.evidence.store(0, Ordering::Release);
    }

    /// Tells a change of its state, if there is one.
    pub(super) fn tell(&self) {
        self.note_awake();
        let mut told = self.story.told.lock().expect("no panic while held");
        let (from, to) = (told.state, self.word());
        // What lies between the start of a parking and its end is no run, and nobody's deed.
        if self.parking.load(Ordering::Acquire) && !matches!(to, "parked" | FAILED) {
            return;
        }
        let old = std::mem::take(&mut told.old);
        // The last reports of a stop may come when its end is known already, and are no news.
        if from == to || (to == STOPPING && matches!(from, ASLEEP | DORMANT | FAILED)) {
            return;
        }
        let cause = if old { Cause::AgentStart } else { self.cause(from, to, told.cause) };
        let before = told.cause;
        (told.state, told.cause) = (to, cause);
        if let Some(history) = self.story.history.get() {
            let (from, to) = (from.to_owned(), to.to_owned());
            history.record(self.uuid, HistoryEntry { time_ms: now_ms(), from, to, cause });
        }
        if let Some(events) = self.story.events.get() {
            events.record(of_state(&self.name, from, to, cause, before));
        }
    }

    fn word(&self) -> &'static str {
        match self.phase() {
            Phase::Dormant | Phase::Asleep if self.units().service == Active::Failed => FAILED,
            Phase::Dormant => DORMANT,
            Phase::Asleep => ASLEEP,
            Phase::Starting => STARTING,
            Phase::Running if self.depth() == Depth::Reclaimed => "reclaimed",
            Phase::Running => RUNNING,
            Phase::Frozen => "frozen",
            Phase::Parked => "parked",
            Phase::Stopping => STOPPING,
            Phase::Failed => FAILED,
        }
    }

    fn cause(&self, from: &str, to: &str, before: Cause) -> Cause {
        let broken = matches!(before, Cause::Crash | Cause::Oom);
        let ours = self.gate.is_closed() || self.stopping.load(Ordering::Relaxed);
        // How an app ends that somebody stops is its own affair.
        let by_itself = !ours && (from != STOPPING || broken);
        if let Some(evidence) = decode(&self.story.evidence).filter(|_| by_itself) {
            return evidence;
        }
        let up = matches!(to, STARTING | RUNNING) || (from == DORMANT && to == ASLEEP);
        let way = if up && from != RUNNING { Way::Up } else { Way::Down };
        if let Some(cause) = decode(&self.story.acting[way as usize]) {
            return cause;
        }
        match (from, to) {
            (STOPPING, ASLEEP | DORMANT | FAILED) => before,
            (STARTING, RUNNING) if broken => Cause::Restart,
            (STARTING, RUNNING) => before,
            (RUNNING, STARTING) => Cause::Restart,
            (STARTING | RUNNING, FAILED) => Cause::Crash,
            (STARTING | RUNNING, ASLEEP) => Cause::Exit,
            (_, "reclaimed" | "frozen" | "parked") => Cause::Idle,
            _ if up && (self.waking.load(Ordering::Relaxed) || self.gate.leases() > 0) => {
                Cause::Request
            }
            _ => Cause::ByHand,
        }
    }
}
