//! The sockets that the agent serves: systemd's first, its own where systemd passed none.
//!
//! systemd holds the listening sockets, so connections made while the agent restarts wait in the
//! kernel's queue and none is refused.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;

use crate::config::TcpRoute;
use rustix::net::sockopt::{socket_domain, socket_protocol};

use crate::config::Settings;

/// Name of the sockets on which clients speak TLS.
const SECURE: &str = "https";

/// What to serve.
#[derive(Debug, Default)]
pub struct Listeners {
    /// TCP listeners of the proxy.
    pub http: Vec<std::net::TcpListener>,
    /// Those on which clients speak TLS: systemd calls them `https` (`FileDescriptorName=`).
    pub https: Vec<std::net::TcpListener>,
    /// The admin socket.
    pub admin: Option<std::os::unix::net::UnixListener>,
}

/// Takes what systemd passed: unix sockets serve the API, TCP sockets the proxy.
///
/// # Errors
/// A socket that can't be used.
pub fn inherited() -> io::Result<Listeners> {
    let mut listeners = Listeners::default();
    for (fd, name) in sd_notify::listen_fds_with_names()? {
        // SAFETY: sd_listen_fds(3) hands these descriptors to this process alone, and this is called
        // once, at the start of `main`, before anything else could have taken or closed them.
        #[expect(unsafe_code, reason = "descriptors arrive as bare numbers")]
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let domain = socket_domain(&fd)?;
        if domain == rustix::net::AddressFamily::UNIX {
            listeners.admin = Some(fd.into());
        } else if socket_protocol(&fd)? == Some(rustix::net::ipproto::TCP) {
            let of = if name == SECURE { &mut listeners.https } else { &mut listeners.http };
            of.push(fd.into());
        } else {
            log::warn!("a socket passed by systemd is neither unix nor TCP, and is not used");
        }
    }
    Ok(listeners)
}

impl Listeners {
    /// Binds what is missing: the configured port if no listener has it, and the admin socket.
    ///
    /// # Errors
    /// A text that says what can't be bound and what to do.
    pub fn complete(&mut self, settings: &Settings, admin: &Path) -> Result<(), String> {
        let port = settings.port;
        let has = |l: &std::net::TcpListener| l.local_addr().is_ok_and(|a| a.port() == port);
        if !self.http.iter().any(has) {
            let help = "`systemctl edit tenement.socket` with\n[Socket]\nListenStream=";
            self.http.push(
                bind_tcp(port)
                    .map_err(|why| format!("{why}. Let systemd listen on it: {help}{port}"))?,
            );
        }
        if settings.tls.is_on() && self.https.is_empty() {
            match bind_tcp(settings.tls.port) {
                Ok(listener) => self.https.push(listener),
                // Plain HTTP must not be without an agent for it.
                Err(why) => log::error!(
                    "HTTPS is not served: {why}. Let systemd listen on it: systemctl enable \
                     tenement-https.socket tenement-http.socket && systemctl restart tenement"
                ),
            }
        }
        if self.admin.is_none() {
            self.admin = Some(bind_admin(admin).map_err(|e| format!("{}: {e}", admin.display()))?);
        }
        Ok(())
    }
}

/// Those for ports of these routes, and the others.
pub fn split(
    listeners: Vec<std::net::TcpListener>,
    routes: &[TcpRoute],
) -> (Vec<std::net::TcpListener>, Vec<std::net::TcpListener>) {
    listeners.into_iter().partition(|listener| {
        let port = listener.local_addr().map_or(0, |address| address.port());
        routes.iter().any(|route| route.port == port)
    })
}

fn bind_tcp(port: u16) -> Result<std::net::TcpListener, String> {
    let dual: SocketAddr = (std::net::Ipv6Addr::UNSPECIFIED, port).into();
    let v4: SocketAddr = (std::net::Ipv4Addr::UNSPECIFIED, port).into();
    let bound = std::net::TcpListener::bind(dual).or_else(|_| std::net::TcpListener::bind(v4));
    bound.map_err(|e| format!("port {port} can't be bound: {e}"))
}

fn bind_admin(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}
