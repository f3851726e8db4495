//! Who looks at custom domains.

use std::sync::Arc;

use crate::config::Config;
use crate::dns::{Net, from_resolv_conf};
use crate::flows::domains::Domains;

/// Where the host's own DNS servers are named.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Asks the DNS servers that the config names from now on, or the host's.
pub(super) fn adopt(domains: &Domains, config: &Config) {
    let routing = &config.routing;
    let servers = if routing.resolver.is_empty() {
        from_resolv_conf(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default())
    } else {
        routing.resolver.clone()
    };
    match Net::new(&servers, routing.challenge_networks.clone()) {
        Ok(net) => domains.set_prober(Arc::new(net)),
        Err(error) => log::error!("custom domains can't be looked up: {error}"),
    }
}
