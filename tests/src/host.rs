//! The throwaway host under test.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::http::Client;
use crate::poll::until;

/// Where the proxy of an installed package listens.
pub const PORT: u16 = 8080;

/// A booted host with tenement installed.
#[derive(Debug, Clone)]
pub struct Host {
    name: String,
    tool: PathBuf,
    pid: String,
}

/// What a command on the host answered.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its exit status.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Host {
    /// The host that `TENEMENT_TEST_HOST` names.
    ///
    /// # Panics
    /// When none is named: run `make test`, or `tests/e2e bookworm`.
    #[must_use]
    pub fn the() -> &'static Self {
        static HOST: OnceLock<Host> = OnceLock::new();
        HOST.get_or_init(|| {
            let name = std::env::var("TENEMENT_TEST_HOST")
                .expect("TENEMENT_TEST_HOST names a booted host: run tests/e2e SUITE");
            let tool = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("host/tenhost");
            Self::named(name, tool)
        })
    }

    fn named(name: String, tool: PathBuf) -> Self {
        let out = Command::new(&tool).args(["pid", &name]).output().expect("tenhost runs");
        let pid = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        assert!(!pid.is_empty(), "no host {name}: {}", String::from_utf8_lossy(&out.stderr));
        Self { name, tool, pid }
    }

    /// The same host after a reboot, when its first process is another one.
    #[must_use]
    pub fn refreshed(&self) -> Self {
        Self::named(self.name.clone(), self.tool.clone())
    }

    /// Version of its systemd, such as 252.
    #[must_use]
    pub fn systemd(&self) -> u32 {
        let out = self.run("systemctl --version | head -1 | cut -d' ' -f2").out;
        out.trim().parse().expect("a version number")
    }

    /// Runs a shell command on the host.
    #[must_use]
    pub fn try_run(&self, command: &str) -> Ran {
        self.feed(command, "")
    }

    /// The same with text on its standard input.
    #[must_use]
    pub fn feed(&self, command: &str, input: &str) -> Ran {
        use std::io::Write as _;
        let mut child = Command::new(&self.tool)
            .args(["exec", &self.name, "--", "sh", "-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tenhost runs");
        // A command that reads nothing may have closed its input already.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
        Ran {
            code: status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&stdout).into_owned(),
            err: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// Runs a shell command on the host that must succeed.
    ///
    /// # Panics
    /// With what it printed, when it fails.
    pub fn run(&self, command: &str) -> Ran {
        let ran = self.try_run(command);
        assert_eq!(ran.code, 0, "`{command}` on {}: {ran:?}", self.name);
        ran
    }

    /// Runs `ten … --json` and gives what it printed.
    ///
    /// # Panics
    /// When it fails or prints something else.
    #[must_use]
    pub fn ten_json(&self, arguments: &str) -> serde_json::Value {
        let ran = self.run(&format!("ten {arguments} --json"));
        serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("ten {arguments}: {e}: {ran:?}"))
    }

    /// The state of an instance as `ten show` has it.
    #[must_use]
    pub fn state(&self, instance: &str) -> String {
        self.ten_json(&format!("show {instance}"))["state"].as_str().expect("a word").to_owned()
    }

    /// Waits until an instance is in one of these states.
    pub fn until_state(&self, instance: &str, states: &[&str], bound: Duration) {
        until(&format!("{instance} is {states:?}"), bound, || {
            let state = self.state(instance);
            if states.contains(&state.as_str()) { Ok(()) } else { Err(state) }
        });
    }

    /// Waits until an instance sleeps.
    pub fn until_asleep(&self, instance: &str) {
        self.until_state(instance, &["asleep"], Duration::from_secs(30));
    }

    /// Writes a config file under conf.d and has the agent take it.
    ///
    /// # Panics
    /// When the agent refuses it.
    pub fn configure(&self, file: &str, text: &str) {
        self.write(&format!("/etc/tenement/conf.d/{file}"), text);
        self.run("ten config reload");
    }

    /// Writes a file on the host.
    pub fn write(&self, path: &str, text: &str) {
        let ran = self.feed(&format!("mkdir -p \"$(dirname {path})\" && cat > {path}"), text);
        assert_eq!(ran.code, 0, "writing {path}: {ran:?}");
    }

    /// Restarts the host: as `systemctl reboot` does.
    #[must_use]
    pub fn reboot(&self) -> Self {
        let status = Command::new(&self.tool).args(["reboot", &self.name]).status();
        assert!(status.expect("tenhost runs").success(), "reboot of {}", self.name);
        self.refreshed()
    }

    /// A TCP connection to the host, made inside its network namespace.
    ///
    /// # Errors
    /// As `connect(2)`.
    pub fn connect(&self, port: u16) -> std::io::Result<TcpStream> {
        let pid = self.pid.clone();
        let join = std::thread::spawn(move || {
            enter_network_of(&pid)?;
            let address: SocketAddr = ([127, 0, 0, 1], port).into();
            let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            Ok(stream)
        });
        join.join().expect("connecting does not panic")
    }

    /// A client on one keep-alive connection.
    ///
    /// # Panics
    /// When the proxy refuses the connection.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.connect(PORT).expect("the proxy accepts"))
    }

    /// One GET on a connection of its own.
    ///
    /// # Panics
    /// When there is no whole response.
    #[must_use]
    pub fn get(&self, host: &str, path: &str) -> crate::http::Response {
        self.client().get(host, path).unwrap_or_else(|e| panic!("GET {host}{path}: {e}"))
    }

    /// Runs `work` in a thread inside the host's network: its own connections go to the host.
    pub fn inside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        let pid = self.pid.clone();
        std::thread::spawn(move || {
            enter_network_of(&pid).expect("the host runs");
            work()
        })
    }

    /// Process id of the host's first process, as seen from outside.
    #[must_use]
    pub fn pid(&self) -> &str {
        &self.pid
    }

    /// How long `work` took, with its result.
    pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
        let begin = Instant::now();
        (work(), begin.elapsed())
    }
}

fn enter_network_of(pid: &str) -> std::io::Result<()> {
    let file = std::fs::File::open(format!("/proc/{pid}/ns/net"))?;
    let kind = rustix::thread::LinkNameSpaceType::Network;
    Ok(rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(kind))?)
}
