//! Which network instances of a process see.

use super::node::{Fields, Node};
use super::problems::Problems;
use super::settings::set;
use super::types::Listen;

/// The keys of a process.
pub(super) const KEYS: [&str; 3] = ["network", "outbound", "port"];

/// Which network an instance sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Network {
    /// That of the host (the default).
    #[default]
    Host,
    /// One of its own, with nothing in it but `lo`: it is reached through its socket only.
    Private,
}

/// Reads what `fields` says: the network, and the port that instances listen on in one of their own.
pub(super) fn read(fields: &Fields, problems: &mut Problems) -> (Network, Option<u16>) {
    let mut network = Network::default();
    set(fields, "network", &mut network, problems, mode);
    outbound(fields, network, problems);
    let mut port = None;
    set(fields, "port", &mut port, problems, |node, problems| {
        node.integer(1, u64::from(u16::MAX), problems).map(|port| u16::try_from(port).ok())
    });
    (network, port)
}

fn mode(node: &Node, problems: &mut Problems) -> Option<Network> {
    let text = node.string("\"private\"", problems)?;
    match text.value.as_str() {
        "host" => Some(Network::Host),
        "private" => Some(Network::Private),
        other => {
            let message = format!("`network` can't be `{other}`");
            problems.add(&node.at, message, "write \"host\" or \"private\"");
            None
        }
    }
}

/// Where connections of an instance's own may go. A private network has no way out (the default, and
/// all that there is: docs/ARCHITECTURE.md says why passt is none); on the host's network the key would promise what it does not do.
fn outbound(fields: &Fields, network: Network, problems: &mut Problems) {
    let Some(node) = fields.get("outbound") else { return };
    let Some(text) = node.string("\"none\"", problems) else { return };
    match (text.value.as_str(), network) {
        ("none", Network::Private) => {}
        ("none" | "passt", Network::Host) => {
            let fix = "write network = \"private\" as well, or remove `outbound`";
            problems.add(&node.key, "`outbound` has a meaning in a private network only", fix);
        }
        ("passt", Network::Private) => {
            let message = "`outbound` can't be `passt`: it would run as root beside each instance, and \
                           lead to services on other addresses of this host";
            let fix = "write \"none\", or network = \"host\" for apps that must call out (IPAddressDeny \
                       and IPAddressAllow in [process.NAME.systemd] narrow that); see docs/ARCHITECTURE.md";
            problems.add(&node.at, message, fix);
        }
        (other, _) => {
            let message = format!("`outbound` can't be `{other}`");
            problems.add(&node.at, message, "write \"none\"");
        }
    }
}

/// Notes what contradicts how instances listen.
pub(super) fn check(
    fields: &Fields,
    (network, port): (Network, Option<u16>),
    listen: Listen,
    problems: &mut Problems,
) {
    if let (Some(node), Some(_)) = (fields.get("port"), port) {
        if network == Network::Host {
            let message = "on the host's network each instance needs a port of its own";
            let fix = "write network = \"private\" as well, or {port} in the command instead";
            problems.add(&node.key, message, fix);
        } else if listen != Listen::Port {
            let message =
                format!("`port` has no meaning where `listen` is \"{}\"", listen.as_str());
            problems.add(&node.key, message, "remove `port`, or write listen = \"port\"");
        }
    }
    if let (Some(node), Network::Private, Listen::Own) = (fields.get("network"), network, listen) {
        let message =
            "it is not clear how the app listens, and its ports can't be tried from outside";
        let fix = "write listen = \"port\" or listen = \"socket\"";
        problems.add(&node.at, message, fix);
    }
}
