//! `[acme]`: certificates from a CA, and `[acme.dns]`: how its questions about wildcards are answered.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use super::domain;
use super::node::{Fields, Node, Text};
use super::problems::Problems;
use super::quantity;
use super::settings::{path, set};

const KEYS: [&str; 11] = [
    "email",
    "agree_to_terms",
    "directory",
    "ca_file",
    "profile",
    "challenges",
    "eab_kid",
    "eab_key_file",
    "orders_per_hour",
    "retry",
    "dns",
];
/// Keys of `[acme.dns]`, of all providers.
const DNS_KEYS: [&str; 12] = [
    "provider",
    "propagation",
    "server",
    "key_name",
    "key_file",
    "algorithm",
    "zone",
    "token_file",
    "access_key_file",
    "zone_id",
    "command",
    "api",
];
/// The CA that is asked where the config names none.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// How certificates are had from a CA (RFC 8555).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeSettings {
    /// Where the CA writes to before a certificate expires.
    pub email: Option<String>,
    /// URL of the CA's directory.
    pub directory: String,
    /// PEM file with the root of the directory's own certificate, where the system's roots don't do.
    pub ca_file: Option<PathBuf>,
    /// Profile of the certificates, of those that the CA offers.
    pub profile: Option<String>,
    /// Whether TLS-ALPN-01 may be answered (RFC 8737).
    pub tls_alpn: bool,
    /// Whether HTTP-01 may be answered.
    pub http: bool,
    /// Key of an account elsewhere: its id, and the file with the MAC key in base64url.
    pub eab: Option<(String, PathBuf)>,
    /// Orders for custom domains in an hour, of all of them.
    pub orders_per_hour: u32,
    /// The pause after the first failure of a name; it doubles with each.
    pub retry: Duration,
    /// How DNS-01 is answered; without it there are no wildcards.
    pub dns: Option<DnsSettings>,
}

/// How DNS-01 is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsSettings {
    /// Who publishes the records.
    pub provider: DnsProvider,
    /// How long a published record may take until all servers of the zone have it.
    pub propagation: Duration,
}

/// Who publishes records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsProvider {
    /// A name server that takes updates (RFC 2136), signed (RFC 8945).
    Rfc2136 {
        /// Its address.
        server: SocketAddr,
        /// Name of the key.
        key_name: String,
        /// File with the key, in base64.
        key_file: PathBuf,
        /// HMAC: `hmac-sha256`, `hmac-sha384` or `hmac-sha512`.
        algorithm: String,
        /// The zone; without it the server is asked.
        zone: Option<String>,
    },
    /// Cloudflare.
    Cloudflare {
        /// File with a token that may edit the zone's DNS.
        token_file: PathBuf,
        /// Base URL of its API.
        api: String,
    },
    /// Amazon Route 53.
    Route53 {
        /// File with the key's id and, on the next line, its secret.
        access_key_file: PathBuf,
        /// The hosted zone; without it the zones are listed.
        zone_id: Option<String>,
        /// Base URL of its API.
        api: String,
    },
    /// A program of the operator's.
    Exec {
        /// Its words; `present` or `cleanup`, the record's name and its text follow.
        command: Vec<String>,
    },
}

/// Reads `[acme]`; without any key there is none.
pub(super) fn read(fields: &Fields, problems: &mut Problems) -> Option<AcmeSettings> {
    let first = fields.0.values().next()?;
    fields.refuse_unknown("[acme]", &KEYS, problems);
    let mut acme = AcmeSettings {
        email: None,
        directory: LETS_ENCRYPT.to_owned(),
        ca_file: None,
        profile: None,
        tls_alpn: true,
        http: true,
        eab: None,
        orders_per_hour: 100,
        retry: Duration::from_secs(300),
        dns: None,
    };
    let mut agreed = false;
    set(fields, "agree_to_terms", &mut agreed, problems, Node::boolean);
    if !agreed {
        let at = fields.get("agree_to_terms").unwrap_or(first).key.clone();
        let fix = "read the CA's terms of service, then write agree_to_terms = true";
        problems.add(&at, "[acme] needs `agree_to_terms = true`", fix);
    }
    set(fields, "email", &mut acme.email, problems, email);
    set(fields, "directory", &mut acme.directory, problems, |node, problems| {
        https(&node.string("\"https://acme.example/directory\"", problems)?, "directory", problems)
    });
    let file = |key: &str, problems: &mut Problems| {
        let node = fields.get(key)?;
        path(&node.string("\"/etc/tenement/file\"", problems)?, key, problems)
    };
    acme.ca_file = file("ca_file", problems);
    acme.profile = word(fields, "profile", problems);
    set(fields, "orders_per_hour", &mut acme.orders_per_hour, problems, |node, problems| {
        node.integer(1, 100_000, problems).and_then(|n| u32::try_from(n).ok())
    });
    set(fields, "retry", &mut acme.retry, problems, |node, problems| {
        quantity::duration(node, Duration::from_secs(1), problems)
    });
    if let Some(node) = fields.get("challenges") {
        challenges(node, &mut acme, problems);
    }
    acme.eab = match (word(fields, "eab_kid", problems), file("eab_key_file", problems)) {
        (Some(kid), Some(key)) => Some((kid, key)),
        _ => None,
    };
    for (key, other) in [("eab_kid", "eab_key_file"), ("eab_key_file", "eab_kid")] {
        if let (Some(node), None) = (fields.get(key), fields.get(other)) {
            problems.add(
                &node.key,
                format!("[acme] has no `{other}`"),
                format!("add {other}, which the CA gave you with it"),
            );
        }
    }
    acme.dns = fields.get("dns").and_then(|node| dns(node, problems));
    Some(acme)
}

fn challenges(node: &Node, acme: &mut AcmeSettings, problems: &mut Problems) {
    (acme.tls_alpn, acme.http) = (false, false);
    for text in node.strings(true, "[\"tls-alpn-01\", \"http-01\"]", problems) {
        match text.value.as_str() {
            "tls-alpn-01" => acme.tls_alpn = true,
            "http-01" => acme.http = true,
            other => {
                let message = format!("there is no challenge `{}`", other.escape_default());
                let fix = "write \"tls-alpn-01\" or \"http-01\"; dns-01 is a table [acme.dns]";
                problems.add(&text.at, message, fix);
            }
        }
    }
}

fn email(node: &Node, problems: &mut Problems) -> Option<Option<String>> {
    let text = node.string("\"ops@example.com\"", problems)?;
    let good = text
        .value
        .split_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && host.contains('.'));
    if !good || text.value.contains([' ', ',']) {
        problems.add(&text.at, "`email` is not an address", "write \"ops@example.com\"");
        return None;
    }
    Some(Some(text.value))
}

fn word(fields: &Fields, key: &str, problems: &mut Problems) -> Option<String> {
    let text = fields.get(key)?.string("\"text\"", problems)?;
    if text.value.is_empty() || text.value.contains(char::is_whitespace) {
        problems.add(&text.at, format!("`{key}` is empty or holds blanks"), "write one word");
        return None;
    }
    Some(text.value)
}

/// A URL by which nobody in between can read or change what is said.
fn https(text: &Text, key: &str, problems: &mut Problems) -> Option<String> {
    let uri: Option<Uri> = text.value.parse().ok();
    let good = uri.is_some_and(|uri| uri.scheme_str() == Some("https") && uri.host().is_some());
    if !good {
        let message = format!("`{key}` must be a URL that begins with https://");
        problems.add(&text.at, message, "write \"https://…\"");
        return None;
    }
    Some(text.value.clone())
}

fn dns(node: &Node, problems: &mut Problems) -> Option<DnsSettings> {
    let fields = Fields::of(node, problems);
    fields.refuse_unknown("[acme.dns]", &DNS_KEYS, problems);
    let mut propagation = Duration::from_secs(60);
    set(&fields, "propagation", &mut propagation, problems, |node, problems| {
        quantity::duration(node, Duration::ZERO, problems)
    });
    let Some(provider) = fields.get("provider") else {
        problems.add(&node.key, "[acme.dns] has no `provider`", PROVIDER_FIX);
        return None;
    };
    let text = provider.string("\"rfc2136\"", problems)?;
    let (needs, may): (&[&str], &[&str]) = match text.value.as_str() {
        "rfc2136" => (&["server", "key_name", "key_file"], &["algorithm", "zone"]),
        "cloudflare" => (&["token_file"], &["api"]),
        "route53" => (&["access_key_file"], &["zone_id", "api"]),
        "exec" => (&["command"], &[]),
        other => {
            let message = format!("there is no provider `{}`", other.escape_default());
            problems.add(&text.at, message, PROVIDER_FIX);
            return None;
        }
    };
    let common = ["provider", "propagation"];
    for (key, node) in &fields.0 {
        let key = key.as_str();
        if DNS_KEYS.contains(&key)
            && !needs.contains(&key)
            && !may.contains(&key)
            && !common.contains(&key)
        {
            let message = format!("provider `{}` has no key `{key}`", text.value);
            problems.add(
                &node.key,
                message,
                format!("remove it; it takes {}", [needs, may].concat().join(", ")),
            );
        }
    }
    for key in needs.iter().filter(|key| fields.get(key).is_none()) {
        problems.add(
            &provider.key,
            format!("provider `{}` needs `{key}`", text.value),
            format!("add `{key}` to [acme.dns]"),
        );
    }
    let provider = match text.value.as_str() {
        "rfc2136" => rfc2136(&fields, problems)?,
        "cloudflare" => DnsProvider::Cloudflare {
            token_file: file(&fields, "token_file", problems)?,
            api: api(&fields, "https://api.cloudflare.com/client/v4", problems)?,
        },
        "route53" => DnsProvider::Route53 {
            access_key_file: file(&fields, "access_key_file", problems)?,
            zone_id: word(&fields, "zone_id", problems),
            api: api(&fields, "https://route53.amazonaws.com", problems)?,
        },
        _ => exec(&fields, problems)?,
    };
    Some(DnsSettings { provider, propagation })
}

const PROVIDER_FIX: &str = "write provider = \"rfc2136\", \"cloudflare\", \"route53\" or \"exec\"";

fn file(fields: &Fields, key: &str, problems: &mut Problems) -> Option<PathBuf> {
    path(&fields.get(key)?.string("\"/etc/tenement/file\"", problems)?, key, problems)
}

fn api(fields: &Fields, default: &str, problems: &mut Problems) -> Option<String> {
    let Some(node) = fields.get("api") else { return Some(default.to_owned()) };
    let text = node.string("\"https://api.example\"", problems)?;
    Some(https(&text, "api", problems)?.trim_end_matches('/').to_owned())
}

fn rfc2136(fields: &Fields, problems: &mut Problems) -> Option<DnsProvider> {
    let server = fields.get("server").and_then(|node| {
        let text = node.string("\"192.0.2.53\"", problems)?;
        let with_port: Option<SocketAddr> = text.value.parse().ok();
        let bare: Option<IpAddr> = text.value.parse().ok();
        let server = with_port.or_else(|| Some((bare?, 53).into()));
        if server.is_none() {
            let message = "`server` must be an address, with or without a port";
            problems.add(&text.at, message, "write \"192.0.2.53\" or \"[2001:db8::53]:5353\"");
        }
        server
    });
    let mut algorithm = "hmac-sha256".to_owned();
    set(fields, "algorithm", &mut algorithm, problems, |node, problems| {
        let text = node.string("\"hmac-sha256\"", problems)?;
        if !["hmac-sha256", "hmac-sha384", "hmac-sha512"].contains(&text.value.as_str()) {
            let message = format!("there is no algorithm `{}`", text.value.escape_default());
            problems.add(
                &text.at,
                message,
                "write \"hmac-sha256\", \"hmac-sha384\" or \"hmac-sha512\"",
            );
            return None;
        }
        Some(text.value)
    });
    let zone = fields.get("zone").and_then(|node| {
        let text = node.string("\"example.com\"", problems)?;
        domain::domain(&text.value)
            .map_err(|(message, fix)| problems.add(&text.at, message, fix))
            .ok()
    });
    let key_name = word(fields, "key_name", problems);
    let key_file = file(fields, "key_file", problems);
    Some(DnsProvider::Rfc2136 {
        server: server?,
        key_name: key_name?,
        key_file: key_file?,
        algorithm,
        zone,
    })
}

fn exec(fields: &Fields, problems: &mut Problems) -> Option<DnsProvider> {
    let node = fields.get("command")?;
    let words = node.strings(false, "[\"/usr/local/lib/dns-hook\"]", problems);
    let program = words.first();
    if !program.is_some_and(|word| word.value.starts_with('/')) {
        let message = "`command` must begin with the absolute path of a program";
        problems.add(&node.at, message, "write command = [\"/usr/local/lib/dns-hook\"]");
        return None;
    }
    Some(DnsProvider::Exec { command: words.into_iter().map(|text| text.value).collect() })
}
