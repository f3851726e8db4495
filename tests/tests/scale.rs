//! Scale: registered instances beyond those that stay loaded, and what one failure costs the others.

use std::time::Duration;

use tenement_tests::{Host, until};

fn loaded(host: &Host) -> usize {
    let out =
        host.run("systemctl list-units --all --no-legend --plain 'ten-many@*.socket' | wc -l").out;
    out.trim().parse().expect("a count")
}

#[test]
fn beyond_loaded_max_the_longest_idle_are_dormant_and_every_one_still_wakes() {
    let host = Host::the();
    let all: Vec<_> = (0..40).map(|n| format!("n{n}")).collect();
    let list = all.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(", ");
    host.configure(
        "many.toml",
        &format!("[settings]\nloaded_max = 30\n[process.many]\ncommand = \"/srv/apps/hello-static\"\nidle_timeout = \"1s\"\n[instances]\nmany = [{list}]\n"),
    );
    for id in &all {
        let answer = host.get(&format!("{id}.many.localhost"), "/");
        assert_eq!(answer.status, 200, "{id}: {answer:?}");
    }
    until("no more than loaded_max pairs are loaded", Duration::from_secs(30), || {
        let now = loaded(host);
        if now <= 30 { Ok(()) } else { Err(now) }
    });
    for id in ["n0", "n39"] {
        assert_eq!(host.get(&format!("{id}.many.localhost"), "/").status, 200, "{id}");
    }
    host.run("rm /etc/tenement/conf.d/many.toml && ten config reload");
}
