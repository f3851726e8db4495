//! `listen_tcp` of a process: ports whose connections are passed on as they are.

use std::collections::BTreeMap;

use tenement_wire::{InstanceId, ProcessName, RouteTarget};
use toml::de::DeValue;

use super::merge::Merged;
use super::node::{Fields, Node};
use super::problems::{At, Problems};
use super::types::Settings;

/// The keys of a process.
pub(super) const KEYS: [&str; 2] = ["listen_tcp", "tcp_proxy_protocol"];

/// One port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpRoute {
    /// The port, on all addresses.
    pub port: u16,
    /// Where its connections go.
    pub target: RouteTarget,
    /// The version of the PROXY protocol that says who the client is; none: nobody says it.
    pub header: Option<u8>,
}

/// Reads the ports of all processes.
pub(super) fn read(merged: &Merged, settings: &Settings, problems: &mut Problems) -> Vec<TcpRoute> {
    let mut routes = Vec::new();
    let mut places: BTreeMap<u16, At> = BTreeMap::new();
    for (name, node) in &merged.processes {
        // That it is a table, and its name good, is looked at where processes are read.
        let (DeValue::Table(_), Ok(process)) = (node.value, ProcessName::new(name)) else {
            continue;
        };
        let fields = Fields::of(node, problems);
        let header = fields.get("tcp_proxy_protocol").and_then(|node| {
            node.integer(1, 2, problems).and_then(|version| u8::try_from(version).ok())
        });
        let Some(node) = fields.get("listen_tcp") else {
            if let Some(node) = fields.get("tcp_proxy_protocol") {
                let message = "`tcp_proxy_protocol` has a meaning beside `listen_tcp` only";
                problems.add(&node.key, message, "add listen_tcp = 5432");
            }
            continue;
        };
        for (instance, port, at) in ports(node, problems) {
            let (low, high) = settings.port_range;
            let https = settings.tls.is_on() && port == settings.tls.port;
            if https || port == settings.port || (low..=high).contains(&port) {
                let message = format!("port {port} is used by the agent or its instances");
                problems.add(
                    &at,
                    message,
                    "choose one that is neither `port`, that of `[tls]` nor in `port_range`",
                );
            } else if let Some(first) = places.insert(port, at.clone()) {
                let message = format!("port {port} is already used at {}", problems.place(&first));
                problems.add(&at, message, "choose another port");
            } else {
                let target = RouteTarget { process: process.clone(), instance };
                routes.push(TcpRoute { port, target, header });
            }
        }
    }
    routes
}

/// One port for all instances, or one for each of some.
fn ports(node: &Node, problems: &mut Problems) -> Vec<(Option<InstanceId>, u16, At)> {
    let port = |node: &Node, problems: &mut Problems| {
        node.integer(1, 65_535, problems).and_then(|port| u16::try_from(port).ok())
    };
    let DeValue::Table(_) = node.value else {
        return port(node, problems)
            .map(|port| (None, port, node.at.clone()))
            .into_iter()
            .collect();
    };
    let mut found = Vec::new();
    for (id, node) in Fields::of(node, problems).0 {
        let port = port(&node, problems);
        match InstanceId::new(&id) {
            Ok(id) => found.extend(port.map(|port| (Some(id), port, node.at.clone()))),
            Err(error) => {
                let fix = "write listen_tcp = { prod = 5432, staging = 5433 }";
                problems.add(&node.key, error.to_string(), fix);
            }
        }
    }
    found
}
