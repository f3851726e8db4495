//! One request, and whether its answer is the right one.

use std::io;
use std::time::{Duration, Instant};

use super::{Shared, connect};
use crate::http::{Client, Response};
use crate::poll::pace_until;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// GET on a connection that is kept as long as the server keeps it.
    Kept,
    /// GET on a connection of its own.
    Fresh,
    /// The same, and the server is told that it is the last.
    Last,
    /// POST of a known length on a kept connection.
    Post,
    /// POST in chunks.
    Chunked,
}

impl Kind {
    /// Of ten requests, one to three are of another kind than the first.
    pub(super) fn nth(n: usize) -> Self {
        match n % 10 {
            1 => Self::Fresh,
            3 => Self::Last,
            5 | 8 => Self::Post,
            7 => Self::Chunked,
            _ => Self::Kept,
        }
    }
}

/// Sends one and gives the release that answered.
pub(super) fn request(
    shared: &Shared,
    kept: &mut Option<Client>,
    name: &str,
    kind: Kind,
) -> io::Result<String> {
    let fresh = matches!(kind, Kind::Fresh | Kind::Last);
    if fresh || kept.as_mut().is_none_or(|client| !client.is_open()) {
        *kept = Some(Client::new(connect()?));
    }
    let client = kept.as_mut().expect("just made");
    match kind {
        Kind::Kept | Kind::Fresh => right(&client.get(name, "/")?),
        Kind::Last => {
            let head = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
            client.send(head.as_bytes())?;
            let answer = client.response(false)?;
            *kept = None;
            right(&answer)
        }
        Kind::Post | Kind::Chunked => {
            let number = shared.next_number();
            let body = body_of(number);
            let head = head_of(name, number, &body, kind == Kind::Chunked, "");
            client.send(head.as_bytes())?;
            match kind {
                Kind::Chunked => {
                    let (one, two) = body.split_at(body.len() / 2);
                    for piece in [one, two] {
                        client.send(format!("{:x}\r\n", piece.len()).as_bytes())?;
                        client.send(piece)?;
                        client.send(b"\r\n")?;
                    }
                    client.send(b"0\r\n\r\n")?;
                }
                _ => client.send(&body)?,
            }
            posted(shared, number, &body, &client.response(false)?)
        }
    }
}

/// A POST whose body takes a second to come, after the server has been asked whether it may.
pub(super) fn upload(shared: &Shared, name: &str) -> io::Result<()> {
    let number = shared.next_number();
    let body = body_of(number);
    let mut client = Client::new(connect()?);
    let head = head_of(name, number, &body, false, "Expect: 100-continue\r\n");
    client.send(head.as_bytes())?;
    let asked = client.head()?;
    if asked.status != 100 {
        return Err(io::Error::other(format!("{} instead of 100", asked.status)));
    }
    for piece in body.chunks(body.len().div_ceil(10)) {
        pace_until(Instant::now() + Duration::from_millis(100));
        client.send(piece)?;
    }
    posted(shared, number, &body, &client.response(false)?).map(drop)
}

fn head_of(name: &str, number: u64, body: &[u8], chunked: bool, more: &str) -> String {
    let framing = match chunked {
        true => "Transfer-Encoding: chunked".to_owned(),
        false => format!("Content-Length: {}", body.len()),
    };
    format!("POST /post?n={number} HTTP/1.1\r\nHost: {name}\r\n{framing}\r\n{more}\r\n")
}

/// 1 to 33 KiB that differ from number to number.
fn body_of(number: u64) -> Vec<u8> {
    let length = 1024 + usize::try_from(number % 33).unwrap_or(0) * 1024;
    number.to_string().bytes().cycle().take(length).collect()
}

fn posted(shared: &Shared, number: u64, body: &[u8], answer: &Response) -> io::Result<String> {
    let text = right(answer)?;
    let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
    let whole = format!(" {} {sum}", body.len());
    let release = text.strip_suffix(&whole);
    let release = release
        .ok_or_else(|| io::Error::other(format!("the body arrived as {text}, not{whole}")))?;
    shared.note(|met| met.posted.push(number));
    Ok(release.to_owned())
}

fn right(answer: &Response) -> io::Result<String> {
    match answer.status {
        200 => Ok(answer.text()),
        status => Err(io::Error::other(format!("{status} {}", answer.text()))),
    }
}
