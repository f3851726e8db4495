//! What an instance answers.

use super::Reason;
use super::body::Body;
use super::field::Fields;
use super::line::Lines;

/// The most bytes and fields in the head of an answer.
const HEAD_BYTES_MAX: usize = 128 * 1024;
const HEAD_FIELDS_MAX: usize = 256;

#[derive(Debug)]
enum State {
    /// No request is waiting: any byte is one too many.
    Idle,
    StatusLine,
    Head,
    Body(Body),
    UntilClose,
    Passthrough,
}

/// Checks an instance's bytes as they come.
#[derive(Debug)]
pub struct ResponseScanner {
    state: State,
    lines: Lines,
    fields: Fields,
    bytes: usize,
    http_10: bool,
    status: u16,
    to_head: bool,
    to_upgrade: bool,
    heads: u32,
}

impl Default for ResponseScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl ResponseScanner {
    /// A scanner at the start of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Idle,
            lines: Lines::default(),
            fields: Fields::default(),
            bytes: 0,
            http_10: false,
            status: 0,
            to_head: false,
            to_upgrade: false,
            heads: 0,
        }
    }

    /// A request was sent: `head` if it was a HEAD, `upgrade` if it asked for another protocol.
    pub fn expect(&mut self, head: bool, upgrade: bool) {
        if matches!(self.state, State::Idle) {
            self.state = State::StatusLine;
            (self.to_head, self.to_upgrade) = (head, upgrade);
        }
    }

    /// Whether the connection is not HTTP any more.
    #[must_use]
    pub fn is_passthrough(&self) -> bool {
        matches!(self.state, State::Passthrough)
    }

    /// How many heads have ended so far, informational ones too; it wraps.
    #[must_use]
    pub fn heads(&self) -> u32 {
        self.heads
    }

    /// Checks the next bytes.
    ///
    /// # Errors
    /// The rule that they break; the scanner must not be fed again.
    pub fn feed(&mut self, input: &[u8]) -> Result<(), Reason> {
        let mut pos = 0;
        while pos < input.len() {
            match &mut self.state {
                State::Idle => return Err(Reason::UnexpectedBytes),
                State::UntilClose | State::Passthrough => return Ok(()),
                State::Body(body) => {
                    body.scan(&mut self.lines, input, &mut pos)?;
                    if *body == Body::Done {
                        self.state = State::Idle;
                    }
                }
                State::StatusLine | State::Head => self.head_line(input, &mut pos)?,
            }
        }
        Ok(())
    }

    fn head_line(&mut self, input: &[u8], pos: &mut usize) -> Result<(), Reason> {
        let left = HEAD_BYTES_MAX.saturating_sub(self.bytes);
        let Some(line) = self.lines.next(input, pos, left)? else { return Ok(()) };
        self.bytes += line.len() + 2;
        match (&self.state, line) {
            (State::StatusLine, line) => {
                (self.http_10, self.status) = status_line(line)?;
                self.state = State::Head;
                Ok(())
            }
            (_, []) => self.end_head(),
            (_, line) => {
                if self.fields.count == HEAD_FIELDS_MAX {
                    return Err(Reason::HeadTooLarge);
                }
                self.fields.add(line, false)
            }
        }
    }

    fn end_head(&mut self) -> Result<(), Reason> {
        let fields = std::mem::take(&mut self.fields);
        fields.finish(self.http_10)?;
        self.bytes = 0;
        self.heads = self.heads.wrapping_add(1);
        let framed = fields.chunked || fields.length.is_some_and(|n| n > 0);
        self.state = match self.status {
            101 if !self.to_upgrade || framed => return Err(Reason::UnexpectedSwitch),
            101 => State::Passthrough,
            100..=199 | 204 if framed => return Err(Reason::UnexpectedBody),
            100..=199 => State::StatusLine,
            204 | 304 => State::Idle,
            _ if self.to_head => State::Idle,
            _ => match Body::of(fields.length, fields.chunked) {
                Body::Done if fields.length.is_none() => State::UntilClose,
                Body::Done => State::Idle,
                body => State::Body(body),
            },
        };
        Ok(())
    }
}

fn status_line(line: &[u8]) -> Result<(bool, u16), Reason> {
    let rest = line.strip_prefix(b"HTTP/1.").ok_or(Reason::StatusLine)?;
    let ([minor @ (b'0' | b'1'), b' ', a @ b'1'..=b'9', b, c], reason) =
        rest.split_first_chunk::<5>().ok_or(Reason::StatusLine)?
    else {
        return Err(Reason::StatusLine);
    };
    if !b.is_ascii_digit() || !c.is_ascii_digit() {
        return Err(Reason::StatusLine);
    }
    match reason {
        [] => {}
        [b' ', text @ ..] if !super::chars::has_control(text) => {}
        _ => return Err(Reason::StatusLine),
    }
    let status = [a, b, c].iter().fold(0, |n, digit| n * 10 + u16::from(**digit - b'0'));
    Ok((*minor == b'0', status))
}
