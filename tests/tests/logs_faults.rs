//! What happens to the log index when its files, the journal's or the disk let it down: it says so, reads on,
//! and every line that journald has is found once.

use std::time::Duration;

use serde_json::Value;
use tenement_tests::{Host, until};

const CONFIG: &str = r#"
[process.lfsay]
command = "python3 /srv/apps/lfsay.py"
idle_timeout = 0
restart = "no"
"#;

/// Prints each line that is written to a file in its data directory, once.
const SAY: &str = r#"
import os, time
path, seen = os.path.join(os.environ["DATA_DIR"], "say"), 0
print("ready to say", flush=True)
while True:
    lines = open(path).readlines() if os.path.exists(path) else []
    for line in lines[seen:]:
        print(line.strip(), flush=True)
    seen = len(lines)
    time.sleep(0.05)
"#;

const INDEX: &str = "/var/lib/tenement/_agent/logs";
const BOUND: Duration = Duration::from_secs(60);

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/logs-faults.toml").code != 0 {
        host.write("/srv/apps/lfsay.py", SAY);
        host.configure("logs-faults.toml", CONFIG);
    }
    host
}

/// Starts an instance whose name no other run on this host has had: an index that is made anew also
/// has the lines of instances that were purged before, as far as the journal has them.
fn start(host: &Host, id: &str) -> String {
    let name = format!("lfsay:{id}{}", std::process::id());
    host.run(&format!("ten spawn {name}"));
    name
}

/// Has `name` print `text`.
fn say(host: &Host, name: &str, text: &str) {
    let data = host.ten_json(&format!("show {name}"))["data_dir"].clone();
    host.run(&format!("echo '{text}' >> {}/say", data.as_str().expect("a path")));
}

/// Waits until `text` is found in the lines of `name`, exactly so often.
fn until_found(host: &Host, name: &str, text: &str, times: usize) {
    until(&format!("`{text}` of {name} is found {times} times"), BOUND, || {
        let ran = host.try_run(&format!("ten logs {name} --all --json --search '\"{text}\"'"));
        let lines = ran.out.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if lines.count() == times { Ok(()) } else { Err(ran) }
    });
}

#[test]
fn an_index_deleted_under_a_running_agent_is_made_anew_from_the_journal() {
    let host = host();
    let name = &start(host, "deleted");
    say(host, name, "before it was deleted");
    until_found(host, name, "before it was deleted", 1);
    host.run(&format!("rm -rf {INDEX}"));
    say(host, name, "after it was deleted");
    until_found(host, name, "after it was deleted", 1);
    until_found(host, name, "before it was deleted", 1);
    until("its files are written again", BOUND, || {
        let ran = host.try_run(&format!("ls {INDEX}/*.db"));
        if ran.code == 0 { Ok(()) } else { Err(ran) }
    });
    host.run("systemctl restart tenement");
    until_found(host, name, "before it was deleted", 1);
    until_found(host, name, "after it was deleted", 1);
}

#[test]
fn a_damaged_index_file_is_moved_aside_and_its_lines_are_read_again() {
    let host = host();
    let name = &start(host, "broken");
    say(host, name, "before it broke");
    until_found(host, name, "before it broke", 1);
    host.run(&format!(
        "systemctl stop tenement.service; for f in {INDEX}/*.db; do \
         dd if=/dev/urandom of=$f bs=4096 count=3 conv=notrunc status=none; done; \
         systemctl start tenement.service"
    ));
    until_found(host, name, "before it broke", 1);
    say(host, name, "after it broke");
    until_found(host, name, "after it broke", 1);
    host.run(&format!("ls {INDEX}/*.damaged1 && rm {INDEX}/*.damaged*"));
}

#[test]
fn a_damaged_journal_file_costs_no_line_that_journald_still_has() {
    let host = host();
    let name = &start(host, "rot");
    say(host, name, "before the rot");
    until_found(host, name, "before the rot", 1);
    for archived in [true, false] {
        let word = if archived { "archived" } else { "active" };
        say(host, name, &format!("in the {word} file"));
        until_found(host, name, &format!("in the {word} file"), 1);
        if archived {
            host.run("journalctl --rotate");
        }
        // Garbage over the entries near the end of a file: what a power cut or a bad disk leaves.
        host.run(
            "f=$(ls -t /var/log/journal/*/system*.journal | head -n 1); s=$(stat -c %s $f); \
             dd if=/dev/urandom of=$f bs=4096 seek=$((s / 8192)) count=8 conv=notrunc status=none",
        );
        say(host, name, &format!("after the {word} file"));
        host.run("journalctl --rotate");
        say(host, name, &format!("in a sound file after the {word} one"));
        until_found(host, name, &format!("in a sound file after the {word} one"), 1);
    }
    // Also for an agent that starts before such a file.
    host.run("systemctl restart tenement");
    say(host, name, "at last");
    until_found(host, name, "at last", 1);
    until_found(host, name, "before the rot", 1);
}

#[test]
fn on_a_full_disk_lines_are_still_found_and_written_when_there_is_room_again() {
    let host = host();
    let name = &start(host, "full");
    say(host, name, "before it was full");
    until_found(host, name, "before it was full", 1);
    host.run(&format!(
        "systemctl stop tenement.service && cp -a {INDEX} /run/keep-logs && \
         mount -t tmpfs -o size=$(($(du -sk {INDEX} | cut -f1) + 2048))k,mode=0700 full {INDEX} && \
         cp -a /run/keep-logs/. {INDEX}/ && chown tenement:tenement {INDEX}; \
         systemctl start tenement.service"
    ));
    until_found(host, name, "before it was full", 1);
    host.run(&format!("dd if=/dev/zero of={INDEX}/filler bs=512 status=none; true"));
    say(host, name, "while it was full");
    until_found(host, name, "while it was full", 1);
    until("the agent says that it can't write", BOUND, || {
        let ran = host.try_run("ten doctor; journalctl -u tenement -n 50 --no-pager");
        if ran.out.contains("full") { Ok(()) } else { Err(ran) }
    });
    host.run(&format!("rm {INDEX}/filler"));
    say(host, name, "with room again");
    until_found(host, name, "with room again", 1);
    // A kill: what is found then was written.
    host.run("systemctl kill -s KILL tenement");
    for text in ["before it was full", "while it was full", "with room again"] {
        until_found(host, name, text, 1);
    }
    host.run(&format!(
        "systemctl stop tenement.service; cp -a {INDEX}/. /run/keep-logs/; umount {INDEX}; \
         cp -a /run/keep-logs/. {INDEX}/; rm -rf /run/keep-logs; systemctl start tenement.service"
    ));
    until_found(host, name, "with room again", 1);
}
