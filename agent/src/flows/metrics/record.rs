//! Record: what was measured goes to the series, minute by minute, and comes back as history.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tenement_wire::metrics::{MetricsHistory, MetricsPoint};

use super::book::Step;
use super::meter::quantile;
use super::{Ask, FiguresError};
use crate::flows::agent::Agent;
use crate::flows::host::{Active, Host};
use crate::flows::instance::{Instance, Phase, now_ms};
use crate::kernel::Used;
use crate::store::series::{DAY, MINUTE, QUARTER, Row};

/// Groups that are read in one go; between them others get the thread.
pub(super) const AT_ONCE: usize = 250;

/// What is measured of all together alone.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Extra {
    running: u64,
    frozen: u64,
    parked: u64,
    sleeping: u64,
    failed: u64,
    load: Option<f64>,
    host_memory: Option<u64>,
}

impl<H: Host> Agent<H> {
    /// Every instance that did anything since the agent started or can't be started, with what its processes use
    /// now.
    pub(super) async fn measured(&self) -> Vec<(Arc<Instance>, Used)> {
        let did = |one: &Arc<Instance>| {
            one.meter.get().is_some() || one.active_ms() > 0 || has_processes(one) || ails(one)
        };
        let all: Vec<_> = self.all_known().into_iter().filter(did).collect();
        let mut measured = Vec::with_capacity(all.len());
        let (up, down): (Vec<_>, Vec<_>) = all.into_iter().partition(has_processes);
        for some in up.chunks(AT_ONCE) {
            let used = self.host.used(some.iter().map(|one| one.name.clone()).collect()).await;
            measured.extend(some.iter().cloned().zip(used));
        }
        measured.extend(down.into_iter().map(|one| (one, Used::default())));
        measured
    }

    /// Takes the first look, and then one at the end of each minute, for ever.
    pub async fn keep_recording(self: Arc<Self>) {
        self.begin_recording().await;
        loop {
            let into = now_ms() % (MINUTE * 1000);
            tokio::time::sleep(Duration::from_millis(MINUTE * 1000 - into)).await;
            self.record_step().await;
            self.ask_for_ip_bytes().await;
        }
    }

    async fn begin_recording(&self) {
        let measured = self.measured().await;
        let mut book = self.metrics.book.lock().await;
        if !std::mem::replace(&mut book.begun, true) {
            book.begin(&measured);
        }
    }

    /// Writes what came since the last look.
    async fn record_step(&self) {
        let Some(series) = self.metrics.series.get() else { return };
        let measured = self.measured().await;
        let step = self.metrics.book.lock().await.look(&measured, true);
        // The timer comes a little after the minute's end, or the agent ends within one.
        let at = minute_before(now_ms());
        let mut batch = step.rows;
        let extra = self.extra().await;
        batch.push((None, Row { extra, ..step.total }));
        batch.iter_mut().for_each(|(_, row)| row.at = at);
        series.record(batch);
    }

    /// Writes what was not written yet, and closes the file.
    pub async fn stop_recording(&self) {
        if self.metrics.book.lock().await.begun {
            self.record_step().await;
        }
        if let Some(series) = self.metrics.series.get() {
            series.close().await;
        }
    }

    async fn extra(&self) -> String {
        let host = self.host.host_load().await;
        let used = host.memory_available_bytes.map(|free| host.memory_bytes.saturating_sub(free));
        let mut extra =
            Extra { load: host.load.first().copied(), host_memory: used, ..Extra::default() };
        for instance in self.all() {
            let failed = instance.care.has_failed() || instance.units().service == Active::Failed;
            let count = match instance.phase() {
                Phase::Running | Phase::Starting | Phase::Stopping => &mut extra.running,
                Phase::Frozen => &mut extra.frozen,
                Phase::Parked => &mut extra.parked,
                Phase::Failed => &mut extra.failed,
                Phase::Asleep | Phase::Dormant if failed => &mut extra.failed,
                Phase::Asleep | Phase::Dormant => &mut extra.sleeping,
            };
            *count += 1;
        }
        serde_json::to_string(&extra).unwrap_or_default()
    }

    pub(super) async fn past(&self, ask: Ask) -> Result<MetricsHistory, FiguresError> {
        let of = match &ask.instance {
            None => None,
            Some(name) => match self.known(name) {
                Some(instance) => Some(instance.uuid),
                None => return Err(FiguresError::NotFound(name.clone())),
            },
        };
        let Some(series) = self.metrics.series.get() else { return Err(FiguresError::Off) };
        let now = now_ms() / 1000;
        let kept = if ask.since + DAY >= now { MINUTE } else { QUARTER };
        let step = whole(ask.step, kept);
        let since = ask.since / step * step;
        let rows = series.read(of, kept, since, ask.until).await;
        let mut rows = rows.map_err(|error| FiguresError::Unreadable(Box::new(error)))?;
        if kept == QUARTER {
            let from = not_summed(&rows, since, now);
            let minutes = series.read(of, MINUTE, from, ask.until).await;
            rows.extend(minutes.map_err(|error| FiguresError::Unreadable(Box::new(error)))?);
        }
        if ask.until >= now {
            rows.extend(self.step_under_way(of, now).await);
        }
        let points = points(rows, step).collect();
        Ok(MetricsHistory {
            instance: ask.instance,
            step_seconds: step,
            since_ms: since * 1000,
            until_ms: ask.until * 1000,
            points,
        })
    }

    /// What came since the last look: nobody shall wait a minute for the first point.
    async fn step_under_way(&self, of: Option<uuid::Uuid>, now: u64) -> Option<Row> {
        let measured = self.measured().await;
        let Step { rows, total } = self.metrics.book.lock().await.look(&measured, false);
        let row = match of {
            None => Row { extra: self.extra().await, ..total },
            Some(_) => rows.into_iter().find(|(uuid, _)| *uuid == of)?.1,
        };
        Some(Row { at: now / MINUTE * MINUTE, ..row })
    }
}

/// Whether it refuses requests: that must be told of even where it has done nothing since this agent started.
pub(super) fn ails(instance: &Arc<Instance>) -> bool {
    instance.care.has_failed() || instance.disk.is_full() || instance.phase() == Phase::Failed
}

/// Whether there is anything to measure of it.
pub(super) fn has_processes(instance: &Arc<Instance>) -> bool {
    !matches!(instance.units().service, Active::Absent | Active::Inactive | Active::Failed)
}

/// A step of at least `asked` seconds into which rows of `kept` seconds fit as they are.
fn whole(asked: u64, kept: u64) -> u64 {
    asked.max(1).div_ceil(kept) * kept
}

/// From when on minutes are read beside `quarters`. A quarter is summed up with the first minute after its end, so
/// that the last one may be missing as well as the one under way; a series has no quarter in which it was idle.
fn not_summed(quarters: &[Row], since: u64, now: u64) -> u64 {
    let next = quarters.last().map_or(since, |newest| newest.at + QUARTER);
    next.max((now / QUARTER * QUARTER).saturating_sub(DAY))
}

/// The minute that ends now, or of which most has passed.
fn minute_before(now_ms: u64) -> u64 {
    now_ms.saturating_sub(MINUTE * 500) / (MINUTE * 1000) * MINUTE
}

/// Rows, oldest first, as points of `step` seconds each.
fn points(rows: Vec<Row>, step: u64) -> impl Iterator<Item = MetricsPoint> {
    let mut sums: Vec<(Row, u64, u64)> = Vec::new();
    for row in rows {
        let at = row.at / step * step;
        let memory = row.memory;
        match sums.last_mut().filter(|(sum, ..)| sum.at == at) {
            Some((sum, ..)) => sum.merge(&row),
            None => sums.push((Row { at, ..row }, 0, 0)),
        }
        if let (Some((_, sum, readings)), Some(memory)) = (sums.last_mut(), memory) {
            (*sum, *readings) = (*sum + memory, *readings + 1);
        }
    }
    sums.into_iter()
        .map(|(row, memory, readings)| point(Row { memory: memory.checked_div(readings), ..row }))
}

fn point(row: Row) -> MetricsPoint {
    let extra: Option<Extra> = serde_json::from_str(&row.extra).ok();
    let extra = extra.as_ref();
    MetricsPoint {
        at: row.at * 1000,
        requests: row.requests,
        errors: row.errors,
        wakes: row.wakes,
        active_seconds: row.active_ms as f64 / 1e3,
        cpu_seconds: row.cpu_us.map(|us| us as f64 / 1e6),
        memory_bytes: row.memory,
        received_bytes: row.received,
        sent_bytes: row.sent,
        latency_p50_seconds: quantile(&row.latency, 0.5),
        latency_p99_seconds: quantile(&row.latency, 0.99),
        running: extra.map(|extra| extra.running),
        frozen: extra.map(|extra| extra.frozen),
        parked: extra.map(|extra| extra.parked),
        sleeping: extra.map(|extra| extra.sleeping),
        failed: extra.map(|extra| extra.failed),
        load: extra.and_then(|extra| extra.load),
        host_memory_bytes: extra.and_then(|extra| extra.host_memory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_sums_and_their_memory_a_mean() {
        let row =
            |at, memory| Row { at, memory, requests: 2, cpu_us: Some(500_000), ..Row::default() };
        let rows = vec![row(0, Some(10)), row(60, Some(30)), row(120, None), row(300, Some(7))];
        let points: Vec<_> = points(rows, 300).collect();
        assert_eq!(points.len(), 2);
        assert_eq!((points[0].requests, points[0].memory_bytes), (6, Some(20)));
        assert_eq!((points[0].cpu_seconds, points[0].running), (Some(1.5), None));
        assert_eq!((points[1].at, points[1].memory_bytes), (300_000, Some(7)));
    }

    #[test]
    fn the_quarter_that_has_just_ended_is_read_by_the_minute_until_it_is_summed_up() {
        let (quarter, row) = (QUARTER, |at| Row { at, ..Row::default() });
        let now = 200 * quarter + 30;
        let older = [row(197 * quarter), row(198 * quarter)];
        assert_eq!(not_summed(&older, 0, now), 199 * quarter, "none of it is lost");
        let summed = [row(198 * quarter), row(199 * quarter)];
        assert_eq!(not_summed(&summed, 0, now), 200 * quarter, "none of it counts twice");
        assert_eq!(not_summed(&[], 0, now), 200 * quarter - DAY, "older minutes are not kept");
        assert_eq!(not_summed(&[], 190 * quarter, now), 190 * quarter);
    }

    #[test]
    fn a_step_is_made_of_whole_rows() {
        assert_eq!((whole(60, MINUTE), whole(0, MINUTE)), (60, 60));
        assert_eq!((whole(300, QUARTER), whole(900, QUARTER)), (900, 900));
        assert_eq!(whole(1200, QUARTER), 1800, "not 2, 1 and 1 quarters");
    }

    #[test]
    fn a_minute_is_that_which_has_just_ended() {
        assert_eq!(minute_before(120_000), 60);
        assert_eq!(minute_before(125_000), 60);
        assert_eq!(minute_before(119_990), 60, "a timer that came early");
        assert_eq!(minute_before(170_000), 120, "the agent ends late in a minute");
    }
}
