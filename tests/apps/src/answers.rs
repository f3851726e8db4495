//! What the app can be asked:
//!
//! | path | answer |
//! |---|---|
//! | `/` | its id and pid |
//! | `/bytes/N` | N bytes |
//! | `/echo` | the request's body, framed as it came, while it arrives |
//! | `/sink` | how many bytes the request's body had |
//! | `/headers` | the request's head as it arrived |
//! | `/env` | its arguments and environment |
//! | `/slow/MS` | its id, after so long |
//! | `/sse/N/MS` | N server-sent events, so long apart (10, 100 by default) |
//! | `/trailers` | a chunked body with a trailer field |
//! | `/upgrade` | switches to the protocol in `Upgrade:` and echoes every byte |
//! | `/status/CODE` | that status |
//! | `/abort/N` | promises N bytes, sends half of them, closes |
//! | `/health` | 200, or 503 while it is sick |
//! | `/sick/MS` | makes it sick for so long; without a time, for good: also after a restart |
//! | `/well` | makes it well again |
//! | `/mute` | takes the connection and never answers |
//! | `/exit/CODE` | no answer: the process exits |
//! | `/eat/MB`, `/fork/N`, `/reap`, `/spin/S/THREADS`, `/write/MB`, `/shout/N` | see `greedy` |

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::greedy;
use crate::http::{Client, Framing, Request};

static ZEROS: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// Answers `request`; whether the connection can be used again.
pub fn answer(client: &mut Client, request: &Request, id: &str) -> io::Result<bool> {
    let path = request.path.split('?').next().unwrap_or_default();
    let mut parts = path.trim_start_matches('/').split('/');
    let what = parts.next().unwrap_or_default();
    let parts_number = parts.clone().next().and_then(|n| n.parse::<u64>().ok());
    let mut number = |default: u64| parts.next().and_then(|n| n.parse().ok()).unwrap_or(default);

    match what {
        "echo" => return echo(client, request),
        "upgrade" => return upgrade(client, request),
        // The exit comes before the body is read: that is the crash which tests want to see.
        "exit" => std::process::exit(i32::try_from(number(1)).unwrap_or(1)),
        _ => {}
    }

    let mut received = 0;
    client.body(request.framing, |_, piece| {
        received += piece.len();
        Ok(())
    })?;
    match what {
        "" => text(client, request, 200, &hello(id))?,
        "bytes" => bytes(client, request, number(0))?,
        "sink" => text(client, request, 200, &format!("{received}\n"))?,
        "headers" => text(client, request, 200, &request.head)?,
        "env" => text(client, request, 200, &environment())?,
        "slow" => {
            std::thread::sleep(Duration::from_millis(number(1000)));
            text(client, request, 200, &hello(id))?;
        }
        "sse" => {
            let count = number(10);
            events(client, count, Duration::from_millis(number(100)))?;
        }
        "health" => {
            let (status, word) = if is_sick() { (503, "sick\n") } else { (200, "well\n") };
            text(client, request, status, word)?;
        }
        "sick" => {
            fall_sick(parts_number)?;
            text(client, request, 200, "sick now\n")?;
        }
        "well" => {
            SICK_UNTIL.store(0, Relaxed);
            let _ = std::fs::remove_file(sick_file());
            text(client, request, 200, "well now\n")?;
        }
        "mute" => loop {
            std::thread::park();
        },
        "trailers" => client.send(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
              5\r\nhello\r\n0\r\nx-sum: 532\r\n\r\n",
        )?,
        "eat" => text(client, request, 200, &greedy::eat(number(1)))?,
        "fork" => text(client, request, 200, &greedy::fork(number(1)))?,
        "reap" => text(client, request, 200, &greedy::reap())?,
        "spin" => {
            let seconds = number(1);
            text(client, request, 200, &greedy::spin(seconds, number(1)))?;
        }
        "write" => text(client, request, 200, &greedy::write(number(1))?)?,
        "shout" => text(client, request, 200, &greedy::shout(number(1)))?,
        "status" => text(client, request, number(200), "as you wish\n")?,
        "abort" => return abort(client, number(1000)),
        _ => text(client, request, 404, "not found\n")?,
    }
    Ok(request.keep_alive)
}

/// Until when it is sick, in milliseconds since the process looked first.
static SICK_UNTIL: AtomicU64 = AtomicU64::new(0);

fn now() -> u64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_millis() as u64
}

/// The mark of a sickness that outlasts the process.
fn sick_file() -> PathBuf {
    PathBuf::from(std::env::var_os("DATA_DIR").unwrap_or_default()).join("sick")
}

fn is_sick() -> bool {
    now() < SICK_UNTIL.load(Relaxed) || sick_file().exists()
}

fn fall_sick(ms: Option<u64>) -> io::Result<()> {
    match ms {
        Some(ms) => SICK_UNTIL.store(now() + ms, Relaxed),
        None => std::fs::write(sick_file(), "")?,
    }
    Ok(())
}

fn hello(id: &str) -> String {
    format!("hello from {id}, pid {}\n", std::process::id())
}

fn environment() -> String {
    let mut text = String::new();
    for arg in std::env::args() {
        let _ = writeln!(text, "argument {arg}");
    }
    for (key, value) in std::env::vars_os() {
        let _ = writeln!(text, "{}={}", key.display(), value.display());
    }
    text
}

fn head(status: u64, kind: &str, length: u64, keep_alive: bool) -> String {
    let close = if keep_alive { "" } else { "connection: close\r\n" };
    format!(
        "HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n{close}\r\n"
    )
}

fn text(client: &mut Client, request: &Request, status: u64, body: &str) -> io::Result<()> {
    let mut out = head(status, "text/plain", body.len() as u64, request.keep_alive);
    if request.method != "HEAD" {
        out.push_str(body);
    }
    client.send(out.as_bytes())
}

fn bytes(client: &mut Client, request: &Request, length: u64) -> io::Result<()> {
    let head = head(200, "application/octet-stream", length, request.keep_alive);
    let body = if request.method == "HEAD" { 0 } else { length };
    // Head and first piece in one write: a packet more would be measured as the proxy's.
    let first = usize::try_from(body.min(ZEROS.len() as u64)).unwrap_or(0);
    let mut out = head.into_bytes();
    out.extend_from_slice(&ZEROS[..first]);
    client.send(&out)?;
    pieces(client, body - first as u64)
}

fn pieces(client: &mut Client, mut left: u64) -> io::Result<()> {
    while left > 0 {
        let piece = left.min(ZEROS.len() as u64);
        client.send(&ZEROS[..usize::try_from(piece).unwrap_or(0)])?;
        left -= piece;
    }
    Ok(())
}

fn echo(client: &mut Client, request: &Request) -> io::Result<bool> {
    match request.framing {
        Framing::Length(length) => {
            client.send(
                head(200, "application/octet-stream", length, request.keep_alive).as_bytes(),
            )?;
            client.body(request.framing, |mut out, piece| out.write_all(piece))?;
        }
        Framing::Chunked => {
            client.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            client.body(request.framing, |mut out, piece| {
                write!(out, "{:x}\r\n", piece.len())?;
                out.write_all(piece)?;
                out.write_all(b"\r\n")
            })?;
            client.send(b"0\r\n\r\n")?;
        }
    }
    Ok(request.keep_alive)
}

fn upgrade(client: &mut Client, request: &Request) -> io::Result<bool> {
    let Some(protocol) = &request.upgrade else {
        text(client, request, 426, "no Upgrade field\n")?;
        return Ok(false);
    };
    let head = format!("HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n");
    client.send(head.as_bytes())?;
    client.rest(|mut out, piece| out.write_all(piece))?;
    Ok(false)
}

fn events(client: &mut Client, count: u64, pause: Duration) -> io::Result<()> {
    client.send(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    )?;
    for n in 0..count {
        if n > 0 {
            std::thread::sleep(pause);
        }
        let event = format!("id: {n}\ndata: event {n}\n\n");
        client.send(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())?;
    }
    client.send(b"0\r\n\r\n")
}

fn abort(client: &mut Client, length: u64) -> io::Result<bool> {
    client.send(head(200, "application/octet-stream", length, false).as_bytes())?;
    pieces(client, length / 2)?;
    Ok(false)
}
