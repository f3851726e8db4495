//! Executes the command line that `TENEMENT_ARGV` holds, in place of itself.
//!
//! systemd before 257 cannot keep `$` and `;` in a transient unit's command over a daemon-reload, but it
//! keeps its environment. Units whose command holds one of them start this instead; the process id stays
//! the same, so `LISTEN_PID` and `MAINPID` do too. It runs as the instance's user and reads nothing else.
//!
//! With `--scope` it first gives up abstract unix sockets of others, and signals to them, with
//! landlock(7). Kernels before 6.12 lack that; the command is executed all the same.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use tenement_agent::plan::{ARGV, SCOPE, argv};

fn main() -> ExitCode {
    let words = std::env::var(ARGV).ok().and_then(|text| argv::decode(&text));
    let Some([path, name, args @ ..]) = words.as_deref() else {
        eprintln!(
            "tenement-exec: {ARGV} holds no command line; this program is started by units only"
        );
        return ExitCode::from(2);
    };
    if std::env::args().nth(1).as_deref() == Some(SCOPE) {
        scope::restrict();
    }
    let error = Command::new(path).arg0(name).args(args).env_remove(ARGV).exec();
    eprintln!("tenement-exec: {path} cannot be executed: {error}");
    // What systemd itself reports for that (systemd.exec(5), EXIT_EXEC).
    ExitCode::from(203)
}

/// landlock(7), ABI 6.
mod scope {
    /// `struct landlock_ruleset_attr` of linux/landlock.h.
    #[repr(C)]
    struct Ruleset {
        handled_access_fs: u64,
        handled_access_net: u64,
        scoped: u64,
    }

    /// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL`.
    const SCOPED: u64 = 1 | 2;

    /// Best effort: without landlock, or with one that knows no scopes, nothing changes. It needs
    /// no_new_privs, which the unit sets.
    #[expect(unsafe_code, reason = "libc has no wrapper for the two system calls")]
    pub(super) fn restrict() {
        let rules = Ruleset { handled_access_fs: 0, handled_access_net: 0, scoped: SCOPED };
        // SAFETY: the kernel reads the struct, which outlives the call, up to the size given; the second
        // call takes the descriptor that the first returned, and none of our memory.
        unsafe {
            let size = size_of::<Ruleset>();
            let ruleset =
                libc::syscall(libc::SYS_landlock_create_ruleset, &raw const rules, size, 0);
            if ruleset >= 0 {
                libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0);
                libc::close(i32::try_from(ruleset).unwrap_or(-1));
            }
        }
    }
}
