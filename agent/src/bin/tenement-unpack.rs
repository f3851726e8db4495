//! Makes a release of the tar file on standard input, as the build's own user and in the build's sandbox.
//!
//! ```text
//! stdin ─ unpack ─► working directory ─► the build command, if there is one ─► exit status
//!                                         what it prints ─► stdout (the agent) and stderr (the journal)
//! ```
//!
//! `TENEMENT_UNPACK` has the most bytes and entries that may come out, `TENEMENT_ARGV` the build command as
//! `tenement-exec` knows it. The process that it starts sees neither, nor the tar file.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use tenement_agent::kernel::restrict;
use tenement_agent::plan::{ARGV, UNPACK, argv};
use tenement_agent::unpack::{Bounds, unpack};

/// What systemd itself reports where a program cannot be executed (systemd.exec(5), EXIT_EXEC).
const EXIT_EXEC: u8 = 203;

fn main() -> ExitCode {
    let bounds = std::env::var(UNPACK).ok().and_then(|text| bounds(&text));
    let Some(bounds) = bounds else {
        eprintln!("tenement-unpack: {UNPACK} has no bounds; this program is started by units only");
        return ExitCode::from(2);
    };
    restrict();
    if let Err(error) = unpacked(bounds) {
        say(&format!("tenement: the upload can't be unpacked: {error}"));
        return ExitCode::FAILURE;
    }
    let Ok(text) = std::env::var(ARGV) else { return ExitCode::SUCCESS };
    let Some(words) = argv::decode(&text) else {
        say("tenement: the build command can't be read");
        return ExitCode::from(2);
    };
    say(&format!("tenement: building: {}", words.join(" ")));
    match build(&words) {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            say(&format!("tenement: the build failed: {}", ended(status)));
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            ExitCode::from(code.unwrap_or(1))
        }
        Err(error) => {
            say(&format!("tenement: {} can't be executed: {error}", words[0]));
            ExitCode::from(EXIT_EXEC)
        }
    }
}

fn bounds(text: &str) -> Option<Bounds> {
    let (bytes, files) = text.split_once(' ')?;
    Some(Bounds { bytes: bytes.parse().ok()?, files: files.parse().ok()? })
}

fn unpacked(bounds: Bounds) -> io::Result<()> {
    let root = OwnedFd::from(std::fs::File::open(".")?);
    let done = unpack(&mut io::stdin().lock(), &root, bounds)?;
    say(&format!("tenement: unpacked {} files, {} bytes", done.files, done.bytes));
    Ok(())
}

fn build(words: &[String]) -> io::Result<ExitStatus> {
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env_remove(ARGV).env_remove(UNPACK);
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // The command holds writing ends of its own.
    drop(command);
    let copied = std::thread::spawn(move || tee(reader));
    let status = child.wait()?;
    // Children that outlive the build hold the pipe open; the unit's end ends them, so nobody waits for them here.
    let mut patience = 100;
    while !copied.is_finished() && patience > 0 {
        std::thread::sleep(std::time::Duration::from_millis(10));
        patience -= 1;
    }
    Ok(status)
}

/// To the agent and to the journal. Neither must be able to end a build: an agent may be started anew meanwhile.
fn tee(mut reader: impl Read) {
    let mut chunk = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = reader.read(&mut chunk) {
        both(&chunk[..read]);
    }
}

fn say(text: &str) {
    both(format!("{text}\n").as_bytes());
}

fn both(bytes: &[u8]) {
    let _ = io::stdout().as_fd().try_clone_to_owned().map(|out| {
        let _ = std::fs::File::from(out).write_all(bytes);
    });
    let _ = io::stderr().write_all(bytes);
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "it did not end".into(),
    }
}
