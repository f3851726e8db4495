//! An upload on its way: a file without a name, so that nothing of it is left whatever happens.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use tokio::io::AsyncWriteExt as _;

use super::ReleaseError;
use crate::unpack::{SNIFFED, sniff};

/// What is left free on the disk: a twentieth of it, but no more and no less than these.
const SPARE_MIN: u64 = 64 << 20;
const SPARE_MAX: u64 = 512 << 20;
/// Bytes between two looks at the disk.
const LOOK: u64 = 8 << 20;

/// An upload.
#[derive(Debug)]
pub struct Spool {
    file: tokio::fs::File,
    /// The same file, open for reading alone: that is what others get.
    reader: OwnedFd,
    head: Vec<u8>,
    bytes: u64,
    looked: u64,
    most: u64,
}

impl Spool {
    /// Makes the file in `dir`, for `most` bytes at most.
    ///
    /// # Errors
    /// If it can't be made, or the disk is too full.
    pub fn new(dir: &Path, most: u64) -> Result<Self, ReleaseError> {
        let make = || -> io::Result<(File, File)> {
            std::fs::create_dir_all(dir)?;
            let path = dir.join(format!("upload-{}", uuid::Uuid::new_v4()));
            let writer = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            let reader = File::open(&path);
            // Gone at once: the file lives as long as its descriptors, and not over a crash.
            std::fs::remove_file(&path)?;
            Ok((writer, reader?))
        };
        let (writer, reader) = make().map_err(ReleaseError::spool)?;
        let spool = Self {
            file: tokio::fs::File::from_std(writer),
            reader: reader.into(),
            head: Vec::new(),
            bytes: 0,
            looked: 0,
            most,
        };
        spool.room(0)?;
        Ok(spool)
    }

    /// Takes more of it.
    ///
    /// # Errors
    /// [`ReleaseError::TooLarge`] beyond the bound, [`ReleaseError::NoSpace`] on a disk that is nearly full, and
    /// [`ReleaseError::NoTarball`] as soon as it can't be one.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ReleaseError> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.most {
            return Err(ReleaseError::TooLarge { most: self.most });
        }
        if self.bytes - self.looked > LOOK {
            self.room(bytes.len() as u64)?;
            self.looked = self.bytes;
        }
        if self.head.len() < SNIFFED {
            let missing = (SNIFFED - self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..missing]);
            if self.head.len() == SNIFFED && sniff(&self.head).is_none() {
                return Err(ReleaseError::NoTarball);
            }
        }
        self.file.write_all(bytes).await.map_err(ReleaseError::spool)
    }

    /// The whole upload, to be read from its beginning.
    ///
    /// # Errors
    /// If it is no tar file, or can't be written to the disk.
    pub async fn finish(mut self) -> Result<(OwnedFd, u64), ReleaseError> {
        if sniff(&self.head).is_none() {
            return Err(ReleaseError::NoTarball);
        }
        self.file.flush().await.map_err(ReleaseError::spool)?;
        Ok((self.reader, self.bytes))
    }

    fn room(&self, more: u64) -> Result<(), ReleaseError> {
        let disk = rustix::fs::fstatvfs(&self.reader).map_err(|e| ReleaseError::spool(e.into()))?;
        let twentieth = disk.f_blocks.saturating_mul(disk.f_frsize) / 20;
        let spare = twentieth.clamp(SPARE_MIN, SPARE_MAX);
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < spare.saturating_add(more) { Err(ReleaseError::NoSpace) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn tarball() -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        bytes[257..262].copy_from_slice(b"ustar");
        bytes
    }

    #[tokio::test]
    async fn an_upload_has_no_name_and_is_read_from_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(dir.path(), 2048).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let whole = tarball();
        for piece in whole.chunks(100) {
            spool.write(piece).await.unwrap();
        }
        let (reader, bytes) = spool.finish().await.unwrap();
        let mut read = Vec::new();
        File::from(reader).read_to_end(&mut read).unwrap();
        assert_eq!((read, bytes), (whole, 1024));
    }

    #[tokio::test]
    async fn what_is_too_long_or_no_tar_file_is_refused_on_its_way() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(dir.path(), 1000).unwrap();
        let error = spool.write(&tarball()).await.unwrap_err();
        assert!(matches!(error, ReleaseError::TooLarge { most: 1000 }));
        let mut spool = Spool::new(dir.path(), 10_000).unwrap();
        let error = spool.write(&[b'x'; 300]).await.unwrap_err();
        assert!(matches!(error, ReleaseError::NoTarball));
        let spool = Spool::new(dir.path(), 10_000).unwrap();
        assert!(matches!(spool.finish().await, Err(ReleaseError::NoTarball)), "an empty one");
    }
}
