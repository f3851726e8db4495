//! SQLite databases that somebody may be writing to: found by what is in them, copied by SQLite itself.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

/// The first bytes of every database (<https://www.sqlite.org/fileformat.html>, section 1.3).
pub(super) const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// What stands beside a database while it is open: of the copy nothing of it is needed.
const COMPANIONS: [&[u8]; 3] = [b"-wal", b"-shm", b"-journal"];
/// How long a database may be locked by its app.
const BUSY: Duration = Duration::from_secs(30);

/// The name of the database that a file of this name would belong to.
pub(super) fn database_of(name: &[u8]) -> Option<&[u8]> {
    COMPANIONS.iter().find_map(|end| name.strip_suffix(*end)).filter(|base| !base.is_empty())
}

/// Copies the database at `from` to `to`, which is not there yet: as it is at one moment, whatever its app writes
/// meanwhile. In WAL mode nobody waits for it; in others, writers wait as long as the copy takes.
///
/// It is not `VACUUM INTO`, which may give rows other ids, and fails on an index with a function of the app's.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let failed = |error: rusqlite::Error| {
        let text = format!("SQLite can't copy it: {error}; `--method sleep` stops the app for it");
        io::Error::other(text)
    };
    // Also for writing: a database whose app was killed is brought into order first.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags).map_err(failed)?;
    source.busy_timeout(BUSY).map_err(failed)?;
    let mut target = Connection::open(to).map_err(failed)?;
    // If this process dies, the copy is rubbish anyway.
    target.pragma_update(None, "synchronous", "OFF").map_err(failed)?;
    {
        let backup = Backup::new(&source, &mut target).map_err(failed)?;
        let deadline = Instant::now() + BUSY;
        // All pages in one step: a copy in several begins anew whenever another process has written in between,
        // and would never end beside an app that always writes.
        while backup.step(-1).map_err(failed)? != StepResult::Done {
            if Instant::now() >= deadline {
                let text = format!("it was locked for {} s", BUSY.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    target.close().map_err(|(_, error)| failed(error))
}
