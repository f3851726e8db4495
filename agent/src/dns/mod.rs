//! Floor 2: what the DNS and the web say of a name that somebody claims.
//!
//! ```text
//! Ask ─► A, AAAA ─► addresses ─► guard: public, or named by the config ─► GET /.well-known/… ─┐
//!   └──► TXT ─────────────────────────────────────────────────────────────────────────────────┴─► Findings
//! ```
//! Every step has a time limit, and every answer a length. The fetch goes to the addresses that were looked up and
//! nowhere else: it follows no redirect and asks no DNS again, so that a name can't be pointed at this host's
//! own network between the look and the fetch.

mod fetch;
mod guard;
mod servers;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

pub use guard::is_public;
pub use servers::from_resolv_conf;

use crate::config::Cidr;

/// Addresses that are kept of a name.
const ADDRESSES_MAX: usize = 8;
/// TXT records that are looked at.
const RECORDS_MAX: usize = 50;
/// How long the DNS is waited for, for each kind of record.
const DNS_TIMEOUT: Duration = Duration::from_secs(5);

/// What to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The name whose addresses are looked up.
    pub host: String,
    /// The name of the TXT record.
    pub txt_name: String,
    /// What it must hold.
    pub txt_value: String,
    /// The path that must be answered with the value.
    pub path: String,
    /// The value.
    pub answer: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Addresses of the name.
    pub addresses: Vec<IpAddr>,
    /// Why the addresses could not be looked up.
    pub failed: Option<String>,
    /// Whether a TXT record holds the value; or why that is not known.
    pub txt: Option<bool>,
    /// TXT records of the name with other values, three at most.
    pub other_txt: Vec<String>,
    /// Whether the answer came over HTTP.
    pub http: bool,
    /// Why not.
    pub http_problem: Option<String>,
}

/// A future that a [`Prober`] gives.
pub type Probing<'a> = Pin<Box<dyn Future<Output = Findings> + Send + 'a>>;

/// What looks. Tests have their own.
pub trait Prober: Send + Sync + 'static {
    /// Looks for what is asked. It ends within half a minute.
    fn probe(&self, ask: Ask) -> Probing<'_>;
}

/// Looks in the real world.
pub struct Net {
    resolver: TokioResolver,
    allowed: Vec<Cidr>,
}

impl Net {
    /// Asks these servers, and fetches from public addresses and those in `allowed`.
    ///
    /// # Errors
    /// If no resolver can be made of them.
    pub fn new(servers: &[SocketAddr], allowed: Vec<Cidr>) -> Result<Self, String> {
        let server = |at: &SocketAddr| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut one| {
                one.port = at.port();
                one
            });
            NameServerConfig::new(at.ip(), true, connections.into())
        };
        let config = ResolverConfig::from_name_servers(servers.iter().map(server).collect());
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        let options = builder.options_mut();
        options.timeout = Duration::from_secs(2);
        options.attempts = 2;
        // Who has just corrected a record must not be told of the one before.
        options.cache_size = 0;
        options.use_hosts_file = hickory_resolver::config::ResolveHosts::Never;
        let resolver = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { resolver, allowed })
    }

    async fn look_up(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, String> {
        // With a dot at its end it is whole, and no search domain is tried.
        let lookup = self.resolver.lookup(format!("{name}."), kind);
        match tokio::time::timeout(DNS_TIMEOUT, lookup).await {
            Err(_) => Err("the DNS did not answer in time".into()),
            Ok(Err(error)) if error.is_no_records_found() => Ok(Vec::new()),
            Ok(Err(error)) => Err(format!("the DNS could not be asked: {error}")),
            Ok(Ok(found)) => {
                let records = found.answers().iter().take(RECORDS_MAX);
                Ok(records.map(|record| record.data.clone()).collect())
            }
        }
    }

    async fn addresses(&self, host: &str, findings: &mut Findings) {
        let (v4, v6) =
            tokio::join!(self.look_up(host, RecordType::A), self.look_up(host, RecordType::AAAA));
        for found in [v4, v6] {
            match found {
                Ok(records) => {
                    findings.addresses.extend(records.into_iter().filter_map(|data| match data {
                        RData::A(a) => Some(IpAddr::V4(a.0)),
                        RData::AAAA(a) => Some(IpAddr::V6(a.0)),
                        _ => None,
                    }))
                }
                Err(why) => findings.failed = Some(why),
            }
        }
        findings.addresses.truncate(ADDRESSES_MAX);
        if !findings.addresses.is_empty() {
            findings.failed = None;
        }
    }

    async fn txt(&self, ask: &Ask) -> (Option<bool>, Vec<String>) {
        let Ok(records) = self.look_up(&ask.txt_name, RecordType::TXT).await else {
            return (None, Vec::new());
        };
        let mut others = Vec::new();
        for data in records {
            let RData::TXT(txt) = data else { continue };
            // A long text comes in several pieces that belong together (RFC 1035 section 3.3.14).
            let text = txt.txt_data.concat();
            let text = text.trim_ascii();
            if text == ask.txt_value.as_bytes() {
                return (Some(true), Vec::new());
            }
            if others.len() < 3 {
                let text = String::from_utf8_lossy(text);
                others.push(text.chars().filter(|c| !c.is_control()).take(80).collect());
            }
        }
        (Some(false), others)
    }

    async fn look(&self, ask: Ask) -> Findings {
        let mut findings = Findings::default();
        let ((), (txt, others)) =
            tokio::join!(self.addresses(&ask.host, &mut findings), self.txt(&ask));
        (findings.txt, findings.other_txt) = (txt, others);
        if !findings.addresses.is_empty() {
            let allowed = |ip: &IpAddr| {
                is_public(*ip) || self.allowed.iter().any(|range| range.contains(*ip))
            };
            let good: Vec<IpAddr> = findings.addresses.iter().copied().filter(allowed).collect();
            match fetch::first(&good, &ask).await {
                Ok(()) => findings.http = true,
                Err(why) => findings.http_problem = Some(why),
            }
        }
        findings
    }
}

impl Prober for Net {
    fn probe(&self, ask: Ask) -> Probing<'_> {
        Box::pin(self.look(ask))
    }
}
