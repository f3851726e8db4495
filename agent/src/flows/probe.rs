//! Connecting without saying anything: to wake (a socket of systemd's), or to see whether an app
//! listens.

use std::io;

use tokio::net::{TcpStream, UnixStream};

use crate::upstream::Target;

/// An open connection on which nothing is said.
pub(super) enum Open {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Open {
    /// Whether the other side has closed it.
    pub(super) fn has_ended(&self) -> bool {
        let mut byte = [0];
        let read = match self {
            Self::Unix(stream) => stream.try_read(&mut byte),
            Self::Tcp(stream) => stream.try_read(&mut byte),
        };
        match read {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// Connects.
///
/// # Errors
/// As `connect(2)`.
pub(super) async fn connect(target: &Target) -> io::Result<Open> {
    Ok(match target {
        Target::Unix(path) => Open::Unix(UnixStream::connect(path).await?),
        Target::Tcp(address) => Open::Tcp(TcpStream::connect(address).await?),
    })
}
