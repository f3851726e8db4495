//! What the config says about the proxy.

use std::net::IpAddr;
use std::time::Duration;

use http::HeaderValue;

use crate::config::{Cidr, Limits, Settings};

/// Limits and trust, replaced as a whole when the config is reloaded. A connection keeps the policy
/// that it was accepted under.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Limits of connections, heads and bodies.
    pub limits: Limits,
    /// Peers whose `X-Forwarded-*`, `Forwarded` and `X-Request-Id` are believed.
    pub trusted_proxies: Vec<Cidr>,
    /// Load balancers whose connections begin with who the client is.
    pub proxy_protocol: Vec<Cidr>,
    /// How long open requests may go on after shutdown began.
    pub drain_timeout: Duration,
    /// What holds of HTTPS.
    pub secure: Secure,
}

/// How HTTPS is served, and what becomes of plain HTTP beside it.
#[derive(Debug, Clone)]
pub struct Secure {
    /// Port that clients are sent to from plain HTTP; none: they are not.
    pub redirect: Option<u16>,
    /// `Strict-Transport-Security`.
    pub hsts: Option<HeaderValue>,
    /// From the accept to the end of the handshake.
    pub handshake_timeout: Duration,
    /// Handshakes under way at once; a tenth of them of one address.
    pub handshakes: usize,
}

impl Default for Secure {
    fn default() -> Self {
        let timeout = Duration::from_secs(10);
        Self { redirect: None, hsts: None, handshake_timeout: timeout, handshakes: 1_000 }
    }
}

impl From<&Settings> for Policy {
    fn from(settings: &Settings) -> Self {
        Self {
            limits: settings.limits,
            trusted_proxies: settings.trusted_proxies.clone(),
            proxy_protocol: settings.proxy_protocol.clone(),
            drain_timeout: settings.drain_timeout,
            secure: Secure {
                redirect: (settings.tls.is_on() && settings.tls.redirect)
                    .then_some(settings.tls.port),
                hsts: settings.tls.hsts_value().and_then(|value| value.parse().ok()),
                handshake_timeout: settings.tls.handshake_timeout,
                handshakes: settings.tls.handshakes,
            },
        }
    }
}

impl Policy {
    /// Whether connections of `peer` begin with who the client is.
    #[must_use]
    pub fn awaits_client(&self, peer: IpAddr) -> bool {
        self.proxy_protocol.iter().any(|range| range.contains(peer))
    }

    /// Whether `peer` is a configured proxy.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|range| range.contains(peer))
    }
}
