//! A release out of a directory, a tar file or a git repository.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tenement_wire::releases::ReleaseStatus;
use tenement_wire::{ProcessName, ReleaseName, ReleaseSource, ReleaseView};

use super::ignore::Ignore;
use crate::args::ReleaseFrom;
use crate::client::{Agent, path_with};
use crate::error::{CliError, Result};
use crate::output::Output;

/// Bytes that are sent at once.
const CHUNK: usize = 256 * 1024;

/// What is sent, where it comes from, and what it is called.
struct Parcel {
    content: Content,
    source: String,
    name: Option<ReleaseName>,
}

enum Content {
    Directory(PathBuf),
    Stream(Box<dyn Read + Send>),
    Git { repository: PathBuf, commit: String },
}

/// Uploads a release and waits until it is built; what the build prints is shown meanwhile.
pub fn make(
    agent: &Agent,
    out: Output,
    process: &ProcessName,
    from: &ReleaseFrom,
) -> Result<ReleaseView> {
    let parcel = parcel(from)?;
    let source = ReleaseSource::lossy(&parcel.source).to_string();
    let mut given = vec![("source", source)];
    given.extend(parcel.name.map(|name| ("name", name.to_string())));
    let path = path_with(&format!("/processes/{process}/releases"), &given);
    let content = parcel.content;
    let view: ReleaseView = agent.upload(&path, move |pipe| write(content, pipe))?;
    finished(agent, out, view)
}

/// Follows the build of a release to its end.
fn finished(agent: &Agent, out: Output, view: ReleaseView) -> Result<ReleaseView> {
    let path = format!("/processes/{}/releases/{}", view.process, view.name);
    let quiet = out.quiet || out.json;
    if view.state == ReleaseStatus::Building {
        // A build may compute for an hour without a word; the agent bounds it.
        let forever = std::time::Duration::from_secs(24 * 3600);
        agent.stream(&format!("{path}/log?follow=true"), None, Some(forever), &mut |bytes| {
            if !quiet {
                let _ = io::stderr().write_all(&bytes);
            }
            Ok(())
        })?;
    }
    let view: ReleaseView = agent.get(&path)?;
    match view.state {
        ReleaseStatus::Ready => Ok(view),
        ReleaseStatus::Building | ReleaseStatus::Failed => {
            let why = view.failure.as_deref().unwrap_or("it is not ready");
            Err(CliError::failure(
                format!("release {} of {} can't be used: {why}", view.name, view.process),
                format!(
                    "see what its build printed: ten releases log {} {}",
                    view.process, view.name
                ),
            ))
        }
    }
}

fn parcel(from: &ReleaseFrom) -> Result<Parcel> {
    if let Some(repository) = &from.git {
        return of_git(repository, &from.reference, from.release.clone());
    }
    let path = from.path.clone().unwrap_or_else(|| PathBuf::from("."));
    let name = from.release.clone();
    if path == Path::new("-") {
        if io::stdin().is_terminal() {
            return Err(CliError::usage(
                "a tar file is read from standard input, and that is your terminal",
                "tar -c . | ten deploy PROCESS -",
            ));
        }
        let content = Content::Stream(Box::new(io::stdin()));
        return Ok(Parcel { content, source: "standard input".into(), name });
    }
    let kind = std::fs::metadata(&path).map_err(|error| CliError::file("read", &path, &error))?;
    let source = path.canonicalize().unwrap_or_else(|_| path.clone()).display().to_string();
    if kind.is_dir() {
        return Ok(Parcel { content: Content::Directory(path), source, name });
    }
    let file = File::open(&path).map_err(|error| CliError::file("read", &path, &error))?;
    Ok(Parcel { content: Content::Stream(Box::new(file)), source, name })
}

/// The commit of a reference. A tag gives its name to the release; a branch, which moves, does not.
fn of_git(repository: &Path, reference: &str, name: Option<ReleaseName>) -> Result<Parcel> {
    let commit = git(
        repository,
        &["rev-parse", "--verify", "--end-of-options", &format!("{reference}^{{commit}}")],
    )?;
    let tag = format!("refs/tags/{reference}");
    let is_tag =
        git(repository, &["rev-parse", "--verify", "--quiet", "--end-of-options", &tag]).is_ok();
    let by_tag = is_tag.then(|| ReleaseName::new(reference).ok()).flatten();
    let short = commit.get(..12).unwrap_or(&commit);
    let name = name.or(by_tag).or_else(|| ReleaseName::new(short).ok());
    let source = format!("git {reference} {commit}");
    let content = Content::Git { repository: repository.to_owned(), commit };
    Ok(Parcel { content, source, name })
}

fn git(repository: &Path, words: &[&str]) -> Result<String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(repository).args(words).stdin(Stdio::null());
    let output = command.output().map_err(|error| {
        CliError::failure(
            format!("git can't be started: {error}"),
            "install git, or deploy a directory",
        )
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(CliError::failure(format!("git says: {}", text(&output.stderr)), "check --git and --ref"))
}

fn write(content: Content, pipe: &mut impl Write) -> io::Result<()> {
    match content {
        Content::Stream(mut reader) => copy(&mut reader, pipe),
        Content::Git { repository, commit } => {
            let mut command = Command::new("git");
            command.arg("-C").arg(&repository).args(["archive", "--format=tar", &commit]);
            let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
            let copied = match child.stdout.take() {
                Some(mut stdout) => copy(&mut stdout, pipe),
                None => Ok(()),
            };
            let status = child.wait()?;
            copied?;
            if status.success() { Ok(()) } else { Err(io::Error::other("git archive failed")) }
        }
        Content::Directory(directory) => {
            let ignore = Ignore::of(&directory)?;
            let mut builder = tar::Builder::new(BufWriter::with_capacity(CHUNK, pipe));
            builder.follow_symlinks(false);
            pack(&mut builder, &directory, Path::new(""), &ignore)?;
            builder.into_inner()?.flush()
        }
    }
}

fn copy(reader: &mut dyn Read, pipe: &mut impl Write) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match reader.read(&mut chunk)? {
            0 => return Ok(()),
            read => pipe.write_all(&chunk[..read])?,
        }
    }
}

/// Everything in `directory`, which is `path` below the root, in order of name.
fn pack<W: Write>(
    builder: &mut tar::Builder<W>,
    directory: &Path,
    path: &Path,
    ignore: &Ignore,
) -> io::Result<()> {
    let named = |at: &Path, error: io::Error| {
        io::Error::new(error.kind(), format!("{}: {error}", at.display()))
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| named(directory, error))? {
        names.push(entry?.file_name());
    }
    names.sort();
    for name in names {
        let (from, below) = (directory.join(&name), path.join(&name));
        if ignore.leaves_out(&below) {
            continue;
        }
        let kind = from.symlink_metadata().map_err(|error| named(&from, error))?.file_type();
        if kind.is_dir() {
            builder.append_dir(&below, &from).map_err(|error| named(&from, error))?;
            pack(builder, &from, &below, ignore)?;
        } else if kind.is_file() || kind.is_symlink() {
            builder.append_path_with_name(&from, &below).map_err(|error| named(&from, error))?;
        } else {
            let error =
                io::Error::other("is a device, a pipe or a socket; name it in .tenementignore");
            return Err(named(&from, error));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent of it: paths.
    fn paths(bytes: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(bytes);
        let path = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
            entry.unwrap().path().unwrap().display().to_string()
        };
        archive.entries().unwrap().map(path).collect()
    }

    #[test]
    fn of_a_repository_the_commit_is_sent_and_a_tag_names_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("app"), b"one").unwrap();
        for words in [
            &["init", "-q"][..],
            &["add", "app"],
            &["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "one"],
            &["tag", "v1.0"],
            &["branch", "next"],
        ] {
            git(dir.path(), words).unwrap();
        }
        std::fs::write(dir.path().join("not-committed"), b"").unwrap();
        let commit = git(dir.path(), &["rev-parse", "HEAD"]).unwrap();
        let tagged = of_git(dir.path(), "v1.0", None).unwrap();
        assert_eq!(tagged.name.unwrap().as_str(), "v1.0");
        assert_eq!(tagged.source, format!("git v1.0 {commit}"));
        let branch = of_git(dir.path(), "next", None).unwrap();
        assert_eq!(branch.name.unwrap().as_str(), &commit[..12], "a branch moves");
        let named = of_git(dir.path(), "next", Some("mine".parse().unwrap())).unwrap();
        assert_eq!(named.name.unwrap().as_str(), "mine");
        let mut sent = Vec::new();
        write(branch.content, &mut sent).unwrap();
        assert_eq!(paths(&sent), ["pax_global_header", "app"]);
        for reference in ["none", "--help", "-n"] {
            let error = of_git(dir.path(), reference, None).err().unwrap();
            assert!(error.detail.contains("git says"), "{error}");
        }
    }

    #[test]
    fn a_directory_is_packed_whole_but_for_git_and_what_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for sub in [".git", "src", "target/debug"] {
            std::fs::create_dir_all(at(sub)).unwrap();
        }
        for file in [".git/HEAD", "src/main", "target/debug/x", "a.log", "src/b.log", ".env"] {
            std::fs::write(at(file), b"x").unwrap();
        }
        std::os::unix::fs::symlink("src/main", at("link")).unwrap();
        std::fs::write(at(".tenementignore"), "# built\n/target\n*.log\n").unwrap();
        let mut builder = tar::Builder::new(Vec::new());
        builder.follow_symlinks(false);
        let ignore = Ignore::of(dir.path()).unwrap();
        pack(&mut builder, dir.path(), Path::new(""), &ignore).unwrap();
        let bytes = builder.into_inner().unwrap();
        assert_eq!(paths(&bytes), [".env", "link", "src", "src/main"]);
    }
}
