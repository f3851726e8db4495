//! Every error of the flows, as the API answers it.

mod api_support;

use std::time::Duration;

use api_support::{Door, Reply};
use tenement_agent::api::Access;
use tenement_agent::flows::ManageError;
use tenement_wire::dto::ConfigProblem;

async fn answer(error: ManageError) -> Reply {
    let door = Door::open(Access::user());
    door.fails(error);
    door.ask("POST /api/v1/instances/api:prod/wake", "").await
}

fn name(text: &str) -> tenement_wire::InstanceName {
    text.parse().unwrap()
}

#[tokio::test]
async fn every_error_has_its_status_and_code_and_says_what_to_do() {
    let prod = || name("api:prod");
    for (error, status, code, hint) in [
        (
            ManageError::NotFound { name: prod(), similar: vec![name("api:prd")] },
            404,
            "unknown_instance",
            "did you mean api:prd?",
        ),
        (
            ManageError::NotFound { name: prod(), similar: vec![] },
            404,
            "unknown_instance",
            "ten spawn api:prod",
        ),
        (ManageError::AlreadyExists { names: vec![prod()] }, 409, "already_exists", "ten wake"),
        (ManageError::Conflict { name: prod(), what: "x".into() }, 409, "busy", "try again"),
        (
            ManageError::UnknownProcess {
                process: "apii".parse().unwrap(),
                known: vec!["api".parse().unwrap(), "web".parse().unwrap()],
            },
            404,
            "unknown_process",
            "did you mean api? the config has api, web",
        ),
        (
            ManageError::UnknownProcess { process: "api".parse().unwrap(), known: vec![] },
            404,
            "unknown_process",
            "[process.api]",
        ),
        (
            ManageError::Invalid { field: "ids", message: "too long".into() },
            422,
            "invalid_request",
            "errors",
        ),
        (
            ManageError::InUse { name: prod(), holds: vec!["2 open requests".into()] },
            409,
            "in_use",
            "ten sleep --force api:prod",
        ),
        (
            ManageError::NoRelease { process: "api".parse().unwrap() },
            409,
            "no_release",
            "ten deploy api",
        ),
        (
            ManageError::NoReleases { process: "api".parse().unwrap() },
            409,
            "no_releases",
            "{release}",
        ),
        (
            ManageError::UnknownRelease {
                process: "api".parse().unwrap(),
                release: "v9".parse().unwrap(),
            },
            404,
            "unknown_release",
            "ten releases api",
        ),
        (
            ManageError::StartFailed {
                name: prod(),
                reason: "exit code 1".into(),
                retry_after: None,
            },
            503,
            "start_failed",
            "ten logs api:prod",
        ),
        (
            ManageError::StopFailed { name: prod(), reason: "no".into() },
            503,
            "stop_failed",
            "ten why api:prod",
        ),
        (
            ManageError::NoFreePort { first: 20_000, last: 20_001 },
            409,
            "no_free_port",
            "widen port_range",
        ),
        (
            ManageError::TimedOut {
                name: prod(),
                wanted: "ready",
                after: Duration::from_secs(3),
                last: None,
            },
            504,
            "timed_out",
            "ten logs api:prod",
        ),
        (ManageError::StoreFull, 507, "store_full", "free space"),
        (ManageError::StoreReadOnly, 507, "store_read_only", "mount"),
        (
            ManageError::Unavailable { what: "systemd", source: "socket closed".into() },
            503,
            "unavailable",
            "ten doctor",
        ),
        (ManageError::Internal("secret path".into()), 500, "internal", "journalctl"),
    ] {
        let reply = answer(error).await;
        assert_eq!((reply.status, reply.body["code"].as_str()), (status, Some(code)), "{reply:?}");
        assert!(reply.body["hint"].as_str().unwrap().contains(hint), "{reply:?}");
        assert_eq!(reply.body["status"], status);
        let text = reply.body.to_string();
        assert!(!text.contains("secret path") && !text.contains("socket closed"), "{text}");
    }
}

#[tokio::test]
async fn the_details_of_an_error_are_sentences() {
    let names = vec![name("api:a"), name("api:b")];
    let reply = answer(ManageError::AlreadyExists { names }).await;
    assert_eq!(reply.body["detail"], "api:a, api:b are already registered: nothing was changed");
    let error = ManageError::TimedOut {
        name: name("api:a"),
        wanted: "ready",
        after: Duration::from_secs(3),
        last: None,
    };
    assert_eq!(answer(error).await.body["detail"], "api:a was not ready within 3s");
}

#[tokio::test]
async fn a_back_off_is_told_in_whole_seconds() {
    let error = ManageError::StartFailed {
        name: name("api:prod"),
        reason: "exit code 1".into(),
        retry_after: Some(Duration::from_millis(1500)),
    };
    assert!(answer(error).await.head.contains("retry-after: 2"));
}

#[tokio::test]
async fn a_rejected_config_names_every_place() {
    let problem = |line| ConfigProblem {
        file: "tenement.toml".into(),
        line,
        column: 1,
        text: "foo".into(),
        source: "foo = 1".into(),
        message: "unknown key".into(),
        fix: "remove it".into(),
    };
    let reply = answer(ManageError::ConfigRejected(vec![problem(3), problem(9)])).await;
    assert_eq!(reply.status, 422);
    assert_eq!(reply.body["code"], "config_rejected");
    assert_eq!(reply.body["detail"], "the config has 2 errors; the running config is unchanged");
    assert_eq!(reply.body["errors"][1]["field"], "tenement.toml:9:1");
    assert_eq!(reply.body["errors"][1]["message"], "unknown key (foo): remove it");
}
