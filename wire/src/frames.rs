//! What goes to and fro between `ten run` and the agent: frames on the two bodies of one HTTP request.
//!
//! ```text
//! request:  RunRequest (JSON) · Stdin* · StdinEnd · Resize* · Signal* · Alive*      until the answer ends
//! answer:   Started · Stdout* · Stderr* · Taken* · Alive* · End (JSON)
//! ```
//!
//! A frame is its kind (1 byte), the length of its payload (4 bytes, big-endian) and the payload. The client sends
//! at most [`WINDOW`] bytes of input that were not answered by `Taken`, so that a signal never waits behind input
//! that nobody reads. Each side sends `Alive` when it has nothing else to say for [`ALIVE_S`] seconds.

/// Longest payload.
pub const PAYLOAD_MAX: usize = 64 * 1024;
/// Most bytes of input on their way or waiting for the command.
pub const WINDOW: usize = 256 * 1024;
/// Silence after which a side says that it is there, in seconds.
pub const ALIVE_S: u64 = 15;
/// The media type of both bodies.
pub const MEDIA_TYPE: &str = "application/vnd.tenement.run";

const HEAD: usize = 5;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A [`crate::tasks::RunRequest`] as JSON: the first frame of the request.
    Request = 1,
    /// Input for the command.
    Stdin = 2,
    /// No more input.
    StdinEnd = 3,
    /// Rows and columns of the terminal, 2 bytes each, big-endian.
    Resize = 4,
    /// The number of a signal, 1 byte.
    Signal = 5,
    /// Nothing: it is still there.
    Alive = 6,
    /// The command was started.
    Started = 7,
    /// What the command printed; with a terminal, all of it.
    Stdout = 8,
    /// What it printed to its standard error.
    Stderr = 9,
    /// So many bytes of input the command has taken, 4 bytes, big-endian.
    Taken = 10,
    /// A [`crate::tasks::RunEnd`] as JSON: the last frame of the answer.
    End = 11,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Request,
        Self::Stdin,
        Self::StdinEnd,
        Self::Resize,
        Self::Signal,
        Self::Alive,
        Self::Started,
        Self::Stdout,
        Self::Stderr,
        Self::Taken,
        Self::End,
    ];
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub payload: Vec<u8>,
}

/// Why bytes are no frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A kind that is none.
    #[error("there is no frame of kind {0}")]
    Kind(u8),
    /// A payload that is too long.
    #[error("a frame of {0} bytes is too long")]
    Length(u32),
}

/// A frame as bytes.
///
/// # Panics
/// If the payload is longer than [`PAYLOAD_MAX`].
#[must_use]
pub fn encode(kind: Kind, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= PAYLOAD_MAX, "a frame of {} bytes", payload.len());
    let mut bytes = Vec::with_capacity(HEAD + payload.len());
    bytes.push(kind as u8);
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A number as a payload, for `Taken`.
#[must_use]
pub fn number(payload: &[u8]) -> Option<u32> {
    payload.try_into().ok().map(u32::from_be_bytes)
}

/// Rows and columns of a `Resize`.
#[must_use]
pub fn size(payload: &[u8]) -> Option<crate::tasks::TerminalSize> {
    let [a, b, c, d]: [u8; 4] = payload.try_into().ok()?;
    let (rows, columns) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Some(crate::tasks::TerminalSize { rows, columns })
}

/// The payload of a `Resize`.
#[must_use]
pub fn of_size(size: crate::tasks::TerminalSize) -> [u8; 4] {
    let ([a, b], [c, d]) = (size.rows.to_be_bytes(), size.columns.to_be_bytes());
    [a, b, c, d]
}

/// Takes bytes as they come and gives frames.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
}

impl Decoder {
    /// Takes some bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// [`FrameError`]; what comes after it means nothing.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(head) = self.held.first_chunk::<HEAD>() else { return Ok(None) };
        let [kind, length @ ..] = *head;
        let length = u32::from_be_bytes(length);
        let known = Kind::ALL.into_iter().find(|known| *known as u8 == kind);
        let kind = known.ok_or(FrameError::Kind(kind))?;
        if length as usize > PAYLOAD_MAX {
            return Err(FrameError::Length(length));
        }
        let end = HEAD + length as usize;
        if self.held.len() < end {
            return Ok(None);
        }
        let payload = self.held[HEAD..end].to_vec();
        self.held.drain(..end);
        Ok(Some(Frame { kind, payload }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds() -> impl Strategy<Value = Kind> {
        proptest::sample::select(Kind::ALL.to_vec())
    }

    #[test]
    fn what_is_no_frame_is_refused_before_it_is_kept() {
        let mut decoder = Decoder::default();
        decoder.push(&[99, 0, 0, 0, 0]);
        assert_eq!(decoder.next_frame(), Err(FrameError::Kind(99)));
        let mut decoder = Decoder::default();
        decoder.push(&[2, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decoder.next_frame(), Err(FrameError::Length(u32::MAX)));
        let size = crate::tasks::TerminalSize { rows: 50, columns: 300 };
        assert_eq!(super::size(&of_size(size)), Some(size));
        assert_eq!((number(&[0, 0, 1, 0]), number(&[1])), (Some(256), None));
    }

    proptest! {
        #[test]
        fn frames_come_back_however_they_were_cut(
            frames in prop::collection::vec((kinds(), prop::collection::vec(any::<u8>(), 0..40)), 0..8),
            cut in 1..17_usize,
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(kind, payload)| encode(*kind, payload)).collect();
            let (mut decoder, mut found) = (Decoder::default(), Vec::new());
            for piece in bytes.chunks(cut) {
                decoder.push(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    found.push((frame.kind, frame.payload));
                }
            }
            prop_assert_eq!(found, frames);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
    }
}
