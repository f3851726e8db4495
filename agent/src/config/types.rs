//! What a valid config is. Every field has been checked; nothing here can be half right.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tenement_wire::{InstanceName, Limit, ProcessName, ResourceLimits};

use super::access::Access;
use super::api::ApiAccess;
use super::backup::{BackupPlan, BackupSettings};
use super::credentials::Credentials;
use super::deploy::Deploy;
use super::events::{AlertSettings, EventKeep};
use super::logs::LogKeep;
use super::metrics::MetricsAccess;
use super::network::Network;
use super::route::RoutePolicy;
use super::routing::Routing;
use super::sandbox::Sandbox;
use super::supervision::Supervision;
use super::tcp::TcpRoute;
use super::tiers::{Park, Tiers};
use super::tls::TlsSettings;
use super::tracing::Tracing;

/// The whole validated config.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[settings]`.
    pub settings: Settings,
    /// `[process.NAME]`, by name.
    pub processes: BTreeMap<ProcessName, Arc<Definition>>,
    /// `[instances]`: those that exist from boot.
    pub instances: Vec<InstanceName>,
    /// `[routing]`.
    pub routing: Routing,
    /// Ports whose connections are passed on as they are.
    pub tcp: Vec<TcpRoute>,
    /// The files that it was read from, in order.
    pub files: Vec<String>,
    /// Where the paths were written, for [`super::check_paths`].
    pub origins: Origins,
}

/// Where values were written. It never makes two configs differ: moving a line is not a change.
#[derive(Debug, Clone, Default)]
pub struct Origins(pub(super) Vec<Origin>);

impl PartialEq for Origins {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// One path of the config that can be looked up before any instance exists.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) role: PathRole,
    pub(super) path: PathBuf,
    /// A problem of it, complete but for message and fix.
    pub(super) at: tenement_wire::dto::ConfigProblem,
}

/// What a path of the config is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathRole {
    Directory,
    EnvFile,
    Command,
    Credential {
        encrypted: bool,
    },
    /// Read by the agent itself.
    Secret,
}

/// `[settings]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Instances are `{id}.{process}.{domain}`; lower case, without trailing dot.
    pub domain: String,
    /// Port that the proxy listens on.
    pub port: u16,
    /// Parent of the data directories.
    pub data_dir: PathBuf,
    /// TCP ports handed to instances that listen on one, inclusive.
    pub port_range: (u16, u16),
    /// How many unit pairs stay loaded in systemd; the longest idle ones beyond it become dormant.
    pub loaded_max: usize,
    /// How long open requests may go on when the agent stops.
    pub drain_timeout: Duration,
    /// Limits of the proxy.
    pub limits: Limits,
    /// Peers whose `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<Cidr>,
    /// Load balancers whose connections begin with who the client is (PROXY protocol).
    pub proxy_protocol: Vec<Cidr>,
    /// Who reaches the API on the domain itself.
    pub api: ApiAccess,
    /// Who may read `/metrics`.
    pub metrics: MetricsAccess,
    /// How HTTPS is served.
    pub tls: TlsSettings,
    /// Limits of all instances together.
    pub total: ResourceLimits,
    /// What the limits of any instance may be raised to.
    pub max: ResourceLimits,
    /// How much of all logs is kept.
    pub logs: LogKeep,
    /// How many events are kept.
    pub events: EventKeep,
    /// Where alerts go, if anywhere.
    pub alerts: Option<AlertSettings>,
    /// Where spans of requests go, if anywhere.
    pub tracing: Option<Tracing>,
    /// What all backups share.
    pub backup: BackupSettings,
}

impl Settings {
    /// Moves `data_dir` to `home` if the config left it at its default: a user's own agent may not
    /// write below /var/lib.
    pub fn default_data_dir(&mut self, home: &std::path::Path) {
        if self.data_dir == Self::default().data_dir {
            self.data_dir = home.to_owned();
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            domain: "localhost".to_owned(),
            port: 8080,
            data_dir: PathBuf::from("/var/lib/tenement"),
            port_range: (20_000, 32_767),
            loaded_max: 1_000,
            drain_timeout: Duration::from_secs(10),
            limits: Limits::default(),
            trusted_proxies: Vec::new(),
            proxy_protocol: Vec::new(),
            api: ApiAccess::default(),
            metrics: MetricsAccess::default(),
            tls: TlsSettings::default(),
            total: ResourceLimits::new(),
            max: ResourceLimits::new(),
            logs: LogKeep::DEFAULT,
            events: EventKeep::default(),
            alerts: None,
            tracing: None,
            backup: BackupSettings::default(),
        }
    }
}

/// An address range such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// Network address.
    pub address: IpAddr,
    /// How many leading bits count.
    pub prefix: u8,
}

impl Cidr {
    /// Whether `ip` lies in the range. An IPv4-mapped IPv6 address counts as its IPv4 address.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.prefix.min(32));
                shift == 32 || (u32::from(net) >> shift) == (u32::from(ip) >> shift)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.prefix.min(128));
                shift == 128 || (u128::from(net) >> shift) == (u128::from(ip) >> shift)
            }
            _ => false,
        }
    }
}

/// Limits of the proxy, each with a safe default; 0 turns a limit off where it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's head (request line and header fields).
    pub header_bytes: usize,
    /// Header fields of a request.
    pub header_count: usize,
    /// From the first byte of a request (or the accept) to the end of its head.
    pub header_timeout: Duration,
    /// How long a keep-alive connection may idle between requests.
    pub keepalive_timeout: Duration,
    /// From the end of the request's head to the first byte of the response; 0 = none.
    pub response_timeout: Duration,
    /// The longest pause between two pieces of a body, either way; 0 = none.
    pub body_timeout: Duration,
    /// Bytes of a request's body; 0 = no limit (the default).
    pub body_bytes: u64,
    /// Client connections in total.
    pub connections: usize,
    /// Client connections from one address.
    pub connections_per_client: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 32 * 1024,
            header_count: 100,
            header_timeout: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(75),
            response_timeout: Duration::from_secs(120),
            body_timeout: Duration::from_secs(60),
            body_bytes: 0,
            connections: 20_000,
            connections_per_client: 2_000,
        }
    }
}

/// How an instance listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// systemd listens, the app takes `LISTEN_FDS` (socket activation proper).
    Fd,
    /// The app binds its own unix socket at `{socket}`.
    Socket,
    /// The app binds TCP `127.0.0.1:{port}`.
    Port,
    /// The app binds either `{socket}` (`$SOCKET`) or `{port}` (`$PORT`): whichever answers first is
    /// used. Inferred only, when the config names a socket or a port without handing it to the app.
    Own,
}

impl Listen {
    /// The word of the config.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fd => "fd",
            Self::Socket => "socket",
            Self::Port => "port",
            Self::Own => "own",
        }
    }
}

/// Whom an instance runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunAs {
    /// A user id of its own for each instance (the default).
    PerInstance,
    /// systemd's `DynamicUser=`.
    Dynamic,
    /// A named user of the host.
    Named(String),
}

/// When systemd starts a crashed instance again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Never: the next request does.
    No,
    /// After an unclean exit (the default).
    OnFailure,
    /// After any exit.
    Always,
}

impl Definition {
    /// The limits of all its instances together. Instances of different processes compete through the
    /// slices of their processes, so a weight of the instances is one of the slice unless that has its own.
    #[must_use]
    pub fn totals(&self) -> ResourceLimits {
        let mut totals = self.total.clone();
        for weight in [Limit::CpuWeight, Limit::IoWeight] {
            if let (None, Some(value)) = (totals.get(weight), self.limits.get(weight)) {
                // It was in range for the instances, and the range is the same.
                let _ = totals.set(weight, Some(value));
            }
        }
        totals
    }

    /// Whether requests go to a socket that systemd holds, so that connecting is all it takes to wake an
    /// instance: the app takes it over, or a relay serves it for an app on a port of a private network.
    #[must_use]
    pub fn systemd_listens(&self) -> bool {
        self.listen == Listen::Fd || self.relayed()
    }

    /// Whether its instances run from a release: some text of it mentions `{release}`.
    #[must_use]
    pub fn uses_releases(&self) -> bool {
        let texts = self.command.iter().chain(&self.directory).chain(self.env.values());
        texts.into_iter().any(|text| super::template::mentions(text, "release"))
    }

    /// Whether a relay stands between that socket and the app.
    #[must_use]
    pub fn relayed(&self) -> bool {
        self.listen == Listen::Port && self.network == Network::Private
    }

    /// The limits of one instance: those of the process, with what was set for it, and nothing above
    /// what the process and the host allow.
    #[must_use]
    pub fn limits_of(&self, overrides: &ResourceLimits, settings: &Settings) -> ResourceLimits {
        let most = self.max.overridden(&ResourceLimits::new(), &settings.max);
        self.limits.overridden(overrides, &most)
    }

    /// Whether its instances may be parked: `park` is not 0, and they sleep by themselves at all.
    /// A dynamic user's directories are systemd's, so that no parked start can be asked for there; and systemd would count the time that an
    /// instance is parked towards `runtime_max`.
    #[must_use]
    pub fn may_park(&self) -> bool {
        let sleeps = self.idle_timeout.is_some();
        let endless = self.limits.get(Limit::RuntimeMax).is_none();
        sleeps && endless && self.tiers.park != Park::Most(0) && self.user != RunAs::Dynamic
    }
}

/// `[process.NAME]`: a template for instances. Templates are still to be interpolated.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// Its name.
    pub name: ProcessName,
    /// `command` split into words, then `args`; never empty.
    pub command: Vec<String>,
    /// Working directory; the instance's data directory if absent.
    pub directory: Option<String>,
    /// How instances listen.
    pub listen: Listen,
    /// `socket`, where given.
    pub socket: Option<String>,
    /// `env`.
    pub env: BTreeMap<String, String>,
    /// `env_file`: absolute paths, read by us, later ones win.
    pub env_file: Vec<PathBuf>,
    /// `health`.
    pub health: Option<String>,
    /// How many `ten spawn` without an id makes.
    pub instances: u32,
    /// Idleness until sleep; `None` = never.
    pub idle_timeout: Option<Duration>,
    /// How long a wake may take.
    pub startup_timeout: Duration,
    /// From SIGTERM to SIGKILL.
    pub stop_timeout: Duration,
    /// Whom it runs as.
    pub user: RunAs,
    /// Restart policy.
    pub restart: Restart,
    /// Whether a request for an unknown id registers it.
    pub spawn_on_request: bool,
    /// How instances cool down.
    pub tiers: Tiers,
    /// Limits of each instance.
    pub limits: ResourceLimits,
    /// Limits of all its instances together.
    pub total: ResourceLimits,
    /// What `ten set` may raise the limits of an instance to.
    pub max: ResourceLimits,
    /// What instances may not do.
    pub sandbox: Sandbox,
    /// Which network they see.
    pub network: Network,
    /// The port that every instance listens on, in a network of its own; without it each has another.
    pub port: Option<u16>,
    /// Secrets that they get.
    pub credentials: Credentials,
    /// When to give up on one.
    pub supervision: Supervision,
    /// Which of its requests are written to the journal.
    pub access: Access,
    /// What it asks of its requests.
    pub route: Arc<RoutePolicy>,
    /// How its releases are made and rolled out.
    pub deploy: Arc<Deploy>,
    /// When and where the data of its instances is backed up.
    pub backup: Arc<BackupPlan>,
    /// Its scheduled jobs, by name.
    pub cron: BTreeMap<String, super::CronJob>,
    /// How much of its instances' logs is kept, where that differs from the settings.
    pub logs: LogKeep,
}
