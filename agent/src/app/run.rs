//! The agent's life, from listeners to drain.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;

use super::begin::{RETRY, adopt, connect};
use super::listeners::{self, Listeners};
use super::only::Only;
use super::watching::Watching;
use super::{
    EXIT_CONFIG, Places, checks, domains, events, files, logs, loops, metrics, root, signals, tls,
};
use crate::api::{Access, Remote};
use crate::config::{self, Config};
use crate::flows::agent::Agent;
use crate::flows::edge::{Edge, freezer, report};
use crate::flows::manage::Manager;
use crate::kernel::{Kernel, OomKills};
use crate::proxy::{Door, Policy, Proxy, TcpDoor};
use crate::store::Store;
use crate::store::history::History;
use crate::systemd::{Bus, UnitEvent};
use crate::tls::{Tls, Wanted};
use crate::units::{Builder, Client, Place};

/// The first systemd known to tell of a change of `FreezerState`; 252 does not.
const TELLS_FREEZER: u32 = 257;
/// How long an agent that can't work stays before it exits. systemd starts it again 100 ms after its
/// exit (`RestartSec=`), which is right after a crash; but a config that is bad now is bad then too.
const FAILED_PAUSE: Duration = Duration::from_secs(5);

type Ports = Arc<TcpDoor<Arc<Agent<Edge>>>>;

/// Runs the agent until SIGTERM.
#[must_use]
pub fn run(places: Places) -> ExitCode {
    // Before any thread exists: descriptors from systemd are process-wide.
    let inherited = listeners::inherited();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no runtime: {error}")),
    };
    let code = match runtime.block_on(whole_life(places, inherited)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => {
            runtime.block_on(pause_before_restart());
            code
        }
    };
    // Tasks that hold open streams beyond the drain bound end here.
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

async fn whole_life(places: Places, inherited: io::Result<Listeners>) -> Result<(), ExitCode> {
    let config = read_config(&places)?;
    let made = files::make_private(&places.state_dir);
    made.map_err(|error| fail(&format!("{}: {error}", places.state_dir.display())))?;
    // Before the admin socket is bound, which would take it away from an agent that is at work.
    let _only = Only::of(&places.state_dir).map_err(|error| fail(&error))?;
    let mut listeners =
        inherited.map_err(|error| fail(&format!("sockets passed by systemd: {error}")))?;
    listeners.complete(&config.settings, &places.admin_socket()).map_err(|error| fail(&error))?;
    live(places, config, listeners).await.map_err(|error| fail(&error))
}

/// Waits a little under a systemd that would start the agent again at once, and no longer than until
/// it is told to stop. Requests wait meanwhile in the sockets that systemd holds.
async fn pause_before_restart() {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let terminated = signals::terminated();
    signals::tell(&[NotifyState::Status("can't work, see the log; trying again soon")]);
    tokio::select! {
        () = tokio::time::sleep(FAILED_PAUSE) => {}
        () = terminated => {}
    }
}

fn fail(error: &str) -> ExitCode {
    log::error!("{error}");
    ExitCode::FAILURE
}

fn read_config(places: &Places) -> Result<Config, ExitCode> {
    let files = files::read(&places.config_dir)
        .map_err(|error| fail(&format!("the config can't be read: {error}")))?;
    let mut config = config::parse(&files).map_err(|problems| {
        log::error!("the config can't be used\n{}", config::render(&problems));
        ExitCode::from(EXIT_CONFIG)
    })?;
    if let Some(home) = &places.data_home {
        config.settings.default_data_dir(home);
    }
    for problem in files::path_problems(&config) {
        // A directory that is not there (a mount that is late, say) is one process's trouble; the
        // others' customers must not be without an agent for it. A reload is stricter.
        log::error!("{}:{}: {}", problem.file, problem.line, problem.message);
    }
    Ok(config)
}

async fn live(places: Places, config: Config, listeners: Listeners) -> Result<(), String> {
    let store = Store::open(&places.database()).await.map_err(|e| e.to_string())?;
    let systemd = connect(if places.user { Bus::Session } else { Bus::System }).await?;
    let version = systemd.version().await.ok();
    let reports = systemd.watch().await.map_err(|e| e.to_string())?;
    let units = if places.user {
        let builder = Builder::new(systemd.clone(), user_place(&places)).await;
        Client::Local(Arc::new(builder.map_err(|e| e.to_string())?))
    } else {
        Client::bus(systemd.clone())
    };
    let limits = config.settings.clone();
    let kernel = Kernel::new("/sys/fs/cgroup");
    let pressure = kernel.pressure_file();
    // A user's manager is somewhere below user.slice, and freezes nothing of ours by itself.
    let tells = places.user || version.is_some_and(|version| version >= TELLS_FREEZER);
    let slice_root = (!tells).then(String::new);
    let run_dir = places.run_dir.clone();
    let oom = OomKills::new("/sys/fs/cgroup");
    let switches = Default::default();
    let groups = metrics::groups(&places);
    let edge = Edge { systemd, units, run_dir, kernel, groups, slice_root, switches, oom };
    let agent = Agent::new(edge, store, config, places.run_dir.clone());
    let _checks = checks::Thread::start(&agent.checks).map_err(|e| format!("no thread: {e}"))?;
    if places.user {
        let _ = agent.deploys.releases_dir.set(places.state_dir.join("releases"));
    }
    // Nobody else has set it.
    let _ = agent.history.set(History::open(&places.history()));
    metrics::start(&places, &agent);
    let trail = events::start(&places, &agent);
    let logs = logs::start(&places, &agent);
    // Nobody else has set it.
    let _ = agent.releases.workshop.dir.set(places.builds());
    let registered = adopt(&agent).await?;
    let following = tokio::spawn(follow(agent.clone(), reports));

    let proxy = Arc::new(Proxy::new(Arc::new(agent.clone()), Policy::from(&limits)));
    let tls = tls::start(&places, &agent, &trail, &listeners)?;
    proxy.set_tls(tls.clone());
    let remote = Arc::new(OnceLock::new());
    let watching = Arc::new(Watching::new(proxy.clone()));
    watching.adopt(&agent.config.load());
    let known = Known {
        watching: watching.clone(),
        trail: trail.clone(),
        remote: remote.clone(),
        tls: tls.clone(),
    };
    let ports = Arc::new(OnceLock::new());
    let manager = manager(&places, agent.clone(), known, version);
    let manager = Arc::new(with_ports(manager, ports.clone()));
    let (stop, stopping) = watch::channel(false);
    let services = root::services(&places, &agent, &trail, &tls).await?;
    let router = crate::api::router_with(manager.clone(), services);
    let turned_away = events::turned_away(&trail);
    let api = serve_api(&listeners, &manager, router.clone(), turned_away, stopping.clone())?;
    let remote = remote.get_or_init(|| Arc::new(Remote::new(router, limits.api.clone())));
    remote.set_metrics(limits.metrics.clone());
    metrics::listen(&agent, &proxy);
    proxy.set_root(Arc::new(root::Api(remote.clone())));
    let sweeping = tokio::spawn(trail.events.clone().sweep(until_true(stopping.clone())));
    let keeping = tokio::spawn(tls.run());
    let (tcp, web) = listeners::split(listeners.http, &agent.config.load().tcp);
    let tcp_door = Arc::new(TcpDoor::new(proxy.clone()));
    tcp_door.adopt(&agent.config.load().tcp, tcp);
    let _ = ports.set(tcp_door);
    let mut doors = into_doors(web, false)?;
    doors.extend(into_doors(listeners.https, true)?);
    let http = crate::proxy::serve(doors, proxy, until_true(stopping));
    let http = tokio::spawn(http);

    log::info!("ready: {registered} instances registered");
    signals::tell(&[NotifyState::Ready]);
    tokio::spawn(signals::watchdog());
    tokio::spawn(reload_on_hangup(manager));
    tokio::spawn(agent.clone().tide(pressure));
    tokio::spawn(agent.clone().keep_measuring());
    tokio::spawn(agent.clone().keep_recording());
    tokio::spawn(agent.clone().keep_timers());
    domains::adopt(&agent.domains, &agent.config.load());
    tokio::spawn(agent.domains.clone().keep_checking());
    let preloading = agent.clone();
    agent.log_unmet();
    tokio::spawn(agent.clone().settle_releases());
    tokio::spawn(async move { preloading.preload(preloading.all()).await });

    let ended = loops::until_one_ends(vec![
        // An agent that hears nothing from systemd would take the stopped for running.
        ("following what systemd reports", following.abort_handle()),
        ("the proxy", http.abort_handle()),
        ("keeping certificates", keeping.abort_handle()),
        ("the admin API", api.abort_handle()),
    ]);
    let failed = tokio::select! {
        () = signals::terminated() => None,
        what = ended => Some(what),
        () = agent.store.ended() => Some("the thread of the state database"),
    };
    signals::tell(&[NotifyState::Stopping]);
    let _ = stop.send(true);
    remote.stop();
    let _ = http.await;
    let _ = api.await;
    watching.close().await;
    agent.store.close().await;
    logs::stop(logs).await;
    agent.stop_recording().await;
    if let Some(history) = agent.history.get() {
        history.close().await;
    }
    let _ = sweeping.await;
    events::stop(&trail).await;
    match failed {
        None => Ok(()),
        Some(what) => {
            Err(format!("{what} ended by itself; the agent ends too, to be started anew"))
        }
    }
}

/// Follows systemd's events for as long as the agent lives.
async fn follow(agent: Arc<Agent<Edge>>, mut events: tokio::sync::mpsc::Receiver<UnitEvent>) {
    while let Some(event) = events.recv().await {
        if let UnitEvent::Job { name, tag, active, end } = &event {
            agent.observe_job(name, tag, active.is_down(), end);
            continue;
        }
        let freezer = freezer(&event);
        if let Some(mut report) = report(event) {
            agent.host.judge(&mut report);
            agent.observe(&report);
            if let Some(frozen) = freezer {
                agent.observe_freezer(&report.name, frozen);
            }
            continue;
        }
        let mut quiet = false;
        while let Err(error) = agent.resync().await {
            if !quiet {
                log::warn!("asking systemd what runs, until it answers: {error}");
            }
            quiet = true;
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Who is told of a new config.
struct Known {
    watching: Arc<Watching>,
    trail: events::Happenings,
    remote: Arc<OnceLock<Arc<Remote>>>,
    tls: Arc<Tls>,
}

fn manager(
    places: &Places,
    agent: Arc<Agent<Edge>>,
    known: Known,
    systemd: Option<u32>,
) -> Manager<Edge> {
    let Known { watching, trail, remote, tls } = known;
    let dir = places.config_dir.clone();
    let proxy = watching.proxy.clone();
    let counting = proxy.clone();
    let customs = agent.domains.clone();
    Manager {
        agent,
        traffic: Box::new(move || counting.counters.sum()),
        read_config: Box::new(move || files::read(&dir)),
        data_home: places.data_home.clone(),
        path_problems: Box::new(files::path_problems),
        on_config: Box::new(move |config| {
            proxy.set_policy(Policy::from(&config.settings));
            watching.adopt(config);
            events::adopt(&trail, config);
            tls.set(Wanted::from(config));
            domains::adopt(&customs, config);
            if let Some(remote) = remote.get() {
                remote.set_access(config.settings.api.clone());
                remote.set_metrics(config.settings.metrics.clone());
            }
        }),
        systemd,
        mode: if places.user { "user" } else { "system" },
    }
}

/// The same, that opens and closes the ports of a new config too.
fn with_ports(mut manager: Manager<Edge>, doors: Arc<OnceLock<Ports>>) -> Manager<Edge> {
    let before = manager.on_config;
    manager.on_config = Box::new(move |config| {
        before(config);
        if let Some(ports) = doors.get() {
            ports.adopt(&config.tcp, Vec::new());
        }
    });
    manager
}

fn serve_api(
    listeners: &Listeners,
    manager: &Manager<Edge>,
    router: axum::Router,
    turned_away: impl Fn(&crate::api::Peer) + Clone + Send + Sync + 'static,
    stopping: watch::Receiver<bool>,
) -> Result<tokio::task::JoinHandle<()>, String> {
    let admin = listeners.admin.as_ref().ok_or("no admin socket")?;
    let admin = admin.try_clone().and_then(|l| {
        l.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(l)
    });
    let admin = admin.map_err(|e| format!("the admin socket: {e}"))?;
    let access = if manager.mode == "user" { Access::user() } else { Access::system() };
    Ok(tokio::spawn(crate::api::serve(admin, router, access, turned_away, until_true(stopping))))
}

async fn until_true(mut stopping: watch::Receiver<bool>) {
    // A sender that is gone means the same: nobody serves any more.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// The unit helper's places, for a user who is its own helper.
fn user_place(places: &Places) -> Place {
    let none = PathBuf::new;
    Place {
        config_dir: places.config_dir.clone(),
        run_dir: places.run_dir.clone(),
        state_dir: places.state_dir.clone(),
        data_home: places.data_home.clone(),
        releases_dir: places.releases(),
        ..Place::user(none(), none(), none())
    }
}

fn into_doors(listeners: Vec<std::net::TcpListener>, secure: bool) -> Result<Vec<Door>, String> {
    let one = |l: std::net::TcpListener| {
        l.set_nonblocking(true)?;
        Ok(Door { listener: tokio::net::TcpListener::from_std(l)?, secure })
    };
    let door = |l| one(l).map_err(|e: io::Error| format!("a listener: {e}"));
    listeners.into_iter().map(door).collect()
}

async fn reload_on_hangup(manager: Arc<Manager<Edge>>) {
    use crate::flows::management::Management as _;
    signals::on_hangup(|| {
        let manager = manager.clone();
        async move {
            // In a task of its own, so that whatever happens to it the next SIGHUP is heard.
            match tokio::spawn(async move { manager.reload().await }).await {
                Ok(Ok(_)) => log::info!("the config was reloaded"),
                Ok(Err(error)) => log::error!("{error}"),
                Err(error) => log::error!("the reload of the config broke off: {error}"),
            }
        }
    })
    .await;
}
