//! Backups that are kept: in a directory, in a bucket, made by themselves; and who may make them.

mod backup_support;

use std::path::Path;
use std::time::Duration;

use backup_support::{PATIENCE, host, note, notes, nothing_left, uid_of};
use serde_json::Value;
use tenement_tests::nearby::Nearby;
use tenement_tests::{Host, until};

const S3_PORT: &str = "9123";

#[test]
fn backups_are_kept_in_a_directory_made_by_themselves_and_removed_as_the_config_says() {
    let host = host();
    host.run("ten spawn btimed:t; ten spawn bnotes:k");
    note(host, "bnotes:k", "kept");
    let mut files = Vec::new();
    for _ in 0..3 {
        files.push(host.run("ten backup bnotes:k").out.trim().to_owned());
    }
    let stored = host.ten_json("backup ls bnotes:k");
    let stored: Vec<&str> = stored["backups"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|b| b["file"].as_str())
        .collect();
    assert_eq!(stored, [files[2].as_str(), files[1].as_str()], "the two newest");
    let path = format!("/srv/backups/bnotes/k/{}", files[2]);
    assert_eq!(host.run(&format!("stat -c '%a %U' {path}")).out.trim(), "600 tenement");
    note(host, "bnotes:k", "later");
    host.run(&format!("ten restore bnotes:k --from {} --yes", files[1]));
    host.run("ten restore bnotes:k --from latest --yes");
    assert!(!notes(host, "bnotes:k").contains("later"));
    let missing = host.try_run(&format!("ten restore bnotes:k --from {} --yes", files[0]));
    assert_eq!(missing.code, 3, "{missing:?}");
    // By itself, a minute after it was registered, and again a minute later: then the first is removed.
    let state = |name: &str| {
        let list = host.ten_json("backup ls");
        let list = list["backups"].as_array().expect("a list").clone();
        list.into_iter().find(|one| one["name"] == name).expect("it is listed")
    };
    assert_eq!(state("btimed:t")["schedule"], "every 1m");
    until("the scheduled backup", Duration::from_secs(90), || {
        let state = state("btimed:t");
        if state["last_ms"].is_u64() { Ok(()) } else { Err(state) }
    });
    // Who ran runs again.
    host.until_state("btimed:t", &["running"], PATIENCE);
    let metrics = host.run("ten metrics >/dev/null; curl -s --unix-socket /run/tenement/admin.sock http://x/metrics").out;
    for name in ["tenement_backup_last_success_timestamp_seconds", "tenement_backup_size_bytes"] {
        assert!(metrics.contains(&format!("{name}{{process=\"btimed\",id=\"t\"}}")), "{name}");
    }
    // How it went outlives the agent.
    let before = state("bnotes:k");
    host.run("systemctl restart tenement");
    until("the agent answers", PATIENCE, || {
        let ran = host.try_run("ten ps");
        if ran.code == 0 { Ok(()) } else { Err(ran) }
    });
    assert_eq!(state("bnotes:k")["last_file"], before["last_file"]);
    // A directory that is not the agent's is an error that says what to do, an event, and counted.
    host.run("chown root:root /srv/backups/bnotes/k");
    let failed = host.try_run("ten backup bnotes:k");
    host.run("chown tenement:tenement /srv/backups/bnotes/k");
    assert!(failed.code != 0 && failed.err.contains("install -d -o tenement"), "{failed:?}");
    let state = state("bnotes:k");
    assert_eq!(state["failures"], 1, "{state}");
    assert_eq!(state["last_file"], before["last_file"]);
    let events = host.ten_json("events --kind backup-failed -n 5");
    assert!(events.to_string().contains("bnotes:k"), "{events}");
    nothing_left(host);
}

/// A server that checks signatures with botocore, in the host's network.
fn s3(host: &Host) -> Nearby {
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("s3/server.py");
    let log = std::env::temp_dir().join(format!("s3-{}.log", std::process::id()));
    let server = server.to_string_lossy().into_owned();
    let nearby = host.start_nearby("python3", &[&server, S3_PORT, "2"], &[], &log);
    until("the S3 server answers", PATIENCE, || {
        let ran = host.run_nearby(&format!("curl -sf http://127.0.0.1:{S3_PORT}/_count"));
        if ran.code == 0 { Ok(()) } else { Err(ran) }
    });
    nearby
}

fn told(host: &Host) -> Value {
    let ran = host.run_nearby(&format!("curl -sf http://127.0.0.1:{S3_PORT}/_count"));
    serde_json::from_str(&ran.out).expect("JSON")
}

#[test]
fn backups_go_to_a_bucket_in_parts_signed_as_amazon_wants_and_come_back() {
    let host = host();
    let _server = s3(host);
    host.run("ten spawn bs3:a");
    note(host, "bs3:a", "small");
    for _ in 0..4 {
        host.run("ten backup bs3:a");
    }
    let now = told(host);
    assert_eq!(now["refused"], 0, "every signature is right: {now}");
    assert_eq!(
        now["objects"].as_array().expect("a list").len(),
        3,
        "the oldest was removed: {now}"
    );
    let first = now["objects"][0].as_str().expect("a key");
    assert!(first.starts_with("tenants/of/host1/bs3/a/bs3-a-"), "{first}");
    let data = "/var/lib/tenement/bs3/a";
    let uid = uid_of(host, data);
    host.run(&format!("head -c 30M /dev/urandom > {data}/more; chown {uid}:{uid} {data}/more"));
    // The endpoint is out of sorts for a moment.
    let _ = host.run_nearby(&format!("curl -s -X POST http://127.0.0.1:{S3_PORT}/_fail?n=2"));
    let sum = host.run(&format!("sha256sum < {data}/more")).out;
    host.run("ten backup bs3:a");
    let now = told(host);
    assert!(now["largest"].as_u64().expect("a number") <= 8 << 20, "parts are small: {now}");
    assert_eq!(now["uploads"], 0, "{now}");
    host.run(&format!("rm {data}/more"));
    note(host, "bs3:a", "later");
    host.run("ten restore bs3:a --from latest --yes");
    assert_eq!(host.run(&format!("sha256sum < {data}/more")).out, sum);
    assert!(!notes(host, "bs3:a").contains("later"));
    // One that can't be finished leaves no parts behind.
    host.run(&format!("head -c 30M /dev/urandom > {data}/more; chown {uid}:{uid} {data}/more"));
    host.write("/etc/tenement/s3.key", "AKIATEST\nwrong\n");
    let refused = host.try_run("ten backup bs3:a");
    host.write("/etc/tenement/s3.key", "AKIATEST\nsecret/of+test\n");
    assert!(refused.code != 0 && refused.err.contains("SignatureDoesNotMatch"), "{refused:?}");
    // The upload was begun, its second part fails for good: the first one must not stay and cost money.
    let _ =
        host.run_nearby(&format!("curl -s -X POST 'http://127.0.0.1:{S3_PORT}/_fail?n=4&after=2'"));
    let before = told(host);
    let refused = host.try_run("ten backup bs3:a");
    assert!(refused.code != 0 && refused.err.contains("SlowDown"), "{refused:?}");
    let after = told(host);
    assert_eq!(after["refused"].as_u64(), before["refused"].as_u64().map(|n| n + 4), "{after}");
    assert_eq!((&after["uploads"], &after["objects"]), (&0.into(), &before["objects"]));
    nothing_left(host);
}

#[test]
fn a_token_gets_no_further_than_its_scope_and_its_instances() {
    let host = host();
    host.run("ten spawn bnotes:a; ten spawn bnotes:b");
    note(host, "bnotes:a", "mine");
    let token = |scope: &str, instance: &str| {
        host.run(&format!("ten token-gen --scope {scope} --process bnotes --instance {instance}"))
            .out
            .trim()
            .to_owned()
    };
    let ask = |token: &str, words: &str| {
        host.try_run(&format!(
            "TENEMENT_TOKEN={token} ten --url http://localhost:8080 {words} 2>&1"
        ))
    };
    let (operator, admin) = (token("operator", "a"), token("admin", "a"));
    assert_eq!(ask(&operator, "backup bnotes:a").code, 0);
    assert_eq!(
        ask(&operator, "backup bnotes:a -o /root/b/x").code,
        4,
        "data leaves for admins only"
    );
    assert_eq!(ask(&admin, "backup bnotes:a -o /root/b/x").code, 0);
    assert_eq!(ask(&admin, "restore bnotes:a /root/b/x --yes").code, 0);
    for words in
        ["backup bnotes:b", "backup bnotes:b -o /root/b/y", "restore bnotes:b /root/b/x --yes"]
    {
        let ran = ask(&admin, words);
        assert!(ran.code != 0 && ran.out.contains("no instance bnotes:b"), "{words}: {ran:?}");
    }
    let ran = ask(&admin, "restore bnotes:b --from latest --to bnotes:a --yes");
    assert!(ran.code != 0 && ran.out.contains("no instance bnotes:b"), "its backups: {ran:?}");
    let listed = ask(&admin, "backup ls --json").out;
    assert!(listed.contains("bnotes:a") && !listed.contains("bnotes:b"), "{listed}");
}
