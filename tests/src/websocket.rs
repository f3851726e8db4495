//! A WebSocket client (RFC 6455) of short text frames.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use crate::http::{Client, Response};

/// The key of RFC 6455 section 1.3, and what the server must make of it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Any mask will do for a test.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const TEXT: u8 = 1;
const CLOSE: u8 = 8;

/// An open WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    stream: TcpStream,
    /// The answer that opened it.
    pub opened: Response,
}

impl WebSocket {
    /// Opens one at `/ws` of the host named `domain`.
    ///
    /// # Errors
    /// When the server does not switch protocols as RFC 6455 section 4.2.2 says.
    pub fn open(stream: TcpStream, domain: &str) -> io::Result<Self> {
        let mut client = Client::new(stream.try_clone()?);
        let head = format!(
            "GET /ws HTTP/1.1\r\nHost: {domain}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        client.send(head.as_bytes())?;
        // Frames come only after ours, so that nothing is left behind in the client.
        let opened = client.response(false)?;
        let accept = opened.header("sec-websocket-accept");
        if opened.status != 101 || accept != Some(ACCEPT) {
            let what = format!("{} {accept:?} {}", opened.status, opened.text());
            return Err(io::Error::other(what));
        }
        Ok(Self { stream, opened })
    }

    /// Sends a text and reads it back. `Ok(false)`: the server has closed the connection, in words or without.
    ///
    /// # Errors
    /// Something else came back, or nothing in time.
    pub fn echo(&mut self, text: &str) -> io::Result<bool> {
        match self.exchange(text) {
            Ok((TEXT, data)) if data == text.as_bytes() => Ok(true),
            Ok((CLOSE, _)) => Ok(false),
            Ok(other) => Err(io::Error::other(format!("not the echo of {text}: {other:?}"))),
            Err(error) if is_end(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn exchange(&mut self, text: &str) -> io::Result<(u8, Vec<u8>)> {
        let length = u8::try_from(text.len()).ok().filter(|n| *n < 126).expect("a short text");
        let masked = text.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let mut frame = vec![0x80 | TEXT, 0x80 | length];
        frame.extend(MASK.into_iter().chain(masked));
        self.stream.write_all(&frame)?;
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let mut data = vec![0; usize::from(head[1] & 0x7f)];
        self.stream.read_exact(&mut data)?;
        Ok((head[0] & 15, data))
    }
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}
