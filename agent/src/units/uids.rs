//! A user id of its own for each instance.
//!
//! The owner of the data directory *is* the record of whose id is whose; the counter only makes sure
//! that an id is never given twice, not even after its instance was purged: files of it may be left
//! elsewhere. It is on disk before an id from it is used, in blocks, so that a crash skips some ids and
//! repeats none.

use std::fs;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::accounts::write_whole;
use super::dirs::open_trusted;

/// The first user id of instances: above those of containers (systemd's `UIDS-GIDS` table ends at
/// 1,879,048,191) and below 2^31.
pub(crate) const FIRST: u32 = 1_900_000_000;
/// One past the last.
pub(crate) const END: u32 = 2_000_000_000;

const BLOCK: u32 = 64;
const FILE: &str = "next-uid";

/// The counter.
#[derive(Debug)]
pub(crate) struct Uids {
    state_dir: PathBuf,
    owner: u32,
    /// Next id, and the end of the block that is ours on disk.
    block: Mutex<Option<(u32, u32)>>,
}

/// Whether a user id is one of ours.
pub(crate) fn is_ours(uid: u32) -> bool {
    (FIRST..END).contains(&uid)
}

impl Uids {
    pub(crate) fn new(state_dir: &Path, owner: u32) -> Self {
        Self { state_dir: state_dir.to_owned(), owner, block: Mutex::new(None) }
    }

    /// An id that was never given before. `data_dir` is looked through if the counter is lost.
    pub(crate) fn next(&self, data_dir: &Path) -> Result<u32> {
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, end) = match *block {
            Some((next, end)) if next < end => (next, end),
            _ => self.reserve(data_dir)?,
        };
        *block = Some((next + 1, end));
        Ok(next)
    }

    fn reserve(&self, data_dir: &Path) -> Result<(u32, u32)> {
        open_trusted(&self.state_dir, self.owner, true)?;
        let file = self.state_dir.join(FILE);
        let start = match fs::read_to_string(&file) {
            Ok(text) => text.trim().parse().ok(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        // Lost or unreadable: go on after the highest id in use.
        let start = start.filter(|s| is_ours(*s)).unwrap_or_else(|| after_highest(data_dir));
        let end = start.saturating_add(BLOCK).min(END);
        if start >= END {
            return Err(Error::other("every user id for instances has been given"));
        }
        write_whole(&file, &format!("{end}\n"))?;
        fs::File::open(&self.state_dir)?.sync_all()?;
        Ok((start, end))
    }
}

fn after_highest(data_dir: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
    entries(data_dir)
        .flat_map(|process| entries(&process.path()))
        .filter_map(|instance| instance.metadata().ok())
        .map(|metadata| metadata.uid())
        .filter(|uid| is_ours(*uid))
        .max()
        .map_or(FIRST, |highest| highest + 1)
}
