//! A [`Host`] without systemd: scripted failures and delays, and pairs that are tasks.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use tenement_agent::flows::agent::Agent;
use tenement_agent::flows::host::{
    Active, Details, Host, HostError, Lacks, LeftOver, Listed, Stdio, TaskRun, TimerState, Units,
};
use tenement_agent::flows::observe::{Report, Unit};
use tenement_agent::flows::secrets::SecretOrder;
use tenement_agent::plan::{Particulars, TaskEnd, TaskOrder};
use tenement_wire::{InstanceName, ReleaseName, ResourceLimits, SecretView, TaskTag};
use tokio::sync::{Semaphore, mpsc, oneshot};

mod levers;
mod releases;
mod script;

use super::pair::{Command, Pair};

/// What every app does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum App {
    /// Listens after this long and answers.
    Serves(Duration),
    /// Runs and never listens.
    Mute,
    /// Dies right after its start; systemd starts it again.
    Crashes,
    /// Ends cleanly right after its start.
    Exits,
    /// Serves, and has an exit status of its own when it is stopped.
    DiesBadly,
}

/// A loaded pair.
struct Loaded {
    commands: mpsc::UnboundedSender<Command>,
    units: Arc<Mutex<Units>>,
}

#[derive(Default)]
struct Script {
    counts: HashMap<&'static str, usize>,
    failing: HashMap<&'static str, HostError>,
    held: HashMap<&'static str, Arc<Semaphore>>,
    backlog: Option<Vec<Report>>,
    app: Option<App>,
    panics: Option<&'static str>,
    status: Option<u16>,
    memory: u64,
    silent: bool,
    frozen: HashSet<InstanceName>,
    lacks: Lacks,
    busy: Option<&'static str>,
    time: (usize, u16),
    applied: Option<ResourceLimits>,
    data_bytes: u64,
    task: Option<TaskEnd>,
    made_from: HashMap<InstanceName, Option<ReleaseName>>,
    broken: Option<(ReleaseName, App)>,
    timers: Vec<(InstanceName, bool, Vec<TaskTag>)>,
    left_over: LeftOver,
}

/// systemd and the helper; clones share everything.
#[derive(Clone, Default)]
pub struct FakeHost(Arc<Inner>);

#[derive(Default)]
struct Inner {
    agent: OnceLock<Weak<Agent<FakeHost>>>,
    loaded: Mutex<HashMap<InstanceName, Loaded>>,
    script: Mutex<Script>,
}

impl FakeHost {
    pub fn tell(&self, agent: &Arc<Agent<FakeHost>>) {
        assert!(self.0.agent.set(Arc::downgrade(agent)).is_ok());
    }

    fn script<T>(&self, act: impl FnOnce(&mut Script) -> T) -> T {
        act(&mut self.0.script.lock().unwrap())
    }

    /// Keeps reports back until [`Self::deliver`].
    pub fn lag(&self) {
        self.script(|s| s.backlog = Some(Vec::new()));
    }

    /// Delivers what was kept back, each report twice.
    pub fn deliver(&self) {
        for report in self.script(|s| s.backlog.take()).unwrap_or_default() {
            self.report(report.clone());
            self.report(report);
        }
    }

    /// Forgets what was kept back: events were lost.
    pub fn lose(&self) {
        self.script(|s| s.backlog = None);
    }

    pub fn report(&self, report: Report) {
        let kept = self.script(|s| match &mut s.backlog {
            Some(backlog) => {
                backlog.push(report.clone());
                true
            }
            None => false,
        });
        if !kept && let Some(agent) = self.0.agent.get().and_then(Weak::upgrade) {
            agent.observe(&report);
        }
    }

    /// What "systemd" has.
    pub fn truth(&self, name: &InstanceName) -> Units {
        let loaded = self.0.loaded.lock().unwrap();
        loaded.get(name).map(|pair| *pair.units.lock().unwrap()).unwrap_or_default()
    }

    pub fn loaded(&self) -> usize {
        self.0.loaded.lock().unwrap().len()
    }

    /// `systemctl stop` of both units by hand.
    pub async fn unload_by_hand(&self, name: &InstanceName) {
        let Some(pair) = self.0.loaded.lock().unwrap().remove(name) else { return };
        ask(&pair.commands, Command::Unload).await;
    }

    async fn begin(&self, verb: &'static str) -> Result<(), HostError> {
        self.counted(verb);
        assert!(self.script(|s| s.panics.take_if(|v| *v == verb)).is_none(), "as scripted");
        if let Some(gate) = self.script(|s| s.held.get(verb).cloned()) {
            assert!(gate.acquire().await.is_err(), "gates are closed, not filled");
        }
        self.script(|s| s.failing.get(verb).cloned()).map_or(Ok(()), Err)
    }

    /// Lets `systemctl start` or `stop` be done by hand or by the helper.
    pub async fn command(&self, name: &InstanceName, make: fn(oneshot::Sender<()>) -> Command) {
        let commands = self.0.loaded.lock().unwrap().get(name).map(|pair| pair.commands.clone());
        if let Some(commands) = commands {
            ask(&commands, make).await;
        }
    }
}

async fn ask(
    commands: &mpsc::UnboundedSender<Command>,
    make: impl FnOnce(oneshot::Sender<()>) -> Command,
) {
    let (done, end) = oneshot::channel();
    if commands.send(make(done)).is_ok() {
        let _ = end.await;
    }
}

impl Host for FakeHost {
    async fn load(&self, name: &InstanceName, with: &Particulars) -> Result<bool, HostError> {
        self.begin("load").await?;
        if !self.up(name) {
            self.script(|s| s.made_from.insert(name.clone(), with.release.clone()));
        } else if self.script(|s| s.made_from.get(name) != Some(&with.release)) {
            return Ok(false);
        }
        let instance = self.0.agent.get().and_then(Weak::upgrade).and_then(|a| a.get(name));
        let instance = instance.ok_or_else(|| HostError::Config(format!("{name}: no config")))?;
        let mut loaded = self.0.loaded.lock().unwrap();
        if !loaded.contains_key(name) {
            let (commands, queue) = mpsc::unbounded_channel();
            let units = Arc::new(Mutex::new(Units::default()));
            let pair = Pair::bind(self.clone(), &instance, units.clone())
                .map_err(|e| HostError::Failed(e.to_string()))?;
            loaded.insert(name.clone(), Loaded { commands, units });
            drop(loaded);
            tokio::spawn(pair.run(queue));
            let (name, active) = (name.clone(), Active::Active);
            self.report(Report::of(name, Unit::Socket, active));
        }
        Ok(self.script(|s| !s.failing.contains_key("refit")))
    }

    async fn unload(&self, name: &InstanceName) -> Result<(), HostError> {
        self.begin("unload").await?;
        self.unload_by_hand(name).await;
        Ok(())
    }

    async fn start(&self, name: &InstanceName, _: &Particulars) -> Result<(), HostError> {
        self.begin("start").await?;
        self.command(name, Command::Start).await;
        Ok(())
    }

    async fn park(&self, name: &InstanceName, _: &Particulars) -> Result<(), HostError> {
        self.counted("flag");
        self.begin("park").await?;
        self.command(name, Command::Park).await;
        Ok(())
    }

    fn forget_parking(&self, _: &InstanceName) {
        self.counted("forget");
    }

    async fn fits(&self, name: &InstanceName, with: &Particulars) -> Result<bool, HostError> {
        self.load(name, with).await?;
        Ok(self.begin("fits").await.is_ok())
    }

    fn memory_bytes(&self) -> u64 {
        self.script(|s| s.memory)
    }

    async fn stop(&self, name: &InstanceName) -> Result<(), HostError> {
        self.begin("stop").await?;
        self.script(|s| s.frozen.remove(name));
        self.command(name, Command::Stop).await;
        Ok(())
    }

    async fn freeze(&self, name: &InstanceName) -> Result<(), HostError> {
        self.begin("freeze").await?;
        assert_eq!(self.truth(name).service, Active::Active, "systemd freezes only what is up");
        self.script(|s| s.frozen.insert(name.clone()));
        Ok(())
    }

    async fn thaw(&self, name: &InstanceName) -> Result<(), HostError> {
        self.begin("thaw").await?;
        self.script(|s| s.frozen.remove(name));
        Ok(())
    }

    async fn is_frozen(&self, name: &InstanceName) -> Result<bool, HostError> {
        self.begin("is_frozen").await?;
        Ok(self.frozen(name))
    }

    fn peeks(&self) -> bool {
        false
    }

    fn peek_frozen(&self, _: &InstanceName) -> Option<bool> {
        panic!("nobody is peeked at where systemd tells")
    }

    async fn reclaim(&self, _: &InstanceName) -> Result<(), HostError> {
        self.begin("reclaim").await
    }

    fn lacks(&self) -> Lacks {
        self.script(|s| s.lacks)
    }

    async fn busy(&self, _: &InstanceName, _: &Path) -> Option<String> {
        self.counted("busy");
        self.script(|s| s.busy).map(str::to_owned)
    }

    fn local_time(&self) -> (usize, u16) {
        self.script(|s| s.time)
    }

    async fn reset(&self, _: &InstanceName) -> Result<(), HostError> {
        self.begin("reset").await
    }

    async fn purge(&self, name: &InstanceName) -> Result<(), HostError> {
        self.begin("purge").await?;
        self.unload_by_hand(name).await;
        Ok(())
    }

    async fn secrets(
        &self,
        _: &InstanceName,
        _: SecretOrder,
    ) -> Result<Vec<SecretView>, HostError> {
        self.begin("secrets").await.map(|()| Vec::new())
    }

    async fn apply(&self, name: &InstanceName, with: &Particulars) -> Result<bool, HostError> {
        self.begin("apply").await?;
        self.script(|s| s.applied = Some(with.overrides.clone()));
        Ok(self.truth(name).service == Active::Active)
    }

    async fn start_task(
        &self,
        _: &InstanceName,
        _: &Particulars,
        _: TaskOrder,
        stdio: Stdio,
    ) -> Result<TaskRun, HostError> {
        self.begin("start_task").await?;
        drop(stdio);
        let host = self.clone();
        Ok(Box::pin(async move {
            host.begin("task").await?;
            Ok(host.script(|s| s.task.clone()).unwrap_or_else(TaskEnd::success))
        }))
    }

    async fn end_task(&self, _: &InstanceName, _: &TaskTag) -> Result<(), HostError> {
        self.begin("end_task").await
    }

    async fn signal_task(&self, _: &InstanceName, _: &TaskTag, _: i32) -> Result<(), HostError> {
        self.begin("signal_task").await
    }

    async fn loaded_release(&self, name: &InstanceName) -> Result<Option<ReleaseName>, HostError> {
        Ok(self.made_from(name))
    }

    async fn set_timers(
        &self,
        name: &InstanceName,
        with: Option<&Particulars>,
        known: &[TaskTag],
    ) -> Result<bool, HostError> {
        self.begin("set_timers").await?;
        self.script(|s| s.timers.push((name.clone(), with.is_some(), known.to_vec())));
        Ok(true)
    }

    async fn start_job(&self, _: &InstanceName, _: &TaskTag) -> Result<(), HostError> {
        self.begin("start_job").await
    }

    async fn timer(&self, _: &InstanceName, _: &TaskTag) -> Result<Option<TimerState>, HostError> {
        self.begin("timer").await.map(|()| None)
    }

    async fn left_over(&self) -> Result<LeftOver, HostError> {
        self.begin("left_over").await?;
        Ok(self.script(|s| s.left_over.clone()))
    }

    async fn measure(&self, _: &InstanceName) -> Result<u64, HostError> {
        self.begin("measure").await?;
        Ok(self.script(|s| s.data_bytes))
    }

    async fn units(&self, name: &InstanceName) -> Result<Units, HostError> {
        self.begin("units").await?;
        Ok(self.truth(name))
    }

    async fn details(&self, _: &InstanceName) -> Result<Details, HostError> {
        Ok(Details { result: Some("it exited with status 3".into()), ..Details::default() })
    }

    async fn list(&self) -> Result<Listed, HostError> {
        let names: Vec<_> = self.0.loaded.lock().unwrap().keys().cloned().collect();
        let of = |name: &InstanceName| match self.script(|s| s.failing.get("list one").cloned()) {
            Some(error) if names.iter().min() == Some(name) => Err(error),
            _ => Ok(self.truth(name)),
        };
        let listed = names.iter().map(|name| (name.clone(), of(name))).collect();
        // An answer that is held up is one of what was.
        self.begin("list").await?;
        Ok(listed)
    }
}
