//! One bounded GET, to an address and not to a name.

use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Ask;

/// From the connection to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses that are tried.
const TRIES: usize = 3;
/// Bytes of an answer that are read.
const ANSWER_MAX: u64 = 8 * 1024;

/// Asks the addresses in turn until one gives the answer.
pub(super) async fn first(addresses: &[IpAddr], ask: &Ask) -> Result<(), String> {
    let mut why = "its addresses are not public ones, and not in challenge_networks".to_owned();
    for address in addresses.iter().take(TRIES) {
        match tokio::time::timeout(TIMEOUT, one(*address, ask)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => why = error,
            Err(_) => why = format!("{address} did not answer in time"),
        }
    }
    Err(why)
}

async fn one(address: IpAddr, ask: &Ask) -> Result<(), String> {
    let broken = |error: std::io::Error| format!("{address}, port 80: {error}");
    let mut stream = TcpStream::connect((address, 80)).await.map_err(broken)?;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: tenement\r\nAccept: text/plain\r\n\
         Connection: close\r\n\r\n",
        ask.path, ask.host
    );
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut answer = Vec::new();
    let read = stream.take(ANSWER_MAX).read_to_end(&mut answer).await;
    // A server that resets after its answer has answered.
    if let (Err(error), true) = (read, answer.is_empty()) {
        return Err(broken(error));
    }
    judge(&answer, &ask.answer).map_err(|what| format!("{address}, port 80: {what}"))
}

fn judge(answer: &[u8], wanted: &str) -> Result<(), String> {
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(at) = split.filter(|_| answer.starts_with(b"HTTP/1.")) else {
        return Err("this is no HTTP server".into());
    };
    let status = String::from_utf8_lossy(answer.get(9..12).unwrap_or_default()).into_owned();
    if status != "200" {
        return Err(format!("it answered {}", status.escape_default()));
    }
    // The answer is a secret of ours that the request does not hold, so a server that repeats what it is asked
    // does not pass. Chunks may stand around it.
    let body = String::from_utf8_lossy(&answer[at + 4..]).into_owned();
    if body.contains(wanted) { Ok(()) } else { Err("another server answered".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_answer_counts() {
        let of = |text: &str| judge(text.as_bytes(), "secret");
        assert_eq!(of("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nsecret\n"), Ok(()));
        assert_eq!(of("HTTP/1.1 200 OK\r\n\r\n7\r\nsecret\n\r\n0\r\n\r\n"), Ok(()));
        assert!(of("HTTP/1.1 404 Not Found\r\n\r\nsecret").is_err());
        assert!(of("HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1/secret\r\n\r\n").is_err());
        assert!(of("HTTP/1.1 200 OK\r\nx: secret\r\n\r\nhello").is_err());
        assert!(of("SSH-2.0-OpenSSH secret\r\n\r\nsecret").is_err());
    }
}
