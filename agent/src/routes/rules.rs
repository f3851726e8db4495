//! What a process asks of its requests before they reach it. A process that asks nothing has none.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tenement_wire::ProcessName;

use crate::config::RoutePolicy;

/// Clients that one process counts at most. Those that are over their rate are never forgotten for others.
pub const CLIENTS_MAX: usize = 16_384;

/// The rules of one process.
#[derive(Debug)]
pub struct Rules {
    /// Whose they are.
    pub process: ProcessName,
    /// What the config says.
    pub policy: Arc<RoutePolicy>,
    /// Its clients, where they are counted.
    pub rate: Option<Arc<Rate>>,
    /// Whether it is in maintenance, and the page of it.
    pub maintenance: Option<Maintenance>,
}

/// A process in maintenance.
#[derive(Debug, Clone, Default)]
pub struct Maintenance {
    /// Its own page, HTML.
    pub page: Option<Bytes>,
}

/// How fast each client may ask.
#[derive(Debug)]
pub struct Rate {
    /// Microseconds between two requests.
    gap_us: u64,
    /// How far ahead of its time a client may be.
    slack_us: u64,
    clients: Mutex<HashMap<IpAddr, u64>>,
}

impl Rate {
    /// `per_second` requests of each client, `burst` of them at once.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let gap_us = 1_000_000 / u64::from(per_second.max(1));
        let slack_us = gap_us * u64::from(burst.max(1) - 1);
        Self { gap_us, slack_us, clients: Mutex::default() }
    }

    /// Counts a request of `client` at `now_us`, on any clock that does not go back (generic cell rate algorithm,
    /// ITU-T I.371, Annex A).
    ///
    /// # Errors
    /// When the next one is taken.
    pub fn pass(&self, client: IpAddr, now_us: u64) -> Result<(), Duration> {
        let client = network_of(client);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= CLIENTS_MAX && !clients.contains_key(&client) {
            // Who has waited long enough is as good as new.
            clients.retain(|_, due| *due > now_us);
            if clients.len() >= CLIENTS_MAX {
                return Err(Duration::from_micros(self.gap_us));
            }
        }
        let due = clients.entry(client).or_insert(0);
        let early = due.saturating_sub(now_us);
        if early > self.slack_us {
            return Err(Duration::from_micros(early - self.slack_us));
        }
        *due = (*due).max(now_us) + self.gap_us;
        Ok(())
    }
}

/// One client: an IPv4 address, or an IPv6 /64, which is what one host is given.
fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_burst_and_its_rate() {
        let rate = Rate::new(10, 3);
        let (a, b) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let now = 5_000_000;
        for n in 0..3 {
            assert_eq!(rate.pass(a, now), Ok(()), "request {n}");
        }
        assert_eq!(rate.pass(a, now), Err(Duration::from_millis(100)));
        assert_eq!(rate.pass(b, now), Ok(()), "another client has its own");
        assert_eq!(rate.pass(a, now + 100_000), Ok(()));
        let (six, neighbour) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        (0..3).for_each(|n| assert_eq!(rate.pass(six, now), Ok(()), "{n}"));
        assert!(rate.pass(neighbour, now).is_err(), "a /64 is one client");
    }

    #[test]
    fn the_table_of_clients_is_bounded() {
        let rate = Rate::new(1, 1);
        let ip = |n: u32| IpAddr::V4((n + 1).into());
        for n in 0..CLIENTS_MAX as u32 {
            assert!(rate.pass(ip(n), 1_000_000).is_ok());
        }
        assert!(rate.pass(ip(99_999), 1_000_000).is_err(), "full of those that were just here");
        assert!(rate.pass(ip(0), 1_000_000).is_err(), "nobody was forgotten for another");
        assert!(rate.pass(ip(99_999), 3_000_000).is_ok(), "those that waited made room");
    }
}
