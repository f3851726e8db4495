//! Between the agent and `tenement-archive`: bytes one way, one line of JSON the other.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::BackupError;
use super::spool::Feeder;
use crate::archive::{Message, Packed, Unpacked};
use crate::flows::host::{ArchiveDone, HostError};
use crate::vault::Pieces;

/// Bytes that are read at once.
const PIECE: usize = 256 * 1024;
/// What is kept of what the program says.
const SAID_MAX: usize = 16 * 1024;
/// Longest silence of whoever sends an archive.
const SILENCE: Duration = Duration::from_secs(60);

/// Two connected sockets, the second one as a program takes its standard streams.
pub(super) fn sockets() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    let theirs = theirs.into_std()?;
    theirs.set_nonblocking(false)?;
    Ok((ours, theirs.into()))
}

/// Takes an archive from a program that runs until `job` is done. systemd may hold the other ends longer than that, so
/// their being closed is not waited for.
pub(super) async fn collect(
    mut data: UnixStream,
    mut ear: UnixStream,
    job: impl Future<Output = Result<ArchiveDone, HostError>>,
    feeder: &mut Feeder,
) -> Result<Packed, BackupError> {
    let mut job = std::pin::pin!(job);
    let (mut buffer, mut said) = (BytesMut::with_capacity(PIECE), Said::default());
    let (mut open, mut received) = (true, 0_u64);
    let well = loop {
        tokio::select! {
            read = data.read_buf(&mut buffer), if open => {
                open = read? > 0;
                received += pass_on(&mut buffer, feeder).await?;
            }
            read = said.hear(&mut ear), if said.open => read?,
            end = &mut job => break end?.well,
        }
    };
    loop {
        match data.try_read_buf(&mut buffer) {
            Ok(0) => break,
            Ok(_) => received += pass_on(&mut buffer, feeder).await?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    match said.message(&mut ear) {
        Message::Packed(packed) if well && packed.written == received => Ok(packed),
        Message::Packed(packed) => Err(BackupError::Failed(format!(
            "{received} of {} bytes of the archive arrived",
            packed.written
        ))),
        Message::Failed(why) => {
            Err(BackupError::Failed(format!("its data can't be packed: {why}")))
        }
        Message::Unpacked(_) => {
            Err(BackupError::Failed("the packer answered another question".into()))
        }
    }
}

async fn pass_on(buffer: &mut BytesMut, feeder: &mut Feeder) -> io::Result<u64> {
    let piece: Bytes = buffer.split().freeze();
    buffer.reserve(PIECE);
    let size = piece.len() as u64;
    if size > 0 {
        feeder.put(piece).await?;
    }
    Ok(size)
}

/// Gives an archive to a program that runs until `job` is done.
pub(super) async fn give(
    mut data: UnixStream,
    mut ear: UnixStream,
    job: impl Future<Output = Result<ArchiveDone, HostError>>,
    mut pieces: Pieces,
) -> Result<Unpacked, BackupError> {
    let mut job = std::pin::pin!(job);
    let mut said = Said::default();
    let feed = async {
        let broken = loop {
            match tokio::time::timeout(SILENCE, pieces.next()).await {
                // The program sees the end too early, and so refuses what it has.
                Err(_) => break Some("nothing more came for a minute".to_owned()),
                Ok(Some(Err(error))) => break Some(error.to_string()),
                Ok(Some(Ok(piece))) => {
                    if data.write_all(&piece).await.is_err() {
                        // It has ended, and says why.
                        break None;
                    }
                }
                Ok(None) => break None,
            }
        };
        let _ = data.shutdown().await;
        broken
    };
    let mut feed = std::pin::pin!(feed);
    let (mut feeding, mut broken) = (true, None);
    let well = loop {
        tokio::select! {
            why = &mut feed, if feeding => (feeding, broken) = (false, why),
            read = said.hear(&mut ear), if said.open => read?,
            end = &mut job => break end?.well,
        }
    };
    let message = said.message(&mut ear);
    if let Some(why) = broken {
        return Err(BackupError::BadArchive(format!("it broke off: {why}")));
    }
    match message {
        Message::Unpacked(unpacked) if well => Ok(unpacked),
        Message::Failed(why) => Err(BackupError::BadArchive(why)),
        Message::Unpacked(_) | Message::Packed(_) => {
            Err(BackupError::Failed("the archive was not unpacked to its end".into()))
        }
    }
}

/// What the program says.
struct Said {
    text: Vec<u8>,
    open: bool,
}

impl Default for Said {
    fn default() -> Self {
        Self { text: Vec::new(), open: true }
    }
}

impl Said {
    async fn hear(&mut self, ear: &mut UnixStream) -> io::Result<()> {
        let mut piece = [0; 4096];
        let read = ear.read(&mut piece).await?;
        self.open = read > 0;
        self.keep(&piece[..read]);
        Ok(())
    }

    /// Of too much, the end: the last line counts.
    fn keep(&mut self, piece: &[u8]) {
        self.text.extend_from_slice(piece);
        let over = self.text.len().saturating_sub(SAID_MAX);
        self.text.drain(..over);
    }

    fn message(mut self, ear: &mut UnixStream) -> Message {
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = ear.try_read(&mut piece) {
            self.keep(&piece[..read]);
        }
        Message::read(&self.text)
    }
}
