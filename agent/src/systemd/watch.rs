//! From D-Bus signals to [`UnitEvent`]s, and to those who watch.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tenement_wire::InstanceName;
use tokio::sync::mpsc;
use zbus::message::{Message, Type};
use zbus::wire::Variant;

use super::escape::unit_of_path;
use super::jobs::Jobs;
use super::state::ours;
use super::{ActiveState, UnitEvent, UnitKind};
use crate::plan::TaskEnd;

/// Events that wait for one consumer at most; beyond it the consumer gets a Resync instead.
const QUEUE: usize = 4096;

/// What a service last said of its run. It comes in a signal of its own, just before the signal that
/// tells the unit's state.
#[derive(Debug, Clone, Default)]
struct Run {
    result: String,
    main_pid: u32,
    status: String,
    /// `ExecMainCode` and `ExecMainStatus`.
    exit: (i32, i32),
}

/// Takes what a signal tells of a run.
fn take(run: &mut Run, changed: &HashMap<&str, Variant<'_>>) {
    if let Some(result) = text(changed, "Result") {
        run.result = result;
    }
    if let Some(status) = text(changed, "StatusText") {
        run.status = status;
    }
    if let Some(Variant::U32(pid)) = changed.get("MainPID") {
        run.main_pid = *pid;
    }
    if let Some(Variant::I32(code)) = changed.get("ExecMainCode") {
        run.exit.0 = *code;
    }
    if let Some(Variant::I32(status)) = changed.get("ExecMainStatus") {
        run.exit.1 = *status;
    }
}

/// Turns the messages of one connection into events.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    runs: HashMap<String, Run>,
    reloading: bool,
}

impl Decoder {
    /// Handles one message: ends of jobs go to `jobs`, an event of ours is returned.
    pub(super) fn message(&mut self, message: &Message, jobs: &Jobs) -> Option<UnitEvent> {
        if message.message_type() != Type::Signal {
            return None;
        }
        let header = message.header();
        match header.member()?.as_str() {
            "JobRemoved" => {
                let body = message.body();
                let (_, job, _, result): (u32, zbus::ObjectPath<'_>, &str, &str) =
                    body.deserialize().ok()?;
                jobs.ended(job.as_str(), result);
                None
            }
            "UnitRemoved" => {
                let body = message.body();
                let (unit, _): (&str, zbus::ObjectPath<'_>) = body.deserialize().ok()?;
                self.removed(unit)
            }
            "PropertiesChanged" => self.changed(header.path()?.as_str(), message),
            "Reloading" => {
                // A reload frees and loads every unit anew and says so unit by unit. None of that
                // is news; one listing afterwards is.
                self.reloading = message.body().deserialize().ok()?;
                (!self.reloading).then_some(UnitEvent::Resync)
            }
            // Another systemd has taken the name, or the same one has come back from a reexec.
            "NameOwnerChanged" => {
                let body = message.body();
                let (_, _, new): (&str, &str, &str) = body.deserialize().ok()?;
                self.reloading = false;
                (!new.is_empty()).then_some(UnitEvent::Resync)
            }
            _ => None,
        }
    }

    fn removed(&mut self, unit: &str) -> Option<UnitEvent> {
        let (name, kind) = ours(unit)?;
        if self.reloading {
            return None;
        }
        self.runs.remove(unit);
        Some(UnitEvent::Removed { name, kind })
    }

    fn changed(&mut self, path: &str, message: &Message) -> Option<UnitEvent> {
        let unit = unit_of_path(path)?;
        let Some((name, kind)) = ours(&unit) else { return self.job_changed(unit, message) };
        let body = message.body();
        let (interface, changed, _): (&str, HashMap<&str, Variant<'_>>, Vec<&str>) =
            body.deserialize().ok()?;
        match interface {
            "org.freedesktop.systemd1.Service" | "org.freedesktop.systemd1.Socket" => {
                take(self.runs.entry(unit).or_default(), &changed);
                None
            }
            "org.freedesktop.systemd1.Unit" if !self.reloading => {
                let run = self.runs.get(&unit).cloned().unwrap_or_default();
                Some(UnitEvent::Changed {
                    name,
                    kind,
                    active: ActiveState::parse(&text(&changed, "ActiveState")?),
                    sub: text(&changed, "SubState")?,
                    result: run.result,
                    status: run.status,
                    main_pid: if kind == UnitKind::Service { run.main_pid } else { 0 },
                    frozen: text(&changed, "FreezerState").is_some_and(|s| s != "running"),
                })
            }
            _ => None,
        }
    }
}

impl Decoder {
    /// A change of the service of a scheduled job.
    fn job_changed(&mut self, unit: String, message: &Message) -> Option<UnitEvent> {
        let (name, tag, kind) = InstanceName::from_task_unit(&unit)?;
        if kind != "service" || tag.job().is_none() {
            return None;
        }
        let body = message.body();
        let (interface, changed, _): (&str, HashMap<&str, Variant<'_>>, Vec<&str>) =
            body.deserialize().ok()?;
        match interface {
            "org.freedesktop.systemd1.Service" => {
                take(self.runs.entry(unit).or_default(), &changed);
                None
            }
            "org.freedesktop.systemd1.Unit" if !self.reloading => {
                let active = ActiveState::parse(&text(&changed, "ActiveState")?);
                // An idle one need not be remembered: the next run says everything anew.
                let run = match active.is_down() {
                    true => self.runs.remove(&unit),
                    false => self.runs.get(&unit).cloned(),
                };
                let Run { result, exit: (code, status), .. } = run.unwrap_or_default();
                let end = TaskEnd::of(&result, code, status);
                Some(UnitEvent::Job { name, tag, active, end })
            }
            _ => None,
        }
    }
}

fn text(changed: &HashMap<&str, Variant<'_>>, name: &str) -> Option<String> {
    match changed.get(name)? {
        Variant::Str(text) => Some(text.to_string()),
        _ => None,
    }
}

/// Those who watch.
#[derive(Debug, Default)]
pub(super) struct Watchers(Mutex<Vec<Watcher>>);

#[derive(Debug)]
struct Watcher {
    queue: mpsc::Sender<UnitEvent>,
    lost: bool,
}

impl Watchers {
    /// One more.
    pub(super) fn add(&self) -> mpsc::Receiver<UnitEvent> {
        let (queue, receiver) = mpsc::channel(QUEUE);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Watcher { queue, lost: false });
        receiver
    }

    /// Ends the streams of all.
    pub(super) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Hands `event` to all without waiting: a slow consumer must not hold up the connection. One whose
    /// queue is full loses the event and gets a Resync when it has room. Says whether any is owed one.
    pub(super) fn send(&self, event: Option<&UnitEvent>) -> bool {
        let mut watchers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| !watcher.queue.is_closed());
        for watcher in watchers.iter_mut() {
            if watcher.lost {
                watcher.lost = watcher.queue.try_send(UnitEvent::Resync).is_err();
            }
            if let Some(event) = event {
                watcher.lost |= watcher.queue.try_send(event.clone()).is_err();
            }
        }
        watchers.iter().any(|watcher| watcher.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = "/org/freedesktop/systemd1/unit/ten_2dapi_40prod_2eservice";

    fn properties(interface: &str, changed: &[(&str, Variant<'_>)]) -> Message {
        let changed: HashMap<&str, Variant<'_>> =
            changed.iter().map(|(name, value)| (*name, value.try_clone().unwrap())).collect();
        Message::signal(UNIT, "org.freedesktop.DBus.Properties", "PropertiesChanged")
            .build(&(interface, changed, Vec::<&str>::new()))
            .unwrap()
    }

    fn manager(member: &str, body: &(impl serde::Serialize + zbus::DynamicType)) -> Message {
        Message::signal("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", member)
            .build(body)
            .unwrap()
    }

    #[test]
    fn a_change_says_whether_the_unit_is_frozen() {
        let (mut decoder, jobs) = (Decoder::default(), Jobs::default());
        for (word, expected) in [("frozen", true), ("thawing", true), ("running", false)] {
            let state =
                [("ActiveState", "active"), ("SubState", "running"), ("FreezerState", word)];
            let state = state.map(|(name, value)| (name, Variant::new(value)));
            let event =
                decoder.message(&properties("org.freedesktop.systemd1.Unit", &state), &jobs);
            let Some(UnitEvent::Changed { frozen, .. }) = event else { panic!("{event:?}") };
            assert_eq!(frozen, expected, "{word}");
        }
    }

    fn state() -> Message {
        properties(
            "org.freedesktop.systemd1.Unit",
            &[("ActiveState", Variant::new("failed")), ("SubState", Variant::new("failed"))],
        )
    }

    #[test]
    fn a_change_carries_the_result_that_came_just_before_it() {
        let (mut decoder, jobs) = (Decoder::default(), Jobs::default());
        let service = properties(
            "org.freedesktop.systemd1.Service",
            &[
                ("Result", Variant::new("oom-kill")),
                ("MainPID", Variant::new(7_u32)),
                ("StatusText", Variant::new("dying")),
            ],
        );
        assert_eq!(decoder.message(&service, &jobs), None);
        assert_eq!(
            decoder.message(&state(), &jobs),
            Some(UnitEvent::Changed {
                name: "api:prod".parse().unwrap(),
                kind: UnitKind::Service,
                active: ActiveState::Failed,
                sub: "failed".into(),
                result: "oom-kill".into(),
                main_pid: 7,
                status: "dying".into(),
                frozen: false,
            })
        );
    }

    #[test]
    fn the_end_of_a_scheduled_job_is_told_with_its_status_and_that_of_a_command_is_not() {
        let (mut decoder, jobs) = (Decoder::default(), Jobs::default());
        let send = |decoder: &mut Decoder,
                    unit: &str,
                    interface: &str,
                    changed: &[(&str, Variant<'_>)]| {
            let path = format!("/org/freedesktop/systemd1/unit/{unit}");
            let changed: HashMap<&str, Variant<'_>> =
                changed.iter().map(|(name, value)| (*name, value.try_clone().unwrap())).collect();
            let message =
                Message::signal(path, "org.freedesktop.DBus.Properties", "PropertiesChanged")
                    .build(&(interface, changed, Vec::<&str>::new()))
                    .unwrap();
            decoder.message(&message, &jobs)
        };
        let ended = [
            ("Result", Variant::new("exit-code")),
            ("ExecMainCode", Variant::new(1_i32)),
            ("ExecMainStatus", Variant::new(7_i32)),
        ];
        let failed =
            [("ActiveState", Variant::new("failed")), ("SubState", Variant::new("failed"))];
        let job = "ten_2dapi_40prod_2ecron_2dnightly_2eservice";
        assert_eq!(send(&mut decoder, job, "org.freedesktop.systemd1.Service", &ended), None);
        let event = send(&mut decoder, job, "org.freedesktop.systemd1.Unit", &failed);
        let Some(UnitEvent::Job { name, tag, active, end }) = event else { panic!("{event:?}") };
        assert_eq!((name.to_string().as_str(), tag.job()), ("api:prod", Some("nightly")));
        assert_eq!((active, end.status), (ActiveState::Failed, Some(7)));
        let command = "ten_2dapi_40prod_2erun_2d1_2eservice";
        assert_eq!(send(&mut decoder, command, "org.freedesktop.systemd1.Unit", &failed), None);
    }

    #[test]
    fn a_daemon_reload_is_one_resync_and_no_removals() {
        let (mut decoder, jobs) = (Decoder::default(), Jobs::default());
        let path = zbus::ObjectPath::try_from(UNIT).unwrap();
        let removed = manager("UnitRemoved", &("ten-api@prod.service", path));
        assert_eq!(decoder.message(&manager("Reloading", &true), &jobs), None);
        assert_eq!(decoder.message(&removed, &jobs), None);
        assert_eq!(decoder.message(&state(), &jobs), None);
        assert_eq!(decoder.message(&manager("Reloading", &false), &jobs), Some(UnitEvent::Resync));
        assert!(matches!(decoder.message(&removed, &jobs), Some(UnitEvent::Removed { .. })));
    }

    #[test]
    fn a_slow_consumer_gets_a_resync_instead_of_what_it_missed() {
        let watchers = Watchers::default();
        let mut events = watchers.add();
        let event = UnitEvent::Removed { name: "a:b".parse().unwrap(), kind: UnitKind::Socket };
        for _ in 0..QUEUE {
            assert!(!watchers.send(Some(&event)));
        }
        assert!(watchers.send(Some(&event)), "nothing was lost");
        while events.try_recv() == Ok(event.clone()) {}
        assert!(!watchers.send(None));
        assert_eq!(events.try_recv(), Ok(UnitEvent::Resync));
        drop(events);
        watchers.send(None);
        assert!(watchers.0.lock().unwrap().is_empty());
    }
}
