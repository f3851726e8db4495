//! The dashboard in a real Chromium: `dashboard/browser/run.mjs` plays an operator, in the host's network.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tenement_tests::results::Figure;
use tenement_tests::{Host, until};

/// Registered beside those that are looked at.
const MANY: usize = 1000;
/// First paint of live data, in milliseconds.
const FIRST_DATA_MS: f64 = 1000.0;
/// All steps of the browser.
const BROWSER: Duration = Duration::from_secs(900);
/// Script in one frame while the list scrolls, in milliseconds.
const FRAME_MS: f64 = 50.0;

const CONFIG: &str = r#"
[settings]
loaded_max = 100

[process.dbsay]
command = "python3 /srv/apps/dbsay.py {port}"
idle_timeout = 0

[process.dbbad]
command = "python3 -c 'raise SystemExit(3)' {port}"
startup_timeout = "5s"

[process.dbmany]
command = "/srv/apps/hello-static"
idle_timeout = "10m"
"#;

/// Prints what it is told to by `GET /say?TEXT`.
const SAY: &str = r#"
import http.server, sys, urllib.parse

class Say(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path, _, text = self.path.partition("?")
        if path == "/say":
            print(urllib.parse.unquote(text), flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *args):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Say)
print("it says what it is told to", flush=True)
server.serve_forever()
"#;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The node that the build of the dashboard uses, with the modules there.
fn node() -> PathBuf {
    let tool = root().join("packaging/build-dashboard");
    assert!(Command::new(&tool).arg("modules").status().expect("it runs").success());
    let said = Command::new(&tool).arg("node").output().expect("it runs");
    assert!(said.status.success(), "{said:?}");
    PathBuf::from(String::from_utf8_lossy(&said.stdout).trim()).join("node")
}

fn token(host: &Host, args: &str) -> String {
    host.run(&format!("ten token-gen {args}")).out.trim().to_owned()
}

fn shots(host: &Host) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    let target = if target.is_absolute() { target } else { root().join(target) };
    target.join(format!("dashboard/systemd-{}", host.systemd()))
}

#[test]
fn an_operator_sees_and_does_in_a_browser_what_the_issue_lists() {
    let host = Host::the();
    host.write("/srv/apps/dbsay.py", SAY);
    host.configure("dashboard.toml", CONFIG);
    host.run("ten spawn dbsay:prod");
    let ids: Vec<_> = (0..MANY).map(|n| format!("dbmany:n{n:04}")).collect();
    host.run(&format!("ten spawn {} --no-start >/dev/null", ids.join(" ")));
    host.run("ten spawn dbbad:one --no-start");
    let _ = host.try_run("ten wake dbbad:one");
    host.until_state("dbbad:one", &["failed"], Duration::from_secs(60));

    let shots = shots(host);
    let setup = json!({
        "url": "http://localhost:8080",
        "shots": shots,
        "admin": token(host, "--name browser"),
        "read": token(host, "--name looker --scope read"),
        "many": MANY,
    });
    let node = node();
    let script = root().join("dashboard/browser/run.mjs");
    // A process that is started in the host's network has it for its localhost.
    let asked = shots.join("restart");
    let _ = std::fs::remove_file(&asked);
    let played = host.inside(move || {
        let command =
            Command::new(node).arg(script).env("DASHBOARD_TEST", setup.to_string()).output();
        command.expect("node runs")
    });
    // A step of it is about what a restart of the agent does to open pages.
    until("the browser is done", BROWSER, || {
        if asked.exists() {
            host.run("systemctl restart tenement");
            std::fs::remove_file(&asked).expect("it is there");
        }
        if played.is_finished() { Ok(()) } else { Err("it plays on") }
    });
    let played = played.join().expect("it does not panic");
    let said = String::from_utf8_lossy(&played.stdout);
    println!("{said}{}screenshots: {}", String::from_utf8_lossy(&played.stderr), shots.display());
    host.run("rm /etc/tenement/conf.d/dashboard.toml");
    assert!(played.status.success(), "see above");
    judge(host, &said);
    clean(host);
}

/// Appends the figures to the others, and holds them against the bars.
fn judge(host: &Host, said: &str) {
    let figures = said.lines().find_map(|line| line.strip_prefix("FIGURES ")).expect("figures");
    let figures: Value = serde_json::from_str(figures).expect("JSON");
    let value =
        |name: &str| figures[name].as_f64().unwrap_or_else(|| panic!("{name} in {figures}"));
    for (name, most) in [
        ("dashboard.first_data_ms", FIRST_DATA_MS),
        ("dashboard.scroll.script_ms", FRAME_MS),
        ("dashboard.scroll.longest_task_ms", f64::INFINITY),
    ] {
        let value = value(name);
        Figure { name, value, unit: "ms", systemd: host.systemd(), ..Figure::default() }.record();
        assert!(value <= most, "{name}: {value} ms, and {most} ms is the bar");
    }
}

/// The tests after this one find no thousand instances.
fn clean(host: &Host) {
    host.run("ten rm --yes dbsay:prod dbbad:one");
    host.run(&format!(
        "for n in $(seq -f %04g 0 {}); do echo dbmany:n$n; done | xargs -n 100 ten rm --yes >/dev/null",
        MANY - 1
    ));
    host.run("ten config reload");
    until("they are gone", Duration::from_secs(60), || {
        let left = host.run("ten ps | grep -c dbmany: || true").out;
        if left.trim() == "0" { Ok(()) } else { Err(left) }
    });
}
