//! What the config says about the proxy.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::{Cidr, Limits, Settings};

/// Limits and trust, replaced as a whole when the config is reloaded. A connection keeps the policy
/// that it was accepted under.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Limits of connections, heads and bodies.
    pub limits: Limits,
    /// Peers whose `X-Forwarded-*`, `Forwarded` and `X-Request-Id` are believed.
    pub trusted_proxies: Vec<Cidr>,
    /// How long open requests may go on after shutdown began.
    pub drain_timeout: Duration,
}

impl From<&Settings> for Policy {
    fn from(settings: &Settings) -> Self {
        Self {
            limits: settings.limits,
            trusted_proxies: settings.trusted_proxies.clone(),
            drain_timeout: settings.drain_timeout,
        }
    }
}

impl Policy {
    /// Whether `peer` is a configured proxy.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|range| range.contains(peer))
    }
}
