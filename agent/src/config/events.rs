//! `[events]`: how long and how many events are kept. `[alerts]`: where they are sent.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use tenement_wire::events::EventKind;

use super::node::{Fields, Node};
use super::problems::Problems;
use super::quantity;
use super::settings::{path, set};
use super::types::{Origin, PathRole};

const EVENT_KEYS: [&str; 2] = ["keep", "max"];
const ALERT_KEYS: [&str; 5] = ["url", "secret_file", "events", "window", "timeout"];

/// Fewest events that can be meant to be kept.
const MAX_MIN: u64 = 1_000;
/// Most, some 10 GB.
const MAX_MAX: u64 = 50_000_000;
/// Bounds of what is waited for a receiver.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_secs(120);
/// Longest URL, in bytes.
const URL_MAX: usize = 2_000;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventKeep {
    /// Events older than this are removed; zero: none by their age.
    pub age: Duration,
    /// The oldest are removed beyond so many.
    pub max: u64,
}

impl Default for EventKeep {
    fn default() -> Self {
        Self { age: Duration::from_secs(90 * 86_400), max: 1_000_000 }
    }
}

/// Where alerts go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertSettings {
    /// The receiver; `https`, or `http` on this very host.
    pub url: Uri,
    /// File that holds the secret with which alerts are signed.
    pub secret_file: PathBuf,
    /// Kinds of events that are sent.
    pub kinds: Vec<EventKind>,
    /// Of one kind and instance, one alert in this time; the others are counted.
    pub window: Duration,
    /// How long the receiver may take to answer.
    pub timeout: Duration,
}

/// Reads `[events]`.
pub(super) fn keep(fields: &Fields, problems: &mut Problems) -> EventKeep {
    fields.refuse_unknown("[events]", &EVENT_KEYS, problems);
    let mut keep = EventKeep::default();
    set(fields, "keep", &mut keep.age, problems, |node, problems| {
        quantity::duration(node, Duration::ZERO, problems)
    });
    set(fields, "max", &mut keep.max, problems, |node, problems| {
        node.integer(MAX_MIN, MAX_MAX, problems)
    });
    keep
}

/// Reads `[alerts]`; without a `url` none are sent.
pub(super) fn alerts(
    fields: &Fields,
    origins: &mut Vec<Origin>,
    problems: &mut Problems,
) -> Option<AlertSettings> {
    fields.refuse_unknown("[alerts]", &ALERT_KEYS, problems);
    let url = fields.get("url").and_then(|node| url(node, problems));
    let secret = fields.get("secret_file").and_then(|node| {
        let text = node.string("\"/etc/tenement/alerts.secret\"", problems)?;
        let path = path(&text, "secret_file", problems)?;
        let at = problems.blank(&text.at);
        origins.push(Origin { role: PathRole::Secret, path: path.clone(), at });
        Some(path)
    });
    let mut kinds = EventKind::ALERTING.to_vec();
    set(fields, "events", &mut kinds, problems, words);
    let (mut window, mut timeout) = (Duration::from_secs(600), Duration::from_secs(10));
    set(fields, "window", &mut window, problems, |node, problems| {
        quantity::duration(node, Duration::ZERO, problems)
    });
    set(fields, "timeout", &mut timeout, problems, |node, problems| {
        let timeout = quantity::duration(node, TIMEOUT_MIN, problems)?;
        if timeout > TIMEOUT_MAX {
            let message = format!("`timeout` must be at most {TIMEOUT_MAX:?}");
            problems.add(&node.at, message, "write \"10s\"");
            return None;
        }
        Some(timeout)
    });
    for (key, other, fix) in [
        (
            "url",
            "secret_file",
            "secret_file = \"/etc/tenement/alerts.secret\", made with: openssl rand -hex 32",
        ),
        ("secret_file", "url", "url = \"https://alerts.example.com/tenement\""),
    ] {
        if let (Some(node), None) = (fields.get(key), fields.get(other)) {
            problems.add(&node.key, format!("[alerts] has no `{other}`"), format!("add {fix}"));
        }
    }
    Some(AlertSettings { url: url?, secret_file: secret?, kinds, window, timeout })
}

fn url(node: &Node, problems: &mut Problems) -> Option<Uri> {
    const FIX: &str =
        "write the receiver's address, such as \"https://alerts.example.com/tenement\"";
    let text = node.string("\"https://alerts.example.com/tenement\"", problems)?;
    let uri: Option<Uri> = text.value.parse().ok().filter(|_| text.value.len() <= URL_MAX);
    let Some((uri, host)) = uri.and_then(|uri| Some((uri.clone(), uri.host()?.to_owned()))) else {
        problems.add(&text.at, "`url` is not the URL of a receiver", FIX);
        return None;
    };
    let here = ["localhost", "127.0.0.1", "[::1]"].contains(&host.as_str());
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        problems.add(
            &text.at,
            "`url` holds a user name or a password",
            "alerts are signed: leave it out",
        );
        return None;
    }
    match uri.scheme_str() {
        Some("https") => Some(uri),
        Some("http") if here => Some(uri),
        Some("http") => {
            problems.add(
                &text.at,
                "alerts over http can be read and held back on their way",
                "write https://",
            );
            None
        }
        _ => {
            problems.add(&text.at, "`url` must begin with https://", FIX);
            None
        }
    }
}

fn words(node: &Node, problems: &mut Problems) -> Option<Vec<EventKind>> {
    let known: Vec<&str> = EventKind::ALERTING.iter().map(|kind| kind.as_str()).collect();
    let mut kinds = Vec::new();
    for text in node.strings(true, "[\"failed\", \"oom\"]", problems) {
        match EventKind::ALERTING.into_iter().find(|kind| kind.as_str() == text.value) {
            Some(kind) => kinds.push(kind),
            None => {
                let message = format!("no alerts are sent for `{}`", text.value);
                problems.add(&text.at, message, format!("write some of {}", known.join(", ")));
            }
        }
    }
    kinds.sort();
    kinds.dedup();
    Some(kinds)
}
