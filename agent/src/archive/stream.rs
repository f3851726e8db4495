//! Streams that know the SHA-256 of what went through them.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use super::block::BLOCK;
use super::hex;

/// Hashes what is written.
pub(super) struct HashWriter<W> {
    inner: W,
    sha: Sha256,
}

impl<W: Write> HashWriter<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, sha: Sha256::new() }
    }

    /// Of everything so far, in hexadecimal.
    pub(super) fn digest(&self) -> String {
        hex(&self.sha.clone().finalize())
    }

    pub(super) fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for HashWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sha.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Reads blocks and hashes them.
pub(super) struct Blocks<R> {
    inner: R,
    sha: Sha256,
}

impl<R: Read> Blocks<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, sha: Sha256::new() }
    }

    /// The next block.
    pub(super) fn block(&mut self) -> io::Result<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        self.fill(&mut block)?;
        Ok(block)
    }

    /// What went through so far, to be hashed if it is asked for.
    pub(super) fn so_far(&self) -> Sha256 {
        self.sha.clone()
    }

    /// Fills `bytes`.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(bytes)?;
        self.sha.update(&*bytes);
        Ok(())
    }

    /// Reads what fills up the last block of `size` bytes of data.
    pub(super) fn padding(&mut self, size: u64) -> io::Result<()> {
        let rest = usize::try_from(size % BLOCK as u64).unwrap_or(0);
        if rest > 0 {
            let mut padding = [0; BLOCK];
            self.fill(&mut padding[rest..])?;
        }
        Ok(())
    }

    pub(super) fn into_inner(self) -> R {
        self.inner
    }
}

/// A hash in hexadecimal.
pub(super) fn digest(sha: Sha256) -> String {
    hex(&sha.finalize())
}
