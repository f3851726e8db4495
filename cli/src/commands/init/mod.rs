//! `ten init`: a config for the app in a directory that it recognises.
//!
//! ```text
//! directory → detect (looks at files, runs nothing) → App → render → TOML
//! ```

mod detect;
mod native;
mod node;
mod python;
mod render;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;
use tenement_wire::ProcessName;

use crate::args::Init;
use crate::error::{CliError, Result};
use crate::output::{BOLD, Output, clean};

/// What was found: everything that the config is written from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// What it is, for a person: `Python (ASGI)`.
    pub kind: &'static str,
    /// The command as words.
    pub command: Vec<String>,
    /// `listen`, where it is not inferred from the command.
    pub listen: Option<&'static str>,
    /// What to know or do, one line each.
    pub notes: Vec<String>,
}

impl App {
    /// An app of this kind.
    pub fn new(kind: &'static str, command: &[&str]) -> Self {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        Self { kind, command, listen: None, notes: Vec::new() }
    }

    /// With `listen` said explicitly, and why.
    pub fn listen(mut self, listen: &'static str, note: &str) -> Self {
        self.listen = Some(listen);
        self.note(note)
    }

    /// With a note.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// Recognises, renders, prints or writes.
pub fn run(out: Output, args: &Init) -> Result<()> {
    let path = args
        .directory
        .canonicalize()
        .map_err(|e| CliError::file("look into", &args.directory, &e))?;
    let (directory, app) = detect::detect(&path)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => name_of(&path),
    };
    let toml = render::render(&name, &directory, &app);
    if let Some(file) = &args.output {
        write_new(file, &toml)?;
    }
    if out.json {
        return out.json(&json!({
            "process": name, "kind": app.kind, "command": app.command, "directory": directory,
            "listen": app.listen, "toml": toml, "written": args.output,
        }));
    }
    out.say(&format!("{} is a {BOLD}{}{BOLD:#} app", clean(&path.to_string_lossy()), app.kind));
    match &args.output {
        Some(file) => {
            let file = file.display().to_string();
            out.say(&format!("wrote {0}; next: ten config check {0}", clean(&file)));
            out.say(&format!("then: ten config reload && ten spawn {name}:1"));
            Ok(())
        }
        None => out.data(&toml),
    }
}

fn write_new(file: &Path, text: &str) -> Result<()> {
    let failed = |e: std::io::Error| CliError::file("write", file, &e);
    let mut handle = OpenOptions::new().write(true).create_new(true).open(file).map_err(failed)?;
    handle.write_all(text.as_bytes()).map_err(failed)
}

/// The directory's (or binary's) name as a label: what does not fit becomes `-`.
fn name_of(path: &Path) -> ProcessName {
    let stem =
        path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let label: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    let label = label.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    ProcessName::new(&label)
        .unwrap_or_else(|_| ProcessName::new("app").expect("`app` is a valid label"))
}

/// A file of the app, if it is there, is no larger than a source file is, and is text.
fn read(dir: &Path, name: &str) -> Option<String> {
    const SOURCE_MAX: u64 = 1024 * 1024;
    let path: PathBuf = dir.join(name);
    let small = path.metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= SOURCE_MAX);
    small.then(|| std::fs::read_to_string(path).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_directory_name_becomes_a_valid_process_name() {
        for (path, name) in [
            ("/srv/My App_2", "my-app-2"),
            ("/srv/--x--", "x"),
            ("/srv/日本", "app"),
            ("/", "app"),
            ("/srv/.hidden", "hidden"),
        ] {
            assert_eq!(name_of(Path::new(path)).as_str(), name, "{path}");
        }
        assert!(name_of(Path::new(&format!("/{}", "a".repeat(200)))).as_str().len() <= 40);
    }
}
