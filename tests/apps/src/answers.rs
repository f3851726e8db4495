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
//! | `/exit/CODE` | no answer: the process exits |
//! | `/eat/MB` | its id, once it holds so much memory (for good) |
//! | `/fork/N` | how many of N threads it could have at once (for good) |
//! | `/spin/MS` | its id, after so much work on as many threads as there are processors |
//! | `/fill/MB` | its id, once so much is written to its data directory and to the disk |

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use crate::http::{Client, Framing, Request};

static ZEROS: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// Answers `request`; whether the connection can be used again.
pub fn answer(client: &mut Client, request: &Request, id: &str) -> io::Result<bool> {
    let path = request.path.split('?').next().unwrap_or_default();
    let mut parts = path.trim_start_matches('/').split('/');
    let what = parts.next().unwrap_or_default();
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
        "eat" => {
            eat(number(1));
            text(client, request, 200, &hello(id))?;
        }
        "fork" => text(client, request, 200, &format!("{}\n", threads(number(1))))?,
        "spin" => {
            spin(Duration::from_millis(number(1000)));
            text(client, request, 200, &hello(id))?;
        }
        "fill" => {
            fill(number(1))?;
            text(client, request, 200, &hello(id))?;
        }
        "sse" => {
            let count = number(10);
            events(client, count, Duration::from_millis(number(100)))?;
        }
        "trailers" => client.send(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
              5\r\nhello\r\n0\r\nx-sum: 532\r\n\r\n",
        )?,
        "status" => text(client, request, number(200), "as you wish\n")?,
        "abort" => return abort(client, number(1000)),
        _ => text(client, request, 404, "not found\n")?,
    }
    Ok(request.keep_alive)
}

fn hello(id: &str) -> String {
    format!("hello from {id}, pid {}\n", std::process::id())
}

/// Every page is written to, or the kernel would not count it.
fn eat(megabytes: u64) {
    for _ in 0..megabytes {
        let mut piece = vec![0_u8; 1 << 20];
        piece.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        std::mem::forget(std::hint::black_box(piece));
    }
}

fn threads(wanted: u64) -> u64 {
    let thread = || std::thread::Builder::new().stack_size(64 << 10).spawn(std::thread::park);
    (0..wanted).take_while(|_| thread().is_ok()).count() as u64
}

fn spin(time: Duration) {
    let end = std::time::Instant::now() + time;
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                while std::time::Instant::now() < end {
                    std::hint::black_box(0);
                }
            });
        }
    });
}

fn fill(megabytes: u64) -> io::Result<()> {
    let directory = std::env::var_os("DATA_DIR").unwrap_or_else(|| ".".into());
    let mut file = std::fs::File::create(std::path::Path::new(&directory).join("filled"))?;
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..megabytes {
        file.write_all(&piece)?;
    }
    file.sync_all()
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
