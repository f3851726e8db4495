//! Programs of this machine inside a host's network: servers and tools that the host itself does not have.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::host::{Host, Ran};

/// A server that ends with the test.
#[derive(Debug)]
pub struct Nearby(Child);

impl Host {
    fn nearby(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", self.pid(), "-n", "--", program]);
        command
    }

    /// Starts `program` of this machine in the host's network; what it says goes to `log`.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn start_nearby(
        &self,
        program: &str,
        words: &[&str],
        env: &[(&str, &str)],
        log: &Path,
    ) -> Nearby {
        let log = std::fs::File::create(log).expect("a log file");
        let child = self
            .nearby(program)
            .args(words)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn();
        Nearby(child.unwrap_or_else(|error| panic!("{program}: {error}")))
    }

    /// Runs a shell command of this machine in the host's network.
    ///
    /// # Panics
    /// When there is no shell.
    #[must_use]
    pub fn run_nearby(&self, command: &str) -> Ran {
        let ran = self.nearby("sh").args(["-c", command]).stdin(Stdio::null()).output();
        let ran = ran.expect("a shell");
        Ran {
            code: ran.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&ran.stdout).into_owned(),
            err: String::from_utf8_lossy(&ran.stderr).into_owned(),
        }
    }
}

impl Drop for Nearby {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
