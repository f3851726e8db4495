//! What the management API says of the config and its processes.

use serde::{Deserialize, Serialize};

use crate::ResourceLimits;

/// Answer of `GET /api/v1/config` and of a check or reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ConfigView {
    /// Domain whose subdomains are instances.
    pub domain: String,
    /// Port of the proxy.
    pub port: u16,
    /// Parent of the instances' data directories.
    pub data_dir: String,
    /// The config files read, in order.
    pub files: Vec<String>,
    /// The processes, in order of name.
    pub processes: Vec<ProcessView>,
    /// Errors of the newest files, if the agent runs on an older config than what is on disk.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<ConfigProblem>,
    /// What the config asks and this host can't do, a sentence for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmet: Vec<String>,
}

/// One process of the config, as understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ProcessView {
    /// Its name.
    pub name: String,
    /// The command as words, before interpolation.
    pub command: Vec<String>,
    /// `fd`, `socket`, `port` or `own`.
    pub listen: String,
    /// Seconds of idleness until an instance sleeps; 0 means never.
    pub idle_timeout_s: u64,
    /// How many `ten spawn` without an id makes.
    pub instances: u32,
    /// Whether a request for an unknown id creates it.
    pub spawn_on_request: bool,
    /// Path of its health check, if it has one.
    #[serde(default)]
    pub health: Option<String>,
    /// Names of its environment variables, in order. Their values are in the config files only.
    #[serde(default)]
    pub env: Vec<String>,
    /// Seconds that a wake may take.
    #[serde(default)]
    pub startup_timeout_s: u64,
    /// Seconds from SIGTERM to SIGKILL.
    #[serde(default)]
    pub stop_timeout_s: u64,
    /// Limits of each instance.
    #[serde(default)]
    pub limits: ResourceLimits,
    /// What the limits of one instance may be raised to.
    #[serde(default)]
    pub max: ResourceLimits,
    /// Limits of all its instances together.
    #[serde(default)]
    pub total: ResourceLimits,
}

/// Answer of `GET /api/v1/processes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ProcessList {
    /// In order of name.
    pub processes: Vec<ProcessView>,
}

/// Body of `POST /api/v1/config/check`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// The files to check, in order; empty means those that the agent reads.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(max_items = 1000))]
    pub files: Vec<ConfigFile>,
}

/// One config file handed over as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// What errors call it, in 1 to 255 characters that are no control characters.
    #[cfg_attr(
        feature = "schema",
        schema(min_length = 1, max_length = 255, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")
    )]
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Answer of `POST /api/v1/config/check`, and what `tenementd check --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ConfigCheck {
    /// Whether the agent would take it.
    pub valid: bool,
    /// The config files read, in order.
    pub files: Vec<String>,
    /// Every error, in order of file and line.
    pub problems: Vec<ConfigProblem>,
}

/// One error of the config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ConfigProblem {
    /// File, as given.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The offending text.
    pub text: String,
    /// The whole line that it stands in.
    #[serde(default)]
    pub source: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}
