//! A proxy in front of scripted backends on unix sockets, and a client that speaks raw bytes.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tenement_agent::config::{Definition, Limits, Listen, Restart, RunAs};
use tenement_agent::flows::metrics::wakes::Outcome;
use tenement_agent::flows::{Instance, Lease, Served, Tenants, WakeError};
use tenement_agent::proxy::{self, Door, Policy, Proxy};
use tenement_agent::routes::{Dest, Route};
use tenement_agent::tls::Tls;
use tenement_agent::upstream::Target;
use tenement_wire::{InstanceName, RouteTarget};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::oneshot;

pub use crate::raw::*;

/// The host under which the first backend is reached.
pub const HOST: &str = "a.app.example.com";

/// Instances that always run.
pub struct Fake {
    routes: Mutex<HashMap<String, Arc<Instance>>>,
    pub cold: AtomicBool,
    pub refuse: Mutex<Option<WakeError>>,
    pub suspects: AtomicU32,
    pub wakes: AtomicU32,
    pub startup: Mutex<Duration>,
    /// How wakes ended that got no answer.
    pub lost: Mutex<Vec<Outcome>>,
}

impl Tenants for Fake {
    fn route(&self, host: &str) -> Route<Arc<Instance>> {
        match self.routes.lock().unwrap().get(host) {
            Some(instance) => Route::Instance(instance.clone()),
            None if host == "example.com" => Route::Root,
            None if host.ends_with(".app.example.com") => Route::UnknownInstance,
            None => Route::UnknownHost,
        }
    }

    async fn spawn(&self, name: &InstanceName) -> Result<Arc<Instance>, WakeError> {
        Err(WakeError::Gone { name: name.clone() })
    }

    async fn ensure(&self, instance: &Arc<Instance>) -> Result<(Lease, Served), WakeError> {
        if let Some(error) = self.refuse.lock().unwrap().clone() {
            return Err(error);
        }
        let lease = Lease::take(instance).expect("no test closes the gate");
        let cold = self.cold.swap(false, Ordering::SeqCst);
        Ok((lease, if cold { Served::Cold } else { Served::Hot }))
    }

    async fn suspect(&self, _: &Arc<Instance>) -> Result<Served, WakeError> {
        self.suspects.fetch_add(1, Ordering::SeqCst);
        Ok(Served::Hot)
    }

    fn tripped(&self, instance: &Arc<Instance>) {
        let instance = instance.clone();
        tokio::spawn(async move {
            tenement_agent::flows::recovery::probe(&instance, |_| true).await;
        });
    }

    fn woke(&self, _: &Arc<Instance>, _: Duration) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
    }

    fn lost(&self, _: &Arc<Instance>, outcome: Outcome) {
        self.lost.lock().unwrap().push(outcome);
    }

    fn destination(&self, target: &RouteTarget) -> Option<Dest<Arc<Instance>>> {
        let host = format!("{}.app.example.com", target.instance_name()?.id());
        let instance = self.routes.lock().unwrap().get(&host)?.clone();
        Some(Dest::Instance(instance, None))
    }
}

/// A running proxy.
pub struct World {
    pub addr: SocketAddr,
    pub plain: SocketAddr,
    pub fake: Arc<Fake>,
    pub proxy: Arc<Proxy<Fake>>,
    pub serving: Option<tokio::task::JoinHandle<()>>,
    shutdown: Option<oneshot::Sender<()>>,
    dir: PathBuf,
}

pub fn policy() -> Policy {
    Policy {
        limits: Limits::default(),
        trusted_proxies: Vec::new(),
        proxy_protocol: Vec::new(),
        drain_timeout: Duration::from_secs(5),
        secure: Default::default(),
    }
}

impl World {
    pub async fn start() -> Self {
        Self::with(policy()).await
    }

    pub async fn with(policy: Policy) -> Self {
        Self::at(policy, None).await
    }

    /// With certificates, TLS is spoken at `addr`, and plain HTTP at `plain`.
    pub async fn at(policy: Policy, tls: Option<Arc<Tls>>) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let unique =
            format!("ten-proxy-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let dir = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&dir).unwrap();
        let fake = Arc::new(Fake {
            routes: Mutex::default(),
            cold: AtomicBool::new(false),
            refuse: Mutex::new(None),
            suspects: AtomicU32::new(0),
            wakes: AtomicU32::new(0),
            startup: Mutex::new(Duration::from_secs(10)),
            lost: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let proxy = Arc::new(Proxy::new(fake.clone(), policy));
        let (shutdown, ended) = oneshot::channel::<()>();
        let mut doors = vec![Door { listener, secure: tls.is_some() }];
        let mut plain = addr;
        if let Some(tls) = tls {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            plain = listener.local_addr().unwrap();
            doors.push(listener.into());
            proxy.set_tls(tls);
        }
        let serving = tokio::spawn(proxy::serve(doors, proxy.clone(), async {
            let _ = ended.await;
        }));
        let serving = Some(serving);
        Self { addr, plain, fake, proxy, serving, shutdown: Some(shutdown), dir }
    }

    pub fn shut_down(&mut self) {
        let _ = self.shutdown.take().expect("shut down once").send(());
    }

    /// Registers `host` on a socket that nobody listens on yet.
    pub fn register(&self, host: &str) -> (Arc<Instance>, PathBuf) {
        let path = self.dir.join(format!("{host}.sock"));
        let target = Target::Unix(path.as_path().into());
        let definition = Arc::new(definition(*self.fake.startup.lock().unwrap()));
        let id = host.split('.').next().unwrap();
        let name = format!("app:{id}").parse().unwrap();
        let instance = Arc::new(Instance::at(name, definition, target));
        self.fake.routes.lock().unwrap().insert(host.to_owned(), instance.clone());
        (instance, path)
    }

    /// Registers [`HOST`] with a backend that runs `script` on each connection.
    pub fn backend<F, Fut>(&self, script: F) -> Backend
    where
        F: Fn(BackendConn) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (instance, path) = self.register(HOST);
        let listener = UnixListener::bind(path).unwrap();
        let seen = Arc::new(Seen::default());
        let shared = seen.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let conn = BackendConn { stream: Raw::new(stream), seen: shared.clone() };
                tokio::spawn(script(conn));
            }
        });
        Backend { seen, instance }
    }

    /// Registers [`HOST`] with a backend that gives `answer` to every request.
    pub fn answering(&self, answer: impl AsRef<[u8]>) -> Backend {
        let answer: Arc<[u8]> = answer.as_ref().into();
        self.backend(move |mut conn| {
            let answer = answer.clone();
            async move { while conn.request().await.is_some() && conn.stream.send(&answer).await {} }
        })
    }

    pub async fn client(&self) -> Raw<TcpStream> {
        Raw::new(TcpStream::connect(self.addr).await.unwrap())
    }

    /// One request on a connection of its own.
    pub async fn fetch(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut client = self.client().await;
        client.send(request).await;
        client.answer().await.expect("an answer")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn definition(startup_timeout: Duration) -> Definition {
    Definition {
        name: "app".parse().unwrap(),
        command: vec!["true".into()],
        directory: None,
        listen: Listen::Fd,
        socket: None,
        env: BTreeMap::new(),
        env_file: Vec::new(),
        health: None,
        instances: 1,
        idle_timeout: None,
        startup_timeout,
        stop_timeout: Duration::from_secs(1),
        user: RunAs::PerInstance,
        restart: Restart::No,
        spawn_on_request: false,
        tiers: Default::default(),
        limits: Default::default(),
        total: Default::default(),
        max: Default::default(),
        sandbox: Default::default(),
        network: Default::default(),
        port: None,
        credentials: Default::default(),
        supervision: Default::default(),
        access: Default::default(),
        route: Default::default(),
        deploy: Default::default(),
        backup: Arc::default(),
        cron: Default::default(),
        logs: Default::default(),
    }
}

/// What a backend saw.
#[derive(Default)]
pub struct Seen {
    pub connections: AtomicUsize,
    pub requests: Mutex<Vec<Message>>,
}

pub struct Backend {
    pub seen: Arc<Seen>,
    pub instance: Arc<Instance>,
}

impl Backend {
    pub fn count(&self) -> usize {
        self.seen.requests.lock().unwrap().len()
    }

    pub fn last(&self) -> Message {
        self.seen.requests.lock().unwrap().last().cloned().expect("a request")
    }
}

/// One connection as a backend sees it.
pub struct BackendConn {
    pub stream: Raw<UnixStream>,
    pub seen: Arc<Seen>,
}

impl BackendConn {
    /// The next whole request, which is noted too.
    pub async fn request(&mut self) -> Option<Message> {
        let message = self.stream.message(Kind::Request).await?;
        self.seen.requests.lock().unwrap().push(message.clone());
        Some(message)
    }
}

/// A simple GET of `path`.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
}
