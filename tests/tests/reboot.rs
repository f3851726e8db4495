//! Reboot: what is registered is there afterwards, asleep, with its data.

use std::time::Duration;

use tenement_tests::{Host, until};

const CONFIG: &str = r#"
[process.rnotes]
command = "python3 notes.py"
directory = "/srv/apps/notes"
idle_timeout = 0
"#;

#[test]
fn registered_instances_survive_a_reboot_asleep_and_wake_with_their_data() {
    let host = Host::the();
    host.configure("reboot.toml", CONFIG);
    host.run("ten spawn rnotes:a");
    let uuid = host.ten_json("show rnotes:a")["uuid"].clone();
    let posted =
        host.client().post("a.rnotes.localhost", "/", b"before the reboot").expect("posted");
    assert!(posted.status < 400, "{posted:?}");
    let host = host.reboot();
    until("the agent answers", Duration::from_secs(30), || {
        let ran = host.try_run("ten ps");
        if ran.code == 0 { Ok(()) } else { Err(ran) }
    });
    assert_eq!(host.ten_json("show rnotes:a")["uuid"], uuid);
    assert_eq!(host.state("rnotes:a"), "asleep");
    assert!(host.get("a.rnotes.localhost", "/").text().contains("before the reboot"));
}
