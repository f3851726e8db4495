//! How many requests of other hosts the API works on at once.
//!
//! They share the agent with the proxy, so they get a bounded part of it: a few run, some wait a
//! moment, the rest is told to come back. One address never gets all of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Requests at work.
const RUNNING: usize = 64;
/// Requests of one address, at work or waiting.
const PER_ADDRESS: usize = 16;
/// Requests at work or waiting.
const INSIDE: usize = 256;
/// How long one waits.
const WAIT: Duration = Duration::from_secs(2);

/// The gate.
#[derive(Debug)]
pub(super) struct Gate {
    running: Arc<Semaphore>,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug, Default)]
struct Inside {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One request that was let in, until dropped.
#[derive(Debug)]
pub(super) struct Pass {
    turn: Turn,
    _place: Place,
}

/// A request's part of the work that may be done at once. It may be given back before the request ends.
#[derive(Debug, Clone)]
pub(super) struct Turn(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Turn {
    /// Lets another request work.
    pub(super) fn give_back(&self) {
        // An option is always whole.
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Pass {
    /// What the request may give back.
    pub(super) fn turn(&self) -> Turn {
        self.turn.clone()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        // Whoever else holds it goes on by themselves: the client is gone.
        self.turn.give_back();
    }
}

#[derive(Debug)]
struct Place {
    inside: Arc<Mutex<Inside>>,
    address: IpAddr,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self { running: Arc::new(Semaphore::new(RUNNING)), inside: Arc::default() }
    }

    /// Lets a request of `address` in, unless there are too many.
    pub(super) async fn enter(&self, address: IpAddr) -> Option<Pass> {
        let place = self.place(network_of(address))?;
        let running = timeout(WAIT, self.running.clone().acquire_owned()).await.ok()?.ok()?;
        let turn = Turn(Arc::new(Mutex::new(Some(running))));
        Some(Pass { turn, _place: place })
    }

    fn place(&self, address: IpAddr) -> Option<Place> {
        let mut inside = lock(&self.inside);
        let own = inside.by_address.get(&address).copied().unwrap_or_default();
        if inside.all >= INSIDE || own >= PER_ADDRESS {
            return None;
        }
        inside.all += 1;
        inside.by_address.insert(address, own + 1);
        drop(inside);
        Some(Place { inside: self.inside.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = lock(&self.inside);
        inside.all -= 1;
        if let Some(own) = inside.by_address.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                inside.by_address.remove(&self.address);
            }
        }
    }
}

fn lock(inside: &Mutex<Inside>) -> std::sync::MutexGuard<'_, Inside> {
    // Counting can't panic half way.
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An IPv4 address, or the /64 of an IPv6 one, which is what one host is given.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_address_gets_its_part_and_all_together_no_more_than_there_is() {
        let gate = Gate::new();
        let address = |n: usize| format!("2001:db8:0:{n:x}::{n:x}").parse::<IpAddr>().unwrap();
        let mut passes = Vec::new();
        for n in 0..RUNNING {
            passes.push(gate.enter(address(n / PER_ADDRESS)).await.expect("there is room"));
        }
        let neighbour = "2001:db8::ffff".parse().unwrap();
        assert!(gate.enter(neighbour).await.is_none(), "the same /64 counts as one");
        assert!(gate.enter(address(100)).await.is_none(), "all places are taken");
        passes.pop();
        assert!(gate.enter(address(100)).await.is_some());
        let waits = gate.enter(address(100)).await.unwrap();
        assert!(gate.enter(address(101)).await.is_none());
        waits.turn().give_back();
        assert!(gate.enter(address(101)).await.is_some(), "one that only waits is in nobody's way");
        drop((passes, waits));
        assert!(lock(&gate.inside).by_address.is_empty() && lock(&gate.inside).all == 0);
    }
}
