use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::config::{self, Config, SourceFile};

fn config(body: &str) -> Config {
    let text = format!("[process.a]\n{body}\n");
    config::parse(&[SourceFile::new("t", text)])
        .unwrap_or_else(|p| panic!("{}", config::render(&p)))
}

fn find(name: &str) -> Option<PathBuf> {
    Some(Path::new("/usr/bin").join(name))
}

fn context(systemd: u32) -> PlanContext<'static> {
    PlanContext {
        systemd,
        mode: Mode::System,
        run_dir: PathBuf::from(RUN_DIR),
        account: Some(Account { user: "ten-u1".into(), group: None }),
        socket_group: Some("tenement".into()),
        port: 20_001,
        overrides: Default::default(),
        release: None,
        releases_dir: RELEASES_DIR.into(),
        secrets: Vec::new(),
        env_file_vars: Vec::new(),
        exec_helper: Some(PathBuf::from("/helper")),
        park_helper: None,
        relay: PathBuf::from("/usr/libexec/tenement/tenement-relay"),
        find_program: &find,
        program_fault: &|_| None,
    }
}

fn plan_of(config: &Config, context: &PlanContext) -> Result<UnitPlan, PlanError> {
    let (_, definition) = config.processes.iter().next().unwrap();
    plan(&"a:1".parse().unwrap(), definition, &config.settings, context)
}

fn get(plan: &UnitPlan, name: &str) -> Value {
    plan.service.properties.iter().find(|p| p.name == name).unwrap().value.clone()
}

/// The words that the app will get.
fn app_words(plan: &UnitPlan) -> Vec<String> {
    let find = |name| plan.service.properties.iter().find(|p| p.name == name).map(|p| &p.value);
    match (find("ExecStartEx"), find("ExecStart")) {
        (Some(Value::Exec(list)), None) if list[0].0 != "/helper" => list[0].1.clone(),
        (ex, plain)
            if matches!(ex, Some(Value::Exec(list)) if list[0].0 == "/helper")
                || matches!(plain, Some(Value::ExecPlain(list)) if list[0].0 == "/helper") =>
        {
            let Value::Strs(env) = get(plan, "Environment") else { panic!("no environment") };
            let text = env.iter().find_map(|e| e.strip_prefix("TENEMENT_ARGV=")).unwrap();
            argv::decode(text).unwrap().split_off(1)
        }
        (None, Some(Value::ExecPlain(list))) => list[0].1.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_revision_tells_plans_apart_and_is_stable() {
    let (a, b) = (config("command = \"x\""), config("command = \"x\"\nidle_timeout = 5"));
    let (plan_a, plan_b) =
        (plan_of(&a, &context(252)).unwrap(), plan_of(&b, &context(252)).unwrap());
    // The idle timeout is the agent's business: no unit changes.
    assert_eq!(plan_a, plan_b);
    let c = plan_of(&config("command = \"y\""), &context(252)).unwrap();
    assert_ne!(plan_a.revision, c.revision);
    let Value::Strs(env) = get(&plan_a, "Environment") else { panic!("no environment") };
    assert!(env.contains(&format!("TENEMENT_REVISION={}", plan_a.revision)));
}

#[test]
fn control_characters_of_env_files_are_refused() {
    let mut context = context(252);
    context.env_file_vars = vec![("A".into(), "x\n[Service]\nExecStartPost=+/bin/sh".into())];
    let error = plan_of(&config("command = \"x\""), &context).unwrap_err();
    assert!(matches!(error, PlanError::Variable { .. }), "{error}");
    context.env_file_vars.clear();
    context.account = Some(Account { user: "a\nb".into(), group: None });
    let error = plan_of(&config("command = \"x\""), &context).unwrap_err();
    assert_eq!(error, PlanError::ControlCharacter { property: "User" });
}

#[test]
fn a_socket_path_fits_or_is_refused() {
    let config = config("command = \"x {socket}\"");
    let (_, definition) = config.processes.iter().next().unwrap();
    let path = |len: usize| {
        let name = format!("a:{}", "i".repeat(len)).parse().unwrap();
        paths(
            &name,
            definition,
            &config.settings,
            Path::new("/run/a-long-directory/for-this/tenement"),
        )
    };
    let fits = (1..=63).take_while(|len| path(*len).is_ok()).count();
    assert_eq!(path(fits).unwrap().socket.as_os_str().len(), SOCKET_PATH_MAX);
    assert!(matches!(path(fits + 1), Err(PlanError::SocketPathTooLong { len: 108, .. })));
}

#[test]
fn where_an_instance_listens_follows_from_its_mode() {
    let at = |body: &str| {
        let config = config(body);
        let (_, definition) = config.processes.iter().next().unwrap();
        paths(&"a:1".parse().unwrap(), definition, &config.settings, Path::new(RUN_DIR)).unwrap()
    };
    let unix = |path: &str| Address::Unix(PathBuf::from(path));
    let fd = at("command = \"x\"");
    assert_eq!((fd.trigger.to_str(), fd.app_dir), (Some("/run/tenement/a/1.sock"), None));
    assert_eq!(fd.targets, [unix("/run/tenement/a/1.sock")]);
    let own = at("command = \"x\"\nsocket = \"{data_dir}/{process}-{id}.sock\"");
    assert_eq!(own.targets, [unix("/run/tenement/a/1/app.sock"), Address::Port]);
    assert_eq!(own.publish, Some(PathBuf::from("/var/lib/tenement/a-1.sock")));
    assert_eq!(own.app_dir, Some(PathBuf::from("/run/tenement/a/1")));
    let named = at("command = \"x {socket}\"\nsocket = \"/srv/{id}.sock\"\nuser = \"web\"");
    assert_eq!((named.publish, named.app_dir), (None, None));
    assert_eq!(named.targets, [unix("/srv/1.sock")]);
    let port = at("command = \"x {port}\"");
    assert_eq!(
        (port.targets, port.trigger),
        (vec![Address::Port], "/run/tenement/a/1.wake".into())
    );
}

#[test]
fn the_health_check_goes_to_the_instance_itself() {
    for (health, path) in [
        ("/up?a=b", "/up?a=b"),
        ("http://localhost:{port}/health/{id}", "/health/1"),
        ("http://127.0.0.1", "/"),
    ] {
        let config = config(&format!("command = \"x\"\nhealth = \"{health}\""));
        let (_, definition) = config.processes.iter().next().unwrap();
        let name = "a:1".parse().unwrap();
        let places = paths(&name, definition, &config.settings, Path::new(RUN_DIR)).unwrap();
        let found = health_path(&name, definition, &config.settings, &places, 20_001);
        assert_eq!(found.as_deref(), Some(path));
    }
}

#[test]
fn slices_of_processes_do_not_nest_in_each_other() {
    let a = slice(&"a-b:1".parse().unwrap());
    assert!(a.starts_with("tenement-a_b-") && a.ends_with(".slice"), "{a}");
    let shards: std::collections::BTreeSet<String> =
        (0..1_000).map(|i| slice(&format!("a:{i}").parse().unwrap())).collect();
    assert_eq!(shards.len(), 16);
}

proptest! {
    #[test]
    fn words_reach_the_app_literally_on_every_version(
        words in prop::collection::vec(r#"[ $%'"\\;|>&*#~!`()\[\]<?a-z=é-]{0,10}"#, 0..5),
        systemd in prop::sample::select(vec![252, 257]),
    ) {
        let list: Vec<String> = std::iter::once("x".to_owned()).chain(words).collect();
        let toml: Vec<String> =
            list.iter().map(|w| format!("\"{}\"", w.replace('\\', "\\\\").replace('"', "\\\""))).collect();
        let config = config(&format!("command = [{}]", toml.join(", ")));
        prop_assert_eq!(app_words(&plan_of(&config, &context(systemd)).unwrap()), list);
    }
}
