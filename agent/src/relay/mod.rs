//! Floor 2: from an instance's listening socket into its own network.
//!
//! ```text
//!   agent ── connect ──► ID.sock (systemd's, fd 3) ── accept ── relay ──► 127.0.0.1:PORT or [::1]:PORT
//!            the host's side                                    the instance's own network namespace
//! ```
//!
//! An app in a network namespace of its own listens on a port that nobody outside can reach. The relay
//! runs beside it, in the same unit and the same sandbox, and copies bytes both ways. It understands no
//! protocol: what ends on one side (half or whole) ends on the other, and who reads slowly slows down
//! who writes. While the app does not listen yet, connections wait.
//!
//! One thread and one buffer serve all connections; idle ones cost two descriptors and no buffer.

mod link;
mod pump;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use link::{Link, Side};

/// Connections at the same time; more wait in the socket's queue.
const LINKS_MAX: usize = 1_024;
/// Events taken from the kernel at once.
const EVENTS: usize = 64;
/// One piece of a copy.
const BUFFER: usize = 64 * 1024;
/// The pause before accepting again when the process has no descriptor left.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// How long a connection waits for an app that listened before and refuses now.
const PATIENCE_LATER: Duration = Duration::from_secs(5);

const LISTENER: u64 = u64::MAX;
const APP: u64 = u64::MAX - 1;

/// Copies until the app ends.
///
/// `app` is its pidfd, `port` where it listens, `patience` how long a connection waits for it to
/// listen.
///
/// # Errors
/// If the kernel refuses what the relay as a whole needs. Errors of one connection end that one.
pub fn serve(listener: OwnedFd, app: &OwnedFd, port: u16, patience: Duration) -> io::Result<()> {
    rustix::io::ioctl_fionbio(&listener, true)?;
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&poll, app, EventData::new_u64(APP), EventFlags::IN)?;
    let mut relay = Relay {
        poll,
        listener,
        accepting: false,
        again_at: None,
        links: Vec::new(),
        port,
        patience,
        last_family: link::Family::V4,
        buffer: vec![0; BUFFER].into_boxed_slice(),
    };
    relay.accept_if_room()?;
    loop {
        let mut events =
            [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; EVENTS];
        let count = match epoll::wait(&relay.poll, &mut events, relay.timeout().as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        // New connections come last: their slots may be those of connections that end in this round.
        let mut knocks = false;
        for event in &events[..count] {
            match event.data.u64() {
                // The pidfd becomes readable when the process has ended (pidfd_open(2)).
                APP => return Ok(()),
                LISTENER => knocks = true,
                token => relay.step(token, event.flags),
            }
        }
        if knocks {
            relay.accept()?;
        }
        relay.retry();
        relay.accept_if_room()?;
    }
}

struct Relay {
    poll: OwnedFd,
    listener: OwnedFd,
    accepting: bool,
    /// When to accept again after descriptors ran out.
    again_at: Option<Instant>,
    links: Vec<Option<Link>>,
    port: u16,
    patience: Duration,
    /// Where the app answered last: tried first.
    last_family: link::Family,
    buffer: Box<[u8]>,
}

impl Relay {
    /// Until something is to be done without an event.
    fn timeout(&self) -> Option<rustix::time::Timespec> {
        let retries = self.links.iter().flatten().filter_map(Link::retry_at);
        let next = retries.chain(self.again_at).min()?;
        let wait = next.saturating_duration_since(Instant::now());
        // Beyond `i64` seconds there is nothing that we wait for.
        wait.try_into().ok()
    }

    /// Looks at the listener while there is room, and not otherwise.
    fn accept_if_room(&mut self) -> io::Result<()> {
        if self.again_at.is_some_and(|at| at <= Instant::now()) {
            self.again_at = None;
        }
        let room = self.links.iter().flatten().count() < LINKS_MAX && self.again_at.is_none();
        if room && !self.accepting {
            epoll::add(&self.poll, &self.listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        } else if !room && self.accepting {
            epoll::delete(&self.poll, &self.listener)?;
        }
        self.accepting = room;
        Ok(())
    }

    /// Takes one waiting connection; the kernel tells of the next one again.
    fn accept(&mut self) -> io::Result<()> {
        match accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(client) => {
                let now = Instant::now();
                let mut link = Link::new(client, self.last_family, now + self.patience);
                if link.dial(self.port, now).is_ok() {
                    self.keep(link);
                }
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(()),
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                self.again_at = Some(Instant::now() + EXHAUSTED);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn keep(&mut self, mut link: Link) {
        let slot = match self.links.iter().position(Option::is_none) {
            Some(slot) => slot,
            None => {
                self.links.push(None);
                self.links.len() - 1
            }
        };
        if register(&self.poll, slot, &mut link).is_ok() {
            self.links[slot] = Some(link);
        }
    }

    /// One event of one connection. An event of one that ended in this round finds nothing.
    fn step(&mut self, token: u64, flags: EventFlags) {
        let (slot, side) = untoken(token);
        let Some(mut link) = self.links.get_mut(slot).and_then(Option::take) else { return };
        let now = Instant::now();
        let went = if link.is_dialling() && side == Side::App {
            match link.dialled(self.port, now) {
                Ok(true) => {
                    self.last_family = link.family();
                    self.patience = self.patience.min(PATIENCE_LATER);
                    pump::pump(&mut link, &mut self.buffer)
                }
                Ok(false) => Ok(true),
                Err(error) => Err(error),
            }
        } else {
            link.note(side, flags);
            pump::pump(&mut link, &mut self.buffer)
        };
        if went.is_ok_and(|open| open) && register(&self.poll, slot, &mut link).is_ok() {
            self.links[slot] = Some(link);
        }
        // Else it is dropped here: closing its descriptors takes them out of the poll set.
    }

    /// Tries those again whose app did not listen.
    fn retry(&mut self) {
        let now = Instant::now();
        for slot in 0..self.links.len() {
            let due =
                self.links[slot].as_ref().and_then(Link::retry_at).is_some_and(|at| at <= now);
            if !due {
                continue;
            }
            let Some(mut link) = self.links[slot].take() else { continue };
            if link.dial(self.port, now).is_ok() && register(&self.poll, slot, &mut link).is_ok() {
                self.links[slot] = Some(link);
            }
        }
    }
}

/// Tells the kernel which events of a connection matter now.
fn register(poll: &OwnedFd, slot: usize, link: &mut Link) -> io::Result<()> {
    for side in [Side::Client, Side::App] {
        let wanted = link.wanted(side);
        let Some((fd, was)) = link.registration(side) else { continue };
        let data = EventData::new_u64(token(slot, side));
        let fd: BorrowedFd = fd.as_fd();
        match (*was, wanted) {
            (old, new) if old == new => continue,
            (None, Some(flags)) => epoll::add(poll, fd, data, flags)?,
            (Some(_), Some(flags)) => epoll::modify(poll, fd, data, flags)?,
            (_, None) => epoll::delete(poll, fd)?,
        }
        *was = wanted;
    }
    Ok(())
}

fn token(slot: usize, side: Side) -> u64 {
    (slot as u64) << 1 | u64::from(side == Side::App)
}

fn untoken(token: u64) -> (usize, Side) {
    let side = if token & 1 == 1 { Side::App } else { Side::Client };
    ((token >> 1) as usize, side)
}

#[cfg(test)]
mod tests;
