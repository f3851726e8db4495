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
    let mut stream = UnixStream::connect(inside(host, "/run/tenement/admin.sock")).expect("agent");
    let request = format!(
        "POST /api/v1/instances/{instance}/{verb} HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200"), "{verb} {instance}: {answer}");
}
