//! `ten backup` and `ten restore`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, IsTerminal as _, Read, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::builder::styling::Style;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use tenement_wire::InstanceName;
use tenement_wire::backups::{
    BackupList, BackupMethod, BackupState, Restored, StoredBackup, StoredBackups,
};
use tenement_wire::dto::{InstanceList, InstanceView, SpawnRequest};

use crate::args::{Backup, BackupAction, Restore};
use crate::client::{Agent, path_with};
use crate::error::{CliError, Kind, Result};
use crate::human;
use crate::output::{BAD, BOLD, Output};
use crate::table::Listing;

/// How long nothing may come: before the first byte the instance is stopped, and a restore ends with the removal of
/// what was there.
const SILENCE: Duration = Duration::from_secs(900);
/// Bytes that are sent at once.
const PIECE: usize = 256 * 1024;
/// How often progress is shown.
const TICK: Duration = Duration::from_millis(200);

/// `ten backup`.
pub fn run(agent: &Agent, out: Output, args: &Backup) -> Result<()> {
    match (&args.action, &args.name, &args.output) {
        (Some(BackupAction::Ls { name: None }), ..) => list(agent, out),
        (Some(BackupAction::Ls { name: Some(name) }), ..) => stored(agent, out, name),
        (None, Some(name), Some(file)) => {
            let method = if args.online { Some(BackupMethod::Online) } else { args.method };
            download(agent, out, name, method, file, args.force)
        }
        (None, Some(name), None) => {
            let made: StoredBackup = agent.post_slow(&format!("/instances/{name}/backups"))?;
            if out.json {
                return out.json(&made);
            }
            out.say(&format!("backed up {BOLD}{name}{BOLD:#}, {}:", human::bytes(made.bytes)));
            out.data(&made.file)
        }
        (None, None, _) => Err(CliError::usage("no instance was named", "ten backup PROCESS:ID")),
    }
}

fn list(agent: &Agent, out: Output) -> Result<()> {
    let list: BackupList = agent.get("/backups")?;
    if out.json {
        return out.json(&list);
    }
    if list.backups.is_empty() {
        out.say("no process keeps backups: add [process.NAME.backup] with `to` to the config");
        return Ok(());
    }
    let now = human::now_ms();
    let mut listing =
        Listing::new(&["INSTANCE", "LAST", "SIZE", "TOOK", "NEXT", "SCHEDULE", "TO", "STATE"]);
    for one in &list.backups {
        let style = if one.error.is_some() { BAD } else { Style::new() };
        listing.row(style, &row(one, now));
    }
    out.data(&listing.render())
}

fn row(one: &BackupState, now: u64) -> [String; 8] {
    let dash = || "-".to_owned();
    let next = one.next_ms.map_or_else(dash, |at| match at.saturating_sub(now) / 1000 {
        0 => "now".to_owned(),
        seconds => format!("in {}", human::span(seconds)),
    });
    let state = match (&one.error, one.running) {
        (_, true) => "running".to_owned(),
        (Some(error), _) => format!("failed {}×: {error}", one.failures),
        (None, _) if one.last_ms.is_some() => "ok".to_owned(),
        (None, _) => "never made".to_owned(),
    };
    [
        one.name.to_string(),
        one.last_ms.map_or_else(dash, |at| human::ago(now, at)),
        one.last_bytes.map_or_else(dash, human::bytes),
        one.last_took_ms.map_or_else(dash, |ms| human::millis(ms as f64)),
        next,
        one.schedule.clone().unwrap_or_else(dash),
        one.to.clone().unwrap_or_else(dash),
        state,
    ]
}

fn stored(agent: &Agent, out: Output, name: &InstanceName) -> Result<()> {
    let kept: StoredBackups = agent.get(&format!("/instances/{name}/backups"))?;
    if out.json {
        return out.json(&kept);
    }
    if out.quiet {
        return out
            .data(&kept.backups.iter().map(|one| format!("{}\n", one.file)).collect::<String>());
    }
    if kept.backups.is_empty() {
        out.say(&format!("there is no backup of {name} in {}", kept.to));
        return Ok(());
    }
    let mut listing = Listing::new(&["BACKUP", "MADE", "SIZE"]);
    for one in &kept.backups {
        let cells = [one.file.clone(), human::utc(one.time_ms), human::bytes(one.bytes)];
        listing.row(Style::new(), &cells);
    }
    out.data(&listing.render())
}

fn download(
    agent: &Agent,
    out: Output,
    name: &InstanceName,
    method: Option<BackupMethod>,
    file: &Path,
    force: bool,
) -> Result<()> {
    let given: Vec<_> = method.map(|method| ("method", method.to_string())).into_iter().collect();
    let path = path_with(&format!("/instances/{name}/backup"), &given);
    let mut progress = Progress::new(out);
    if file == Path::new("-") {
        let mut stdout = io::stdout().lock();
        if stdout.is_terminal() {
            let hint = "write it to a file: --output FILE, or > FILE";
            return Err(CliError::usage("an archive is not for a terminal", hint));
        }
        agent.download(&path, SILENCE, &mut |bytes| {
            progress.seen(bytes.len());
            stdout.write_all(&bytes).map_err(|error| CliError::file("write", file, &error))
        })?;
        return stdout.flush().map_err(|error| CliError::file("write", file, &error));
    }
    if !force && file.symlink_metadata().is_ok() {
        return Err(CliError::new(
            Kind::Conflict,
            "file_exists",
            format!("{} exists", file.display()),
            "name another file, or replace it with --force",
        ));
    }
    let mut draft = Draft::new(file)?;
    agent.download(&path, SILENCE, &mut |bytes| {
        progress.seen(bytes.len());
        draft.file.write_all(&bytes).map_err(|error| CliError::file("write", file, &error))
    })?;
    let bytes = progress.total();
    drop(progress);
    draft.finish(file)?;
    out.say(&format!(
        "backed up {BOLD}{name}{BOLD:#} to {}, {}",
        file.display(),
        human::bytes(bytes)
    ));
    Ok(())
}

/// A file without a name until it is whole, so that nothing is left of it however this ends; where the file system
/// knows no such files, one under another name.
struct Draft {
    file: File,
    path: PathBuf,
    named: bool,
    whole: bool,
}

impl Draft {
    fn new(file: &Path) -> Result<Self> {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(format!(".partial-{}", std::process::id()));
        let path = file.with_file_name(name);
        let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        if let Ok(file) = open(parent.unwrap_or(Path::new(".")), flags, mode) {
            return Ok(Self { file: file.into(), path, named: false, whole: false });
        }
        let mut options = OpenOptions::new();
        let opened = options.write(true).create_new(true).mode(0o600).open(&path);
        let file = opened.map_err(|error| CliError::file("create", &path, &error))?;
        Ok(Self { file, path, named: true, whole: false })
    }

    /// Gives it a name; `linkat` replaces nothing, so it is not the last one yet.
    fn name(&mut self) -> io::Result<()> {
        if self.named {
            return Ok(());
        }
        let ours = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        linkat(CWD, ours, CWD, &self.path, AtFlags::SYMLINK_FOLLOW)?;
        self.named = true;
        Ok(())
    }

    fn finish(mut self, file: &Path) -> Result<()> {
        let named = self.file.sync_all().and_then(|()| self.name());
        let done = named.and_then(|()| std::fs::rename(&self.path, file));
        done.map_err(|error| CliError::file("write", file, &error))?;
        self.whole = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.named && !self.whole {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// `ten restore`.
pub fn restore(agent: &Agent, out: Output, args: &Restore) -> Result<()> {
    let target = args.to.as_ref().unwrap_or(&args.name);
    // Before anybody is asked, and before anything is made.
    let source = match args.file.as_deref() {
        None => None,
        Some(file) if file == Path::new("-") => {
            if !args.yes {
                let hint = "add --yes to replace the data without a question";
                return Err(CliError::usage(
                    "standard input is the archive: nobody can be asked",
                    hint,
                ));
            }
            Some(Box::new(io::stdin()) as Box<dyn Read + Send>)
        }
        Some(file) => {
            let open = File::open(file).map_err(|error| CliError::file("open", file, &error))?;
            Some(Box::new(open) as Box<dyn Read + Send>)
        }
    };
    if !args.yes {
        confirm(target)?;
    }
    if args.to.is_some() {
        register(agent, out, target)?;
    }
    let mut given = Vec::new();
    given.extend(args.from.as_ref().map(|from| ("from", from.clone())));
    given.extend((*target != args.name).then(|| ("of", args.name.to_string())));
    given.extend(args.keep_old.then(|| ("keep_old", "true".to_owned())));
    let path = path_with(&format!("/instances/{target}/restore"), &given);
    let done: Restored = match source {
        None => agent.post_slow(&path)?,
        Some(source) => {
            let mut progress = Progress::new(out);
            agent.upload(&path, move |pipe| send(source, pipe, &mut progress))?
        }
    };
    if out.json {
        return out.json(&done);
    }
    out.say(&format!(
        "restored {BOLD}{}{BOLD:#} as it was at {}: {} files and directories, {}",
        done.name,
        human::utc(done.made_ms),
        done.entries,
        human::bytes(done.bytes)
    ));
    if let Some(kept) = &done.kept {
        out.say(&format!("the data before is kept in {kept}; delete it when you need it no more"));
    }
    Ok(())
}

fn send(mut source: impl Read, pipe: &mut impl Write, progress: &mut Progress) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match source.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(size) => {
                pipe.write_all(&piece[..size])?;
                progress.seen(size);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Registers the instance that is restored into, if it is not there.
fn register(agent: &Agent, out: Output, name: &InstanceName) -> Result<()> {
    match agent.get::<InstanceView>(&format!("/instances/{name}")) {
        Ok(_) => return Ok(()),
        Err(error) if &*error.code == "unknown_instance" => {}
        Err(error) => return Err(error),
    }
    let wish = SpawnRequest {
        process: name.process().to_string(),
        ids: vec![name.id().to_string()],
        start: false,
    };
    let _: InstanceList = agent.post_json("/instances", &wish)?;
    out.say(&format!("registered {BOLD}{name}{BOLD:#}"));
    Ok(())
}

fn confirm(name: &InstanceName) -> Result<()> {
    if !io::stdin().is_terminal() {
        return Err(CliError::usage(
            format!("a restore replaces the data of {name}, and nobody can be asked here"),
            "add --yes to replace it without a question",
        ));
    }
    let mut err = anstream::stderr().lock();
    let _ = write!(err, "Replace all data of {BOLD}{name}{BOLD:#} by that of the backup? [y/N] ");
    let _ = err.flush();
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes" | "Yes") => Ok(()),
        _ => Err(CliError::failure("nothing was changed", "answer y to replace the data")),
    }
}

/// Bytes so far, on the terminal that is watched.
struct Progress {
    shown: bool,
    total: u64,
    last: Option<Instant>,
}

impl Progress {
    fn new(out: Output) -> Self {
        let shown = !out.quiet && !out.json && io::stderr().is_terminal();
        Self { shown, total: 0, last: None }
    }

    fn seen(&mut self, bytes: usize) {
        self.total += bytes as u64;
        if self.shown && self.last.is_none_or(|last| last.elapsed() >= TICK) {
            self.last = Some(Instant::now());
            let _ = write!(io::stderr(), "\r\x1b[K{}", human::bytes(self.total));
        }
    }

    fn total(&self) -> u64 {
        self.total
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.last.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
