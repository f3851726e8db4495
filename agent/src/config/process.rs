//! `[process.X]`: from its table to a [`Definition`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tenement_wire::ProcessName;

use super::merge::Merged;
use super::node::{Fields, Node, Text};
use super::problems::Problems;
use super::settings::{Defaults, check_path, path, set};
use super::template::{self, Piece, mentions};
use super::types::{Definition, Origin, PathRole, RunAs};
use super::{
    access, backup, command, credentials, deploy, limits, logs, network, route, sandbox,
    supervision, tcp, tiers,
};

mod cron;
mod env;
mod listen;
mod user;

pub use cron::CronJob;

const KEYS: [&str; 15] = [
    "command",
    "args",
    "directory",
    "listen",
    "socket",
    "env",
    "env_file",
    "health",
    "instances",
    "idle_timeout",
    "startup_timeout",
    "stop_timeout",
    "user",
    "restart",
    "spawn_on_request",
];

/// All keys of a process.
fn keys() -> Vec<&'static str> {
    let mut keys = KEYS.to_vec();
    keys.extend(tiers::KEYS);
    keys.extend(sandbox::KEYS);
    keys.extend(network::KEYS);
    keys.extend(credentials::KEYS);
    keys.extend(supervision::KEYS);
    keys.extend(logs::KEYS);
    keys.extend(access::KEYS);
    keys.extend(tcp::KEYS);
    keys.extend(["total", "max", "route", "deploy", "backup", "cron"]);
    keys.extend(limits::keys());
    keys
}

/// The most instances that one `ten spawn` makes.
const INSTANCES_MAX: u64 = 10_000;

/// Placeholders that are known before the listener's place is.
const PLACE: [&str; 4] = ["process", "name", "id", "data_dir"];
/// Those of the working directory.
const DIRECTORY_PLACE: [&str; 5] = ["process", "name", "id", "data_dir", "release"];
/// What the directory of all releases is called: it may lie beside those of the processes.
const RELEASES: &str = "releases";

/// All processes by name; `None` for one that is defined wrongly.
pub(super) fn read_all(
    merged: &Merged,
    defaults: &Defaults,
    origins: &mut Vec<Origin>,
    problems: &mut Problems,
) -> BTreeMap<ProcessName, Option<Arc<Definition>>> {
    let mut processes = BTreeMap::new();
    let mut sockets: BTreeMap<String, Text> = BTreeMap::new();
    for (name, node) in &merged.processes {
        let fields = Fields::of(node, problems);
        fields.refuse_unknown(&format!("process `{}`", name.escape_default()), &keys(), problems);
        match ProcessName::new(name) {
            Ok(_) if name == RELEASES => {
                let message =
                    "`releases` is the directory of all releases, and no name of a process";
                problems.add(&node.key, message, "rename it, such as [process.release-notes]");
            }
            Ok(name) => {
                let definition = read(&name, node, &fields, defaults, origins, problems);
                if let Some(socket) = socket_text(&fields) {
                    refuse_shared(&name, &socket, &mut sockets, problems);
                }
                processes.insert(name, definition.map(Arc::new));
            }
            Err(error) => {
                let fix = "rename it, such as [process.api]: the name becomes part of host names";
                problems.add(&node.key, error.to_string(), fix);
            }
        }
    }
    processes
}

fn read(
    name: &ProcessName,
    node: &Node,
    fields: &Fields,
    defaults: &Defaults,
    origins: &mut Vec<Origin>,
    problems: &mut Problems,
) -> Option<Definition> {
    let words = command_words(name, node, fields, origins, problems);
    let directory = directory(name, fields, origins, problems);
    let socket = fields.get("socket").and_then(|node| socket(node, problems));
    let env = fields.get("env").map(|node| env::read(node, problems)).unwrap_or_default();
    let env_file = env_files(fields, origins, problems);
    let health = fields.get("health").and_then(|node| health(node, problems));
    let explicit = fields.get("listen").and_then(|node| listen::read(node, problems));
    let facts = listen::Mentions::of(&words, &env, health.as_deref(), socket.is_some())
        .with_port(fields.get("port").is_some());
    let listen = explicit.unwrap_or_else(|| facts.infer());
    facts.check(listen, fields, &env, problems);
    let mut instances = 1;
    set(fields, "instances", &mut instances, problems, |node, problems| {
        node.integer(1, INSTANCES_MAX, problems).and_then(|n| u32::try_from(n).ok())
    });
    let mut user = RunAs::PerInstance;
    set(fields, "user", &mut user, problems, user::read);
    let common = defaults.clone().overridden(fields, problems);
    let total = fields
        .get("total")
        .map(|node| limits::totals(node, &format!("[process.{name}.total]"), problems));
    let max = fields
        .get("max")
        .map(|node| limits::table(node, &format!("[process.{name}.max]"), problems));
    let (total, max) = (total.unwrap_or_default(), max.unwrap_or_default());
    let limits = limits::read(fields, problems);
    let sandbox = sandbox::read(fields, problems);
    let (network, port) = network::read(fields, problems);
    network::check(fields, (network, port), listen, problems);
    let credentials = credentials::read(fields, origins, problems);
    (!words.is_empty()).then(|| Definition {
        name: name.clone(),
        command: words.into_iter().map(|word| word.value).collect(),
        directory,
        listen,
        socket,
        env: env.into_iter().map(|(key, value)| (key, value.value)).collect(),
        env_file,
        health,
        instances,
        idle_timeout: common.idle_timeout,
        startup_timeout: common.startup_timeout,
        stop_timeout: common.stop_timeout,
        user,
        restart: common.restart,
        spawn_on_request: common.spawn_on_request,
        tiers: common.tiers,
        limits,
        total,
        max,
        sandbox,
        network,
        port,
        credentials,
        supervision: common.supervision,
        access: common.access,
        route: Arc::new(route::read(fields, problems)),
        deploy: Arc::new(deploy::read(fields, problems)),
        backup: Arc::new(backup::read(fields, name.as_str(), problems)),
        cron: fields.get("cron").map(|node| cron::read(node, problems)).unwrap_or_default(),
        logs: logs::LogKeep::default().overridden(fields, problems),
    })
}

fn command_words(
    name: &ProcessName,
    node: &Node,
    fields: &Fields,
    origins: &mut Vec<Origin>,
    problems: &mut Problems,
) -> Vec<Text> {
    let Some(command) = fields.get("command") else {
        if !matches!(node.value, toml::de::DeValue::Table(_)) {
            return Vec::new();
        }
        let fix = format!("add to [process.{name}]: command = \"node server.js\"");
        problems.add(&node.key, format!("process `{name}` has no command"), fix);
        return Vec::new();
    };
    let mut words = command::words(command, problems);
    if let Some(program) = words.first() {
        if program.value.starts_with('/') && template::pieces(&program.value).all(is_text) {
            origins.push(origin(PathRole::Command, &program.value, program, problems));
        } else if ["@", "-", ":", "+", "!"].iter().any(|c| program.value.starts_with(c)) {
            let message = format!("`{}` is not the name of a program", program.value);
            let fix = "write only the program: systemd's prefixes (@ - : + !) don't exist here";
            problems.add(&program.at, message, fix);
        }
    }
    if let Some(args) = fields.get("args") {
        words.extend(args.strings(false, "[\"--verbose\"]", problems));
    }
    for word in &words {
        check_placeholders(word, &template::KNOWN, problems);
    }
    words
}

fn is_text(piece: Piece) -> bool {
    matches!(piece, Piece::Text(_))
}

fn origin(role: PathRole, path: &str, text: &Text, problems: &Problems) -> Origin {
    Origin { role, path: PathBuf::from(path), at: problems.blank(&text.at) }
}

/// Notes every placeholder of `text` that is not in `known`.
pub(super) fn check_placeholders(text: &Text, known: &[&str], problems: &mut Problems) {
    for piece in template::pieces(&text.value) {
        let Piece::Placeholder(word, offset) = piece else { continue };
        if known.contains(&word) {
            continue;
        }
        let at = text.part(offset, word.len() + 2);
        let message = if template::KNOWN.contains(&word) {
            format!("`{{{word}}}` is not known here")
        } else {
            format!("unknown placeholder `{{{word}}}`")
        };
        let list = known.iter().map(|k| format!("{{{k}}}")).collect::<Vec<_>>().join(", ");
        let fix = match super::problems::nearest(word, known) {
            None if known.is_empty() => {
                format!("no placeholder is; write {{{{{word}}}}} for the text itself")
            }
            Some(near) => format!("did you mean `{{{near}}}`? Known: {list}"),
            None => format!("known: {list}; write {{{{{word}}}}} for the text itself"),
        };
        problems.add(&at, message, fix);
    }
}

fn directory(
    name: &ProcessName,
    fields: &Fields,
    origins: &mut Vec<Origin>,
    problems: &mut Problems,
) -> Option<String> {
    let text = fields.get("directory")?.string("\"/app/api\"", problems)?;
    check_placeholders(&text, &DIRECTORY_PLACE, problems);
    if !check_template_path(&text, "directory", problems) {
        return None;
    }
    if !["id", "data_dir", "release"].iter().any(|word| mentions(&text.value, word)) {
        let name = name.as_str();
        let vars = template::Vars { process: name, ..template::Vars::default() };
        let filled = template::fill(&text.value, &vars);
        origins.push(origin(PathRole::Directory, &filled, &text, problems));
    }
    Some(text.value)
}

/// Checks a path in which `{data_dir}` or `{release}` may stand for the absolute beginning.
fn check_template_path(text: &Text, key: &str, problems: &mut Problems) -> bool {
    let absolute = ["{data_dir}", "{release}"];
    let rest = absolute.iter().find_map(|word| text.value.strip_prefix(word));
    let probe = rest.map_or_else(|| text.value.clone(), |rest| format!("/place{rest}"));
    let checked = check_path(&probe, key);
    if let Err((message, fix)) = &checked {
        problems.add(&text.at, message, fix);
    }
    checked.is_ok()
}

/// The text of `socket`, checked or not: its own problems are noted elsewhere.
fn socket_text(fields: &Fields) -> Option<Text> {
    let node = fields.get("socket")?;
    let toml::de::DeValue::String(value) = node.value else { return None };
    Some(Text { value: value.to_string(), at: node.at.clone(), verbatim: None })
}

fn socket(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.string("\"/run/tenement/{process}-{id}.sock\"", problems)?;
    check_placeholders(&text, &PLACE, problems);
    if !check_template_path(&text, "socket", problems) {
        return None;
    }
    if !mentions(&text.value, "id") {
        let fix = "put {id} into it, such as \"{data_dir}/{process}-{id}.sock\"";
        problems.add(&text.at, "all instances would share this one socket", fix);
    }
    Some(text.value)
}

fn refuse_shared(
    name: &ProcessName,
    socket: &Text,
    sockets: &mut BTreeMap<String, Text>,
    problems: &mut Problems,
) {
    let name = name.as_str();
    let (id, data_dir) = ("{id}", "{data_dir}");
    let vars = template::Vars { process: name, id, data_dir, ..template::Vars::default() };
    let filled = template::fill(&socket.value, &vars);
    if let Some(other) = sockets.insert(filled, socket.clone()) {
        let message = format!("this socket is already used at {}", problems.place(&other.at));
        problems.add(&socket.at, message, "put {process} into it, or remove the key");
    }
}

fn env_files(fields: &Fields, origins: &mut Vec<Origin>, problems: &mut Problems) -> Vec<PathBuf> {
    let Some(node) = fields.get("env_file") else { return Vec::new() };
    let mut files = Vec::new();
    for text in node.strings(true, "\"/etc/tenement/api.env\"", problems) {
        check_placeholders(&text, &[], problems);
        if let Some(file) = path(&text, "env_file", problems) {
            origins.push(origin(PathRole::EnvFile, &text.value, &text, problems));
            files.push(file);
        }
    }
    files
}

/// A path on the instance, or a URL of it: a health check goes to the instance itself, never elsewhere.
fn health(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.string("\"/health\"", problems)?;
    check_placeholders(&text, &template::KNOWN, problems);
    let fix = "write \"/health\" or \"http://localhost:{port}/health\"";
    let path = match text.value.strip_prefix("http://") {
        None => text.value.as_str(),
        Some(rest) => {
            let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority.strip_suffix(":{port}").unwrap_or(authority);
            let host = host
                .rsplit_once(':')
                .filter(|(_, p)| p.parse::<u16>().is_ok())
                .map_or(host, |(h, _)| h);
            if !["localhost", "127.0.0.1", "[::1]"].contains(&host) {
                let message = "`health` is asked of the instance itself, not of another host";
                problems.add(&text.at, message, fix);
                return None;
            }
            &rest[authority.len()..]
        }
    };
    let good = path.is_empty() && text.value.starts_with("http://") || path.starts_with('/');
    if !good || text.value.contains([' ', '#']) {
        problems.add(&text.at, "`health` is neither a path nor an http:// URL", fix);
        return None;
    }
    Some(text.value)
}
