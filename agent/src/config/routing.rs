//! `[routing]`: names and paths beyond `{id}.{process}.{domain}`, and how custom domains are verified.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tenement_wire::{ProcessName, RouteTarget};

use super::domain;
use super::merge::Merged;
use super::node::{Fields, Node, Text};
use super::problems::{Problems, suggest};
use super::route::ranges;
use super::settings::set;
use super::types::{Cidr, Definition, Settings};

const KEYS: [&str; 6] =
    ["default", "subdomain", "path", "redirect", "resolver", "challenge_networks"];
/// What the domain itself answers, so that no app can take it there.
const LENGTH_MAX: usize = 500;

/// Names and paths that the config gives away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routing {
    /// What the domain itself leads to, instead of dashboard and API.
    pub default: Option<RouteTarget>,
    /// `{name}.{domain}`, by name.
    pub subdomains: BTreeMap<String, RouteTarget>,
    /// Prefixes of paths.
    pub paths: Vec<PathRule>,
    /// What clients are sent elsewhere for.
    pub redirects: Vec<RedirectRule>,
    /// Where the DNS is asked; empty: as /etc/resolv.conf says.
    pub resolver: Vec<SocketAddr>,
    /// Addresses that may be asked for the HTTP challenge beside public ones.
    pub challenge_networks: Vec<Cidr>,
}

/// A prefix of paths and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRule {
    /// The host; none: the domain itself.
    pub host: Option<String>,
    /// `/docs`: without a slash at its end, never empty.
    pub prefix: String,
    /// Where it leads.
    pub to: RouteTarget,
    /// Whether the instance gets the path without the prefix.
    pub strip: bool,
}

/// A host or a prefix and where clients are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectRule {
    /// The host; none: the domain itself.
    pub host: Option<String>,
    /// The prefix; none: all paths.
    pub prefix: Option<String>,
    /// The URL.
    pub to: String,
    /// 301, 302, 307 or 308.
    pub status: u16,
}

impl Routing {
    /// Whether any path of the domain itself is an app's. Dashboard and API are not served beside it then: a page of
    /// the app could do there what its visitor may.
    #[must_use]
    pub fn gives_root_away(&self) -> bool {
        self.default.is_some() || self.paths.iter().any(|rule| rule.host.is_none())
    }
}

type Known = BTreeMap<ProcessName, Option<Arc<Definition>>>;

/// Reads the table.
pub(super) fn read(
    merged: &Merged,
    processes: &Known,
    settings: &Settings,
    problems: &mut Problems,
) -> Routing {
    let fields = &merged.routing;
    fields.refuse_unknown("[routing]", &KEYS, problems);
    let mut routing = Routing::default();
    let reader = Reader { merged, processes, domain: &settings.domain };
    set(fields, "default", &mut routing.default, problems, |node, problems| {
        let text = node.string("\"web\"", problems)?;
        reader.target(&text, problems).map(Some)
    });
    set(fields, "subdomain", &mut routing.subdomains, problems, |n, p| {
        Some(reader.subdomains(n, p))
    });
    set(fields, "path", &mut routing.paths, problems, |n, p| Some(reader.paths(n, p)));
    set(fields, "redirect", &mut routing.redirects, problems, |n, p| Some(reader.redirects(n, p)));
    set(fields, "resolver", &mut routing.resolver, problems, resolvers);
    set(fields, "challenge_networks", &mut routing.challenge_networks, problems, ranges);
    routing
}

fn resolvers(node: &Node, problems: &mut Problems) -> Option<Vec<SocketAddr>> {
    let mut servers = Vec::new();
    for text in node.strings(true, "[\"127.0.0.1:53\"]", problems) {
        let server = text.value.parse::<SocketAddr>();
        let server = server.or_else(|_| text.value.parse::<IpAddr>().map(|ip| (ip, 53).into()));
        match server {
            Ok(server) => servers.push(server),
            Err(_) => {
                let message = "this is not the address of a DNS server";
                problems.add(&text.at, message, "write \"127.0.0.1\" or \"[::1]:5353\"");
            }
        }
    }
    if servers.len() > 8 {
        problems.add(&node.at, "there are more than 8 DNS servers", "remove some");
        return None;
    }
    Some(servers)
}

struct Reader<'a> {
    merged: &'a Merged<'a>,
    processes: &'a Known,
    domain: &'a str,
}

impl Reader<'_> {
    /// A target whose process there is.
    fn target(&self, text: &Text, problems: &mut Problems) -> Option<RouteTarget> {
        let target: RouteTarget = match text.value.parse() {
            Ok(target) => target,
            Err(error) => {
                let fix = "write a process such as \"web\", or an instance such as \"web:prod\"";
                problems.add(&text.at, format!("{error}"), fix);
                return None;
            }
        };
        let name = target.process.as_str();
        let known = self.processes.contains_key(&target.process)
            || self.merged.processes.contains_key(name)
            || problems.syntax_broken;
        if !known {
            let known: Vec<&str> = self.merged.processes.keys().map(String::as_str).collect();
            let fix = match known.is_empty() {
                true => format!("define it: [process.{name}] with a command"),
                false => suggest(name, &known),
            };
            problems.add(&text.at, format!("there is no process `{name}`"), fix);
            return None;
        }
        Some(target)
    }

    fn subdomains(&self, node: &Node, problems: &mut Problems) -> BTreeMap<String, RouteTarget> {
        let mut found = BTreeMap::new();
        for (name, node) in Fields::of(node, problems).0 {
            let Some(text) = node.string("\"web:prod\"", problems) else { continue };
            let target = self.target(&text, problems);
            if ProcessName::new(&name).is_err() {
                let message = format!("`{}` is not a label of a host name", name.escape_default());
                let fix = "write one label of a-z, 0-9 and -; a whole name is a path's or a custom domain's";
                problems.add(&node.key, message, fix);
            } else if self.merged.processes.contains_key(&name) {
                let message = format!("{name}.{} is the process `{name}` already", self.domain);
                problems.add(&node.key, message, "use another name, or rename the process");
            } else if let Some(target) = target {
                found.insert(name, target);
            }
        }
        found
    }

    fn paths(&self, node: &Node, problems: &mut Problems) -> Vec<PathRule> {
        let mut rules: Vec<PathRule> = Vec::new();
        for (place, node) in Fields::of(node, problems).0 {
            let (mut strip, mut text) = (false, None);
            if let toml::de::DeValue::Table(_) = node.value {
                let fields = Fields::of(&node, problems);
                fields.refuse_unknown("a path of [routing.path]", &["to", "strip"], problems);
                set(&fields, "strip", &mut strip, problems, Node::boolean);
                match fields.get("to") {
                    Some(to) => text = to.string("\"docs\"", problems),
                    None => problems.add(&node.at, "this path leads nowhere", "add to = \"docs\""),
                }
            } else {
                text = node.string("\"docs\"", problems);
            }
            let to = text.and_then(|text| self.target(&text, problems));
            let place = self.place(&place, &node, problems);
            let (Some(to), Some((host, prefix))) = (to, place) else { continue };
            let Some(prefix) = prefix else {
                let fix = "write a prefix such as \"/docs\"; [routing] default and subdomain take whole names";
                problems.add(&node.key, "this is a whole host and no path", fix);
                continue;
            };
            rules.push(PathRule { host, prefix, to, strip });
        }
        rules
    }

    fn redirects(&self, node: &Node, problems: &mut Problems) -> Vec<RedirectRule> {
        let mut rules = Vec::new();
        for (place, node) in Fields::of(node, problems).0 {
            let (mut status, mut text) = (308, None);
            if let toml::de::DeValue::Table(_) = node.value {
                let fields = Fields::of(&node, problems);
                fields.refuse_unknown("a redirect", &["to", "status"], problems);
                set(&fields, "status", &mut status, problems, redirect_status);
                match fields.get("to") {
                    Some(to) => text = to.string("\"https://example.com\"", problems),
                    None => problems.add(
                        &node.at,
                        "this redirect leads nowhere",
                        "add to = \"https://example.com\"",
                    ),
                }
            } else {
                text = node.string("\"https://example.com\"", problems);
            }
            let to = text.and_then(|text| url(&text, problems));
            let place = self.place(&place, &node, problems);
            if let (Some(to), Some((host, prefix))) = (to, place) {
                rules.push(RedirectRule { host, prefix, to, status });
            }
        }
        rules
    }

    /// `/docs`, `example.org/docs` or `example.org`.
    fn place(
        &self,
        text: &str,
        node: &Node,
        problems: &mut Problems,
    ) -> Option<(Option<String>, Option<String>)> {
        const FIX: &str = "write \"/docs\" for the domain itself, or \"www.example.org/docs\"";
        let (host, path) = match text.find('/') {
            Some(at) => (&text[..at], Some(&text[at..])),
            None => (text, None),
        };
        if path.is_some_and(|path| path.contains("//") || path.contains("/.") || !plain(path)) {
            problems.add(&node.key, "this is not a prefix of paths", FIX);
            return None;
        }
        let prefix = path.map(|path| path.trim_end_matches('/')).filter(|path| !path.is_empty());
        if host.is_empty() {
            if path.is_none() || (prefix.is_none() && text != "/") {
                problems.add(&node.key, "this is neither a host nor a path", FIX);
                return None;
            }
            return Some((None, prefix.map(str::to_owned)));
        }
        match domain::domain(host) {
            Ok(host) if host == self.domain => Some((None, prefix.map(str::to_owned))),
            Ok(host) => Some((Some(host), prefix.map(str::to_owned))),
            Err((message, fix)) => {
                problems.add(&node.key, message, fix);
                None
            }
        }
    }
}

fn plain(path: &str) -> bool {
    path.len() <= LENGTH_MAX
        && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.~".contains(&b))
}

fn redirect_status(node: &Node, problems: &mut Problems) -> Option<u16> {
    let status = node.integer(301, 308, problems)?;
    if ![301, 302, 307, 308].contains(&status) {
        let fix =
            "write 308 (for good) or 307 (for now); 301 and 302 let clients turn POST into GET";
        problems.add(&node.at, format!("{status} is not the status of such a redirect"), fix);
        return None;
    }
    u16::try_from(status).ok()
}

fn url(text: &Text, problems: &mut Problems) -> Option<String> {
    let fix = "write a whole URL such as \"https://example.com\" or \"https://example.com/new\"";
    let uri: Option<http::Uri> = text.value.parse().ok();
    let good = uri.is_some_and(|uri| {
        let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        let user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        scheme && !user
    });
    if !good || text.value.len() > LENGTH_MAX || !text.value.is_ascii() || text.value.contains('#')
    {
        problems.add(&text.at, "this is not the URL of a redirect", fix);
        return None;
    }
    Some(text.value.clone())
}
