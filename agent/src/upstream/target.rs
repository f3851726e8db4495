//! Where an instance listens.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// Address of an instance's listener. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A unix stream socket.
    Unix(Arc<Path>),
    /// A TCP address on loopback.
    Tcp(SocketAddr),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(addr) => write!(f, "{addr}"),
        }
    }
}
