//! Floor 1: text of config files to validated definitions, every error at once.
//!
//! ```text
//! SourceFile… ─ toml, with spans ─► merged tables ─ settings, process, instances ─► Config
//!                    └──────────────── every problem found on the way ────────────► Vec<ConfigProblem>
//! ```
//!
//! It reads no file and asks no clock: [`check_paths`] is told what exists.

mod access;
mod acme;
mod api;
mod backup;
mod calendar;
mod command;
mod credentials;
mod deploy;
mod domain;
mod events;
mod instances;
mod limits;
mod logs;
mod merge;
mod metrics;
mod network;
mod node;
mod paths;
mod problems;
mod process;
mod quantity;
mod route;
mod routing;
mod sandbox;
mod settings;
mod supervision;
mod tcp;
pub mod template;
#[cfg(test)]
mod tests;
mod tiers;
mod tls;
mod tracing;
pub mod types;

pub use access::{Access, AccessMode};
pub use acme::{AcmeSettings, DnsProvider, DnsSettings};
pub use api::ApiAccess;
pub use backup::{BackupPlan, BackupSettings, Calendar, Keep, S3Settings, Target, When};
pub use credentials::{Credential, Credentials};
pub use deploy::Deploy;
pub use events::{AlertSettings, EventKeep};
pub use logs::LogKeep;
pub use metrics::MetricsAccess;
pub use network::Network;
pub use paths::{PathState, check_paths};
pub use problems::SourceFile;
pub use process::CronJob;
pub use route::{BasicUser, Compress, Edits, RoutePolicy};
pub use routing::{PathRule, RedirectRule, Routing};
pub use sandbox::{Isolation, Sandbox};
pub use supervision::Supervision;
pub use tcp::TcpRoute;
pub use tiers::{Park, Tiers, WarmWindow};
pub use tls::{CertificateFiles, TlsSettings};
pub use tracing::{Share, Tracing};
pub use types::{Cidr, Config, Definition, Limits, Listen, Origins, Restart, RunAs, Settings};

use tenement_wire::dto::ConfigProblem;
pub use tenement_wire::render_problems as render;

use problems::Problems;

/// Reads all config files as one config: `tenement.toml` first, then `conf.d/*.toml` in order of name.
///
/// # Errors
/// Every problem of every file, in order of place. Only what depends on a file whose syntax is broken
/// goes unreported until that is mended.
pub fn parse(files: &[SourceFile]) -> Result<Config, Vec<ConfigProblem>> {
    let mut problems = Problems::new(files);
    let documents = merge::documents(files, &mut problems);
    let merged = merge::merge(&documents, &mut problems);
    let mut origins = Vec::new();
    let (settings, defaults) = settings::read(&merged, &mut origins, &mut problems);
    let processes = process::read_all(&merged, &defaults, &mut origins, &mut problems);
    let instances = instances::read(&merged, &processes, &settings, &mut problems);
    let routing = routing::read(&merged, &processes, &settings, &mut problems);
    let tcp = tcp::read(&merged, &settings, &mut problems);
    problems.finish()?;
    Ok(Config {
        settings,
        processes: processes.into_iter().filter_map(|(n, d)| Some((n, d?))).collect(),
        instances,
        routing,
        tcp,
        files: files.iter().map(|file| file.name.clone()).collect(),
        origins: Origins(origins),
    })
}
