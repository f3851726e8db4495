//! Packs and unpacks the data directory of one instance, as its user and in its sandbox.
//!
//! ```text
//! tenement-archive pack METHOD DIRECTORY INSTANCE [RELEASE]     the archive goes to standard output
//! tenement-archive unpack BYTES                                 the archive comes from standard input
//! ```
//!
//! METHOD is `sleep` or `online`. What is unpacked goes into the directory that *is* standard output: an open
//! descriptor needs no path, so it does not matter what of the host the sandbox shows. BYTES is the largest size of
//! the data, 0 for what the disk has. Standard error gets one line of JSON.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use tenement_agent::archive::{FORMAT, Limits, Manifest, Message, Source, pack, unpack};

/// Where databases are copied to: on disk, and private to the unit where it has a /tmp of its own.
const SCRATCH: &str = "/var/tmp";
/// What is left free on the disk: a twentieth of it, and of a large one this.
const SPARE_MAX: u64 = 1 << 30;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["pack", method @ ("sleep" | "online"), directory, instance, release @ ..]
            if release.len() <= 1 =>
        {
            packed(method, Path::new(directory), instance, release.first().copied())
        }
        ["unpack", bytes] => match bytes.parse() {
            Ok(bytes) => unpacked(bytes),
            Err(_) => return usage(),
        },
        _ => return usage(),
    };
    let (message, code) = match result {
        Ok(message) => (message, ExitCode::SUCCESS),
        Err(error) => (Message::Failed(error.to_string()), ExitCode::FAILURE),
    };
    let line = serde_json::to_string(&message).unwrap_or_default();
    let _ = writeln!(io::stderr(), "{line}");
    code
}

fn usage() -> ExitCode {
    eprintln!("tenement-archive: wrong arguments; this program is started by units only");
    ExitCode::from(2)
}

fn packed(
    method: &str,
    directory: &Path,
    instance: &str,
    release: Option<&str>,
) -> io::Result<Message> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let manifest = Manifest {
        format: FORMAT,
        instance: instance.to_owned(),
        release: release.map(str::to_owned),
        created_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        method: method.to_owned(),
        agent: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let (online, scratch) = (method == "online", Path::new(SCRATCH));
    let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    pack(&Source { root: directory, online, scratch, manifest: &manifest }, out)
        .map(Message::Packed)
}

fn unpacked(bytes: u64) -> io::Result<Message> {
    let root: OwnedFd = io::stdout().as_fd().try_clone_to_owned()?;
    let disk = rustix::fs::fstatvfs(&root)?;
    let spare = (disk.f_blocks.saturating_mul(disk.f_frsize) / 20).min(SPARE_MAX);
    let free = disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(spare);
    let limits = match bytes {
        0 => Limits { bytes: free, why: "what its disk has free" },
        max if max <= free => Limits { bytes: max, why: "its disk_max" },
        _ => Limits { bytes: free, why: "what its disk has free" },
    };
    let input = BufReader::new(File::from(io::stdin().as_fd().try_clone_to_owned()?));
    unpack(&root, limits, input).map(Message::Unpacked)
}
