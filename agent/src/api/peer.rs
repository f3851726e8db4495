//! Who is on the other end of a unix socket, and whether they may manage this agent.
//!
//! The socket's own mode (0660 root:tenement) already keeps others out; this is the second lock, for
//! a socket that somebody has opened to all.

use std::io;
use std::os::fd::AsRawFd;

use tokio::net::UnixStream;

/// Most supplementary groups that are looked at (the kernel allows 65,536).
const GROUPS_MAX: usize = 1024;

/// The credentials of a peer when it connected (unix(7), `SO_PEERCRED` and `SO_PEERGROUPS`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Process id, where the kernel knows it in our namespace. For the log only: it can be reused.
    pub pid: Option<i32>,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl Peer {
    /// Asks the kernel.
    ///
    /// # Errors
    /// If the kernel does not say who it is; then nobody should be let in.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        let cred = stream.peer_cred()?;
        Ok(Self {
            uid: cred.uid(),
            gid: cred.gid(),
            pid: cred.pid(),
            groups: supplementary(stream).unwrap_or_default(),
        })
    }
}

/// Who may manage the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The host's agent: root, the agent's own user, and the members of its group.
    System {
        /// User that the agent runs as.
        uid: u32,
        /// Group that the agent runs as.
        gid: u32,
    },
    /// A user's own agent: that user alone.
    User {
        /// That user.
        uid: u32,
    },
}

impl Access {
    /// For the host's agent, with the user and group of this process.
    #[must_use]
    pub fn system() -> Self {
        Self::System {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }

    /// For `tenementd --user`.
    #[must_use]
    pub fn user() -> Self {
        Self::User { uid: rustix::process::geteuid().as_raw() }
    }

    /// Whether `peer` may.
    #[must_use]
    pub fn allows(self, peer: &Peer) -> bool {
        match self {
            Self::System { uid, gid } => {
                peer.uid == 0 || peer.uid == uid || peer.gid == gid || peer.groups.contains(&gid)
            }
            Self::User { uid } => peer.uid == uid,
        }
    }
}

/// The peer's supplementary groups. Neither tokio nor rustix has this socket option.
fn supplementary(stream: &UnixStream) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; GROUPS_MAX];
    let mut bytes = (groups.len() * size_of::<u32>()) as libc::socklen_t;
    #[expect(unsafe_code, reason = "no safe wrapper for SO_PEERGROUPS exists")]
    // SAFETY: the buffer is valid for `bytes` bytes, gid_t is u32 on Linux, and the kernel writes at
    // most `bytes` bytes (ERANGE otherwise) and their number into `bytes`.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    groups.truncate(bytes as usize / size_of::<u32>());
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32, gid: u32, groups: &[u32]) -> Peer {
        Peer { uid, gid, pid: Some(1), groups: groups.to_vec() }
    }

    #[test]
    fn the_hosts_agent_serves_root_itself_and_its_group() {
        let access = Access::System { uid: 900, gid: 901 };
        assert!(access.allows(&peer(0, 0, &[])));
        assert!(access.allows(&peer(900, 5, &[])));
        assert!(access.allows(&peer(1000, 901, &[])));
        assert!(access.allows(&peer(1000, 1000, &[27, 901])));
        assert!(!access.allows(&peer(1000, 1000, &[27, 900])));
        assert!(!access.allows(&peer(65_534, 65_534, &[])));
    }

    #[test]
    fn a_users_agent_serves_that_user_only() {
        let access = Access::User { uid: 1000 };
        assert!(access.allows(&peer(1000, 5, &[])));
        assert!(!access.allows(&peer(0, 0, &[])));
        assert!(!access.allows(&peer(1001, 1000, &[1000])));
    }

    #[tokio::test]
    async fn the_kernel_tells_who_connected() {
        let (one, _two) = UnixStream::pair().unwrap();
        let peer = Peer::of(&one).unwrap();
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        let own: Vec<u32> =
            rustix::process::getgroups().unwrap().iter().map(|gid| gid.as_raw()).collect();
        assert_eq!(peer.groups, own);
    }
}
