//! What people see of an instance: systemd's facts and the agent's counters, joined.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{StreamExt as _, stream};
use tenement_wire::dto::{ConfigView, HealthState, InstanceView, ProcessView, State, Tier, Why};
use tenement_wire::status::Usage;

use super::agent::Agent;
use super::few::Few;
use super::health::Health;
use super::host::{Active, Details, Host};
use super::instance::{Instance, Phase, mono_ms, now_ms};
use crate::config::{Config, Definition};
use crate::routes::host_of;
use crate::store::Registered;

/// Instances that are asked about, or started, side by side. Each question is six calls to systemd, of
/// which the connection has 40 under way at most; more in flight would only wait there.
pub(super) const AT_ONCE: usize = 16;

impl<H: Host> Agent<H> {
    /// Many instances, in the same order. systemd is not asked about those that sleep: 10,000 of them
    /// would take seconds, and there is little to tell.
    pub(super) async fn views(
        self: &Arc<Self>,
        instances: Vec<Arc<Instance>>,
    ) -> Vec<InstanceView> {
        let few = Arc::new(self.few());
        let views = instances.into_iter().map(|instance| {
            let (agent, few) = (self.clone(), few.clone());
            async move {
                let failed = instance.units().service == Active::Failed;
                let details = match instance.phase() {
                    Phase::Dormant | Phase::Asleep if !failed => Details::default(),
                    _ => agent.details(&instance).await,
                };
                agent.view_among(&few, &instance, &details)
            }
        });
        stream::iter(views).buffered(AT_ONCE).collect().await
    }

    /// All of them, as far as the agent knows without asking systemd.
    pub(super) fn views_at_hand(&self) -> impl Iterator<Item = InstanceView> {
        let few = self.few();
        let nothing = Details::default();
        self.all().into_iter().map(move |instance| self.view_among(&few, &instance, &nothing))
    }

    /// One instance, with what systemd says of its process.
    pub(super) async fn view(&self, instance: &Arc<Instance>) -> InstanceView {
        let details = self.details(instance).await;
        self.view_with(instance, &details)
    }

    async fn details(&self, instance: &Instance) -> Details {
        match instance.phase() {
            Phase::Dormant => Details::default(),
            _ => self.host.details(&instance.name).await.unwrap_or_default(),
        }
    }

    /// The same with the facts at hand.
    pub(super) fn view_with(&self, instance: &Instance, details: &Details) -> InstanceView {
        self.view_among(&self.few(), instance, details)
    }

    /// One of many, for all of which `few` was looked up.
    fn view_among(&self, few: &Few, instance: &Instance, details: &Details) -> InstanceView {
        let config = self.config.load();
        let setup = instance.setup().clone();
        let last_used = instance.last_used_ms();
        let last_wake_us = instance.last_wake_us.load(Ordering::Relaxed);
        let failure = instance.failure();
        let disk_full = super::limits::disk_full(&instance.name, instance);
        let (state, tier) = self.doing(instance);
        InstanceView {
            name: instance.name.clone(),
            uuid: instance.uuid.to_string(),
            state,
            tier,
            since_ms: instance.since_ms(),
            pid: details.service.as_ref().and_then(|service| service.main_pid),
            url: url(&config, &host_of(&instance.name, &config.settings.domain)),
            unit: instance.name.service_unit(),
            listen: setup.definition.listen.as_str().into(),
            address: setup.target.to_string(),
            data_dir: setup.data_dir.display().to_string(),
            in_flight: instance.gate.leases(),
            last_used_ms: (last_used > 0)
                .then(|| now_ms().saturating_sub(mono_ms().saturating_sub(last_used))),
            idle_timeout_s: idle_timeout_s(&setup.definition),
            memory_bytes: details.usage.memory_bytes,
            disk_bytes: instance.disk.used(),
            release: instance.release().filter(|_| setup.definition.uses_releases()),
            limits: super::limits::in_force(&config, instance),
            wakes: u64::from(instance.wakes.load(Ordering::Relaxed)),
            last_wake_ms: (last_wake_us > 0).then_some(last_wake_us as f64 / 1000.0),
            health: health(instance),
            failure: match instance.care.failed() {
                Some(gave_up) => Some(gave_up.reason),
                None => disk_full.or(failure.map(|f| f.reason)).filter(|_| state != State::Running),
            },
            next_step: self.next_step(few, instance),
            service: details.service.clone(),
            usage: details.usage.clone(),
        }
    }

    /// What an instance does, and how deep it lies, for people.
    pub(super) fn doing(&self, instance: &Instance) -> (State, Tier) {
        let failure = instance.failure();
        let disk_full = super::limits::disk_full(&instance.name, instance);
        let state = match instance.phase() {
            Phase::Running => State::Running,
            // It only comes up to wait for a request: nobody has asked for it.
            Phase::Starting if instance.is_being_parked() => State::Asleep,
            Phase::Starting => State::Starting,
            Phase::Stopping => State::Stopping,
            _ if disk_full.is_some() => State::Failed,
            _ if failure.is_some() || instance.care.has_failed() => State::Failed,
            Phase::Failed => State::Failed,
            Phase::Asleep | Phase::Dormant | Phase::Frozen | Phase::Parked => State::Asleep,
        };
        (state, instance.tier())
    }

    /// A registered instance whose process is not in the config.
    pub(super) fn view_orphan(&self, orphan: &Registered) -> InstanceView {
        let config = self.config.load();
        InstanceView {
            name: orphan.name.clone(),
            uuid: orphan.uuid.to_string(),
            state: State::Failed,
            tier: Tier::Dormant,
            since_ms: now_ms(),
            pid: None,
            url: url(&config, &host_of(&orphan.name, &config.settings.domain)),
            unit: orphan.name.service_unit(),
            listen: String::new(),
            address: String::new(),
            data_dir: config
                .settings
                .data_dir
                .join(orphan.name.process().as_str())
                .join(orphan.name.id().as_str())
                .display()
                .to_string(),
            in_flight: 0,
            last_used_ms: None,
            idle_timeout_s: 0,
            memory_bytes: None,
            disk_bytes: None,
            release: None,
            limits: orphan.overrides.clone(),
            wakes: 0,
            last_wake_ms: None,
            health: None,
            next_step: None,
            failure: Some(format!("process `{}` is not in the config", orphan.name.process())),
            service: None,
            usage: Usage::default(),
        }
    }

    /// Why it is awake or asleep.
    pub(super) async fn explain(&self, instance: &Arc<Instance>) -> Why {
        let view = self.view(instance).await;
        let leases = instance.gate.leases();
        let mut holds = match leases {
            0 => Vec::new(),
            1 => vec!["1 open request or stream".to_owned()],
            n => vec![format!("{n} open requests or streams")],
        };
        holds.extend(self.busy(instance).await);
        let kept = self.kept(instance, &instance.setup().definition);
        holds.extend(kept.map(|kept| kept.as_str().to_owned()));
        let timeout = instance.setup().definition.idle_timeout;
        let idle = mono_ms().saturating_sub(instance.last_used_ms()) / 1000;
        let sleeps_in_s = timeout
            .filter(|_| view.state == State::Running && holds.is_empty())
            .map(|t| t.as_secs().saturating_sub(idle));
        let for_good = instance.care.has_failed();
        let mut reason = match for_good {
            true => format!(
                "It has failed and is not started any more: {}. `ten reset {}` gives it a new chance.",
                view.failure.as_deref().unwrap_or("nobody knows why"),
                view.name
            ),
            false => reason(&view, &holds, sleeps_in_s),
        };
        let unwell = [HealthState::Degraded, HealthState::Unhealthy];
        if let (Some(health), Some(last)) = (view.health, instance.care.last())
            && unwell.contains(&health)
        {
            reason.push_str(&format!(" It is {}: {last}.", health.as_str()));
        }
        Why {
            reason,
            next_request: match for_good {
                true => "is refused with 503".into(),
                false => next(&view),
            },
            holds,
            sleeps_in_s,
            instance: view,
        }
    }

    /// The config in force.
    pub(super) fn config_view(&self) -> ConfigView {
        let config = self.config.load();
        ConfigView {
            domain: config.settings.domain.clone(),
            port: config.settings.port,
            data_dir: config.settings.data_dir.display().to_string(),
            files: config.files.clone(),
            processes: config.processes.values().map(|d| process_view(d)).collect(),
            rejected: self.rejected.lock().expect("no panic while held").clone(),
            unmet: self.unmet(),
        }
    }
}

fn process_view(definition: &Definition) -> ProcessView {
    ProcessView {
        name: definition.name.to_string(),
        command: definition.command.clone(),
        listen: definition.listen.as_str().into(),
        idle_timeout_s: idle_timeout_s(definition),
        instances: definition.instances,
        spawn_on_request: definition.spawn_on_request,
        health: definition.health.clone(),
        env: definition.env.keys().cloned().collect(),
        startup_timeout_s: definition.startup_timeout.as_secs(),
        stop_timeout_s: definition.stop_timeout.as_secs(),
        limits: definition.limits.clone(),
        max: definition.max.clone(),
        total: definition.total.clone(),
    }
}

/// Whole seconds, but never 0 for a timeout that exists: 0 says "never".
fn idle_timeout_s(definition: &Definition) -> u64 {
    definition.idle_timeout.map_or(0, |t| t.as_secs().max(1))
}

fn health(instance: &Instance) -> Option<HealthState> {
    instance.setup().check.as_ref()?;
    if instance.care.has_failed() {
        return Some(HealthState::Failed);
    }
    match (instance.phase(), instance.care.health()) {
        (Phase::Starting, _) => Some(HealthState::Starting),
        (Phase::Running | Phase::Frozen, health) => Some(match health {
            Health::Starting => HealthState::Starting,
            Health::Healthy => HealthState::Healthy,
            Health::Degraded => HealthState::Degraded,
            Health::Unhealthy => HealthState::Unhealthy,
        }),
        _ => None,
    }
}

fn url(config: &Config, host: &str) -> String {
    match config.settings.port {
        80 => format!("http://{host}/"),
        port => format!("http://{host}:{port}/"),
    }
}

fn reason(view: &InstanceView, holds: &[String], sleeps_in_s: Option<u64>) -> String {
    match view.state {
        State::Running if view.in_flight > 0 => "It is awake because it is in use.".into(),
        State::Running if !holds.is_empty() => {
            format!("It is awake because of {}.", holds.join(" and "))
        }
        State::Running => match sleeps_in_s {
            Some(s) => format!(
                "It is awake and idle; its idle_timeout is {} s, so it sleeps in {s} s.",
                view.idle_timeout_s
            ),
            None => "It is awake and never sleeps, because its idle_timeout is 0.".into(),
        },
        State::Starting => "It is being started.".into(),
        State::Stopping => "It is being stopped.".into(),
        State::Asleep if view.tier == Tier::Dormant => {
            "It is asleep and no unit of it is loaded: its first request makes them.".into()
        }
        State::Asleep if view.tier == Tier::Parked => {
            "It is parked: its sandbox is up, and its app starts in it with the first request."
                .into()
        }
        State::Asleep if view.tier == Tier::Frozen => {
            "It is frozen: nobody uses it, and its memory stays as it is.".into()
        }
        State::Asleep => "It is asleep: nobody uses it, and its socket waits for a request.".into(),
        State::Failed => {
            format!(
                "Its last start failed: {}.",
                view.failure.as_deref().unwrap_or("systemd gave up on it")
            )
        }
    }
}

fn next(view: &InstanceView) -> String {
    match view.state {
        State::Running => "is served at once".into(),
        State::Starting => "joins the start that is under way".into(),
        State::Stopping => "waits for the stop to end and wakes it again".into(),
        State::Asleep if view.tier == Tier::Frozen => "thaws it".into(),
        State::Asleep if view.tier == Tier::Dormant => "makes its units and wakes it".into(),
        State::Asleep if view.tier == Tier::Parked => {
            "starts the app in the sandbox that is waiting for it, without systemd".into()
        }
        State::Asleep => "wakes it".into(),
        State::Failed => {
            "is refused with 503 until the back-off has passed, then tries again".into()
        }
    }
}
