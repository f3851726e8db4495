//! What is known of a backup before its answer begins.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;

use super::BackupError;
use crate::flows::ManageError;
use crate::flows::instance::Instance;

/// The answer begins when so many bytes were read, or all, or [`HEAD_TIME`] has passed: what fails until then, and a
/// small archive as a whole, is answered with a status instead of breaking off.
const HEAD: usize = 1024 * 1024;
/// See [`HEAD`]. A client should not take a slow disk for a dead agent.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// The first pieces, at least one.
///
/// # Errors
/// What the packing failed with meanwhile.
pub(super) async fn head(
    pieces: &mut Receiver<Result<Bytes, BackupError>>,
) -> Result<Vec<Bytes>, BackupError> {
    let none = || BackupError::Failed("there is no archive".into());
    let first = pieces.recv().await.ok_or_else(none)??;
    let (mut size, mut head) = (first.len(), vec![first]);
    let end = tokio::time::Instant::now() + HEAD_TIME;
    while size < HEAD {
        match tokio::time::timeout_at(end, pieces.recv()).await {
            Ok(Some(piece)) => {
                let piece = piece?;
                size += piece.len();
                head.push(piece);
            }
            Ok(None) | Err(_) => break,
        }
    }
    Ok(head)
}

/// One that was removed while it was read is not there, whatever became of its packer.
pub(super) fn unless_removed(instance: &Instance, error: BackupError) -> BackupError {
    if instance.removed.load(Ordering::Acquire) {
        return ManageError::NotFound { name: instance.name.clone(), similar: Vec::new() }.into();
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    fn piece(size: usize) -> Result<Bytes, BackupError> {
        Ok(Bytes::from(vec![0; size]))
    }

    #[tokio::test]
    async fn a_small_archive_that_fails_at_its_end_has_no_answer_yet() {
        let (client, mut pieces) = mpsc::channel(4);
        client.send(piece(300)).await.unwrap();
        client.send(piece(300)).await.unwrap();
        client.send(Err(BackupError::Failed("it was started by hand".into()))).await.unwrap();
        let error = head(&mut pieces).await.unwrap_err();
        assert!(error.to_string().contains("by hand"), "{error}");
    }

    #[tokio::test]
    async fn a_small_archive_is_whole_before_its_answer_begins() {
        let (client, mut pieces) = mpsc::channel(4);
        client.send(piece(300)).await.unwrap();
        client.send(piece(20)).await.unwrap();
        drop(client);
        let head = head(&mut pieces).await.unwrap();
        assert_eq!(head.iter().map(Bytes::len).sum::<usize>(), 320);
    }

    #[tokio::test(start_paused = true)]
    async fn neither_a_large_archive_nor_a_slow_disk_keeps_the_answer_back() {
        let (client, mut pieces) = mpsc::channel(4);
        for _ in 0..3 {
            client.send(piece(HEAD / 2)).await.unwrap();
        }
        assert_eq!(head(&mut pieces).await.unwrap().len(), 2);
        assert_eq!(head(&mut pieces).await.unwrap().len(), 1, "no more comes, and it goes on");
        drop(client);
        assert!(head(&mut pieces).await.is_err(), "nothing at all is no archive");
    }
}
