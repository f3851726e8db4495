//! Live: what instances do now, as the difference of the last two looks at them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tenement_wire::metrics::{HostLive, InstanceLive, MetricsHistory, MetricsLive};
use tokio::time::Instant;
use uuid::Uuid;

use super::book::Counts;
use super::record::has_processes;
use super::{Ask, FRESH, Figures, FiguresError, Reply, Scrape};
use crate::flows::agent::Agent;
use crate::flows::host::Host;
use crate::flows::instance::now_ms;

/// The last two looks.
#[derive(Default)]
pub(super) struct Looks {
    last: Option<Look>,
    told: Option<MetricsLive>,
}

struct Look {
    at: Instant,
    counts: HashMap<Uuid, Counts>,
}

impl<H: Host> Agent<H> {
    async fn now(self: &Arc<Self>) -> MetricsLive {
        // Held meanwhile: who comes at the same time gets the same.
        let mut looks = self.metrics.looks.lock().await;
        let fresh = looks.last.as_ref().is_some_and(|last| last.at.elapsed() < FRESH);
        if let Some(told) = looks.told.as_ref().filter(|_| fresh) {
            return told.clone();
        }
        let at = Instant::now();
        let measured = self.measured().await;
        let measured = measured.into_iter().map(|(one, used)| {
            let counts = Counts::of(&one, used);
            (one, counts)
        });
        let measured: Vec<_> = measured.collect();
        let counts = measured.iter().map(|(one, counts)| (one.uuid, counts.clone())).collect();
        let before = looks.last.replace(Look { at, counts });
        // The first time there is nothing to compare with.
        let window = before.as_ref().map_or(0.0, |before| (at - before.at).as_secs_f64());
        let mut live = MetricsLive { at: now_ms(), window_seconds: window, instances: Vec::new() };
        for (instance, now) in &measured {
            let nothing = Counts::default();
            let before = before.as_ref().map(|b| b.counts.get(&instance.uuid).unwrap_or(&nothing));
            let rate = |of: &dyn Fn(&Counts) -> u64| match before {
                Some(before) if window > 0.0 => of(now).saturating_sub(of(before)) as f64 / window,
                _ => 0.0,
            };
            let cpu = before.filter(|_| window > 0.0).and_then(|before| now.cpu_since(before));
            let requests = rate(&|counts| counts.reading.requests());
            let (state, tier) = self.doing(instance);
            if !has_processes(instance) && requests == 0.0 && instance.gate.leases() == 0 {
                continue;
            }
            live.instances.push(InstanceLive {
                name: instance.name.clone(),
                state,
                tier,
                requests_per_second: requests,
                errors_per_second: rate(&|counts| counts.reading.errors()),
                cpu_cores: cpu.map(|us| us as f64 / 1e6 / window),
                memory_bytes: now.used.memory,
                tasks: now.used.tasks,
                in_flight: instance.gate.leases(),
                wakes: u64::from(instance.wakes.load(Ordering::Relaxed)),
            });
        }
        live.instances.sort_by(|a, b| a.name.cmp(&b.name));
        looks.told = Some(live.clone());
        live
    }
}

/// The figures of an agent.
pub struct Measured<H>(pub Arc<Agent<H>>);

impl<H: Host> Figures for Measured<H> {
    fn history(&self, ask: Ask) -> Reply<'_, MetricsHistory> {
        Box::pin(self.0.past(ask))
    }

    fn live(&self) -> Reply<'_, MetricsLive> {
        Box::pin(async { Ok::<_, FiguresError>(self.0.now().await) })
    }

    fn scrape(&self) -> Reply<'_, Scrape> {
        Box::pin(async { Ok::<_, FiguresError>(self.0.scrape().await) })
    }

    fn host(&self) -> Reply<'_, HostLive> {
        Box::pin(async { Ok::<_, FiguresError>(self.0.host.host_load().await) })
    }
}
