//! `[process.NAME.route]`: what a process asks of its requests before they reach it.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, header};
use tenement_wire::domains::{WEIGHT_DEFAULT, WEIGHT_MAX};

use super::node::{Fields, Node};
use super::problems::Problems;
use super::quantity;
use super::settings::{path, set};
use super::types::Cidr;

const KEYS: [&str; 15] = [
    "weight",
    "sticky",
    "allow",
    "deny",
    "rate",
    "burst",
    "basic_auth",
    "realm",
    "request_headers",
    "response_headers",
    "compress",
    "body_max",
    "maintenance_page",
    "waiting_page_after",
    "maintenance_retry_after",
];

/// Ranges in `allow` or `deny`, users, and headers at most.
const LIST_MAX: usize = 1000;

/// How a process takes its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePolicy {
    /// What an instance weighs that no weight was set for, on `{process}.{domain}`.
    pub weight: u32,
    /// Whether clients stay with the instance that answered them first, by a cookie.
    pub sticky: bool,
    /// Only clients from these may ask; empty: all.
    pub allow: Vec<Cidr>,
    /// Clients from these may not.
    pub deny: Vec<Cidr>,
    /// Requests per second of each client, and how many of them at once.
    pub rate: Option<(u32, u32)>,
    /// Who may ask, with a password; empty: everybody.
    pub users: Vec<BasicUser>,
    /// What browsers show when they ask for it.
    pub realm: String,
    /// What is changed in the headers of requests.
    pub request_headers: Edits,
    /// What is changed in the headers of answers.
    pub response_headers: Edits,
    /// How answers are compressed.
    pub compress: Compress,
    /// The longest body of a request, in bytes.
    pub body_max: Option<u64>,
    /// A page of its own for maintenance.
    pub maintenance_page: Option<PathBuf>,
    /// When clients are told to come back in maintenance.
    pub maintenance_retry_after: Duration,
    /// How long a browser waits for a wake until it gets a page that waits; none: it waits for the wake itself.
    pub waiting_page_after: Option<Duration>,
}

impl Default for RoutePolicy {
    fn default() -> Self {
        Self {
            weight: WEIGHT_DEFAULT,
            sticky: false,
            allow: Vec::new(),
            deny: Vec::new(),
            rate: None,
            users: Vec::new(),
            realm: "restricted".into(),
            request_headers: Edits::default(),
            response_headers: Edits::default(),
            compress: Compress::default(),
            body_max: None,
            maintenance_page: None,
            maintenance_retry_after: Duration::from_secs(120),
            waiting_page_after: None,
        }
    }
}

impl RoutePolicy {
    /// Whether no request of the process needs a look at it.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let own = Self {
            weight: self.weight,
            maintenance_page: self.maintenance_page.clone(),
            maintenance_retry_after: self.maintenance_retry_after,
            realm: self.realm.clone(),
            ..Self::default()
        };
        *self == own
    }

    /// Whether a client at `address` may ask.
    #[must_use]
    pub fn admits(&self, address: std::net::IpAddr) -> bool {
        let within = |ranges: &[Cidr]| ranges.iter().any(|range| range.contains(address));
        !within(&self.deny) && (self.allow.is_empty() || within(&self.allow))
    }
}

/// Somebody who may ask, with a password.
#[derive(Clone, PartialEq, Eq)]
pub struct BasicUser {
    /// Their name.
    pub name: String,
    /// The hash of their password: argon2id (PHC) or bcrypt.
    pub hash: String,
}

impl std::fmt::Debug for BasicUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BasicUser").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Headers that are set and taken off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    /// Set to this, whatever was there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Taken off, first.
    pub remove: Vec<HeaderName>,
}

impl Edits {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}

/// The encodings that answers may get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compress {
    /// gzip (RFC 1952).
    pub gzip: bool,
    /// Zstandard (RFC 8878).
    pub zstd: bool,
}

impl Compress {
    /// Whether there is any.
    #[must_use]
    pub fn is_on(self) -> bool {
        self.gzip || self.zstd
    }
}

/// Reads the table of one process.
pub(super) fn read(fields: &Fields, problems: &mut Problems) -> RoutePolicy {
    let mut policy = RoutePolicy::default();
    let Some(node) = fields.get("route") else { return policy };
    let fields = Fields::of(node, problems);
    fields.refuse_unknown("`route` of a process", &KEYS, problems);
    set(&fields, "weight", &mut policy.weight, problems, |node, problems| {
        node.integer(0, WEIGHT_MAX.into(), problems).and_then(|n| u32::try_from(n).ok())
    });
    set(&fields, "sticky", &mut policy.sticky, problems, Node::boolean);
    set(&fields, "allow", &mut policy.allow, problems, ranges);
    set(&fields, "deny", &mut policy.deny, problems, ranges);
    policy.rate = rate(&fields, problems);
    set(&fields, "basic_auth", &mut policy.users, problems, users);
    set(&fields, "realm", &mut policy.realm, problems, |node, problems| {
        let text = node.string("\"customers\"", problems)?;
        let good = text.value.bytes().all(|b| (b' '..=b'~').contains(&b) && !b"\"\\".contains(&b));
        if !good || text.value.len() > 100 {
            let fix = "write up to 100 ASCII characters without quotes and backslashes";
            problems.add(&node.at, "`realm` can't stand in a header", fix);
            return None;
        }
        Some(text.value)
    });
    set(&fields, "request_headers", &mut policy.request_headers, problems, edits);
    set(&fields, "response_headers", &mut policy.response_headers, problems, edits);
    set(&fields, "compress", &mut policy.compress, problems, compress);
    set(&fields, "body_max", &mut policy.body_max, problems, |node, problems| {
        quantity::size(node, 1, 1 << 50, problems).map(Some)
    });
    set(&fields, "maintenance_page", &mut policy.maintenance_page, problems, |node, problems| {
        let text = node.string("\"/etc/tenement/maintenance.html\"", problems)?;
        path(&text, "maintenance_page", problems).map(Some)
    });
    set(
        &fields,
        "maintenance_retry_after",
        &mut policy.maintenance_retry_after,
        problems,
        |node, problems| quantity::duration(node, Duration::from_secs(1), problems),
    );
    set(
        &fields,
        "waiting_page_after",
        &mut policy.waiting_page_after,
        problems,
        |node, problems| {
            let after = quantity::duration(node, Duration::ZERO, problems)?;
            Some((!after.is_zero()).then_some(after))
        },
    );
    policy
}

/// Address ranges, not too many.
pub(super) fn ranges(node: &Node, problems: &mut Problems) -> Option<Vec<Cidr>> {
    let ranges = super::settings::ranges(node, problems);
    not_too_many(node, ranges, problems)
}

fn not_too_many<T>(node: &Node, list: Vec<T>, problems: &mut Problems) -> Option<Vec<T>> {
    if list.len() <= LIST_MAX {
        return Some(list);
    }
    problems.add(&node.at, format!("there are more than {LIST_MAX}"), "remove some");
    None
}

fn rate(fields: &Fields, problems: &mut Problems) -> Option<(u32, u32)> {
    let number = |key: &str, problems: &mut Problems| {
        let node = fields.get(key)?;
        node.integer(1, 1_000_000, problems).and_then(|n| u32::try_from(n).ok())
    };
    let (rate, burst) = (number("rate", problems), number("burst", problems));
    if let (Some(node), None) = (fields.get("burst"), fields.get("rate")) {
        let fix = "add rate = 10, the requests of each client per second";
        problems.add(&node.key, "`burst` has a meaning beside `rate` only", fix);
    }
    rate.map(|rate| (rate, burst.unwrap_or(rate)))
}

fn users(node: &Node, problems: &mut Problems) -> Option<Vec<BasicUser>> {
    const FIX: &str = "write \"name:HASH\"; `htpasswd -nB NAME` of apache2-utils prints one";
    let mut users: Vec<BasicUser> = Vec::new();
    for text in node.strings(true, "[\"alice:$2y$05$…\"]", problems) {
        let Some((name, hash)) = text.value.split_once(':') else {
            problems.add(&text.at, "a user of `basic_auth` has no hash", FIX);
            continue;
        };
        let known = hash.starts_with("$argon2id$")
            || (hash.len() == 60 && ["$2a$", "$2b$", "$2y$"].iter().any(|p| hash.starts_with(p)));
        if name.is_empty() || name.len() > 100 {
            problems.add(&text.at, "the name must have 1 to 100 characters", FIX);
        } else if !known {
            let message = "a password must be hashed by argon2id or bcrypt: never written as it is";
            problems.add(&text.at, message, FIX);
        } else if users.iter().any(|user| user.name == name) {
            problems.add(&text.at, format!("`{name}` is there twice"), "remove one of the two");
        } else {
            users.push(BasicUser { name: name.to_owned(), hash: hash.to_owned() });
        }
    }
    not_too_many(node, users, problems)
}

/// What frames a message, names its host or belongs to one connection is never a matter of policy.
const OURS: [HeaderName; 13] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    header::CONTENT_ENCODING,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("x-request-id"),
];

fn edits(node: &Node, problems: &mut Problems) -> Option<Edits> {
    let fields = Fields::of(node, problems);
    let whose = problems.text(&node.key).to_owned();
    fields.refuse_unknown(&format!("`{whose}`"), &["set", "remove"], problems);
    let mut edits = Edits::default();
    if let Some(node) = fields.get("set") {
        for (name, node) in Fields::of(node, problems).0 {
            let Some(text) = node.string("\"value\"", problems) else { continue };
            let Some(name) = header_name(&name, &node.key, problems) else { continue };
            match HeaderValue::from_str(&text.value) {
                Ok(value) => edits.set.push((name, value)),
                Err(_) => problems.add(
                    &node.at,
                    "this can't be the value of a header",
                    "write visible ASCII",
                ),
            }
        }
    }
    if let Some(node) = fields.get("remove") {
        for text in node.strings(true, "[\"Server\"]", problems) {
            edits.remove.extend(header_name(&text.value, &text.at, problems));
        }
    }
    Some(edits)
}

fn header_name(
    text: &str,
    at: &super::problems::At,
    problems: &mut Problems,
) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        problems.add(
            at,
            format!("`{text}` is not the name of a header"),
            "write one such as \"X-Frame-Options\"",
        );
        return None;
    };
    if OURS.contains(&name) || name.as_str().contains('_') {
        let message = format!("`{name}` can't be changed: the proxy sets it by itself");
        problems.add(at, message, "remove it");
        return None;
    }
    Some(name)
}

fn compress(node: &Node, problems: &mut Problems) -> Option<Compress> {
    if let toml::de::DeValue::Boolean(on) = node.value {
        return Some(Compress { gzip: *on, zstd: *on });
    }
    let mut compress = Compress::default();
    for text in node.strings(true, "[\"zstd\", \"gzip\"]", problems) {
        match text.value.as_str() {
            "gzip" => compress.gzip = true,
            "zstd" => compress.zstd = true,
            other => {
                let message = format!("there is no encoding `{}` here", other.escape_default());
                problems.add(&text.at, message, "write \"gzip\", \"zstd\" or true for both");
            }
        }
    }
    Some(compress)
}
