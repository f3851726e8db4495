//! A network of an instance's own.

use super::error::PlanError;
use super::value::{Property, Value};
use super::{Job, text};
use crate::config::Network;

/// Adds the network namespace. It holds `lo`, which systemd brings up, and nothing else
/// (systemd.exec(5), `PrivateNetwork=`). Sockets at a path are reached across namespaces, so the ways
/// in are those that the host has made; abstract ones are not.
pub(super) fn properties(job: &Job, list: &mut Vec<Property>) -> Result<(), PlanError> {
    match job.def.network {
        Network::Host => Ok(()),
        Network::Private if job.system() => {
            list.push(Property { name: "PrivateNetwork", value: Value::Bool(true) });
            Ok(())
        }
        // A user manager of systemd 252 would leave it out without a word.
        Network::Private => Err(PlanError::NetworkInUserMode),
    }
}

/// The command line, with the relay before it where one is needed: as path and words of the program.
pub(super) fn behind_relay(job: &Job, path: String, argv: Vec<String>) -> (String, Vec<String>) {
    if !job.def.relayed() || job.task.is_some() {
        return (path, argv);
    }
    let relay = text(&job.ctx.relay);
    let patience = job.def.startup_timeout.as_millis().to_string();
    let mut words = vec![relay.clone(), job.port().to_string(), patience, path];
    words.extend(argv);
    (relay, words)
}
