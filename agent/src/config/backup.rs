//! `[process.X.backup]`: when, how and where the data of its instances is backed up. `[backup]`: what all share.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use tenement_wire::backups::BackupMethod;

use super::node::{Fields, Node, Text};
use super::problems::Problems;
use super::quantity;
use super::settings::{path, set};
use super::types::{Origin, PathRole};

mod calendar;

pub use calendar::Calendar;

const KEYS: [&str; 7] = ["schedule", "every", "jitter", "to", "keep", "method", "hold_max"];
const KEEP_KEYS: [&str; 5] = ["last", "daily", "weekly", "monthly", "yearly"];
const COMMON_KEYS: [&str; 3] = ["at_once", "spool_max", "s3"];
const S3_KEYS: [&str; 5] = ["endpoint", "region", "access_key_file", "path_style", "insecure"];
/// Most of each kind that can be meant to be kept.
const KEEP_MAX: u64 = 10_000;
/// Backups at once at most.
const AT_ONCE_MAX: u64 = 64;

/// `[process.X.backup]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupPlan {
    /// When they are made by themselves, if at all.
    pub when: Option<When>,
    /// They are spread over this time from then on; none: a tenth of the time between two, an hour at most.
    pub jitter: Option<Duration>,
    /// Where they are kept.
    pub to: Option<Target>,
    /// Which are kept.
    pub keep: Keep,
    /// How they are made.
    pub method: BackupMethod,
    /// How long requests may have to wait for one.
    pub hold_max: Duration,
}

impl Default for BackupPlan {
    fn default() -> Self {
        Self {
            when: None,
            jitter: None,
            to: None,
            keep: Keep::default(),
            method: BackupMethod::Sleep,
            hold_max: Duration::from_secs(300),
        }
    }
}

/// When backups are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// So long after the last one.
    Every(Duration),
    /// At these times of the host's clock.
    At(Calendar),
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(calendar) => calendar.fmt(f),
            Self::Every(pause) => {
                let seconds = pause.as_secs();
                match (seconds % 86_400, seconds % 3600, seconds % 60) {
                    (0, _, _) => write!(f, "every {}d", seconds / 86_400),
                    (_, 0, _) => write!(f, "every {}h", seconds / 3600),
                    (_, _, 0) => write!(f, "every {}m", seconds / 60),
                    _ => write!(f, "every {seconds}s"),
                }
            }
        }
    }
}

/// Where backups are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Below a directory.
    Directory(PathBuf),
    /// In a bucket of [`S3Settings`].
    S3 {
        /// Its name.
        bucket: String,
        /// What stands before each key, without slashes at its ends; may be empty.
        prefix: String,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// Which backups are kept: what any of these rules wants. The newest always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// So many, counted from the newest. `u32::MAX`: all.
    pub last: u32,
    /// The last of each of so many days that have one.
    pub daily: u32,
    /// Of so many weeks.
    pub weekly: u32,
    /// Of so many months.
    pub monthly: u32,
    /// Of so many years.
    pub yearly: u32,
}

impl Keep {
    /// Nothing is deleted.
    pub const ALL: Self = Self { last: u32::MAX, ..Self::NONE };
    const NONE: Self = Self { last: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 };
}

impl Default for Keep {
    fn default() -> Self {
        Self { last: 7, daily: 7, weekly: 4, monthly: 6, yearly: 0 }
    }
}

/// `[backup]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSettings {
    /// Scheduled backups that are made at once.
    pub at_once: usize,
    /// Bytes on disk at most that one backup may be ahead of whoever takes it, so that its instance need not wait.
    pub spool_max: u64,
    /// Where buckets are.
    pub s3: Option<S3Settings>,
}

impl Default for BackupSettings {
    fn default() -> Self {
        Self { at_once: 1, spool_max: 1 << 30, s3: None }
    }
}

/// `[backup.s3]`: an endpoint that speaks the protocol of Amazon S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// Scheme, host and port.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    /// File with the key's id and, on the next line, its secret.
    pub access_key_file: PathBuf,
    /// Whether the bucket stands in the path and not in the host.
    pub path_style: bool,
}

/// Reads `[process.X.backup]`.
pub(super) fn read(fields: &Fields, process: &str, problems: &mut Problems) -> BackupPlan {
    let mut plan = BackupPlan::default();
    let Some(node) = fields.get("backup") else { return plan };
    let fields = Fields::of(node, problems);
    fields.refuse_unknown(&format!("[process.{process}.backup]"), &KEYS, problems);
    let minute = Duration::from_secs(60);
    set(&fields, "every", &mut plan.when, problems, |node, problems| {
        quantity::duration(node, minute, problems).map(|pause| Some(When::Every(pause)))
    });
    set(&fields, "schedule", &mut plan.when, problems, |node, problems| {
        let text = node.string("\"daily\"", problems)?;
        match text.value.parse() {
            Ok(calendar) => Some(Some(When::At(calendar))),
            Err(why) => {
                problems.add(&text.at, why, calendar::FIX);
                None
            }
        }
    });
    if let (Some(_), Some(every)) = (fields.get("schedule"), fields.get("every")) {
        let fix = "keep one of `schedule` and `every`";
        problems.add(&every.key, "this schedule is given twice", fix);
    }
    set(&fields, "jitter", &mut plan.jitter, problems, |node, problems| {
        quantity::duration(node, Duration::ZERO, problems).map(Some)
    });
    set(&fields, "hold_max", &mut plan.hold_max, problems, |node, problems| {
        quantity::duration(node, Duration::from_secs(1), problems)
    });
    set(&fields, "method", &mut plan.method, problems, |node, problems| {
        let text = node.string("\"sleep\"", problems)?;
        text.value
            .parse()
            .map_err(|why| problems.add(&text.at, format!("`method` {why}"), "write \"sleep\""))
            .ok()
    });
    set(&fields, "to", &mut plan.to, problems, |node, problems| target(node, problems).map(Some));
    set(&fields, "keep", &mut plan.keep, problems, keep);
    if let (Some(_), None) = (&plan.when, fields.get("to")) {
        let at = fields.get("schedule").or_else(|| fields.get("every")).unwrap_or(node);
        problems.add(&at.key, "these backups are kept nowhere", "add to = \"/srv/backups\"");
    }
    plan
}

fn target(node: &Node, problems: &mut Problems) -> Option<Target> {
    let text = node.string("\"/srv/backups\"", problems)?;
    let Some(rest) = text.value.strip_prefix("s3://") else {
        return path(&text, "to", problems).map(Target::Directory);
    };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_matches('/');
    let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
    let good = (3..=63).contains(&bucket.len()) && bucket.chars().all(label);
    if !good || !bucket.starts_with(char::is_alphanumeric) || bucket.contains("..") {
        let fix = "write \"s3://bucket/prefix\"; a bucket has 3 to 63 of a-z, 0-9, . and -";
        problems.add(&text.at, "this is not the name of a bucket", fix);
        return None;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if prefix.len() > 500
        || !prefix.chars().all(plain)
        || prefix.split('/').any(|part| ["", ".", ".."].contains(&part)) && !prefix.is_empty()
    {
        let fix = "write letters, digits, ., _ and -, with single slashes between";
        problems.add(&text.at, "this is no prefix of keys", fix);
        return None;
    }
    Some(Target::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

fn keep(node: &Node, problems: &mut Problems) -> Option<Keep> {
    if let toml::de::DeValue::String(text) = node.value {
        if text == "all" {
            return Some(Keep::ALL);
        }
        let fix = "write \"all\", or such as keep = { last = 7, daily = 7, weekly = 4 }";
        problems.add(&node.at, "`keep` is neither a table nor \"all\"", fix);
        return None;
    }
    let fields = Fields::of(node, problems);
    fields.refuse_unknown("`keep`", &KEEP_KEYS, problems);
    let mut keep = Keep::NONE;
    let slots = [
        ("last", &mut keep.last),
        ("daily", &mut keep.daily),
        ("weekly", &mut keep.weekly),
        ("monthly", &mut keep.monthly),
        ("yearly", &mut keep.yearly),
    ];
    for (key, slot) in slots {
        set(&fields, key, slot, problems, |node, problems| {
            node.integer(0, KEEP_MAX, problems).and_then(|n| u32::try_from(n).ok())
        });
    }
    if keep == Keep::NONE {
        let fix = "write such as keep = { last = 7, daily = 7, weekly = 4, monthly = 6 }";
        problems.add(&node.at, "`keep` keeps nothing", fix);
        return None;
    }
    Some(keep)
}

/// Reads `[backup]`.
pub(super) fn common(
    fields: &Fields,
    origins: &mut Vec<Origin>,
    problems: &mut Problems,
) -> BackupSettings {
    fields.refuse_unknown("[backup]", &COMMON_KEYS, problems);
    let mut settings = BackupSettings::default();
    set(fields, "at_once", &mut settings.at_once, problems, |node, problems| {
        node.integer(1, AT_ONCE_MAX, problems).and_then(|n| usize::try_from(n).ok())
    });
    set(fields, "spool_max", &mut settings.spool_max, problems, |node, problems| {
        quantity::size(node, 0, 1 << 50, problems)
    });
    settings.s3 = fields.get("s3").and_then(|node| s3(node, origins, problems));
    settings
}

fn s3(node: &Node, origins: &mut Vec<Origin>, problems: &mut Problems) -> Option<S3Settings> {
    let fields = Fields::of(node, problems);
    fields.refuse_unknown("[backup.s3]", &S3_KEYS, problems);
    for key in ["endpoint", "access_key_file"] {
        if fields.get(key).is_none() {
            problems.add(&node.key, format!("[backup.s3] has no `{key}`"), format!("add `{key}`"));
        }
    }
    let (mut path_style, mut insecure) = (true, false);
    set(&fields, "path_style", &mut path_style, problems, Node::boolean);
    set(&fields, "insecure", &mut insecure, problems, Node::boolean);
    let mut region = "us-east-1".to_owned();
    set(&fields, "region", &mut region, problems, |node, problems| {
        let text = node.string("\"eu-central-1\"", problems)?;
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if text.value.is_empty() || !text.value.chars().all(good) {
            problems.add(&text.at, "`region` is not a region", "write such as \"eu-central-1\"");
            return None;
        }
        Some(text.value)
    });
    let file = fields.get("access_key_file").and_then(|node| {
        let text = node.string("\"/etc/tenement/s3.key\"", problems)?;
        let path = path(&text, "access_key_file", problems)?;
        let at = problems.blank(&text.at);
        origins.push(Origin { role: PathRole::Secret, path: path.clone(), at });
        Some(path)
    });
    let endpoint = fields.get("endpoint").and_then(|node| {
        let text = node.string("\"https://s3.eu-central-1.amazonaws.com\"", problems)?;
        endpoint(&text, insecure, problems)
    });
    Some(S3Settings { endpoint: endpoint?, region, access_key_file: file?, path_style })
}

fn endpoint(text: &Text, insecure: bool, problems: &mut Problems) -> Option<String> {
    const FIX: &str = "write such as \"https://s3.eu-central-1.amazonaws.com\"";
    let uri: Option<Uri> = text.value.parse().ok();
    let Some(uri) = uri.filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|a| !a.as_str().contains('@'))
            && uri.path_and_query().is_none_or(|path| path == "/")
    }) else {
        problems.add(&text.at, "`endpoint` is not scheme, host and port alone", FIX);
        return None;
    };
    let here = ["localhost", "127.0.0.1", "[::1]"].contains(&uri.host().unwrap_or_default());
    if uri.scheme_str() == Some("http") && !here && !insecure {
        let message = "tenants' data would go to this endpoint in the clear";
        problems.add(&text.at, message, "write https://, or add insecure = true");
        return None;
    }
    Some(text.value.trim_end_matches('/').to_owned())
}

/// That what needs `[backup.s3]` has it.
pub(super) fn check(
    plans: &std::collections::BTreeMap<String, Node>,
    settings: &BackupSettings,
    problems: &mut Problems,
) {
    if settings.s3.is_some() || problems.syntax_broken {
        return;
    }
    for process in plans.values() {
        let toml::de::DeValue::Table(_) = process.value else { continue };
        let fields = Fields::of(process, problems);
        let Some(backup) = fields.get("backup") else { continue };
        let toml::de::DeValue::Table(_) = backup.value else { continue };
        let fields = Fields::of(backup, problems);
        let Some(to) = fields.get("to") else { continue };
        if let toml::de::DeValue::String(text) = to.value
            && text.starts_with("s3://")
        {
            let fix = "add [backup.s3] with endpoint, region and access_key_file";
            problems.add(&to.at, "the config does not say where this bucket is", fix);
        }
    }
}
