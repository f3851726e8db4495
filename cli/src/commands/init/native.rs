//! What runs without an interpreter: Go, Rust, any ELF binary.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{App, read};

const PORT_NOTE: &str = "The app must listen on 127.0.0.1:$PORT. If it takes LISTEN_FDS, write fd: \
                         then systemd holds its socket, and no request meets a closed port.";

/// A directory with a go.mod.
pub fn go(dir: &Path) -> Option<App> {
    let text = read(dir, "go.mod")?;
    let module = text.lines().find_map(|line| line.trim().strip_prefix("module "))?.trim();
    let version = |part: &str| {
        part.strip_prefix('v')
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let name = module.rsplit('/').find(|part| !version(part)).unwrap_or("app");
    let places = [dir.join(name), dir.join("bin").join(name)];
    Some(built("Go", &places, &format!("go build -o {name} .")))
}

/// A directory with a Cargo.toml.
pub fn rust(dir: &Path) -> Option<App> {
    let text = read(dir, "Cargo.toml")?;
    let name = toml_name(&text, "[[bin]]").or_else(|| toml_name(&text, "[package]"))?;
    Some(built("Rust", &[dir.join("target/release").join(name)], "cargo build --release"))
}

/// A directory whose only executable is an ELF file.
pub fn only_binary(dir: &Path) -> Option<App> {
    let mut found = std::fs::read_dir(dir).ok()?.flatten().map(|e| e.path()).filter(|p| is_elf(p));
    let first = found.next()?;
    // Which of several is the app can't be known.
    found.next().is_none().then(|| binary(&first)).flatten()
}

/// An executable ELF file.
pub fn binary(path: &Path) -> Option<App> {
    is_elf(path).then(|| App::new("binary", &[&path.to_string_lossy()]).listen("port", PORT_NOTE))
}

fn built(kind: &'static str, places: &[PathBuf], build: &str) -> App {
    let there = places.iter().find(|path| path.is_file());
    let path = there.unwrap_or(&places[0]);
    let app = App::new(kind, &[&path.to_string_lossy()]).listen("port", PORT_NOTE);
    match there {
        Some(_) => app,
        None => app.note(format!("It is not built yet: {build}")),
    }
}

fn is_elf(path: &Path) -> bool {
    let executable =
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    let mut magic = [0; 4];
    executable
        && File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
        && magic == *b"\x7fELF"
}

/// `name = "..."` of a section of a Cargo.toml, which is all that is needed of it.
fn toml_name<'a>(text: &'a str, section: &str) -> Option<&'a str> {
    let lines = text.lines().map(str::trim).skip_while(|line| *line != section).skip(1);
    lines.take_while(|line| !line.starts_with('[')).find_map(|line| {
        let value = line.strip_prefix("name")?.trim_start().strip_prefix('=')?.trim();
        value.strip_prefix('"')?.split('"').next()
    })
}
