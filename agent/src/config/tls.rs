//! `[tls]`: certificates, and how HTTPS is served.

use std::path::PathBuf;
use std::time::Duration;

use super::acme::{self, AcmeSettings};
use super::domain;
use super::merge::Merged;
use super::node::{Fields, Node};
use super::problems::Problems;
use super::quantity;
use super::settings::{path, set};

/// The keys.
pub(super) const KEYS: [&str; 11] = [
    "port",
    "certificates",
    "internal",
    "internal_names",
    "min_version",
    "redirect",
    "hsts",
    "hsts_subdomains",
    "handshake_timeout",
    "handshakes",
    "cache",
];

/// Most certificate files, and most names of the internal CA.
const FILES_MAX: usize = 1_000;
const NAMES_MAX: usize = 100;

/// A certificate file and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the certificate, then those between it and its root.
    pub certificate: PathBuf,
    /// PEM: the private key.
    pub key: PathBuf,
}

/// How HTTPS is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// Port of HTTPS, as clients see it.
    pub port: u16,
    /// Certificates of the operator's own.
    pub certificates: Vec<CertificateFiles>,
    /// Whether the host's own CA makes certificates for the domain.
    pub internal: bool,
    /// Further names that the host's own CA makes a certificate for; a wildcard may be among them.
    pub internal_names: Vec<String>,
    /// How certificates are had from a CA by ACME, if at all.
    pub acme: Option<AcmeSettings>,
    /// Whether TLS 1.2 is spoken beside 1.3.
    pub tls12: bool,
    /// Whether plain HTTP is answered with a redirect where there is a certificate.
    pub redirect: bool,
    /// `max-age` of `Strict-Transport-Security`; zero: the header is not set.
    pub hsts: Duration,
    /// Whether that holds for all names below, too.
    pub hsts_subdomains: bool,
    /// From the accept to the end of the handshake.
    pub handshake_timeout: Duration,
    /// Handshakes under way at once; a tenth of them of one address.
    pub handshakes: usize,
    /// Certificates of custom domains held in memory.
    pub cache: usize,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            port: 443,
            certificates: Vec::new(),
            internal: false,
            internal_names: Vec::new(),
            acme: None,
            tls12: true,
            redirect: true,
            hsts: Duration::ZERO,
            hsts_subdomains: false,
            handshake_timeout: Duration::from_secs(10),
            handshakes: 1_000,
            cache: 2_000,
        }
    }
}

impl TlsSettings {
    /// Whether there is any source of certificates, so that HTTPS is served.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.certificates.is_empty() || self.has_internal() || self.acme.is_some()
    }

    /// Whether the host's own CA is used.
    #[must_use]
    pub fn has_internal(&self) -> bool {
        self.internal || !self.internal_names.is_empty()
    }

    /// The value of `Strict-Transport-Security`, if it is set.
    #[must_use]
    pub fn hsts_value(&self) -> Option<String> {
        let below = if self.hsts_subdomains { "; includeSubDomains" } else { "" };
        (!self.hsts.is_zero()).then(|| format!("max-age={}{below}", self.hsts.as_secs()))
    }
}

/// Reads `[tls]` and `[acme]`.
pub(super) fn read(merged: &Merged, problems: &mut Problems) -> TlsSettings {
    let fields = &merged.tls;
    fields.refuse_unknown("[tls]", &KEYS, problems);
    let mut tls = TlsSettings::default();
    set(fields, "port", &mut tls.port, problems, |node, problems| {
        node.integer(1, 65_535, problems).and_then(|n| u16::try_from(n).ok())
    });
    set(fields, "certificates", &mut tls.certificates, problems, certificates);
    set(fields, "internal", &mut tls.internal, problems, Node::boolean);
    set(fields, "internal_names", &mut tls.internal_names, problems, names);
    set(fields, "min_version", &mut tls.tls12, problems, min_version);
    set(fields, "redirect", &mut tls.redirect, problems, Node::boolean);
    set(fields, "hsts", &mut tls.hsts, problems, |n, p| quantity::duration(n, Duration::ZERO, p));
    set(fields, "hsts_subdomains", &mut tls.hsts_subdomains, problems, Node::boolean);
    set(fields, "handshake_timeout", &mut tls.handshake_timeout, problems, |node, problems| {
        quantity::duration(node, Duration::from_millis(100), problems)
    });
    set(fields, "handshakes", &mut tls.handshakes, problems, |n, p| count(n, 10, 100_000, p));
    set(fields, "cache", &mut tls.cache, problems, |n, p| count(n, 10, 1_000_000, p));
    tls.acme = acme::read(&merged.acme, problems);
    if let Some(node) = fields.get("hsts").filter(|_| !tls.is_on() && !tls.hsts.is_zero()) {
        let fix = "add `internal = true`, `certificates` or a table [acme]";
        problems.add(&node.key, "`hsts` needs certificates, and none are configured", fix);
    }
    tls
}

fn count(node: &Node, min: u64, max: u64, problems: &mut Problems) -> Option<usize> {
    node.integer(min, max, problems).and_then(|n| usize::try_from(n).ok())
}

fn min_version(node: &Node, problems: &mut Problems) -> Option<bool> {
    let text = node.string("\"1.2\"", problems)?;
    match text.value.as_str() {
        "1.2" => Some(true),
        "1.3" => Some(false),
        other => {
            let message = format!("`min_version` can't be `{}`", other.escape_default());
            problems.add(&text.at, message, "write \"1.2\" or \"1.3\"; older ones are broken");
            None
        }
    }
}

fn certificates(node: &Node, problems: &mut Problems) -> Option<Vec<CertificateFiles>> {
    const FIX: &str = "write certificates = [{ cert = \"/etc/tenement/tls/a.pem\", key = \"/etc/tenement/tls/a.key\" }]";
    let Some(elements) = node.elements() else {
        let message =
            format!("`certificates` must be an array of tables, and this is {}", node.kind());
        problems.add(&node.at, message, FIX);
        return None;
    };
    if elements.len() > FILES_MAX {
        let message =
            format!("there are {} certificates, and {FILES_MAX} is the most", elements.len());
        problems.add(&node.at, message, "use one certificate for several names");
        return None;
    }
    let mut files = Vec::new();
    for element in elements {
        let fields = Fields::of(&element, problems);
        fields.refuse_unknown("a certificate", &["cert", "key"], problems);
        let mut file = |key: &str| {
            let Some(node) = fields.get(key) else {
                problems.add(&element.at, format!("this certificate has no `{key}`"), FIX);
                return None;
            };
            let text = node.string("\"/etc/tenement/tls/a.pem\"", problems)?;
            path(&text, key, problems)
        };
        if let (Some(certificate), Some(key)) = (file("cert"), file("key")) {
            files.push(CertificateFiles { certificate, key });
        }
    }
    Some(files)
}

fn names(node: &Node, problems: &mut Problems) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for text in node.strings(true, "[\"intranet.lan\"]", problems) {
        let (star, bare) = match text.value.strip_prefix("*.") {
            Some(bare) => ("*.", bare),
            None => ("", text.value.as_str()),
        };
        match domain::domain(bare) {
            Ok(name) => names.push(format!("{star}{name}")),
            Err((message, fix)) => problems.add(&text.at, message, fix),
        }
    }
    if names.len() > NAMES_MAX {
        let message = format!("there are {} names, and {NAMES_MAX} is the most", names.len());
        problems.add(&node.at, message, "use a wildcard, such as \"*.intranet.lan\"");
        return None;
    }
    Some(names)
}
