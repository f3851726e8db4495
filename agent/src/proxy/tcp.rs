//! Ports whose connections are passed on as they are.
//!
//! A connection wakes its instance and keeps it awake to its end. Nothing of it is read here.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::error;
use super::metered::Metered;
use super::policy::Policy;
use super::preface;
use super::serve::keep_alive;
use super::stage::{Stage, Stages};
use super::state::{Counters, Proxy};
use super::way::Picked;
use crate::config::TcpRoute;
use crate::flows::metrics::wakes::Outcome;
use crate::flows::{Instance, Lease, Served, Tenants, Turn};
use crate::routes::{Dest, Rules};
use crate::upstream::Target;

/// Bytes in flight, each way.
const BUFFER: usize = 32 * 1024;
/// The pause between two tries to connect doubles from the first to the second of these.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// Pause after accept(2) failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Tries to connect to one instance.
const TRIES: u32 = 10;

/// The ports that are open, and what opens and closes them.
pub struct TcpDoor<T> {
    proxy: Arc<Proxy<T>>,
    open: Mutex<BTreeMap<u16, Open>>,
}

struct Open {
    route: watch::Sender<TcpRoute>,
    accepting: JoinHandle<()>,
}

impl<T: Tenants> TcpDoor<T> {
    /// No port is open yet.
    #[must_use]
    pub fn new(proxy: Arc<Proxy<T>>) -> Self {
        Self { proxy, open: Mutex::default() }
    }

    /// Opens, keeps and closes ports so that there are these. `inherited` are listeners that systemd holds, for ports
    /// that are among them. One that can't be bound is named in the log, and tried again with the next config.
    pub fn adopt(&self, routes: &[TcpRoute], inherited: Vec<std::net::TcpListener>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|port, one| {
            let stays = routes.iter().any(|route| route.port == *port);
            if !stays {
                one.accepting.abort();
            }
            stays && !one.accepting.is_finished()
        });
        let mut inherited: BTreeMap<u16, std::net::TcpListener> = inherited
            .into_iter()
            .filter_map(|listener| Some((listener.local_addr().ok()?.port(), listener)))
            .collect();
        for route in routes {
            if let Some(one) = open.get(&route.port) {
                one.route.send_replace(route.clone());
                continue;
            }
            let listener = match inherited.remove(&route.port) {
                Some(listener) => Ok(listener),
                None => bind(route.port),
            };
            let listener = listener.and_then(|listener| {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener)
            });
            match listener {
                Ok(listener) => {
                    let (sender, receiver) = watch::channel(route.clone());
                    let accepting = tokio::spawn(accept(listener, receiver, self.proxy.clone()));
                    open.insert(route.port, Open { route: sender, accepting });
                }
                Err(error) => {
                    let (port, target) = (route.port, &route.target);
                    log::error!("port {port} of {target} can't be bound: {error}");
                }
            }
        }
    }
}

fn bind(port: u16) -> std::io::Result<std::net::TcpListener> {
    let dual: SocketAddr = (Ipv6Addr::UNSPECIFIED, port).into();
    let v4: SocketAddr = (Ipv4Addr::UNSPECIFIED, port).into();
    std::net::TcpListener::bind(dual).or_else(|_| std::net::TcpListener::bind(v4))
}

async fn accept<T: Tenants>(
    listener: TcpListener,
    route: watch::Receiver<TcpRoute>,
    proxy: Arc<Proxy<T>>,
) {
    keep_alive(&listener);
    let watcher = Stages::watch(&proxy.stages);
    loop {
        let accepted = tokio::select! {
            biased;
            // New ones find the next agent, if systemd holds the port.
            () = watcher.reached(Stage::Draining) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (route, proxy) = (route.borrow().clone(), proxy.clone());
                tokio::spawn(async move {
                    let watcher = Stages::watch(&proxy.stages);
                    tokio::select! {
                        () = serve(&proxy, stream, peer, &route) => {}
                        () = watcher.reached(Stage::Abort) => {}
                    }
                });
            }
            Err(error) => {
                log::warn!(error = error::chain(&error); "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve<T: Tenants>(
    proxy: &Proxy<T>,
    mut client: TcpStream,
    peer: SocketAddr,
    route: &TcpRoute,
) {
    Counters::add(&proxy.counters.connections);
    let policy = proxy.policy.load_full();
    let balanced = policy.awaits_client(peer.ip());
    let limited = !policy.trusts(peer.ip()) && !balanced;
    let Some(_admitted) = proxy.admission.admit(peer.ip(), &policy.limits, limited) else {
        return Counters::add(&proxy.counters.connections_refused);
    };
    let _ = client.set_nodelay(true);
    let peer = match balanced {
        true => told(proxy, &mut client, peer, &policy).await,
        false => Some(peer),
    };
    let Some(peer) = peer else { return };
    let came = Instant::now();
    let Some((mut instance, lease, served)) = reach(proxy, peer, route).await else {
        return Counters::add(&proxy.counters.failures);
    };
    let connected = came.elapsed();
    if let (Some(version), Ok(here)) = (route.header, client.local_addr())
        && instance.write_all(&preface::header(version, peer, here)).await.is_err()
    {
        return;
    }
    let mut instance = Metered::new(instance, lease.instance().clone());
    if served == Served::Cold {
        // Not yet: systemd's socket takes a connection before anybody is there to answer it.
        let (tenants, woken) = (proxy.tenants.clone(), lease.instance().clone());
        instance = instance.waking(connected, Box::new(move |took| tenants.woke(&woken, took)));
    }
    // Either side may break at any time: that ends the connection, and is nobody's error.
    let _ = copy_bidirectional_with_sizes(&mut client, &mut instance, BUFFER, BUFFER).await;
    drop(lease);
}

/// The client that a load balancer names: who is judged, and named to the instance. None: it names nobody properly.
async fn told<T: Tenants>(
    proxy: &Proxy<T>,
    stream: &mut TcpStream,
    balancer: SocketAddr,
    policy: &Policy,
) -> Option<SocketAddr> {
    match preface::read(stream, policy.limits.header_timeout).await {
        Ok(told) => Some(told.client.unwrap_or(balancer)),
        Err(error) => {
            log::debug!(peer:% = balancer; "no PROXY protocol from a load balancer: {error}");
            Counters::add(&proxy.counters.connections_refused);
            None
        }
    }
}

/// A connection to an instance, the lease that keeps it awake, and how it was found.
type Reached = (Box<dyn Stream>, Lease, Served);

/// A connection to the instance that is meant.
async fn reach<T: Tenants>(
    proxy: &Proxy<T>,
    peer: SocketAddr,
    route: &TcpRoute,
) -> Option<Reached> {
    let (mut picked, mut instance) = match proxy.tenants.destination(&route.target)? {
        Dest::Instance(instance, rules) => {
            may_pass(rules.as_deref(), peer)?;
            (None, instance)
        }
        Dest::Group(group, rules) => {
            may_pass(rules.as_deref(), peer)?;
            let (picked, instance) = Picked::new(&group, None, &HeaderMap::new());
            (Some(picked), instance)
        }
        _ => return None,
    };
    loop {
        match connect(proxy, &instance).await {
            Ok(reached) => return Some(reached),
            Err(why) => {
                log::warn!(instance:% = instance.name, port = route.port; "a connection could not be passed on: {why}");
            }
        }
        // Nothing was read from the client, so another one serves it as well.
        instance = picked.as_mut()?.again()?;
    }
}

fn may_pass(rules: Option<&Rules>, peer: SocketAddr) -> Option<()> {
    let passes = rules.is_none_or(|rules| {
        rules.policy.admits(peer.ip().to_canonical()) && rules.maintenance.is_none()
    });
    passes.then_some(())
}

async fn connect<T: Tenants>(
    proxy: &Proxy<T>,
    instance: &Arc<Instance>,
) -> Result<Reached, String> {
    let turn = Turn::take(instance).map_err(|refusal| format!("{refusal:?}"))?;
    let ensured = proxy.tenants.ensure(instance).await;
    let (lease, mut served) = ensured.map_err(|error| error::chain(&error))?;
    let deadline = Instant::now() + instance.setup().definition.startup_timeout;
    let mut pause = PAUSE_MIN;
    for _ in 0..TRIES {
        let opened = tokio::time::timeout_at(deadline, open(&instance.target())).await;
        let why = match opened {
            Ok(Ok(stream)) => return Ok((stream, lease.with(turn), served)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => {
                proxy.tenants.lost(instance, Outcome::TimedOut);
                return Err("it was not ready in time".into());
            }
        };
        log::debug!(instance:% = instance.name; "cannot connect: {why}");
        let suspected = tokio::time::timeout_at(deadline, proxy.tenants.suspect(instance)).await;
        match suspected {
            Ok(Ok(found)) => {
                served = if found == Served::Cold { found } else { served };
                tokio::time::sleep(pause).await;
            }
            Ok(Err(error)) => {
                proxy.tenants.lost(instance, Outcome::of(&error));
                return Err(error::chain(&error));
            }
            Err(_) => {
                proxy.tenants.lost(instance, Outcome::TimedOut);
                return Err(why);
            }
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
    Err("it does not take connections".into())
}

/// Both kinds of streams.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl Stream for TcpStream {}
impl Stream for UnixStream {}

async fn open(target: &Target) -> std::io::Result<Box<dyn Stream>> {
    Ok(match target {
        Target::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Target::Tcp(addr) => {
            let stream = TcpStream::connect(addr).await?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
    })
}
