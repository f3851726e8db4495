//! Scrape: everything that `/metrics` tells, as it is at one moment, as plain data.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tenement_wire::InstanceName;
use tenement_wire::dto::Traffic;
use tenement_wire::metrics::HostLive;
use tenement_wire::tokens::TokenChecks;

use super::book::Counts;
use super::meter::{Reading, Spread};
use super::record::ails;
use super::wakes::{OUTCOMES, TIERS};
use crate::flows::agent::Agent;
use crate::flows::backups::BackupFigures;
use crate::flows::few::Few;
use crate::flows::host::Host;
use crate::flows::instance::{Instance, Phase, now_ms};
use crate::kernel::{Own, Stalled, Used};
use crate::tls::Expiry;

/// How long the state database may take to say that it is well.
const PATIENCE: Duration = Duration::from_secs(1);

/// Everything at one moment.
#[derive(Debug, Clone, Default)]
pub struct Scrape {
    /// Version of the agent.
    pub version: &'static str,
    /// Now, Unix milliseconds.
    pub now_ms: u64,
    /// When this agent was started, Unix milliseconds: all that it counts began at 0 then.
    pub started_ms: u64,
    /// Instances with series of their own, in order of name.
    pub instances: Vec<InstanceScrape>,
    /// Instances that would have series, and are one too many.
    pub omitted: u64,
    /// Whether requests are told by status, not by its class.
    pub exact_status: bool,
    /// How many instances are in each state.
    pub states: BTreeMap<&'static str, u64>,
    /// How many are in each tier.
    pub tiers: BTreeMap<&'static str, u64>,
    /// Processes of the config.
    pub processes: u64,
    /// Wakes from each of the tiers, by outcome.
    pub wakes: [[u64; OUTCOMES.len()]; TIERS.len()],
    /// How long the good ones took.
    pub wakes_took: [Spread; TIERS.len()],
    /// How deployments ended.
    pub deploys: crate::flows::deploys::Counts,
    /// What came through the proxy.
    pub traffic: Traffic,
    /// The host.
    pub host: HostLive,
    /// Its pressure, by resource.
    pub stalled: Vec<(&'static str, Stalled)>,
    /// How tokens were checked.
    pub tokens: Option<TokenChecks>,
    /// Lines indexed since the start, and how far behind, in microseconds.
    pub logs: Option<(u64, u64)>,
    /// Certificates that are served.
    pub certificates: Vec<Expiry>,
    /// How backups stand.
    pub backups: Vec<BackupFigures>,
    /// Whether the state database can be written.
    pub store_works: bool,
    /// Rows of the history of metrics that were lost.
    pub rows_dropped: u64,
    /// The agent's own process.
    pub own: Own,
    /// Its runtime.
    pub runtime: Runtime,
}

/// The agent's runtime.
#[derive(Debug, Clone, Copy, Default)]
pub struct Runtime {
    /// Threads that run tasks.
    pub workers: u64,
    /// Tasks that live.
    pub tasks: u64,
    /// Tasks that wait for a thread.
    pub queued: u64,
    /// Time that the threads were busy, in microseconds.
    pub busy_us: u64,
}

/// One instance.
#[derive(Debug, Clone)]
pub struct InstanceScrape {
    /// Which.
    pub name: InstanceName,
    /// When its counts began at 0, Unix milliseconds.
    pub since_ms: u64,
    /// Whether it runs and answers by itself.
    pub up: bool,
    /// Whether it has failed.
    pub failed: bool,
    /// The release that its next start is from, if its process uses releases.
    pub release: Option<tenement_wire::ReleaseName>,
    /// What was counted of its requests.
    pub reading: Reading,
    /// Requests and streams open.
    pub in_flight: u32,
    /// How often it was woken.
    pub wakes: u64,
    /// How often it was started again because it had crashed.
    pub restarts: u64,
    /// Time awake, in milliseconds.
    pub active_ms: u64,
    /// When it sleeps if nothing uses it until then, Unix milliseconds.
    pub sleeps_ms: Option<u64>,
    /// What its processes use.
    pub used: Used,
    /// CPU time of its services, as far as it is known, in microseconds.
    pub cpu_us: Option<u64>,
    /// Bytes that it received and sent over IP.
    pub ip: Option<(u64, u64)>,
    /// Its data on disk, when it was last measured.
    pub disk: Option<u64>,
    /// The limit of that.
    pub disk_max: Option<u64>,
}

/// Tells of the certificates that are served.
pub type Certificates = dyn Fn() -> Vec<Expiry> + Send + Sync;

/// What the flows don't count themselves. Each is asked with every scrape, and answers at once.
#[derive(Default)]
pub struct Sources {
    /// What came through the proxy.
    pub traffic: OnceLock<Box<dyn Fn() -> Traffic + Send + Sync>>,
    /// How tokens were checked.
    pub tokens: OnceLock<Box<dyn Fn() -> TokenChecks + Send + Sync>>,
    /// Certificates that are served; whoever serves them sets it.
    pub certificates: OnceLock<Box<Certificates>>,
    /// How backups stand.
    pub backups: OnceLock<Box<dyn Fn() -> Vec<BackupFigures> + Send + Sync>>,
}

impl<H: Host> Agent<H> {
    pub(super) async fn scrape(&self) -> Scrape {
        let settings = self.config.load().settings.metrics.clone();
        let mut measured = self.measured().await;
        let awake = |one: &Instance| !matches!(one.phase(), Phase::Asleep | Phase::Dormant);
        let omitted = measured.len().saturating_sub(settings.max_instances);
        if omitted > 0 {
            // Those stay that matter most now; the totals have the others.
            measured
                .sort_by_key(|(one, _)| (!ails(one), !awake(one), u64::MAX - one.last_used_ms()));
            measured.truncate(settings.max_instances);
        }
        measured.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        let sources = &self.metrics.sources;
        let mut scrape = Scrape {
            version: env!("CARGO_PKG_VERSION"),
            now_ms: now_ms(),
            started_ms: self.started_ms(),
            omitted: omitted as u64,
            exact_status: settings.exact_status,
            processes: self.config.load().processes.len() as u64,
            wakes: self.metrics.wakes.counts(),
            wakes_took: self.metrics.wakes.took(),
            deploys: self.deploys.counts(),
            traffic: sources.traffic.get().map(|ask| ask()).unwrap_or_default(),
            host: self.host.host_load().await,
            stalled: self.host.stalled().await,
            tokens: sources.tokens.get().map(|ask| ask()),
            logs: self.logs.get().map(|logs| logs.progress()),
            certificates: sources.certificates.get().map(|ask| ask()).unwrap_or_default(),
            store_works: self.store_works().await,
            rows_dropped: self.metrics.dropped(),
            own: self.host.own().await,
            runtime: runtime(),
            ..Scrape::default()
        };
        scrape.backups = sources.backups.get().map(|ask| ask()).unwrap_or_default();
        scrape.backups.truncate(settings.max_instances);
        let few = self.few();
        for (one, used) in &measured {
            scrape.instances.push(self.scrape_one(one, *used, &few));
            make_way(scrape.instances.len()).await;
        }
        for (count, instance) in self.all().into_iter().enumerate() {
            make_way(count).await;
            let (state, tier) = self.doing(&instance);
            *scrape.states.entry(state.as_str()).or_default() += 1;
            *scrape.tiers.entry(tier.as_str()).or_default() += 1;
        }
        scrape
    }

    /// Whether the state database can be written. A disk that hangs must not have a scrape hang with it.
    async fn store_works(&self) -> bool {
        let asked = tokio::time::timeout(PATIENCE, self.store.can_write()).await;
        matches!(asked, Ok(Ok(true)))
    }

    fn scrape_one(&self, instance: &Arc<Instance>, used: Used, few: &Few) -> InstanceScrape {
        let (state, _) = self.doing(instance);
        let up = instance.phase() == Phase::Running;
        InstanceScrape {
            name: instance.name.clone(),
            since_ms: instance.registered_ms().max(self.started_ms()),
            up,
            failed: state == tenement_wire::dto::State::Failed,
            release: instance.release(),
            reading: instance.meter.get().map(|meter| meter.read()).unwrap_or_default(),
            in_flight: instance.gate.leases(),
            wakes: u64::from(instance.wakes.load(Ordering::Relaxed)),
            restarts: u64::from(instance.restarts.load(Ordering::Relaxed)),
            active_ms: instance.active_ms(),
            sleeps_ms: self.sleeps_ms(few, instance).filter(|_| up),
            cpu_us: Counts::of(instance, used).cpu_us(),
            used,
            ip: instance.ip.get(),
            disk: instance.disk.used(),
            disk_max: instance.disk.max(),
        }
    }
}

/// Lets requests be served between two of many instances.
async fn make_way(count: usize) {
    if count % 128 == 127 {
        tokio::task::yield_now().await;
    }
}

fn runtime() -> Runtime {
    let metrics = tokio::runtime::Handle::current().metrics();
    let workers = metrics.num_workers();
    let busy = (0..workers).map(|worker| metrics.worker_total_busy_duration(worker).as_micros());
    Runtime {
        workers: workers as u64,
        tasks: metrics.num_alive_tasks() as u64,
        queued: metrics.global_queue_depth() as u64,
        busy_us: busy.sum::<u128>() as u64,
    }
}
