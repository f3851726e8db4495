//! A client, or a backend, that speaks raw bytes.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Longer than anything here takes, shorter than a person's patience.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A message as it was on the wire.
#[derive(Debug, Clone, Default)]
pub struct Message {
    pub start: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// Whether it came to the end that its framing promised.
    pub whole: bool,
}

pub type Answer = Message;

impl Message {
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status line")
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} is there more than once: {all:?}");
        all.first().copied()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = |n: &&(String, String)| n.0.eq_ignore_ascii_case(name);
        self.fields.iter().filter(same).map(|(_, value)| value.as_str()).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Request,
    Answer,
    /// To HEAD.
    HeadAnswer,
}

/// A stream with what was read too much.
pub struct Raw<S> {
    pub io: S,
    pub rest: Vec<u8>,
}

impl<S: AsyncReadExt + AsyncWriteExt + Unpin> Raw<S> {
    pub fn new(io: S) -> Self {
        Self { io, rest: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.io.write_all(bytes.as_ref()).await.is_ok() && self.io.flush().await.is_ok()
    }

    /// Reads more; `false` at the end.
    pub async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.io.read_buf(&mut self.rest)).await;
        matches!(read.expect("nothing came for too long"), Ok(n) if n > 0)
    }

    pub async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.rest.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.rest.drain(..end + 2).collect();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    pub async fn exactly(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.rest.len() < n {
            if !self.more().await {
                return None;
            }
        }
        Some(self.rest.drain(..n).collect())
    }

    pub async fn fields(&mut self) -> Option<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { return Some(fields) };
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    pub async fn head(&mut self) -> Option<Message> {
        let start = self.line().await?;
        let fields = self.fields().await?;
        Some(Message { start, fields, ..Message::default() })
    }

    pub async fn answer(&mut self) -> Option<Answer> {
        self.message(Kind::Answer).await
    }

    pub async fn message(&mut self, kind: Kind) -> Option<Message> {
        let mut message = self.head().await?;
        message.whole = self.body(&mut message, kind).await.is_some();
        Some(message)
    }

    async fn body(&mut self, message: &mut Message, kind: Kind) -> Option<()> {
        let bodyless = kind != Kind::Request && matches!(message.status(), 100..=199 | 204 | 304);
        if bodyless || kind == Kind::HeadAnswer {
            return Some(());
        }
        if message.get("transfer-encoding").is_some() {
            loop {
                let line = self.line().await?;
                let size = usize::from_str_radix(line.split(';').next()?, 16).ok()?;
                if size == 0 {
                    message.trailers = self.fields().await?;
                    return Some(());
                }
                message.body.extend(self.exactly(size).await?);
                self.exactly(2).await?;
            }
        }
        match message.get("content-length") {
            Some(length) => {
                let length: usize = length.parse().ok()?;
                while self.rest.len() < length {
                    if !self.more().await {
                        message.body = std::mem::take(&mut self.rest);
                        return None;
                    }
                }
                message.body = self.exactly(length).await?;
            }
            None if kind == Kind::Answer => {
                while self.more().await {}
                message.body = std::mem::take(&mut self.rest);
            }
            None => {}
        }
        Some(())
    }

    /// Whether the other side closes, saying nothing more.
    pub async fn is_closed(&mut self) -> bool {
        while self.more().await {}
        self.rest.is_empty()
    }
}
