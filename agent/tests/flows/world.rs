//! An agent with its store on a played host.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tenement_agent::config::{self, SourceFile};
use tenement_agent::flows::agent::Agent;
use tenement_agent::flows::manage::Manager;
use tenement_agent::flows::{Instance, Lease, Served, Tenants as _, WakeError};
use tenement_agent::store::{Origin, Store};
use tenement_agent::upstream::Target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::fake::FakeHost;

/// One process in each listen mode.
pub const MODES: &str = "[process.fd]\ncommand = \"/app\"\n\
    [process.sock]\ncommand = \"/app {socket}\"\n\
    [process.port]\ncommand = \"/app {port}\"\n\
    [process.own]\ncommand = \"/app\"\nsocket = \"/tmp/{id}.sock\"\n";

pub struct World {
    pub agent: Arc<Agent<FakeHost>>,
    pub manager: Arc<Manager<FakeHost>>,
    pub host: FakeHost,
    pub text: Arc<Mutex<String>>,
    settings: String,
    _dir: TempDir,
}

impl World {
    /// An agent with these processes; `settings` are further lines of `[settings]`.
    pub async fn new(settings: &str, processes: &str) -> Self {
        // Tests run side by side, and apps listen on real ports.
        static PORTS: AtomicU16 = AtomicU16::new(20_000);
        let low = PORTS.fetch_add(16, Ordering::Relaxed);
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data").display().to_string();
        let settings = format!(
            "[settings]\ndomain = \"test\"\ndata_dir = \"{data}\"\nport_range = \"{low}-{}\"\n\
             {settings}\n",
            low + 15
        );
        let text = Arc::new(Mutex::new(format!("{settings}{processes}")));
        let files = [SourceFile::new("tenement.toml", text.lock().unwrap().clone())];
        let config = config::parse(&files).unwrap_or_else(|p| panic!("{}", config::render(&p)));
        let store = Store::open(&dir.path().join("state.db")).await.unwrap();
        let host = FakeHost::default();
        let agent = Agent::new(host.clone(), store, config, dir.path().join("run"));
        host.tell(&agent);
        let read = text.clone();
        let manager = Arc::new(Manager {
            agent: agent.clone(),
            read_config: Box::new(move || {
                Ok(vec![SourceFile::new("tenement.toml", read.lock().unwrap().clone())])
            }),
            path_problems: Box::new(|_| Vec::new()),
            on_config: Box::new(|_| {}),
            traffic: Box::new(Default::default),
            data_home: None,
            systemd: Some(257),
            mode: "system",
        });
        Self { agent, manager, host, text, settings, _dir: dir }
    }

    /// The same with `names` registered.
    pub async fn with(processes: &str, names: &[&str]) -> Self {
        let world = Self::new("", processes).await;
        for name in names {
            world.register(name).await;
        }
        world
    }

    pub async fn register(&self, name: &str) -> Arc<Instance> {
        let range = self.agent.config.load().settings.port_range;
        let name = name.parse().unwrap();
        let one = self.agent.store.register(name, Origin::Api, range).await.unwrap();
        let name = one.name.clone();
        self.agent.admit([one]);
        self.agent.publish();
        self.agent.get(&name).unwrap()
    }

    pub fn get(&self, name: &str) -> Arc<Instance> {
        self.agent.get(&name.parse().unwrap()).expect("not registered")
    }

    /// Puts other processes into the config's file.
    pub fn write(&self, processes: &str) {
        *self.text.lock().unwrap() = format!("{}{processes}", self.settings);
    }

    pub async fn request(&self, name: &str) -> Result<(Lease, Served), WakeError> {
        request(&self.agent, &self.get(name)).await
    }
}

/// One request, as the proxy makes it.
pub async fn request(
    agent: &Arc<Agent<FakeHost>>,
    instance: &Arc<Instance>,
) -> Result<(Lease, Served), WakeError> {
    let (lease, served) = agent.ensure(instance).await?;
    let mut tries = 0;
    while let Err(error) = knock(&instance.target()).await {
        tries += 1;
        assert!(tries < 50, "{}: {error}", instance.name);
        agent.suspect(instance).await?;
    }
    if served == Served::Cold {
        agent.woke(instance, Duration::from_millis(1));
    }
    Ok((lease, served))
}

/// Asks the app for one byte.
pub async fn knock(target: &Target) -> io::Result<()> {
    let mut byte = [0];
    match target {
        Target::Unix(path) => {
            let mut stream = UnixStream::connect(path).await?;
            stream.write_all(b"q").await?;
            stream.read_exact(&mut byte).await?;
        }
        Target::Tcp(address) => {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(b"q").await?;
            stream.read_exact(&mut byte).await?;
        }
    }
    Ok(())
}
