//! Backups that are made by themselves.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tenement_wire::backups::StoredBackup;
use tokio::task::JoinSet;

use super::Backups;
use super::due::{Past, due};
use super::keep::kept;
use crate::config::{BackupPlan, Keep};
use crate::flows::host::Host;
use crate::flows::instance::{Instance, now_ms};
use crate::store::backups::BackupRecord;

/// How often is looked for what is due.
const LOOK: Duration = Duration::from_secs(5);

/// What lies further ahead than this was noted while the clock was wrong, in milliseconds.
pub(super) const AHEAD_MS: u64 = 3_600_000;

/// When the next backup of an instance is due, Unix milliseconds.
pub(super) fn next(
    plan: &BackupPlan,
    instance: &Instance,
    record: &BackupRecord,
    zone: &TimeZone,
) -> Option<u64> {
    plan.to.as_ref()?;
    let ahead = now_ms() + AHEAD_MS;
    let known = |ms: &u64| *ms <= ahead;
    let last = record.last.as_ref().map(|last| last.at_ms);
    // Of one in the future nobody knows how old it is: then one is due.
    let since_ms = Some(last.unwrap_or(instance.registered_ms())).filter(known).unwrap_or(0);
    // Its identity is random and never changes.
    let number = instance.uuid.as_u128() as u32;
    let place = f64::from(number) / f64::from(u32::MAX);
    let past = Past {
        since_ms,
        failed_ms: record.failed_ms.filter(known),
        failures: record.failures,
        place,
    };
    due(plan, past, zone)
}

/// Of the backups of an instance, newest first, those that need not be kept.
pub(super) fn superfluous(stored: &[StoredBackup], keep: Keep) -> Vec<String> {
    let zone = TimeZone::system();
    let local = |one: &StoredBackup| {
        let time =
            i64::try_from(one.time_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        time.unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone.clone()).datetime()
    };
    let times: Vec<_> = stored.iter().map(local).collect();
    let kept = kept(&times, keep);
    let superfluous = stored.iter().zip(kept).filter(|(_, kept)| !kept);
    superfluous.map(|(one, _)| one.file.clone()).collect()
}

impl<H: Host> Backups<H> {
    /// Makes what is due, a few at once, until the agent stops.
    pub async fn keep_making(self) {
        let mut running = JoinSet::new();
        loop {
            tokio::time::sleep(LOOK).await;
            while running.try_join_next().is_some() {}
            let most = self.agent().config.load().settings.backup.at_once;
            let free = most.saturating_sub(running.len());
            if free == 0 {
                continue;
            }
            for instance in self.due_now().into_iter().take(free) {
                let backups = self.clone();
                // What came of it is noted, logged and an event.
                running.spawn(async move { drop(backups.make(&instance).await) });
            }
        }
    }

    /// What is due, longest ago first.
    fn due_now(&self) -> Vec<std::sync::Arc<Instance>> {
        let (now, zone) = (now_ms(), TimeZone::system());
        let busy = self.busy().clone();
        let mut due: Vec<_> = self
            .agent()
            .all()
            .into_iter()
            .filter(|one| !busy.contains(&one.name))
            .filter_map(|one| {
                let plan = one.setup().definition.backup.clone();
                let at = next(&plan, &one, &self.record_of(&one), &zone)?;
                (at <= now).then_some((at, one))
            })
            .collect();
        due.sort_by_key(|(at, _)| *at);
        due.into_iter().map(|(_, one)| one).collect()
    }
}
