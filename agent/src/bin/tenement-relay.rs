//! Starts an app in a network of its own, with a relay beside it that brings connections in.
//!
//! `tenement-relay PORT PATIENCE_MS PROGRAM NAME [ARG]...` is what units of instances with
//! `network = "private"` and a port start. It executes PROGRAM in place of itself, so the process id
//! stays the same; a forked copy keeps the listening socket (descriptor 3, sd_listen_fds(3)) and
//! serves it until the app ends. Both run as the instance's user in the instance's sandbox.

use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{
    PidfdFlags, Signal, WaitOptions, getpid, pidfd_open, pidfd_send_signal, waitpid,
};
use tenement_agent::relay;

/// The first descriptor that systemd hands over.
const FIRST_FD: i32 = 3;
/// What systemd itself reports for a program that can't be executed (systemd.exec(5), EXIT_EXEC).
const EXIT_EXEC: u8 = 203;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let number = |at: usize| words.get(at)?.to_str()?.parse::<u64>().ok();
    let (Some(port), Some(patience), [_, _, program, name, args @ ..]) =
        (number(0).and_then(|port| u16::try_from(port).ok()), number(1), words.as_slice())
    else {
        eprintln!("tenement-relay: wrong arguments; this program is started by units only");
        return ExitCode::from(2);
    };
    let result = inherited().and_then(|listener| start(listener, port, patience));
    if let Err(error) = result {
        eprintln!("tenement-relay: the relay can't be started: {error}");
        return ExitCode::FAILURE;
    }
    let mut app = Command::new(program);
    // The listening socket is the relay's, so the app must not be told of it.
    for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
        app.env_remove(name);
    }
    let error = app.arg0(name).args(args).exec();
    eprintln!("tenement-relay: {} cannot be executed: {error}", program.display());
    ExitCode::from(EXIT_EXEC)
}

/// The listening socket, which the app must not get.
fn inherited() -> std::io::Result<OwnedFd> {
    #[expect(unsafe_code, reason = "a descriptor that is handed over is known by its number only")]
    // SAFETY: nothing else in this process has opened or owns a descriptor yet, and whether this one is
    // open and a listening socket is looked at before anything is done with it.
    let listener = unsafe {
        rustix::fd::BorrowedFd::borrow_raw(FIRST_FD).try_clone_to_owned()?;
        OwnedFd::from_raw_fd(FIRST_FD)
    };
    if !rustix::net::sockopt::socket_acceptconn(&listener)? {
        return Err(std::io::Error::other("descriptor 3 is no listening socket"));
    }
    fcntl_setfd(&listener, FdFlags::CLOEXEC)?;
    Ok(listener)
}

/// Forks the relay. Its parent ends at once, so that it is no child of the app's: an app that waits
/// for its children must not meet one that it doesn't know.
fn start(listener: OwnedFd, port: u16, patience_ms: u64) -> std::io::Result<()> {
    let app = pidfd_open(getpid(), PidfdFlags::empty())?;
    match fork()? {
        0 => {}
        child => {
            let child = rustix::process::Pid::from_raw(child);
            return waitpid(child, WaitOptions::empty()).map(drop).map_err(Into::into);
        }
    }
    if !matches!(fork(), Ok(0)) {
        exit(0);
    }
    deaf();
    let result = relay::serve(listener, &app, port, Duration::from_millis(patience_ms));
    if let Err(error) = result {
        eprintln!("tenement-relay: {error}; the instance is ended, since nobody can reach it");
        let _ = pidfd_send_signal(app.as_fd(), Signal::KILL);
    }
    exit(0)
}

fn fork() -> std::io::Result<i32> {
    #[expect(unsafe_code, reason = "no safe wrapper for fork exists")]
    // SAFETY: this process has one thread, so the copy may do whatever the original might.
    let pid = unsafe { libc::fork() };
    if pid < 0 { Err(std::io::Error::last_os_error()) } else { Ok(pid) }
}

/// Ends this copy without running what the original has registered for its end.
fn exit(code: i32) -> ! {
    #[expect(unsafe_code, reason = "no safe wrapper for _exit exists")]
    // SAFETY: it does not return and touches no memory.
    unsafe {
        libc::_exit(code)
    }
}

/// Signals are for the app: the relay serves it for as long as it takes to end.
fn deaf() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2] {
        #[expect(unsafe_code, reason = "no safe wrapper for signal exists")]
        // SAFETY: SIG_IGN installs no handler.
        unsafe {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
}
