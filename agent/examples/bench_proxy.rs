//! The proxy alone, in front of one backend on a unix socket, to be measured from outside:
//! `bench_proxy BACKEND.sock PORT [WORKERS [CERTIFICATE.pem]]`; with a certificate it speaks TLS. Every host name leads to the backend. The runtime and
//! the allocator are those of tenementd, with two workers if nothing else is said.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tenement_agent::config::{
    CertificateFiles, Definition, Limits, Listen, Restart, RunAs, TlsSettings,
};
use tenement_agent::flows::{Instance, Lease, Served, Tenants, WakeError};
use tenement_agent::proxy::{self, Door, Policy, Proxy};
use tenement_agent::routes::{Route, RouteTable};
use tenement_agent::tls::{Hooks, Tls, Wanted};
use tenement_agent::upstream::Target;
use tenement_wire::InstanceName;
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// 10,000 names that all lead to one running instance.
struct One(RouteTable<Arc<Instance>>);

impl Tenants for One {
    fn route(&self, host: &str) -> Route<Arc<Instance>> {
        self.0.lookup(host)
    }

    async fn spawn(&self, name: &InstanceName) -> Result<Arc<Instance>, WakeError> {
        Err(WakeError::Gone { name: name.clone() })
    }

    async fn ensure(&self, instance: &Arc<Instance>) -> Result<(Lease, Served), WakeError> {
        let gone = || WakeError::Gone { name: instance.name.clone() };
        Ok((Lease::take(instance).ok_or_else(gone)?, Served::Hot))
    }

    async fn suspect(&self, _: &Arc<Instance>) -> Result<Served, WakeError> {
        Ok(Served::Hot)
    }

    fn tripped(&self, _: &Arc<Instance>) {}

    fn woke(&self, _: &Arc<Instance>, _: Duration) {}
}

fn definition() -> Definition {
    Definition {
        name: "bench".parse().expect("a valid name"),
        command: vec!["true".into()],
        directory: None,
        listen: Listen::Fd,
        socket: None,
        env: BTreeMap::new(),
        env_file: Vec::new(),
        health: None,
        instances: 1,
        route: Default::default(),
        deploy: Default::default(),
        backup: Default::default(),
        cron: Default::default(),
        logs: Default::default(),
        idle_timeout: None,
        startup_timeout: Duration::from_secs(10),
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
    }
}

/// Certificates of a file that holds the key, too.
fn tls(path: &Path) -> Arc<Tls> {
    let files = CertificateFiles { certificate: path.into(), key: path.into() };
    let settings = TlsSettings { certificates: vec![files], ..TlsSettings::default() };
    let wanted = Wanted { settings, ..Wanted::default() };
    let hooks = Hooks { allowed: Box::new(|_| None), tell: Box::new(|_| {}) };
    Tls::open(path.parent().expect("a file"), "bench", wanted, hooks).expect("random bytes")
}

fn main() {
    let mut args = std::env::args().skip(1);
    let usage = "usage: bench_proxy BACKEND.sock PORT [WORKERS [CERTIFICATE.pem]]";
    let (backend, port) = (args.next().expect(usage), args.next().expect(usage));
    let workers = args.next().map_or(2, |n| n.parse().expect(usage));
    let certificate = args.next().map(std::path::PathBuf::from);
    let target = Target::Unix(Path::new(&backend).into());
    let definition = Arc::new(definition());
    let new = |n: u32| {
        let name: InstanceName = format!("bench:i{n}").parse().expect("a valid name");
        (name.clone(), Arc::new(Instance::at(name, definition.clone(), target.clone())))
    };
    let instances: HashMap<_, _> = (0..10_000).map(new).collect();
    let table =
        RouteTable::new("example.com", [("bench".parse().expect("a name"), false)], instances);
    let policy = Policy {
        limits: Limits::default(),
        trusted_proxies: Vec::new(),
        proxy_protocol: Vec::new(),
        drain_timeout: Duration::from_secs(1),
        secure: Default::default(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await.expect("a free port");
        let proxy = Arc::new(Proxy::new(Arc::new(One(table)), policy));
        let secure = certificate.is_some();
        if let Some(path) = certificate {
            proxy.set_tls(tls(&path));
        }
        let doors = vec![Door { listener, secure }];
        proxy::serve(doors, proxy, std::future::pending()).await;
    });
}
