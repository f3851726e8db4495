//! Sockets and the signal. The unsafe code of the app is here.
#![expect(unsafe_code, reason = "std has no signalfd, poll or LISTEN_FDS")]

use std::io;
use std::net::TcpListener;
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::net::UnixListener;

/// First descriptor that systemd passes (sd_listen_fds(3)).
const LISTEN_FDS_START: RawFd = 3;

/// The listening socket, non-blocking: the inherited one if there is any, else one of our own.
pub fn listener(socket: Option<&str>, port: Option<u16>) -> io::Result<RawFd> {
    let env = |name: &str| std::env::var(name).ok();
    let inherited = env("LISTEN_PID") == Some(std::process::id().to_string())
        && env("LISTEN_FDS").is_some_and(|n| n != "0");
    let port = port.or_else(|| env("PORT")?.parse().ok());
    let socket_from_env = env("SOCKET");
    let fd = if inherited {
        LISTEN_FDS_START
    } else if let Some(path) =
        socket.or(if port.is_none() { socket_from_env.as_deref() } else { None })
    {
        // A socket file left over from an earlier run would make bind fail.
        let _ = std::fs::remove_file(path);
        UnixListener::bind(path)?.into_raw_fd()
    } else if let Some(port) = port {
        TcpListener::bind(("127.0.0.1", port))?.into_raw_fd()
    } else {
        return Err(io::Error::other("no LISTEN_FDS, --socket, --port, $SOCKET or $PORT"));
    };
    // SAFETY: fcntl on a descriptor that we own; no memory is passed.
    if unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(fd)
}

/// Blocks SIGTERM and returns a descriptor that becomes readable when one arrives.
pub fn sigterm_fd() -> io::Result<RawFd> {
    // SAFETY: `set` is initialised by sigemptyset before its first use, and outlives the calls.
    let fd = unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC)
    };
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
}

/// Waits for a connection (`true`) or SIGTERM (`false`).
pub fn wait(listener: RawFd, signals: RawFd) -> io::Result<bool> {
    let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut fds = [poll(signals), poll(listener)];
    loop {
        // SAFETY: the pointer and the length describe `fds`.
        let ready = unsafe { libc::poll(fds.as_mut_ptr(), 2, -1) };
        if ready > 0 {
            return Ok(fds[0].revents == 0);
        }
        let err = io::Error::last_os_error();
        if err.kind() != io::ErrorKind::Interrupted {
            return Err(err);
        }
    }
}

/// The next connection, if one is there still.
pub fn accept(listener: RawFd) -> Option<RawFd> {
    let none = std::ptr::null_mut();
    // SAFETY: accept4 allows null for the address that nobody asks for.
    let fd = unsafe { libc::accept4(listener, none, none.cast(), libc::SOCK_CLOEXEC) };
    (fd >= 0).then_some(fd)
}
