//! Abstract sockets and signals shut off for this process and what it starts: landlock(7), ABI 6.

/// `struct landlock_ruleset_attr` of linux/landlock.h.
#[repr(C)]
struct Ruleset {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL`.
const SCOPED: u64 = 1 | 2;

/// Gives up abstract unix sockets of others, and signals to them. Best effort: without landlock, or with one that
/// knows no scopes (before Linux 6.12), nothing changes. It needs no_new_privs, which the unit sets.
#[expect(unsafe_code, reason = "libc has no wrapper for the two system calls")]
pub fn restrict() {
    let rules = Ruleset { handled_access_fs: 0, handled_access_net: 0, scoped: SCOPED };
    // SAFETY: the kernel reads the struct, which outlives the call, up to the size given; the second
    // call takes the descriptor that the first returned, and none of our memory.
    unsafe {
        let size = size_of::<Ruleset>();
        let ruleset = libc::syscall(libc::SYS_landlock_create_ruleset, &raw const rules, size, 0);
        if ruleset >= 0 {
            libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0);
            libc::close(i32::try_from(ruleset).unwrap_or(-1));
        }
    }
}
