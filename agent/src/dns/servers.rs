//! Which DNS servers this host asks.

use std::net::{IpAddr, SocketAddr};

/// The servers that a resolv.conf(5) names, three at most as there.
#[must_use]
pub fn from_resolv_conf(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        // A link-local address may have its interface behind a %, which a socket address can't hold.
        address.split('%').next()?.parse::<IpAddr>().ok()
    };
    let mut servers: Vec<SocketAddr> =
        text.lines().filter_map(server).take(3).map(|ip| (ip, 53).into()).collect();
    if servers.is_empty() {
        // As resolv.conf(5) has it.
        servers.push(([127, 0, 0, 1], 53).into());
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_servers_of_resolv_conf_are_asked() {
        let text = "# a\nsearch x\nnameserver 192.0.2.1\n nameserver ::1 # b\noptions edns0\n\
                    nameserver 192.0.2.3\nnameserver 192.0.2.4\n";
        let found: Vec<_> = from_resolv_conf(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[::1]:53", "192.0.2.3:53"]);
        assert_eq!(from_resolv_conf("")[0].to_string(), "127.0.0.1:53");
    }
}
