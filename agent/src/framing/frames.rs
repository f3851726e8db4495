//! Counts the HTTP/2 frames that cost their sender nothing and their receiver an answer.
//!
//! PING and SETTINGS are acknowledged one by one, and no limit of streams or windows bounds them
//! (CVE-2019-9512, CVE-2019-9515). Floods of other frames are ended by the HTTP/2 library.

/// Length of the client's connection preface (RFC 9113 section 3.4) and of a frame's head (4.1).
const PREFACE: usize = 24;
const HEAD: usize = 9;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const ACK: u8 = 1;

/// Finds the heads of frames in the bytes that a client sends, from the preface on.
#[derive(Debug)]
pub struct FrameMeter {
    /// Bytes until the next head.
    skip: usize,
    head: [u8; HEAD],
    have: usize,
}

impl Default for FrameMeter {
    fn default() -> Self {
        Self { skip: PREFACE, head: [0; HEAD], have: 0 }
    }
}

impl FrameMeter {
    /// How many frames that demand an acknowledgement begin in `bytes`.
    pub fn feed(&mut self, mut bytes: &[u8]) -> u32 {
        let mut count = 0;
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return count;
            }
            let taken = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have < HEAD {
                return count;
            }
            let [a, b, c, kind, flags, ..] = self.head;
            self.have = 0;
            self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            count += u32::from(matches!(kind, SETTINGS | PING) && flags & ACK == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 0];
        frame.extend(payload);
        frame
    }

    #[test]
    fn pings_and_settings_are_counted_however_the_bytes_are_cut() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, &[0; 12]));
        bytes.extend(frame(SETTINGS, ACK, &[]));
        // A payload that looks like a ping is none.
        bytes.extend(frame(0, 0, &frame(PING, 0, &[0; 8])));
        bytes.extend(frame(PING, 0, &[0; 8]));
        bytes.extend(frame(PING, ACK, &[0; 8]));
        for cut in 1..bytes.len() {
            let mut meter = FrameMeter::default();
            let count: u32 = bytes.chunks(cut).map(|part| meter.feed(part)).sum();
            assert_eq!(count, 2, "in pieces of {cut}");
        }
    }
}
