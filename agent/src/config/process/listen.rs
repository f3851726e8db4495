//! `listen`: how instances of a process listen, said or inferred.

use std::collections::BTreeMap;

use super::super::node::{Fields, Node, Text};
use super::super::problems::Problems;
use super::super::template::mentions;
use super::super::types::Listen;

pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Listen> {
    let text = node.string("\"fd\"", problems)?;
    match text.value.as_str() {
        "fd" => Some(Listen::Fd),
        "socket" => Some(Listen::Socket),
        "port" => Some(Listen::Port),
        other => {
            let message = format!("`listen` can't be `{other}`");
            problems.add(&node.at, message, "write \"fd\", \"socket\" or \"port\"");
            None
        }
    }
}

/// What the texts of a process mention: its listen mode follows from that.
pub(super) struct Mentions {
    socket: bool,
    port: bool,
    loose: bool,
}

impl Mentions {
    pub(super) fn of(
        words: &[Text],
        env: &BTreeMap<String, Text>,
        health: Option<&str>,
        socket_key: bool,
    ) -> Self {
        let any = |word| words.iter().chain(env.values()).any(|text| mentions(&text.value, word));
        let loose = socket_key || health.is_some_and(|text| mentions(text, "port"));
        Self { socket: any("socket"), port: any("port"), loose }
    }

    /// With the `port` key, which says as much as {port} in the command.
    pub(super) fn with_port(self, port_key: bool) -> Self {
        Self { port: self.port || port_key, ..self }
    }

    pub(super) fn infer(&self) -> Listen {
        match (self.socket, self.port, self.loose) {
            (true, _, _) => Listen::Socket,
            (_, true, _) => Listen::Port,
            (_, _, true) => Listen::Own,
            _ => Listen::Fd,
        }
    }

    /// Notes what contradicts the mode.
    pub(super) fn check(
        &self,
        listen: Listen,
        fields: &Fields,
        env: &BTreeMap<String, Text>,
        problems: &mut Problems,
    ) {
        if listen == Listen::Port
            && self.socket
            && let Some(node) = fields.get("listen")
        {
            let message = "`listen` is \"port\", but {socket} is handed to the app";
            problems.add(&node.at, message, "write listen = \"socket\", or remove {socket}");
        }
        if listen == Listen::Port
            && let Some(node) = fields.get("socket")
        {
            let message = "`socket` has no meaning where the app listens on a port";
            problems.add(&node.key, message, "remove `socket`, or write listen = \"socket\"");
        }
        if listen == Listen::Port
            && !self.port
            && let Some(port) = env.get("PORT")
        {
            let message = "every instance gets a port of its own, and PORT is set to one for all";
            problems.add(&port.at, message, "write PORT = \"{port}\", or leave it out");
        }
    }
}
