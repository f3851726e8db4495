//! `[tracing]`: where spans of requests are sent, and of how many requests.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use super::node::{Fields, Node};
use super::problems::Problems;
use super::quantity;
use super::settings::{path, set};
use super::types::{Origin, PathRole};

const KEYS: [&str; 8] = [
    "endpoint",
    "protocol",
    "sample",
    "follow_clients",
    "query",
    "service_name",
    "headers_file",
    "timeout",
];

/// Path that is added to an endpoint that has none (OTLP/HTTP, section "HTTP request").
const TRACES_PATH: &str = "/v1/traces";
/// Bounds of what is waited for a collector.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Longest URL, in bytes.
const URL_MAX: usize = 2_000;
/// Longest name of the service, in characters.
const SERVICE_MAX: usize = 100;

/// A share of all, in millionths: it is compared exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    /// All.
    pub const ALL: Self = Self(1_000_000);
    /// One in ten.
    pub const TENTH: Self = Self(100_000);

    /// As a fraction of `2^64`: a random number below it is in the share. `None` is all of them.
    #[must_use]
    pub fn threshold(self) -> Option<u64> {
        (self != Self::ALL).then(|| {
            let part = (u128::from(self.0) << 64) / u128::from(Self::ALL.0);
            u64::try_from(part).unwrap_or(u64::MAX)
        })
    }

    /// Whether `random`, any number with the same chance, is in the share.
    #[must_use]
    pub fn has(self, random: u64) -> bool {
        self.threshold().is_none_or(|threshold| random < threshold)
    }
}

/// Where spans go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracing {
    /// The collector's URL for traces.
    pub endpoint: Uri,
    /// The share of requests that is recorded, where nobody has decided before.
    pub sample: Share,
    /// Whether the `sampled` flag of any client decides, and not only that of a trusted proxy.
    pub follow_clients: bool,
    /// Whether spans hold the query of the URL.
    pub query: bool,
    /// `service.name` of the resource.
    pub service_name: String,
    /// File with more header fields for the collector, a line each.
    pub headers_file: Option<PathBuf>,
    /// How long the collector may take to answer.
    pub timeout: Duration,
}

/// Reads `[tracing]`; without an `endpoint` nothing is sent.
pub(super) fn read(
    fields: &Fields,
    origins: &mut Vec<Origin>,
    problems: &mut Problems,
) -> Option<Tracing> {
    fields.refuse_unknown("[tracing]", &KEYS, problems);
    let endpoint = fields.get("endpoint").and_then(|node| endpoint(node, problems));
    if let Some(node) = fields.get("protocol") {
        protocol(node, problems);
    }
    let (mut sample, mut follow_clients, mut query) = (Share::ALL, false, false);
    set(fields, "sample", &mut sample, problems, share);
    set(fields, "follow_clients", &mut follow_clients, problems, Node::boolean);
    set(fields, "query", &mut query, problems, Node::boolean);
    let mut service_name = "tenement".to_owned();
    set(fields, "service_name", &mut service_name, problems, service);
    let headers_file = fields.get("headers_file").and_then(|node| {
        let text = node.string("\"/etc/tenement/tracing.headers\"", problems)?;
        let path = path(&text, "headers_file", problems)?;
        let at = problems.blank(&text.at);
        origins.push(Origin { role: PathRole::Secret, path: path.clone(), at });
        Some(path)
    });
    let mut timeout = Duration::from_secs(10);
    set(fields, "timeout", &mut timeout, problems, |node, problems| {
        let timeout = quantity::duration(node, TIMEOUT_MIN, problems)?;
        if timeout > TIMEOUT_MAX {
            let message = format!("`timeout` must be at most {TIMEOUT_MAX:?}");
            problems.add(&node.at, message, "write \"10s\"");
            return None;
        }
        Some(timeout)
    });
    if fields.get("endpoint").is_none()
        && let Some((_, node)) = fields.0.iter().next()
    {
        let fix = "add endpoint = \"http://localhost:4318\", or remove the table";
        problems.add(&node.key, "[tracing] has no `endpoint`", fix);
    }
    let endpoint = endpoint?;
    if let (Some(_), Some(node)) = (&headers_file, fields.get("headers_file"))
        && endpoint.scheme_str() == Some("http")
        && !is_here(&endpoint)
    {
        let message = "what is in `headers_file` could be read on its way over http";
        problems.add(&node.at, message, "write https:// in `endpoint`");
    }
    Some(Tracing { endpoint, sample, follow_clients, query, service_name, headers_file, timeout })
}

/// Whether the URL is of this very host.
fn is_here(uri: &Uri) -> bool {
    uri.host().is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host))
}

fn endpoint(node: &Node, problems: &mut Problems) -> Option<Uri> {
    const FIX: &str = "write the collector's address, such as \"http://localhost:4318\"";
    let text = node.string("\"http://localhost:4318\"", problems)?;
    let uri: Option<Uri> = text.value.parse().ok().filter(|_| text.value.len() <= URL_MAX);
    let good = uri.filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
    });
    let Some(uri) = good else {
        problems.add(&text.at, "`endpoint` is not the http:// or https:// URL of a collector", FIX);
        return None;
    };
    if uri.path() != "/" || uri.query().is_some() {
        return Some(uri);
    }
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static(TRACES_PATH));
    Uri::from_parts(parts).ok()
}

fn protocol(node: &Node, problems: &mut Problems) {
    let Some(text) = node.string("\"http/protobuf\"", problems) else { return };
    let message = match text.value.as_str() {
        "http/protobuf" => return,
        "grpc" => "spans are not sent over gRPC".to_owned(),
        other => format!("`protocol` can't be `{other}`"),
    };
    let fix = "write \"http/protobuf\": every collector takes it, mostly on port 4318";
    problems.add(&node.at, message, fix);
}

fn service(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.string("\"tenement\"", problems)?;
    let count = text.value.chars().count();
    if count == 0 || count > SERVICE_MAX {
        let message = format!("`service_name` must have from 1 to {SERVICE_MAX} characters");
        problems.add(&text.at, message, "write \"tenement\"");
        return None;
    }
    Some(text.value)
}

/// A number from 0 to 1.
pub(super) fn share(node: &Node, problems: &mut Problems) -> Option<Share> {
    use toml::de::DeValue;
    let number: Option<f64> = match node.value {
        DeValue::Integer(value) => value.as_str().parse().ok(),
        DeValue::Float(value) => value.as_str().parse().ok(),
        _ => None,
    };
    let Some(number) = number.filter(|number| (0.0..=1.0).contains(number)) else {
        let name = problems.text(&node.key).to_owned();
        let message = format!("`{name}` must be a number from 0 to 1");
        problems.add(&node.at, message, format!("such as {name} = 0.1 for every tenth request"));
        return None;
    };
    // At least one in a million, if it is not none: rounding must not switch it off.
    let millionths = (number * 1e6).round().max(if number > 0.0 { 1.0 } else { 0.0 });
    Some(Share(millionths as u32))
}
