//! As much of HTTP/1.1 as the app needs (RFC 9112), with keep-alive and bodies of any size.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length`, 0 without one.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// A request's head.
pub struct Request {
    /// The method.
    pub method: String,
    /// The target's path and query.
    pub path: String,
    /// The whole head as it came in.
    pub head: String,
    /// How its body is framed.
    pub framing: Framing,
    /// Whether the connection stays open after it.
    pub keep_alive: bool,
    /// Whether it asks to switch protocols.
    pub upgrade: Option<String>,
}

/// A client's connection.
pub struct Client<'a> {
    input: BufReader<&'a TcpStream>,
    output: &'a TcpStream,
}

impl<'a> Client<'a> {
    /// Reads and writes `stream`.
    pub fn new(stream: &'a TcpStream) -> Self {
        Self { input: BufReader::with_capacity(16 * 1024, stream), output: stream }
    }

    /// The next request; `None` when the client has closed the connection.
    pub fn request(&mut self) -> io::Result<Option<Request>> {
        let mut head = String::new();
        loop {
            let before = head.len();
            if self.input.read_line(&mut head)? == 0 {
                return Ok(None);
            }
            if head[before..].trim_end().is_empty() {
                break;
            }
        }
        let mut request = parse(&head);
        if header(&head, "expect").is_some() && request.framing != Framing::Length(0) {
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        request.head = head;
        Ok(Some(request))
    }

    /// Hands the request's body to `sink`, piece by piece.
    pub fn body(
        &mut self,
        framing: Framing,
        mut sink: impl FnMut(&TcpStream, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        match framing {
            Framing::Length(length) => self.copy(length, &mut sink),
            Framing::Chunked => loop {
                let length = self.line_as_hex()?;
                self.copy(length, &mut sink)?;
                // The line break after a chunk, or the empty line after the last one.
                self.input.read_line(&mut String::new())?;
                if length == 0 {
                    return Ok(());
                }
            },
        }
    }

    /// Everything that the client sends from now on, after an upgrade.
    pub fn rest(
        &mut self,
        mut sink: impl FnMut(&TcpStream, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.copy(u64::MAX, &mut sink)
    }

    /// Writes to the client.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)
    }

    fn line_as_hex(&mut self) -> io::Result<u64> {
        let mut line = String::new();
        self.input.read_line(&mut line)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        u64::from_str_radix(digits, 16).map_err(io::Error::other)
    }

    fn copy(
        &mut self,
        length: u64,
        sink: &mut impl FnMut(&TcpStream, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut left = (&mut self.input).take(length);
        loop {
            let piece = left.fill_buf()?;
            let read = piece.len();
            if read == 0 {
                return Ok(());
            }
            sink(self.output, piece)?;
            left.consume(read);
        }
    }
}

fn parse(head: &str) -> Request {
    let mut words = head.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (method, path, version) = (word(), word(), word());
    let framing = if header(head, "transfer-encoding").is_some() {
        Framing::Chunked
    } else {
        Framing::Length(header(head, "content-length").and_then(|v| v.parse().ok()).unwrap_or(0))
    };
    let connection = header(head, "connection").unwrap_or_default().to_ascii_lowercase();
    let keep_alive = !connection.contains("close")
        && (version.starts_with("HTTP/1.1") || connection.contains("keep-alive"));
    let upgrade = header(head, "upgrade").map(str::to_owned);
    Request { method, path, head: String::new(), framing, keep_alive, upgrade }
}

/// The value of the first header field named `name` (given in lower case).
pub fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
