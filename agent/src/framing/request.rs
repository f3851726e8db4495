//! What a client sends.

use super::body::Body;
use super::chars::{has_space_or_control, is_token};
use super::field::Fields;
use super::line::Lines;
use super::{Reason, host};

/// Bounds of a request's head.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// Bytes of request line and header fields.
    pub bytes: usize,
    /// Header fields.
    pub fields: usize,
}

/// Where in its stream of requests a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Between messages.
    Idle,
    /// In a head.
    Head,
    /// In a body.
    Body,
    /// After a request for another protocol: what follows is not HTTP if the answer is 101.
    Undecided,
    /// Not HTTP any more.
    Passthrough,
}

/// A refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// Which rule was broken.
    pub reason: Reason,
    /// How many bytes of this input may be passed on: those before the refused message, or, in a
    /// body, before the refused chunk.
    pub good: usize,
    /// Whether it is a body, so that the head has been passed on already.
    pub in_body: bool,
}

#[derive(Debug)]
enum State {
    Start { crlf: bool },
    Head,
    Body(Body),
    Undecided,
    Passthrough,
}

/// Checks a client's bytes as they come.
#[derive(Debug)]
pub struct RequestScanner {
    state: State,
    limits: RequestLimits,
    lines: Lines,
    fields: Fields,
    bytes: usize,
    http_10: bool,
}

impl RequestScanner {
    /// A scanner at the start of a connection.
    #[must_use]
    pub fn new(limits: RequestLimits) -> Self {
        Self {
            state: State::Start { crlf: false },
            limits,
            lines: Lines::default(),
            fields: Fields::default(),
            bytes: 0,
            http_10: false,
        }
    }

    /// Where the client is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Start { crlf } if crlf || self.lines.is_partial() => Phase::Head,
            State::Start { .. } => Phase::Idle,
            State::Head => Phase::Head,
            State::Body(_) => Phase::Body,
            State::Undecided => Phase::Undecided,
            State::Passthrough => Phase::Passthrough,
        }
    }

    /// Ends [`Phase::Undecided`]: the answer switched protocols, or did not.
    pub fn decide(&mut self, switched: bool) {
        if matches!(self.state, State::Undecided) {
            self.state = if switched { State::Passthrough } else { State::Start { crlf: false } };
        }
    }

    /// Checks the next bytes and says how many of them were looked at: all, unless a request for
    /// another protocol ends within them.
    ///
    /// # Errors
    /// [`Rejected`]; the scanner must not be fed again.
    pub fn feed(&mut self, input: &[u8]) -> Result<usize, Rejected> {
        let mut pos = 0;
        // Where the message that is being read began in this input.
        let mut start = 0;
        while pos < input.len() {
            let before = pos;
            let in_body = matches!(self.state, State::Body(_));
            let step = match &mut self.state {
                State::Undecided => return Ok(pos),
                State::Passthrough => return Ok(input.len()),
                State::Body(body) => {
                    let step = body.scan(&mut self.lines, input, &mut pos);
                    if *body == Body::Done {
                        start = pos;
                        self.state = State::Start { crlf: false };
                    }
                    step
                }
                State::Start { .. } | State::Head => self.head(input, &mut pos).map(|ended| {
                    if ended {
                        start = pos;
                    }
                }),
            };
            if let Err(reason) = step {
                let good = if in_body { before } else { start };
                return Err(Rejected { reason, good, in_body });
            }
        }
        Ok(pos)
    }

    /// Reads lines of the head until it or the input ends; says whether it ended.
    fn head(&mut self, input: &[u8], pos: &mut usize) -> Result<bool, Reason> {
        while *pos < input.len() {
            let left = self.limits.bytes.saturating_sub(self.bytes);
            let Some(line) = self.lines.next(input, pos, left)? else { return Ok(false) };
            self.bytes += line.len() + 2;
            match (&mut self.state, line) {
                // One empty line before a request line is to be ignored (RFC 9112 section 2.2).
                (State::Start { crlf: crlf @ false }, []) => *crlf = true,
                (State::Start { .. }, line) => {
                    (self.http_10, self.fields.authority) = request_line(line)?;
                    self.state = State::Head;
                }
                (_, []) => {
                    self.end_head()?;
                    return Ok(true);
                }
                (_, line) => {
                    if self.fields.count == self.limits.fields {
                        return Err(Reason::HeadTooLarge);
                    }
                    self.fields.add(line, true)?;
                }
            }
        }
        Ok(false)
    }

    fn end_head(&mut self) -> Result<(), Reason> {
        let fields = std::mem::take(&mut self.fields);
        fields.finish(self.http_10)?;
        if !fields.host {
            return Err(Reason::MissingHost);
        }
        self.bytes = 0;
        let body = Body::of(fields.length, fields.chunked);
        // RFC 9110 section 7.8: Upgrade is ignored in an HTTP/1.0 request, and a request with a
        // body is over only after it; hyper switches protocols only on those without.
        self.state = match body {
            Body::Done if fields.upgrade && !self.http_10 => State::Undecided,
            Body::Done => State::Start { crlf: false },
            body => State::Body(body),
        };
        Ok(())
    }
}

/// The authority of an absolute-form target.
type Authority = Option<Box<[u8]>>;

/// Checks a request line; whether it is HTTP/1.0, and the authority if it is in absolute form.
fn request_line(line: &[u8]) -> Result<(bool, Authority), Reason> {
    let method = line.iter().position(|&b| !is_token(b)).unwrap_or(line.len());
    if method == 0 || line.get(method) != Some(&b' ') {
        return Err(Reason::RequestLine);
    }
    let rest = &line[method + 1..];
    let end = memchr::memchr(b' ', rest).ok_or(Reason::RequestLine)?;
    let (target, version) = (&rest[..end], &rest[end + 1..]);
    let http_10 = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return Err(Reason::Version),
    };
    Ok((http_10, check_target(&line[..method], target)?))
}

fn check_target(method: &[u8], target: &[u8]) -> Result<Authority, Reason> {
    if has_space_or_control(target) || memchr::memchr(b'#', target).is_some() {
        return Err(Reason::Target);
    }
    match target {
        // A tunnel for its own sake is no business of this proxy.
        _ if method == b"CONNECT" => Err(Reason::Target),
        [b'/', ..] => Ok(None),
        b"*" if method == b"OPTIONS" => Ok(None),
        _ => {
            let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
                target.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme))
            });
            let rest = &target[scheme.ok_or(Reason::Target)?.len()..];
            let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
            host::parse(&rest[..end]).ok_or(Reason::Target)?;
            Ok(Some(rest[..end].into()))
        }
    }
}
