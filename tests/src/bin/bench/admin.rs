//! The agent's API, straight over its socket: a benchmark has no time for a process per call.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use tenement_tests::Host;

/// `path` of the host, as seen from outside.
pub fn inside(host: &Host, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{path}", host.pid()))
}

/// POSTs a verb on an instance.
///
/// # Panics
/// When the agent does not answer 200.
pub fn verb(host: &Host, instance: &str, verb: &str) {
    ask(host, &format!("POST /api/v1/instances/{instance}/{verb}"), "Content-Length: 0\r\n");
}

/// Sends a request without a body, `METHOD /path`, with more header lines; gives the whole answer.
///
/// # Panics
/// When the agent does not answer 200.
pub fn ask(host: &Host, what: &str, lines: &str) -> Vec<u8> {
    let mut stream = UnixStream::connect(inside(host, "/run/tenement/admin.sock")).expect("agent");
    let request = format!("{what} HTTP/1.1\r\nHost: admin\r\n{lines}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answered");
    let head = String::from_utf8_lossy(&answer[..answer.len().min(2000)]);
    assert!(head.starts_with("HTTP/1.1 200"), "{what}: {head}");
    answer
}
