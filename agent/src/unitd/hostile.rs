//! A stolen agent against the unit helper: whatever it sends, the plan is that of the config, with the
//! instance's own name in it and limits within their ranges, or there is none.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tenement_wire::{InstanceName, Limit};

use super::request;
use crate::config::{self, Config, SourceFile};
use crate::plan::{Account, Mode, Particulars, PlanContext, UnitPlan, Value, plan, slice};

const CONFIG: &str = "[process.api]\ncommand = \"/srv/app --flag {socket}\"\nfreeze_after = \"1m\"\n\
    [process.web]\ncommand = \"/srv/web\"\nport = 3000\nnetwork = \"private\"\n";

/// What the helper makes of a request that it takes.
fn made(config: &Config, name: &InstanceName, with: Particulars) -> Option<UnitPlan> {
    let definition = config.processes.get(name.process())?;
    let find = |program: &str| Some(Path::new("/usr/bin").join(program));
    let context = PlanContext {
        systemd: 257,
        mode: Mode::System,
        run_dir: PathBuf::from("/run/tenement"),
        account: Some(Account { user: "ten-u1".into(), group: None }),
        socket_group: Some("tenement".into()),
        port: with.port,
        overrides: with.overrides,
        release: None,
        releases_dir: "/var/lib/tenement/releases".into(),
        secrets: Vec::new(),
        env_file_vars: Vec::new(),
        exec_helper: Some(PathBuf::from("/exec")),
        park_helper: Some(PathBuf::from("/park")),
        relay: PathBuf::from("/relay"),
        find_program: &find,
        program_fault: &|_| None,
    };
    plan(name, definition, &config.settings, &context).ok()
}

/// Each property as text, with what may differ from one instance to the next written alike.
fn texts(plan: &UnitPlan, name: &InstanceName) -> Vec<String> {
    let own = name.id().as_str();
    let properties = plan.socket.properties.iter().chain(&plan.service.properties);
    let text = properties.map(|property| match &property.value {
        Value::Bytes(fields) => {
            let fields = fields.iter().map(|field| String::from_utf8_lossy(field).into_owned());
            format!("{}={:?}", property.name, fields.collect::<Vec<_>>())
        }
        _ => property.to_string(),
    });
    let alike = |text: String| {
        text.replace(&slice(name), "SLICE").replace(&plan.revision, "REVISION").replace(own, "ID")
    };
    text.map(alike).collect()
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,80}",
        "(api|web)",
        // Long enough to stand nowhere in a unit by chance.
        "zq[a-z0-9]{8,50}",
        "zq[a-z0-9]{8}(\n|%n|/\\.\\./|\\$\\{x\\}|@|\u{0}| )[a-zA-Z=/+]{0,20}",
    ]
}

fn limits() -> impl Strategy<Value = HashMap<String, u64>> {
    let known: Vec<String> =
        Limit::ALL.into_iter().map(|limit| limit.as_str().to_owned()).collect();
    let name = prop_oneof![4 => proptest::sample::select(known), 1 => ".{0,20}"];
    proptest::collection::hash_map(name, prop_oneof![any::<u64>(), 0..100_000_u64], 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn no_text_of_a_caller_gets_into_a_plan(
        process in names(), id in names(), port: u16, pairs in limits(),
    ) {
        let config = config::parse(&[SourceFile::new("t", CONFIG)]).unwrap();
        let Ok(name) = request::instance(&process, &id) else { return Ok(()) };
        let Ok(with) = request::particulars(&(port, pairs.clone(), String::new())) else { return Ok(()) };
        prop_assert!(with.overrides.iter().count() == pairs.len());
        let Some(found) = made(&config, &name, Particulars { port, ..Default::default() }) else {
            return Ok(());
        };
        // Limits are numbers: they change no property that holds text.
        let limited = made(&config, &name, with).expect("the same request with limits in range");
        let worded = |plan: &UnitPlan| -> Vec<String> {
            let list = plan.service.properties.iter();
            let list = list.filter(|p| matches!(p.value, Value::Exec(_) | Value::Str(_)));
            list.map(ToString::to_string).collect()
        };
        prop_assert_eq!(worded(&found), worded(&limited));
        if id.starts_with("zq") {
            let other: InstanceName = format!("{}:zqreference", name.process()).parse().unwrap();
            let with = Particulars { port, ..Default::default() };
            let reference = made(&config, &other, with).expect("the same request for another id");
            prop_assert_eq!(texts(&found, &name), texts(&reference, &other));
        }
    }
}

#[test]
fn what_a_caller_may_send_reaches_a_plan_at_all() {
    let config = config::parse(&[SourceFile::new("t", CONFIG)]).unwrap();
    let limits = HashMap::from([("tasks_max".to_owned(), 7)]);
    let with = request::particulars(&(20_001, limits, String::new())).unwrap();
    let name = request::instance("api", "zqfirst0000").unwrap();
    let plan = made(&config, &name, with).unwrap();
    assert!(texts(&plan, &name).iter().any(|text| text == "TasksMax=U64(7)"));
    assert!(texts(&plan, &name).iter().any(|text| text.contains("ID")));
}
