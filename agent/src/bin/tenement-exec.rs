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

use tenement_agent::kernel::restrict;
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
        restrict();
    }
    let error = Command::new(path).arg0(name).args(args).env_remove(ARGV).exec();
    eprintln!("tenement-exec: {path} cannot be executed: {error}");
    // What systemd itself reports for that (systemd.exec(5), EXIT_EXEC).
    ExitCode::from(203)
}
