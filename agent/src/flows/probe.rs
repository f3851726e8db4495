//! Connecting without saying anything: to wake (a socket of systemd's), or to see whether an app
//! listens.

use std::io;

use tokio::net::{TcpStream, UnixStream};

use crate::upstream::Target;

/// An open connection on which nothing is said.
#[expect(dead_code, reason = "it is held for being open, and never read")]
pub(super) enum Open {
    Unix(UnixStream),
    Tcp(TcpStream),
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
