//! One connection: who is on its two ends, and how far each direction is.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

/// First pause between two tries to reach an app that does not listen yet, doubled up to the other.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Who connected to the instance's socket.
    Client,
    /// The app's port.
    App,
}

/// Which loopback address the app listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// 127.0.0.1
    V4,
    /// `[::1]`
    V6,
}

impl Family {
    fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// What was read and could not be written yet. While there is some, nothing more is read.
    pub(super) held: Vec<u8>,
    /// The reading end has ended.
    pub(super) ended: bool,
    /// The writing end was told so.
    pub(super) shut: bool,
}

impl Flow {
    fn reads(&self) -> bool {
        !self.ended && self.held.is_empty()
    }

    /// Whether all that came has been passed on, the end too.
    pub(super) fn done(&self) -> bool {
        self.shut
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: OwnedFd,
    pub(super) app: Option<OwnedFd>,
    /// From the client to the app, and back.
    pub(super) up: Flow,
    pub(super) down: Flow,
    /// The client has closed both directions: whatever the app says, nobody reads it.
    pub(super) gone: bool,
    client_events: Option<EventFlags>,
    app_events: Option<EventFlags>,
    dialling: Option<Dialling>,
    family: Family,
}

/// The app is not reached yet.
#[derive(Debug)]
struct Dialling {
    until: Instant,
    pause: Duration,
    /// When to try again; `None` while a try is under way.
    retry_at: Option<Instant>,
    /// Both families have been tried in this round.
    second: bool,
}

impl Link {
    /// A connection whose app is to be reached by `until`.
    pub(super) fn new(client: OwnedFd, family: Family, until: Instant) -> Self {
        let dialling = Dialling { until, pause: PAUSE_MIN, retry_at: None, second: false };
        Self {
            client,
            app: None,
            up: Flow::default(),
            down: Flow::default(),
            gone: false,
            client_events: None,
            app_events: None,
            dialling: Some(dialling),
            family,
        }
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    pub(super) fn is_dialling(&self) -> bool {
        self.dialling.is_some()
    }

    /// When the app is to be tried again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.dialling.as_ref()?.retry_at
    }

    /// Begins to connect to the app.
    ///
    /// # Errors
    /// If no socket can be had, or the app is not there in time.
    pub(super) fn dial(&mut self, port: u16, now: Instant) -> io::Result<()> {
        loop {
            let Some(dialling) = &mut self.dialling else { return Ok(()) };
            dialling.retry_at = None;
            let (family, address) = match self.family {
                Family::V4 => (AddressFamily::INET, SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
                Family::V6 => (AddressFamily::INET6, SocketAddr::from((Ipv6Addr::LOCALHOST, port))),
            };
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            // A host without IPv6 has no such sockets: then that try has failed.
            let begun =
                socket_with(family, SocketType::STREAM, flags, None).and_then(
                    |socket| match connect(&socket, &address) {
                        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
                        Err(error) => Err(error),
                    },
                );
            match begun {
                Ok(socket) => {
                    let _ = sockopt::set_tcp_nodelay(&socket, true);
                    (self.app, self.app_events) = (Some(socket), None);
                    return Ok(());
                }
                Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => {
                    return Err(error.into());
                }
                Err(_) if self.refused(now)? => return Ok(()),
                Err(_) => {}
            }
        }
    }

    /// A try has failed: the other family is next, or a pause (`true`), or the end.
    fn refused(&mut self, now: Instant) -> io::Result<bool> {
        (self.app, self.app_events) = (None, None);
        self.family = self.family.other();
        let Some(dialling) = &mut self.dialling else { return Ok(true) };
        dialling.second = !dialling.second;
        if dialling.second {
            return Ok(false);
        }
        if now >= dialling.until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        dialling.retry_at = Some(now + dialling.pause);
        dialling.pause = (dialling.pause * 2).min(PAUSE_MAX);
        Ok(true)
    }

    /// The try that was under way has come to an end: whether the app is reached.
    ///
    /// # Errors
    /// If the app is not there in time.
    pub(super) fn dialled(&mut self, port: u16, now: Instant) -> io::Result<bool> {
        let Some(app) = &self.app else { return Ok(false) };
        if matches!(sockopt::socket_error(app), Ok(Ok(()))) {
            self.dialling = None;
            return Ok(true);
        }
        if !self.refused(now)? {
            self.dial(port, now)?;
        }
        Ok(false)
    }

    /// Takes note of what an event says beyond "there is something to do".
    pub(super) fn note(&mut self, side: Side, flags: EventFlags) {
        if side == Side::Client && flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            self.gone = true;
        }
    }

    /// The events of a side that matter now; `None`: not even its end does.
    ///
    /// An end that is closed for good is reported whatever one asks for. So a side is taken out of the
    /// set where there is nothing to do about its end, or it would be reported without a pause.
    pub(super) fn wanted(&self, side: Side) -> Option<EventFlags> {
        if self.dialling.is_some() {
            let wait = side == Side::App && self.app.is_some();
            return wait.then_some(EventFlags::OUT);
        }
        let (reads, writes) = match side {
            Side::Client => (&self.up, &self.down),
            Side::App => (&self.down, &self.up),
        };
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, reads.reads());
        flags.set(EventFlags::OUT, !writes.held.is_empty());
        match side {
            // Its end alone matters too, unless the app must first take what is held.
            Side::Client if !self.gone && reads.held.is_empty() => Some(flags),
            _ => (!flags.is_empty()).then_some(flags),
        }
    }

    /// The descriptor of a side and what it is registered for.
    pub(super) fn registration(
        &mut self,
        side: Side,
    ) -> Option<(&OwnedFd, &mut Option<EventFlags>)> {
        match side {
            Side::Client => Some((&self.client, &mut self.client_events)),
            Side::App => self.app.as_ref().map(|app| (app, &mut self.app_events)),
        }
    }
}
