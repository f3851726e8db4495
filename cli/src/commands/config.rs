//! `ten config`: what the agent runs on, a check of new files, a reload.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tenement_wire::dto::{CheckRequest, ConfigCheck, ConfigFile, ConfigProblem, ConfigView};

use crate::args::Global;
use crate::client::Agent;
use crate::error::{CliError, Kind, Result};
use crate::output::{BOLD, Output, WARN, clean};
use crate::table::pairs;

/// Prints the effective config.
pub fn show(agent: &Agent, out: Output) -> Result<()> {
    let view: ConfigView = agent.get("/config")?;
    if out.json {
        return out.json(&view);
    }
    if out.quiet {
        return out
            .data(&view.processes.iter().map(|p| format!("{}\n", p.name)).collect::<String>());
    }
    let mut text = pairs(&[
        ("domain", view.domain.clone()),
        ("port", view.port.to_string()),
        ("data", view.data_dir.clone()),
        ("files", view.files.join(", ")),
    ]);
    text.push('\n');
    text.push_str(&super::processes::table(&view.processes));
    out.data(&text)?;
    warn_rejected(out, &view.rejected);
    Ok(())
}

fn warn_rejected(out: Output, rejected: &[ConfigProblem]) {
    if rejected.is_empty() {
        return;
    }
    out.say(&format!(
        "{WARN}warning{WARN:#}: the files on disk have errors, so the agent keeps this older config:"
    ));
    name_each(out, rejected);
    out.say("hint: correct them, then ten config check and ten config reload");
}

fn name_each(out: Output, problems: &[ConfigProblem]) {
    for p in problems {
        out.say(&format!(
            "  {BOLD}{}:{}:{}{BOLD:#}: {} ({}): {}",
            clean(&p.file),
            p.line,
            p.column,
            clean(&p.message),
            clean(&p.text),
            clean(&p.fix)
        ));
    }
}

/// Makes the agent read its files again.
pub fn reload(agent: &Agent, out: Output) -> Result<()> {
    let view: ConfigView = agent.post("/config/reload")?;
    if out.json {
        return out.json(&view);
    }
    let count = view.processes.len();
    out.say(&format!("the config is taken: {count} process{}", if count == 1 { "" } else { "es" }));
    Ok(())
}

/// What `tenementd check` exits with when it found errors (`EX_CONFIG` of sysexits.h).
const FOUND_ERRORS: i32 = 78;

fn invalid() -> CliError {
    CliError::new(
        Kind::Failure,
        "config_invalid",
        "the config has errors",
        "correct the places named above; a running agent keeps its last good config",
    )
}

/// Has another host's agent check the files given here, or those on its own disk.
pub fn check_there(agent: &Agent, out: Output, path: Option<&Path>) -> Result<()> {
    let files = path.map_or_else(|| Ok(Vec::new()), texts)?;
    let check: ConfigCheck = agent.post_json("/config/check", &CheckRequest { files })?;
    if out.json {
        out.json(&check)?;
    } else {
        name_each(out, &check.problems);
    }
    if !check.valid {
        return Err(invalid());
    }
    if !out.json {
        out.say(&format!("no errors in {}", check.files.join(", ")));
    }
    Ok(())
}

/// A file, or those of a directory in the order in which the agent reads them.
fn texts(path: &Path) -> Result<Vec<ConfigFile>> {
    let mut paths = vec![path.to_owned()];
    if path.is_dir() {
        paths = vec![path.join("tenement.toml")];
        let more = path.join("conf.d");
        let entries = std::fs::read_dir(&more).into_iter().flatten().flatten();
        let mut more: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        more.retain(|one| one.extension().is_some_and(|ext| ext == "toml"));
        more.sort();
        paths.extend(more);
        paths.retain(|one| one.exists());
    }
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).map_err(|e| CliError::file("read", &path, &e))?;
        Ok(ConfigFile { name: path.display().to_string(), text })
    };
    paths.into_iter().map(read).collect()
}

/// Runs `tenementd check`, which prints the errors itself: the parser is in the agent, and works
/// without a running one.
pub fn check(global: &Global, out: Output, path: Option<&Path>) -> Result<()> {
    let daemon = daemon()?;
    if let Some(path) = path {
        path.metadata().map_err(|e| CliError::file("check", path, &e))?;
    }
    let status = check_command(&daemon, global.user, out.json)
        .args(path)
        .stdout(if out.quiet { Stdio::null() } else { Stdio::inherit() })
        .stderr(if out.quiet { Stdio::null() } else { Stdio::inherit() })
        .status()
        .map_err(|e| CliError::file("run", &daemon, &e))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(FOUND_ERRORS) => Err(invalid()),
        _ => Err(CliError::failure(
            format!("the config could not be checked ({status})"),
            "see what is said above, and whether you may read the files",
        )),
    }
}

/// `tenementd check`, ready to run.
pub fn check_command(daemon: &Path, user: bool, json: bool) -> Command {
    let mut command = Command::new(daemon);
    command.args(user.then_some("--user")).arg("check").args(json.then_some("--json"));
    command.stdin(Stdio::null());
    command
}

/// The agent's program: `TENEMENTD`, else beside `ten`, else where packages put it.
pub fn daemon() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TENEMENTD").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let beside = std::env::current_exe().ok().map(|ten| ten.with_file_name("tenementd"));
    let packaged = PathBuf::from("/usr/sbin/tenementd");
    beside.into_iter().chain([packaged]).find(|path| path.is_file()).ok_or_else(|| {
        CliError::new(
            Kind::NotFound,
            "no_daemon",
            "tenementd is neither beside ten nor in /usr/sbin",
            "install the package tenement, or name it: TENEMENTD=/path/to/tenementd",
        )
    })
}
