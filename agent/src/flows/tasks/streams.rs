//! The standard streams of a command: three pipes, or one terminal.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tenement_wire::tasks::TerminalSize;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;

use crate::flows::host::Stdio;

/// Read at once.
pub(super) const PIECE: usize = 32 * 1024;

/// Our ends.
pub(super) struct Ends {
    pub(super) input: Writer,
    pub(super) output: Reader,
    /// A terminal has none.
    pub(super) errors: Option<Reader>,
    pub(super) terminal: Option<Terminal>,
}

/// The side of a terminal that a person sits at.
#[derive(Clone)]
pub(super) struct Terminal(Arc<AsyncFd<OwnedFd>>);

pub(super) enum Writer {
    Pipe(pipe::Sender),
    Terminal(Terminal),
}

pub(super) enum Reader {
    Pipe(pipe::Receiver),
    Terminal(Terminal),
}

/// Pipes for a command, and our ends of them.
pub(super) fn pipes() -> io::Result<(Stdio, Ends)> {
    let ((input, stdin), (stdout, output), (stderr, errors)) =
        (pipe::pipe()?, pipe::pipe()?, pipe::pipe()?);
    // What the command gets waits as files do.
    let theirs =
        [stdin.into_blocking_fd()?, stdout.into_blocking_fd()?, stderr.into_blocking_fd()?];
    let ends = Ends {
        input: Writer::Pipe(input),
        output: Reader::Pipe(output),
        errors: Some(Reader::Pipe(errors)),
        terminal: None,
    };
    Ok((Stdio::Handed(theirs), ends))
}

/// A terminal for a command, and our end of it.
pub(super) fn terminal(size: TerminalSize) -> io::Result<(Stdio, Ends)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let theirs = ioctl_tiocgptpeer(&ours, flags)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    let terminal = Terminal(Arc::new(registered(ours)?));
    terminal.resize(size)?;
    let ends = Ends {
        input: Writer::Terminal(terminal.clone()),
        output: Reader::Terminal(terminal.clone()),
        errors: None,
        terminal: Some(terminal),
    };
    Ok((Stdio::Terminal(theirs), ends))
}

#[expect(unsafe_code, reason = "tokio has no safe way to wait for a descriptor")]
fn registered(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd gives the same open descriptor for as long as it lives, and it lives in the AsyncFd.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

impl Terminal {
    /// Tells the command how large its terminal is now.
    pub(super) fn resize(&self, size: TerminalSize) -> io::Result<()> {
        let (ws_row, ws_col) = (size.rows, size.columns);
        let size = Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(self.0.get_ref().as_fd(), size)?)
    }
}

impl Writer {
    /// Writes all of it, or fails because nobody reads any more.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let terminal = match self {
            Self::Pipe(pipe) => return pipe.write_all(bytes).await,
            Self::Terminal(terminal) => terminal,
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut ready = terminal.0.writable().await?;
            let wrote = ready.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), rest)?));
            if let Ok(wrote) = wrote {
                rest = &rest[wrote?..];
            }
        }
        Ok(())
    }

    /// What says "no more input" in the middle of a terminal: Ctrl-D. A pipe is closed instead.
    pub(super) async fn finish(self) {
        const END_OF_TRANSMISSION: &[u8] = &[4];
        if let mut terminal @ Self::Terminal(_) = self {
            let _ = terminal.write(END_OF_TRANSMISSION).await;
        }
    }
}

impl Reader {
    /// The next bytes; none at the end.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let terminal = match self {
            Self::Pipe(pipe) => return pipe.read(buffer).await,
            Self::Terminal(terminal) => terminal,
        };
        loop {
            let mut ready = terminal.0.readable().await?;
            match ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut *buffer)?)) {
                // The kernel's way to say that nobody has the other side open (tty_ioctl(4) says nothing of it).
                Ok(Err(error)) if error.raw_os_error() == Some(EIO) => return Ok(0),
                Ok(read) => return read,
                Err(_would_block) => {}
            }
        }
    }
}

const EIO: i32 = rustix::io::Errno::IO.raw_os_error();
