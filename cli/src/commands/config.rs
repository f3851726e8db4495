//! `ten config`: what the agent runs on, a check of new files, a reload.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tenement_wire::dto::{ConfigProblem, ConfigView};

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
    for p in rejected {
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
    out.say("hint: correct them, then ten config check and ten config reload");
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
        Some(FOUND_ERRORS) => Err(CliError::new(
            Kind::Failure,
            "config_invalid",
            "the config has errors",
            "correct the places named above; a running agent keeps its last good config",
        )),
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
