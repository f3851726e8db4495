//! An agent that can't work, from its start to its exit.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

fn agent_with_bad_config(dir: &Path, notify: Option<&Path>) -> Child {
    std::fs::write(dir.join("tenement.toml"), "[settings]\nnonsense = 1\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenementd"));
    command.arg("--config-dir").arg(dir).stderr(Stdio::null()).env_remove("NOTIFY_SOCKET");
    if let Some(socket) = notify {
        command.env("NOTIFY_SOCKET", socket);
    }
    command.spawn().unwrap()
}

#[test]
fn a_bad_config_ends_the_agent_at_once_outside_systemd() {
    let dir = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let status = agent_with_bad_config(dir.path(), None).wait().unwrap();
    assert_eq!(status.code(), Some(78));
    assert!(started.elapsed() < Duration::from_secs(4), "it waited for nobody");
}

#[test]
fn under_systemd_it_stays_a_while_says_so_and_still_heeds_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut agent = agent_with_bad_config(dir.path(), Some(&path));
    let mut message = [0; 256];
    let length = systemd.recv(&mut message).expect("no word from the agent");
    let message = String::from_utf8_lossy(&message[..length]).into_owned();
    assert!(message.starts_with("STATUS="), "{message}");
    assert!(agent.try_wait().unwrap().is_none(), "it is gone already");
    let told = Instant::now();
    let pid = rustix::process::Pid::from_child(&agent);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = agent.wait().unwrap();
    assert_eq!(status.code(), Some(78), "{status}");
    assert!(told.elapsed() < Duration::from_secs(3), "SIGTERM did not end the wait");
}

#[test]
fn a_damaged_database_is_named_with_a_way_out_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    std::fs::write(
        dir.path().join("tenement.toml"),
        format!("[settings]\ndomain = \"test\"\nport = {free}\n"),
    )
    .unwrap();
    let state = dir.path().join(".local/share/tenement/_agent");
    std::fs::create_dir_all(&state).unwrap();
    let damaged = vec![b'x'; 8192];
    std::fs::write(state.join("state.db"), &damaged).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tenementd"))
        .args(["--user", "--config-dir"])
        .arg(dir.path())
        .env("HOME", dir.path())
        .env("XDG_RUNTIME_DIR", dir.path())
        .env_remove("XDG_DATA_HOME")
        .env_remove("NOTIFY_SOCKET")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("damaged") && text.contains(".recover"), "{text}");
    assert_eq!(std::fs::read(state.join("state.db")).unwrap(), damaged);
}
