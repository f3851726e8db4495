//! A small HTTP/1.1 client that hides nothing: what it sends and gets are the bytes on the wire.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

/// A whole response.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body, unchunked.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One keep-alive connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// A client on a connection.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// Whether the server has neither closed the connection nor sent anything unasked.
    #[must_use]
    pub fn is_open(&mut self) -> bool {
        let stream = self.stream.get_ref();
        let looked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
        let quiet = matches!(looked, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        quiet && self.stream.get_ref().set_nonblocking(false).is_ok()
    }

    /// GET.
    ///
    /// # Errors
    /// When the connection ends early or the answer is not HTTP.
    pub fn get(&mut self, host: &str, path: &str) -> io::Result<Response> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())?;
        self.response(false)
    }

    /// POST with a body of known length.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn post(&mut self, host: &str, path: &str, body: &[u8]) -> io::Result<Response> {
        let len = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len}\r\n\r\n");
        self.send(head.as_bytes())?;
        self.send(body)?;
        self.response(false)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// As `write(2)`.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads the head of a response.
    ///
    /// # Errors
    /// When the connection ends early or the answer is not HTTP.
    pub fn head(&mut self) -> io::Result<Response> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.ok_or_else(|| bad(&format!("status line {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Response { status, headers, body: Vec::new() });
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad(&line))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Reads a whole response.
    ///
    /// # Errors
    /// As [`Client::head`].
    pub fn response(&mut self, head_only: bool) -> io::Result<Response> {
        let mut response = self.head()?;
        while response.status == 100 {
            response = self.head()?;
        }
        if head_only || matches!(response.status, 101 | 204 | 304) {
            return Ok(response);
        }
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk()? {
                response.body.extend(chunk);
            }
        } else if let Some(len) = response.header("content-length") {
            let len = len.parse().map_err(|_| bad(len))?;
            response.body = vec![0; len];
            self.stream.read_exact(&mut response.body)?;
        } else {
            self.stream.read_to_end(&mut response.body)?;
        }
        Ok(response)
    }

    /// Reads one chunk; `None` after the last.
    ///
    /// # Errors
    /// As [`Client::head`].
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| bad(&line))?;
        let mut chunk = vec![0; size];
        self.stream.read_exact(&mut chunk)?;
        // After the last chunk come trailers up to an empty line; after any other, an empty line.
        while !self.line()?.is_empty() {}
        Ok((size > 0).then_some(chunk))
    }

    /// Reads bytes as they come.
    ///
    /// # Errors
    /// As `read(2)`.
    pub fn some(&mut self) -> io::Result<Vec<u8>> {
        let bytes = self.stream.fill_buf()?.to_vec();
        self.stream.consume(bytes.len());
        Ok(bytes)
    }

    /// The line without its end.
    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
