//! What a build prints: its end in memory, for those who follow it, and in a file afterwards.

use std::collections::VecDeque;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;

/// Bytes that are kept of what a build prints: the last ones.
pub const LOG_MAX: usize = 64 * 1024;
/// How long the pipe may stay open once the build has ended.
const LINGER: Duration = Duration::from_secs(2);

/// What a build has printed so far.
#[derive(Debug)]
pub struct BuildLog {
    text: Mutex<Text>,
    /// Bytes so far, and whether it has ended.
    grown: watch::Sender<(u64, bool)>,
    /// Whether somebody has deleted what is being built.
    unwanted: AtomicBool,
}

#[derive(Debug, Default)]
struct Text {
    last: VecDeque<u8>,
    /// Bytes before those.
    dropped: u64,
}

impl Default for BuildLog {
    fn default() -> Self {
        let grown = watch::Sender::new((0, false));
        Self { text: Mutex::default(), grown, unwanted: AtomicBool::new(false) }
    }
}

impl BuildLog {
    fn text(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes more.
    pub fn add(&self, bytes: &[u8]) {
        let mut text = self.text();
        text.last.extend(bytes);
        let over = text.last.len().saturating_sub(LOG_MAX);
        text.last.drain(..over);
        text.dropped += over as u64;
        let so_far = text.dropped + text.last.len() as u64;
        drop(text);
        self.grown.send_modify(|grown| grown.0 = so_far);
    }

    /// Notes that nobody wants it any more: whatever comes of the build is deleted.
    pub fn call_off(&self) {
        self.unwanted.store(true, Ordering::SeqCst);
    }

    /// Whether that was noted.
    #[must_use]
    pub fn is_called_off(&self) -> bool {
        self.unwanted.load(Ordering::SeqCst)
    }

    /// There will be no more.
    pub fn end(&self) {
        self.grown.send_modify(|grown| grown.1 = true);
    }

    /// What is kept from the byte `from` on, and the number of the byte after that.
    #[must_use]
    pub fn since(&self, from: u64) -> (Vec<u8>, u64) {
        let text = self.text();
        let skip = usize::try_from(from.saturating_sub(text.dropped)).unwrap_or(usize::MAX);
        let bytes: Vec<u8> = text.last.iter().skip(skip).copied().collect();
        (bytes, text.dropped + text.last.len() as u64)
    }

    /// Waits for what comes after the byte `from`; nothing comes after the end.
    pub async fn next(&self, from: u64) -> Option<(Vec<u8>, u64)> {
        let mut grown = self.grown.subscribe();
        let more = |(so_far, ended): &(u64, bool)| *so_far > from || *ended;
        // The sender lives as long as we do.
        let _ = grown.wait_for(more).await;
        let (bytes, at) = self.since(from);
        (!bytes.is_empty()).then_some((bytes, at))
    }

    /// Takes what comes out of the pipe, until it is closed or `over` is done and nothing has come for a while.
    pub async fn follow(self: Arc<Self>, pipe: OwnedFd, mut over: watch::Receiver<bool>) {
        let Ok(mut pipe) = tokio::net::unix::pipe::Receiver::from_owned_fd(pipe) else { return };
        let mut chunk = vec![0; 16 * 1024];
        loop {
            let ended = *over.borrow_and_update();
            let read = pipe.read(&mut chunk);
            let read = if ended {
                match tokio::time::timeout(LINGER, read).await {
                    Ok(read) => read,
                    Err(_) => return,
                }
            } else {
                tokio::select! {
                    read = read => read,
                    _ = over.changed() => continue,
                }
            };
            match read {
                Ok(0) | Err(_) => return,
                Ok(read) => self.add(&chunk[..read]),
            }
        }
    }

    /// Writes what is kept into a file.
    ///
    /// # Errors
    /// As the file system says.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let (bytes, _) = self.since(0);
        std::fs::File::create(path)?.write_all(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_follower_gets_everything_that_is_kept_and_then_the_end() {
        let log = Arc::new(BuildLog::default());
        log.add(b"one ");
        let (bytes, at) = log.next(0).await.unwrap();
        assert_eq!((bytes.as_slice(), at), (&b"one "[..], 4));
        let other = log.clone();
        let waiting = tokio::spawn(async move { other.next(at).await });
        log.add(b"two");
        assert_eq!(waiting.await.unwrap(), Some((b"two".to_vec(), 7)));
        log.end();
        assert_eq!(log.next(7).await, None);
    }

    #[tokio::test]
    async fn of_a_long_log_the_last_bytes_are_kept() {
        let log = BuildLog::default();
        for n in 0..3_u8 {
            log.add(&vec![n; LOG_MAX / 2]);
        }
        let (bytes, at) = log.since(0);
        assert_eq!((bytes.len(), at), (LOG_MAX, (LOG_MAX / 2 * 3) as u64));
        assert_eq!((bytes[0], bytes[LOG_MAX - 1]), (1, 2));
        assert_eq!(log.since(at - 1).0, [2]);
    }

    #[tokio::test]
    async fn what_is_printed_is_read_to_the_end_of_the_pipe() {
        let (reader, writer) = std::io::pipe().unwrap();
        let log = Arc::new(BuildLog::default());
        let (over, ended) = watch::channel(false);
        let following = tokio::spawn(log.clone().follow(reader.into(), ended));
        let writing = tokio::task::spawn_blocking(move || {
            let mut writer = writer;
            writer.write_all(b"all of it").unwrap();
        });
        writing.await.unwrap();
        following.await.unwrap();
        drop(over);
        assert_eq!(log.since(0).0, b"all of it");
    }
}
