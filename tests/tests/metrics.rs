//! Metrics on a host, read by a real Prometheus: what is scraped, what it makes of it, and what is kept without it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tenement_tests::{Host, until};

const BOUND: Duration = Duration::from_secs(120);

const CONFIG: &str = r#"
[process.met]
command = "/srv/apps/hello-static"
idle_timeout = 0

[process.metnap]
command = "/srv/apps/hello-static"
idle_timeout = "1s"
"#;

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/metrics.toml").code != 0 {
        host.configure("metrics.toml", CONFIG);
        host.run("ten spawn met:a met:unused metnap:a --no-start");
    }
    host
}

fn scrape(host: &Host, accept: &str) -> String {
    let socket = "--unix-socket /run/tenement/admin.sock http://x/metrics";
    host.run(&format!("curl -sSf --compressed -H 'Accept: {accept}' {socket}")).out
}

fn ask(host: &Host, instance: &str, times: u32) {
    let (process, id) = instance.split_once(':').unwrap();
    for _ in 0..times {
        assert_eq!(host.get(&format!("{id}.{process}.localhost"), "/").status, 200);
    }
}

/// The value of one series of a scrape.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series))?;
    line.trim().parse().ok()
}

const OF_A: &str = "{process=\"met\",id=\"a\"";

/// Where prometheus and promtool are, on the machine that runs the tests.
fn tools() -> &'static Path {
    static TOOLS: OnceLock<PathBuf> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let into = std::env::temp_dir().join("tenement-prometheus");
        let found = Command::new(root.join("host/prometheus")).arg(into).output().unwrap();
        let said = String::from_utf8_lossy(&found.stderr).into_owned();
        assert!(found.status.success(), "no prometheus: {said}");
        PathBuf::from(String::from_utf8(found.stdout).unwrap().trim())
    })
}

fn packaged(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/prometheus").join(file)
}

fn promtool_accepts(text: &str) {
    let mut tool = Command::new(tools().join("promtool"));
    let tool = tool.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut tool = tool.stdout(Stdio::piped()).spawn().unwrap();
    tool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = tool.wait_with_output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(done.status.success() && said.trim().is_empty(), "promtool check metrics: {said}");
}

#[test]
fn a_scrape_is_clean_in_both_formats_and_wakes_nobody() {
    let host = host();
    ask(host, "met:a", 3);
    ask(host, "metnap:a", 1);
    host.until_asleep("metnap:a");
    let text = scrape(host, "text/plain");
    promtool_accepts(&text);
    assert!(value(&text, &format!("tenement_requests_total{OF_A},status=\"2xx\"}}")) >= Some(3.0));
    assert_eq!(value(&text, &format!("tenement_instance_up{OF_A}}}")), Some(1.0));
    assert!(value(&text, &format!("tenement_instance_cpu_seconds_total{OF_A}}}")).is_some());
    assert!(value(&text, &format!("tenement_request_duration_seconds_count{OF_A}}}")) >= Some(3.0));
    // The one that naps was awake, and keeps what was counted; the one that was never woken has no series.
    let nap = "{process=\"metnap\",id=\"a\"";
    assert_eq!(value(&text, &format!("tenement_instance_up{nap}}}")), Some(0.0));
    assert!(value(&text, &format!("tenement_instance_active_seconds_total{nap}}}")) >= Some(1.0));
    assert!(!text.contains("id=\"unused\""), "{text}");
    for family in ["tenement_build_info{", "process_resident_memory_bytes ", "tenement_host_load{"]
    {
        assert!(text.contains(family), "{family} in\n{text}");
    }
    let open = scrape(host, "application/openmetrics-text; version=1.0.0");
    assert!(open.ends_with("# EOF\n") && open.contains("# UNIT tenement_request_duration_seconds"));
    assert!(open.contains(&format!("tenement_requests_created{OF_A},status=\"2xx\"}}")), "{open}");
    for _ in 0..20 {
        let _ = scrape(host, "text/plain");
    }
    assert_eq!(host.state("metnap:a"), "asleep");
    assert_eq!(host.state("met:unused"), "asleep");
}

#[test]
fn on_the_domain_a_token_or_an_address_is_needed_and_a_tenant_sees_its_own() {
    let host = host();
    ask(host, "met:a", 1);
    ask(host, "metnap:a", 1);
    let status = |more: &str| {
        let curl = "curl -sS -o /dev/null -w '%{http_code}'";
        host.run(&format!("{curl} {more} http://127.0.0.1:8080/metrics")).out
    };
    assert_eq!(status(""), "401");
    let token = |args: &str| host.run(&format!("ten token-gen {args}")).out.trim().to_owned();
    let whole = token("--scope read");
    assert_eq!(status(&format!("-H 'Authorization: Bearer {whole}'")), "200");
    let own = token("--scope read --process metnap --instance a");
    let text = host
        .run(&format!("curl -sSf -H 'Authorization: Bearer {own}' http://127.0.0.1:8080/metrics"))
        .out;
    promtool_accepts(&text);
    assert!(text.contains("process=\"metnap\",id=\"a\""), "{text}");
    for foreign in ["process=\"met\"", "tenement_host", "process_cpu", "tenement_wakes_total"] {
        assert!(!text.contains(foreign), "{foreign} in\n{text}");
    }
    host.configure("metrics-allow.toml", "[metrics]\nallow = [\"127.0.0.0/8\"]\n");
    assert_eq!(status(""), "200");
    let other = "curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/api/v1/instances";
    assert_eq!(host.run(other).out, "401", "the address opens nothing else");
    host.run("rm /etc/tenement/conf.d/metrics-allow.toml && ten config reload");
    assert_eq!(status(""), "401");
}

/// A Prometheus in the host's network that scrapes the agent every second.
struct Prometheus {
    process: Child,
    dir: PathBuf,
}

impl Prometheus {
    fn start(host: &Host) -> Self {
        let dir = std::env::temp_dir().join(format!("tenement-metrics-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let token = host.run("ten token-gen --scope read").out;
        std::fs::write(dir.join("token"), token.trim()).unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{rules:?}]\n\
             scrape_configs:\n- job_name: tenement\n  authorization: {{credentials_file: {token:?}}}\n  \
             static_configs: [{{targets: ['127.0.0.1:8080']}}]\n",
            rules = packaged("tenement-alerts.yml").canonicalize().unwrap(),
            token = dir.join("token"),
        );
        std::fs::write(dir.join("prometheus.yml"), config).unwrap();
        let process = Command::new("nsenter")
            .args(["-t", host.pid(), "-n", "--"])
            .arg(tools().join("prometheus"))
            .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg("--web.listen-address=127.0.0.1:9090")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, dir }
    }

    /// The results of an instant query.
    fn query(&self, host: &Host, query: &str) -> Result<Vec<Value>, String> {
        let url = "http://127.0.0.1:9090/api/v1/query";
        let ran = host.feed(&format!("curl -sS -G {url} --data-urlencode query@-"), query);
        let answer: Value =
            serde_json::from_str(&ran.out).map_err(|e| format!("{e}: {}", ran.out))?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default()),
            _ => Err(format!("{query}: {answer}")),
        }
    }

    fn number(&self, host: &Host, query: &str) -> Option<f64> {
        let results = self.query(host, query).ok()?;
        results.first()?["value"][1].as_str()?.parse().ok()
    }

    fn get(host: &Host, path: &str) -> Value {
        let out = host.run(&format!("curl -sS http://127.0.0.1:9090{path}")).out;
        serde_json::from_str(&out).unwrap()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// What a kernel without the controllers (or PSI) can't tell, and what there need not be on this host.
const MAY_BE_UNKNOWN: [&str; 7] = [
    "tenement_instance_memory_bytes",
    "tenement_host_stalled_seconds_total",
    "tenement_requests_gone_total",
    "tenement_instance_disk_quota_bytes",
    "tenement_certificate_expiry_timestamp_seconds",
    "tenement_backup_due_timestamp_seconds",
    "tenement_deploys_total",
];

/// The queries of the dashboard, with its variables filled in.
fn dashboard() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(packaged("tenement-dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            let query = query.replace("$__rate_interval", "30s");
            let query = ["$host", "$process", "$id"].iter().fold(query, |q, v| q.replace(v, ".*"));
            assert!(!query.contains('$'), "{query}");
            queries.push((panel["title"].as_str().unwrap().to_owned(), query));
        }
    }
    queries
}

#[test]
fn every_alert_rule_fires_on_what_it_is_for_and_on_nothing_else() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("prometheus/alerts.yml");
    let text = std::fs::read_to_string(&cases).unwrap();
    let rules = std::fs::read_to_string(packaged("tenement-alerts.yml")).unwrap();
    for rule in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(text.contains(&format!("\"{rule}\"")), "no case has {rule} fire");
    }
    let ran =
        Command::new(tools().join("promtool")).args(["test", "rules"]).arg(cases).output().unwrap();
    let said = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(ran.status.success(), "{}", said.concat());
}

#[test]
fn prometheus_takes_the_series_the_rules_and_every_query_of_the_dashboard() {
    let host = host();
    let rules = Command::new(tools().join("promtool"))
        .args(["check", "rules"])
        .arg(packaged("tenement-alerts.yml"))
        .output()
        .unwrap();
    assert!(rules.status.success(), "{}", String::from_utf8_lossy(&rules.stderr));
    let prometheus = Prometheus::start(host);
    until("the agent is scraped", BOUND, || {
        ask(host, "met:a", 1);
        let up = prometheus.number(host, "up{job=\"tenement\"}");
        if up == Some(1.0) { Ok(()) } else { Err(up) }
    });
    let known: BTreeSet<String> = scrape(host, "text/plain")
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned))
        .collect();
    for (panel, query) in dashboard() {
        let mut words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let unknown = |word: &&str| MAY_BE_UNKNOWN.contains(word) && !known.contains(*word);
        if words.any(|word| unknown(&word)) {
            prometheus.query(host, &query).unwrap_or_else(|error| panic!("{panel}: {error}"));
            continue;
        }
        until(&format!("`{panel}` shows something: {query}"), BOUND, || {
            ask(host, "met:a", 1);
            let results = prometheus.query(host, &query)?;
            if results.is_empty() { Err("no data".to_owned()) } else { Ok(()) }
        });
    }
    until("every rule was evaluated", BOUND, || {
        let answer = Prometheus::get(host, "/api/v1/rules");
        let rules = answer["data"]["groups"][0]["rules"].as_array().cloned().unwrap_or_default();
        let bad = rules.iter().find(|rule| rule["health"] != "ok").cloned();
        match (rules.len() > 10, bad) {
            (true, None) => Ok(()),
            (_, bad) => Err(bad),
        }
    });
    let targets = Prometheus::get(host, "/api/v1/targets");
    assert_eq!(targets["data"]["activeTargets"][0]["lastError"], "", "{targets}");
}

#[test]
fn a_restart_of_the_agent_is_a_reset_that_loses_no_request_and_a_removal_ends_the_series() {
    let host = host();
    host.run("ten spawn met:reset --no-start");
    let prometheus = Prometheus::start(host);
    let series = "tenement_requests_total{process=\"met\",id=\"reset\",status=\"2xx\"}";
    ask(host, "met:reset", 1);
    let seen = |what: &str, query: &str, enough: &dyn Fn(f64) -> bool| {
        until(what, BOUND, || {
            let number = prometheus.number(host, query);
            if number.is_some_and(enough) { Ok(()) } else { Err(number) }
        });
    };
    seen("the first request", series, &|n| n == 1.0);
    ask(host, "met:reset", 19);
    seen("twenty requests", series, &|n| n == 20.0);
    host.run("systemctl restart tenement");
    ask(host, "met:reset", 5);
    seen("the count begins anew", series, &|n| n == 5.0);
    seen("the reset is one", &format!("resets({series}[5m])"), &|n| n == 1.0);
    let added = format!("increase({series}[5m])");
    seen("all of them are added up", &added, &|n| n >= 23.5);
    host.run("ten rm --yes met:reset");
    until("its series have ended", BOUND, || {
        let left = prometheus.query(host, "{process=\"met\",id=\"reset\"}")?;
        if left.is_empty() { Ok(()) } else { Err(format!("{} series", left.len())) }
    });
    assert!(!scrape(host, "text/plain").contains("id=\"reset\""));
}

fn history(host: &Host, query: &str) -> Value {
    let socket = "--unix-socket /run/tenement/admin.sock";
    let ran = host.run(&format!("curl -sS {socket} 'http://x/api/v1/metrics/history?{query}'"));
    serde_json::from_str(&ran.out).unwrap()
}

fn sum(history: &Value, field: &str) -> f64 {
    let points = history["points"].as_array().unwrap().iter();
    points.map(|point| point[field].as_f64().unwrap_or(0.0)).sum()
}

#[test]
fn the_past_is_kept_without_prometheus_and_outlives_the_agent_and_a_damaged_file() {
    let host = host();
    ask(host, "met:a", 7);
    let before = history(host, "instance=met:a&since=1h");
    assert_eq!(before["step_seconds"], 60);
    assert!(sum(&before, "requests") >= 7.0, "{before}");
    host.run("systemctl restart tenement");
    until("the past is there again", BOUND, || {
        let ran = host.try_run("curl -sS --unix-socket /run/tenement/admin.sock 'http://x/api/v1/metrics/history?instance=met:a'");
        let after: Value = serde_json::from_str(&ran.out).map_err(|e| e.to_string())?;
        let kept =
            after["points"].is_array() && sum(&after, "requests") >= sum(&before, "requests");
        if kept { Ok(()) } else { Err(after.to_string()) }
    });
    let all = history(host, "step=3600");
    assert!(sum(&all, "requests") >= sum(&before, "requests"), "{all}");
    let last = all["points"].as_array().unwrap().last().unwrap();
    assert!(last["running"].as_u64() >= Some(1) && last["load"].is_number(), "{last}");
    assert!(last["latency_p99_seconds"].as_f64() > Some(0.0), "{last}");
    host.run("systemctl stop tenement && head -c 9000 /dev/urandom > /var/lib/tenement/_agent/metrics.db && rm -f /var/lib/tenement/_agent/metrics.db-*  && systemctl start tenement");
    ask(host, "met:a", 2);
    until("a new file was begun", BOUND, || {
        let again = history(host, "instance=met:a");
        if sum(&again, "requests") >= 2.0 { Ok(()) } else { Err(again.to_string()) }
    });
    assert_eq!(host.try_run("test -e /var/lib/tenement/_agent/metrics.db.corrupt").code, 0);
    let live = "curl -sS --unix-socket /run/tenement/admin.sock http://x/api/v1/metrics/live";
    until("what it does now is told", BOUND, || {
        ask(host, "met:a", 1);
        let live: Value = serde_json::from_str(&host.run(live).out).unwrap();
        let of_a = live["instances"].as_array().unwrap().iter().find(|one| one["name"] == "met:a");
        let rate = of_a.and_then(|one| one["requests_per_second"].as_f64());
        if rate > Some(0.0) { Ok(()) } else { Err(live.to_string()) }
    });
}
