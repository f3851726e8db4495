//! Header fields, as far as they matter for framing.

use super::chars::{has_control, is_token, trim};
use super::{Reason, host};

/// What the header fields of a message say about its framing.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) count: usize,
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    pub(super) host: bool,
    pub(super) upgrade: bool,
    /// The authority of an absolute-form target, until the `Host` that must equal it has come.
    pub(super) authority: Option<Box<[u8]>>,
}

/// Splits a field line into name and trimmed value.
///
/// # Errors
/// The [`Reason`] why it is not a field line.
#[inline]
pub(super) fn split(line: &[u8]) -> Result<(&[u8], &[u8]), Reason> {
    let end = line.iter().position(|&b| !is_token(b)).unwrap_or(line.len());
    match line.get(end) {
        Some(b':') if end > 0 => {}
        Some(b' ' | b'\t') if end == 0 => return Err(Reason::ObsFold),
        Some(b' ' | b'\t') => return Err(Reason::SpaceBeforeColon),
        _ => return Err(Reason::FieldName),
    }
    let value = &line[end + 1..];
    if has_control(value) {
        return Err(Reason::ControlByte);
    }
    Ok((&line[..end], trim(value)))
}

impl Fields {
    /// Takes in one field line of a message's head.
    #[inline]
    pub(super) fn add(&mut self, line: &[u8], is_request: bool) -> Result<(), Reason> {
        let (name, value) = split(line)?;
        self.count += 1;
        match name.len() {
            4 if is_request && name.eq_ignore_ascii_case(b"host") => self.add_host(value),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.add_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.add_encoding(value),
            _ => Ok(()),
        }
    }

    fn add_host(&mut self, value: &[u8]) -> Result<(), Reason> {
        if std::mem::replace(&mut self.host, true) {
            return Err(Reason::DuplicateHost);
        }
        let parsed = host::parse(value).ok_or(Reason::BadHost)?;
        match self.authority.take() {
            None => Ok(()),
            Some(authority) if host::parse(&authority).is_some_and(|a| a.same_as(&parsed)) => {
                Ok(())
            }
            Some(_) => Err(Reason::HostMismatch),
        }
    }

    fn add_length(&mut self, value: &[u8]) -> Result<(), Reason> {
        if self.length.is_some() {
            return Err(Reason::DuplicateLength);
        }
        // 18 digits cannot overflow, and nobody has such a body.
        if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
            return Err(Reason::ContentLength);
        }
        let length = value.iter().fold(0, |n, b| n * 10 + u64::from(b - b'0'));
        self.length = Some(length);
        Ok(())
    }

    fn add_encoding(&mut self, value: &[u8]) -> Result<(), Reason> {
        if std::mem::replace(&mut self.chunked, true) || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Reason::TransferEncoding);
        }
        Ok(())
    }

    /// What can only be judged when all fields have been seen.
    pub(super) fn finish(&self, is_http_10: bool) -> Result<(), Reason> {
        if self.chunked && self.length.is_some() {
            return Err(Reason::LengthAndEncoding);
        }
        if self.chunked && is_http_10 {
            return Err(Reason::TransferEncoding);
        }
        Ok(())
    }
}
