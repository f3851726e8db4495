//! Golden folders: each `tests/golden/NN-name` holds a config and what must come of it.
//!
//! `tenement.toml` (and `conf.d/*.toml`) is read. `expected.err` holds the rendered problems; else
//! `expected.props` holds the plans that the config's `#! plan` lines ask for:
//! `#! plan api:prod systemd=252 mode=system port=20001 account=ten-u1 set=cpu:500`; with `park=yes`,
//! `tenement-park` is installed; with `jobs=yes` the timers of its jobs follow, and with `task=beside` or `task=alone` the
//! unit of a command, while the instance runs or not.
//! `UPDATE_GOLDEN=1 cargo test --test golden_config` writes them anew: read the difference before you commit.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use tenement_agent::config::{self, Config, SourceFile};
use tenement_agent::plan::{self, Account, Mode, Output, PlanContext, Task, TaskOrder, UnitSpec};

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden")
}

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = fs::read_dir(golden_dir())
        .expect("tests/golden exists")
        .map(|entry| entry.expect("an entry can be read").path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    cases
}

fn sources(case: &Path) -> Vec<SourceFile> {
    let mut names = vec!["tenement.toml".to_owned()];
    if let Ok(entries) = fs::read_dir(case.join("conf.d")) {
        let mut more: Vec<String> = entries
            .map(|entry| entry.expect("an entry can be read").file_name())
            .map(|name| format!("conf.d/{}", name.to_string_lossy()))
            .collect();
        more.sort();
        names.extend(more);
    }
    let read = |name: String| {
        let bytes = fs::read(case.join(&name)).expect("a case has its files");
        SourceFile::new(name, String::from_utf8_lossy(&bytes).into_owned())
    };
    names.into_iter().map(read).collect()
}

/// `key=value` of a `#! plan` line.
fn option<'l>(line: &'l str, key: &str) -> Option<&'l str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

fn find_program(name: &str) -> Option<PathBuf> {
    (!name.starts_with("missing")).then(|| Path::new("/usr/bin").join(name))
}

/// What `set=memory_max:67108864,cpu:500` sets for the instance alone.
fn overrides(line: &str) -> tenement_wire::ResourceLimits {
    let pairs = option(line, "set").into_iter().flat_map(|list| list.split(','));
    let pairs = pairs.filter_map(|pair| pair.split_once(':'));
    let pairs = pairs.map(|(name, value)| (name, value.parse().expect("a number")));
    tenement_wire::ResourceLimits::from_pairs(pairs).expect("limits within their ranges")
}

fn plan_line(config: &Config, line: &str) -> String {
    let word = line.split_whitespace().next().expect("a plan line names an instance");
    let name: tenement_wire::InstanceName = word.parse().expect("an instance's name");
    let user = option(line, "mode") == Some("user");
    let run_dir = if user { "/run/user/1000/tenement" } else { plan::RUN_DIR };
    let account = |user: &str| Account { user: user.to_owned(), group: None };
    let vars = option(line, "env_file").into_iter().flat_map(|list| list.split(','));
    let context = PlanContext {
        systemd: option(line, "systemd").unwrap_or("252").parse().expect("a version"),
        mode: if user { Mode::User } else { Mode::System },
        run_dir: PathBuf::from(run_dir),
        account: option(line, "account").map(account),
        socket_group: (!user).then(|| "tenement".to_owned()),
        port: option(line, "port").unwrap_or("20001").parse().expect("a port"),
        overrides: overrides(line),
        release: option(line, "release").map(|name| plan::ReleaseAt {
            name: name.parse().expect("a release's name"),
            dir: PathBuf::from(plan::RELEASES_DIR).join("p").join(name),
        }),
        releases_dir: plan::RELEASES_DIR.into(),
        secrets: Vec::new(),
        env_file_vars: vars
            .filter_map(|var| var.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        exec_helper: Some(PathBuf::from("/usr/libexec/tenement/tenement-exec")),
        park_helper: option(line, "park").map(|_| "/usr/libexec/tenement/tenement-park".into()),
        relay: PathBuf::from("/usr/libexec/tenement/tenement-relay"),
        find_program: &find_program,
        program_fault: &|_| None,
    };
    let definition = &config.processes[name.process()];
    match plan::plan(&name, definition, &config.settings, &context) {
        Err(error) => format!("error: {error}\n"),
        Ok(plan) => {
            let mut out = String::new();
            for unit in [&plan.socket, &plan.service] {
                let _ = writeln!(out, "[{}]", unit.name);
                for property in &unit.properties {
                    let _ = writeln!(out, "{property}");
                }
            }
            for unit in tasks(&name, definition, &config.settings, &context, line) {
                let _ = writeln!(out, "[{}]", unit.name);
                for property in &unit.properties {
                    let _ = writeln!(out, "{property}");
                }
            }
            out
        }
    }
}

/// The units of jobs and of a command that the line asks for.
fn tasks(
    name: &tenement_wire::InstanceName,
    definition: &config::Definition,
    settings: &config::Settings,
    context: &PlanContext,
    line: &str,
) -> Vec<UnitSpec> {
    let mut units = Vec::new();
    if option(line, "jobs").is_some() {
        for (job, what) in definition.cron.iter().filter(|(_, what)| what.is_of(name.id())) {
            let plan = plan::timer(name, definition, settings, context, (job, what));
            let plan = plan.unwrap_or_else(|error| panic!("{name}, {job}: {error}"));
            units.extend([plan.timer, plan.service]);
        }
    }
    if let Some(how) = option(line, "task") {
        let order = TaskOrder {
            tag: "run-1".parse().expect("a tag"),
            argv: ["./manage.py", "migrate", "two words"].map(str::to_owned).to_vec(),
            env: vec![("DRY".to_owned(), "1".to_owned())],
            timeout: std::time::Duration::from_secs(60),
        };
        let beside = how == "beside";
        let task = Task { order: &order, output: Output::Handed, beside, fill: false };
        let unit = plan::task(name, definition, settings, context, &task);
        units.push(unit.unwrap_or_else(|error| panic!("{name}: {error}")));
    }
    units
}

fn outcome(case: &Path) -> (&'static str, String) {
    let files = sources(case);
    match config::parse(&files) {
        Err(problems) => ("expected.err", config::render(&problems)),
        Ok(config) => {
            let mut out = String::new();
            let lines = files[0].text.lines().filter_map(|line| line.strip_prefix("#! plan "));
            for line in lines {
                let _ = write!(out, "# {line}\n{}\n", plan_line(&config, line));
            }
            if out.is_empty() {
                out = format!("{config:#?}\n");
            }
            ("expected.props", out)
        }
    }
}

/// The lines that differ, with the number of the first.
fn difference(expected: &str, found: &str) -> String {
    let mut out = String::new();
    let (mut old, mut new) = (expected.lines(), found.lines());
    for number in 1.. {
        match (old.next(), new.next()) {
            (None, None) => break,
            (a, b) if a == b => {}
            (a, b) => {
                let _ = writeln!(out, "line {number}");
                a.map(|line| writeln!(out, "  - {line}"));
                b.map(|line| writeln!(out, "  + {line}"));
            }
        }
    }
    out
}

#[test]
fn every_golden_case_comes_out_as_expected() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut failures = String::new();
    for case in cases() {
        let (file, found) = outcome(&case);
        if update {
            for old in ["expected.err", "expected.props"] {
                let _ = fs::remove_file(case.join(old));
            }
            fs::write(case.join(file), &found).expect("the case can be written");
            continue;
        }
        let expected = fs::read_to_string(case.join(file)).unwrap_or_default();
        if expected != found {
            let _ = writeln!(failures, "{}/{file}", case.display());
            failures.push_str(&difference(&expected, &found));
        }
    }
    assert!(
        failures.is_empty(),
        "golden cases differ (UPDATE_GOLDEN=1 rewrites them):\n{failures}"
    );
}

#[test]
fn every_problem_names_its_place_its_text_and_a_fix() {
    let mut bad = 0;
    for case in cases() {
        let files = sources(&case);
        let Err(problems) = config::parse(&files) else { continue };
        bad += 1;
        for problem in problems {
            let shown = format!("{}: {problem:?}", case.display());
            assert!(files.iter().any(|file| file.name == problem.file), "{shown}");
            assert!(problem.line > 0 && problem.column > 0, "{shown}");
            assert!(!problem.message.is_empty() && !problem.fix.is_empty(), "{shown}");
            let text = &files.iter().find(|file| file.name == problem.file).expect("found").text;
            let line = text.lines().nth(problem.line as usize - 1).unwrap_or_default();
            let broken = problem.text.contains(char::REPLACEMENT_CHARACTER);
            assert!(broken || line.contains(&problem.text), "{shown}");
        }
    }
    assert!(bad >= 40, "only {bad} bad configs");
}
