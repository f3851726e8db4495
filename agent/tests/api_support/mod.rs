//! A [`Management`] that remembers what it was told, and a plain client of the admin socket.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod outside;
pub mod shelf;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tenement_agent::api::{self, Access, Services};
use tenement_agent::flows::{ManageError, Management, SecretOrder, Spawn};
use tenement_wire::dto::{
    ConfigCheck, ConfigFile, ConfigView, InstanceView, Removed, State, Version, Why,
};
use tenement_wire::status::{History, StateDatabase};
use tenement_wire::{InstanceName, SecretName, SecretView};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

type Result<T> = std::result::Result<T, ManageError>;

/// Answers everything, or fails once with the error that it was given.
#[derive(Default)]
pub struct Fake {
    pub told: Mutex<Vec<String>>,
    pub fails: Mutex<Option<ManageError>>,
    /// The request that each was told in.
    pub requests: Mutex<Vec<Option<String>>>,
    /// `show` waits for it, to be caught in the middle.
    pub hold: tokio::sync::Mutex<()>,
}

impl Fake {
    fn note(&self, what: String) -> Result<()> {
        self.told.lock().unwrap().push(what);
        self.requests.lock().unwrap().push(tenement_agent::flows::events::request());
        self.fails.lock().unwrap().take().map_or(Ok(()), Err)
    }

    pub fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// Waits until it was told `count` things.
    pub async fn until_told(&self, count: usize) {
        let wait = async {
            while self.told().len() < count {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(std::time::Duration::from_secs(20), wait).await;
        assert!(waited.is_ok(), "told only {:?}", self.told());
    }
}

pub fn view(name: &str, state: State) -> InstanceView {
    let name: InstanceName = name.parse().unwrap();
    InstanceView {
        uuid: "u".into(),
        state,
        tier: tenement_wire::dto::Tier::Running,
        since_ms: 1,
        pid: None,
        url: "http://x/".into(),
        unit: name.service_unit(),
        listen: "fd".into(),
        address: "/s".into(),
        data_dir: "/d".into(),
        in_flight: 0,
        last_used_ms: None,
        idle_timeout_s: 0,
        disk_bytes: None,
        release: None,
        limits: Default::default(),
        memory_bytes: None,
        wakes: 0,
        last_wake_ms: None,
        next_step: None,
        failure: None,
        service: None,
        usage: tenement_wire::status::Usage::default(),
        health: None,
        name,
    }
}

fn config() -> ConfigView {
    ConfigView {
        domain: "localhost".into(),
        port: 8080,
        data_dir: "/d".into(),
        files: vec![],
        processes: vec![],
        rejected: vec![],
        unmet: vec![],
    }
}

impl Management for Fake {
    async fn list(&self) -> Result<Vec<InstanceView>> {
        self.note("list".into())?;
        Ok(vec![view("api:a", State::Running), view("web:b", State::Asleep)])
    }

    async fn rows(&self) -> Result<Vec<tenement_wire::dto::InstanceRow>> {
        Ok(self.list().await?.into_iter().map(Into::into).collect())
    }

    async fn show(&self, name: &InstanceName) -> Result<InstanceView> {
        self.note(format!("show {name}"))?;
        let _held = self.hold.lock().await;
        Ok(view(name.to_string().as_str(), State::Running))
    }

    async fn spawn(&self, spawn: Spawn) -> Result<Vec<InstanceView>> {
        let ids: Vec<&str> = spawn.ids.iter().map(|id| id.as_str()).collect();
        self.note(format!("spawn {} {} {}", spawn.process, ids.join(","), spawn.start))?;
        Ok(vec![view("api:a", State::Running)])
    }

    async fn wake(&self, name: &InstanceName) -> Result<InstanceView> {
        assert_ne!(name.id().as_str(), "panic", "asked to");
        self.note(format!("wake {name}"))?;
        Ok(view(name.to_string().as_str(), State::Running))
    }

    async fn sleep(&self, name: &InstanceName, force: bool) -> Result<InstanceView> {
        self.note(format!("sleep {name} {force}"))?;
        Ok(view(name.to_string().as_str(), State::Asleep))
    }

    async fn stop(&self, name: &InstanceName) -> Result<InstanceView> {
        self.note(format!("stop {name}"))?;
        let _held = self.hold.lock().await;
        self.note(format!("stopped {name}"))?;
        Ok(view(name.to_string().as_str(), State::Asleep))
    }

    async fn restart(&self, name: &InstanceName) -> Result<InstanceView> {
        self.note(format!("restart {name}"))?;
        Ok(view(name.to_string().as_str(), State::Running))
    }

    async fn reset(&self, name: &InstanceName) -> Result<InstanceView> {
        self.note(format!("reset {name}"))?;
        Ok(view(name.to_string().as_str(), State::Asleep))
    }

    async fn remove(&self, name: &InstanceName, purge: bool) -> Result<Removed> {
        self.note(format!("remove {name} {purge}"))?;
        Ok(Removed {
            name: name.clone(),
            data_dir: "/d".into(),
            purged: purge,
            domains: Vec::new(),
        })
    }

    async fn why(&self, name: &InstanceName) -> Result<Why> {
        self.note(format!("why {name}"))?;
        Ok(Why {
            instance: view(name.to_string().as_str(), State::Running),
            reason: "it is in use".into(),
            holds: vec![],
            sleeps_in_s: None,
            next_request: "is served at once".into(),
        })
    }

    async fn secrets(&self, name: &InstanceName, order: SecretOrder) -> Result<Vec<SecretView>> {
        self.note(format!("secrets {name} {order:?}"))?;
        let key = SecretName::new("KEY").unwrap();
        Ok(vec![SecretView { name: key, stored_bytes: 7, set_ms: 1, encrypted: true }])
    }

    async fn config(&self) -> Result<ConfigView> {
        self.note("config".into())?;
        Ok(config())
    }

    async fn config_check(&self, files: Vec<ConfigFile>) -> Result<ConfigCheck> {
        let files: Vec<String> = files.into_iter().map(|f| f.name).collect();
        self.note(format!("check {}", files.join(",")))?;
        Ok(ConfigCheck { valid: true, files, problems: vec![] })
    }

    async fn reload(&self) -> Result<ConfigView> {
        self.note("reload".into())?;
        Ok(config())
    }

    async fn history(&self, name: &InstanceName, limit: u32) -> Result<History> {
        self.note(format!("history {name} {limit}"))?;
        Ok(History { name: name.clone(), uuid: "u".into(), entries: vec![], dropped: 0 })
    }

    async fn state(&self) -> Result<StateDatabase> {
        self.note("state".into())?;
        Ok(StateDatabase {
            path: "/s/state.db".into(),
            copy: "/s/state.db.backup".into(),
            copied_ms: Some(1),
            set_aside: vec![],
            trouble: None,
        })
    }

    async fn set(
        &self,
        name: &InstanceName,
        changes: std::collections::BTreeMap<tenement_wire::Limit, Option<u64>>,
    ) -> Result<tenement_wire::dto::LimitsSet> {
        self.note(format!("set {name} {changes:?}"))?;
        Ok(tenement_wire::dto::LimitsSet {
            name: name.clone(),
            limits: Default::default(),
            overrides: Default::default(),
            clamped: Vec::new(),
            at_next_start: Vec::new(),
        })
    }

    async fn metrics(&self) -> Result<tenement_wire::dto::MetricsSummary> {
        self.note("metrics".into())?;
        Ok(tenement_wire::dto::MetricsSummary { instances: 2, ..Default::default() })
    }

    async fn ready(&self) -> Result<()> {
        self.note("ready".into())
    }

    async fn version(&self) -> Result<Version> {
        self.note("version".into())?;
        Ok(Version { version: "0".into(), systemd: Some(252), mode: "system".into() })
    }
}

/// The API on a socket of its own.
pub struct Door {
    pub fake: Arc<Fake>,
    pub socket: PathBuf,
    pub served: tokio::task::JoinHandle<()>,
    /// User ids that were turned away, a request each.
    pub turned_away: Arc<Mutex<Vec<u32>>>,
    stop: Option<oneshot::Sender<()>>,
    _dir: tempfile::TempDir,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: serde_json::Value,
    /// The body as it came.
    pub text: String,
}

impl Door {
    pub fn open(access: Access) -> Self {
        Self::serve(access, |fake| api::router_with(fake, Services::none().unwrap()))
    }

    /// With these logs.
    pub fn open_logs(logs: Arc<dyn tenement_agent::flows::logbook::Logs>) -> Self {
        let services = Services { logs, ..Services::none().unwrap() };
        Self::serve(Access::user(), |fake| api::router_with(fake, services))
    }

    /// With these events.
    pub fn open_events(events: tenement_agent::flows::events::Events) -> Self {
        let services = Services { events: Some(events), ..Services::none().unwrap() };
        Self::serve(Access::user(), |fake| api::router_with(fake, services))
    }

    fn serve(access: Access, router: impl FnOnce(Arc<Fake>) -> axum::Router) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("admin.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let fake = Arc::new(Fake::default());
        let (stop, stopped) = oneshot::channel();
        let router = router(fake.clone());
        let turned_away = Arc::new(Mutex::new(Vec::new()));
        let noted = turned_away.clone();
        let note = move |peer: &api::Peer| noted.lock().unwrap().push(peer.uid);
        let served = tokio::spawn(api::serve(listener, router, access, note, async {
            let _ = stopped.await;
        }));
        Self { fake, socket, served, turned_away, stop: Some(stop), _dir: dir }
    }

    pub fn fails(&self, error: ManageError) {
        *self.fake.fails.lock().unwrap() = Some(error);
    }

    pub fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    pub async fn send(&self, request: &str) -> UnixStream {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        // The server may answer and close before it has read an oversize body.
        let _ = stream.write_all(request.as_bytes()).await;
        stream
    }

    pub async fn raw(&self, request: &str) -> Reply {
        read(self.send(request).await).await
    }

    /// `line` is `POST /api/v1/...`; a body is sent as JSON.
    pub async fn ask(&self, line: &str, body: &str) -> Reply {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let len = body.len();
        self.raw(&format!(
            "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{kind}Content-Length: {len}\r\n\r\n{body}"
        ))
        .await
    }
}

pub async fn read(mut stream: UnixStream) -> Reply {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(n) = stream.read(&mut piece).await {
        if n == 0 {
            break;
        }
        bytes.extend_from_slice(&piece[..n]);
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    Reply {
        status: head.get(9..12).and_then(|s| s.parse().ok()).unwrap_or(0),
        head: head.to_ascii_lowercase(),
        body: serde_json::from_str(body).unwrap_or_default(),
        text: body.to_owned(),
    }
}
