//! Weights, paths, names of the config, maintenance and waiting on a real host.

use std::collections::BTreeMap;
use std::time::Duration;

use tenement_tests::http::Response;
use tenement_tests::{Host, until};

const CONFIG: &str = r#"
[process.rweb]
command = "/usr/bin/python3 /srv/apps/who.py"
listen = "fd"
env = { WHO = "{process}:{id}" }
idle_timeout = 0

[process.rsticky]
command = "/usr/bin/python3 /srv/apps/who.py"
listen = "fd"
env = { WHO = "{process}:{id}" }
idle_timeout = 0
route = { sticky = true }

[process.rslow]
command = "/usr/bin/python3 /srv/apps/who.py 4"
listen = "fd"
env = { WHO = "{process}:{id}" }
idle_timeout = "60s"
park = 0
route = { waiting_page_after = "300ms" }

[routing.subdomain]
rapp = "rweb:a"

[routing.path]
"paths.example.org/docs" = { to = "rweb:b", strip = true }
"paths.example.org/raw" = "rweb:a"

[routing.redirect]
"old.example.org" = "https://new.example.org"
"paths.example.org/moved" = { to = "https://new.example.org/there", status = 301 }
"#;

/// Says who it is and what it was asked.
const WHO: &str = r#"
import http.server, os, socket, sys, time
time.sleep(float(sys.argv[1]) if len(sys.argv) > 1 else 0)
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/die":
            os._exit(1)
        body = (os.environ["WHO"] + " " + self.path + " " + self.headers.get("X-Forwarded-Prefix", "-")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
class S(http.server.ThreadingHTTPServer):
    address_family = socket.AF_UNIX
    def server_bind(self): pass
s = S(("", 0), H, bind_and_activate=False)
s.socket = socket.socket(fileno=3)
s.server_name, s.server_port = "x", 0
H.address_string = lambda self: "x"
s.get_request = lambda: (s.socket.accept()[0], ("x", 0))
s.serve_forever()
"#;

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/routing.toml").code != 0 {
        host.write("/srv/apps/who.py", WHO);
        host.configure("routing.toml", CONFIG);
        host.run("ten spawn rweb:a rweb:b rsticky:a rsticky:b");
        host.run("ten spawn rslow:a --no-start");
    }
    host
}

fn who(answer: &Response) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text().split(' ').next().unwrap_or_default().to_owned()
}

/// Who answers so many requests.
fn shares(host: &Host, name: &str, count: usize) -> BTreeMap<String, usize> {
    let mut client = host.client();
    let mut shares = BTreeMap::new();
    for _ in 0..count {
        *shares.entry(who(&client.get(name, "/").expect("an answer"))).or_default() += 1;
    }
    shares
}

#[test]
fn requests_to_a_process_are_shared_by_weight_and_a_change_counts_at_once() {
    let host = host();
    host.run("ten weight rweb:a default && ten weight rweb:b default");
    let even = shares(host, "rweb.localhost", 100);
    assert!(even["rweb:a"].abs_diff(50) <= 3, "{even:?}");
    host.run("ten weight rweb:a 90 && ten weight rweb:b 10");
    let uneven = shares(host, "rweb.localhost", 200);
    assert!(uneven["rweb:b"].abs_diff(20) <= 5, "{uneven:?}");
    host.run("ten weight rweb:b 0");
    assert_eq!(shares(host, "rweb.localhost", 20).len(), 1, "0 is none");
    let shown = host.run("ten weight rweb").out;
    assert!(shown.contains("100.0 %") && shown.contains("0.0 %"), "{shown}");
    host.run("ten weight rweb:a 0");
    assert_eq!(host.get("rweb.localhost", "/").status, 404, "nobody is left");
    host.run("ten weight rweb:a default && ten weight rweb:b default");
}

#[test]
fn a_sleeping_instance_with_a_weight_is_woken() {
    let host = host();
    host.run("ten weight rweb:a default && ten weight rweb:b default");
    host.run("ten stop rweb:b");
    host.until_asleep("rweb:b");
    assert_eq!(shares(host, "rweb.localhost", 20).len(), 2, "both have answered");
    assert_eq!(host.state("rweb:b"), "running");
}

#[test]
fn a_dead_pick_is_replaced_before_the_client_notices() {
    let host = host();
    host.run("ten weight rweb:a default && ten weight rweb:b default");
    // It is killed again and again, in the middle of what it does.
    let mut client = host.client();
    let mut seen = BTreeMap::new();
    for n in 0..120 {
        if n % 20 == 10 {
            host.run("systemctl kill -s KILL --kill-whom=main ten-rweb@b.service || true");
        }
        *seen.entry(who(&client.get("rweb.localhost", "/").expect("an answer"))).or_insert(0) += 1;
    }
    assert!(seen.contains_key("rweb:a"), "{seen:?}");
    host.run("ten reset rweb:b");
}

#[test]
fn a_request_to_a_process_whose_first_pick_gave_up_is_served_by_another() {
    let host = host();
    host.run("ten weight rweb:a default && ten weight rweb:b default");
    // An instance that has failed for good refuses at once.
    host.write(
        "/etc/systemd/system/ten-rweb@b.service.d/break.conf",
        "[Service]\nExecStartPre=/bin/false\n",
    );
    host.run("systemctl daemon-reload; ten stop rweb:b");
    let all = shares(host, "rweb.localhost", 20);
    assert_eq!(all.keys().collect::<Vec<_>>(), ["rweb:a"], "{all:?}");
    host.run(
        "rm -r /etc/systemd/system/ten-rweb@b.service.d; systemctl daemon-reload; ten reset rweb:b",
    );
    until("it is back", Duration::from_secs(60), || {
        let both = shares(host, "rweb.localhost", 20);
        if both.len() == 2 { Ok(()) } else { Err(both) }
    });
}

#[test]
fn a_sticky_client_stays_with_its_instance_by_an_opaque_cookie() {
    let host = host();
    let first = host.get("rsticky.localhost", "/");
    let cookie =
        first.header("set-cookie").expect("a cookie").split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("ten_rsticky=") && !cookie.contains(":a") && !cookie.contains(":b"));
    let own = who(&first);
    let mut client = host.client();
    for _ in 0..20 {
        client
            .send(
                format!("GET / HTTP/1.1\r\nHost: rsticky.localhost\r\nCookie: {cookie}\r\n\r\n")
                    .as_bytes(),
            )
            .unwrap();
        let answer = client.response(false).unwrap();
        assert_eq!((who(&answer), answer.header("set-cookie")), (own.clone(), None));
    }
    assert_eq!(shares(host, "rsticky.localhost", 20).len(), 2, "without a cookie, by weight");
}

#[test]
fn names_paths_and_redirects_of_the_config_lead_where_they_say() {
    let host = host();
    assert_eq!(who(&host.get("rapp.localhost", "/")), "rweb:a");
    assert_eq!(host.get("paths.example.org", "/docs/x?y").text(), "rweb:b /x?y /docs");
    assert_eq!(host.get("paths.example.org", "/docs").text(), "rweb:b / /docs");
    assert_eq!(host.get("paths.example.org", "/raw/x").text(), "rweb:a /raw/x -");
    assert_eq!(host.get("paths.example.org", "/docsx").status, 404);
    let moved = host.get("old.example.org", "/a?b");
    assert_eq!(
        (moved.status, moved.header("location")),
        (308, Some("https://new.example.org/a?b"))
    );
    let moved = host.get("paths.example.org", "/moved/x");
    assert_eq!(
        (moved.status, moved.header("location")),
        (301, Some("https://new.example.org/there"))
    );
}

#[test]
fn the_domain_itself_can_be_an_apps_and_the_api_is_off_it_then() {
    let host = host();
    let text = format!("[routing]\ndefault = \"rweb:a\"\n{CONFIG}");
    host.configure("routing.toml", &text);
    let answer = host.get("localhost", "/api/v1/version");
    host.configure("routing.toml", CONFIG);
    assert_eq!(answer.text(), "rweb:a /api/v1/version -");
    assert_eq!(host.get("localhost", "/health").status, 200);
}

#[test]
fn maintenance_answers_503_with_the_processs_own_page_until_it_is_off() {
    let host = host();
    host.write("/etc/tenement/rsticky.html", "<h1>We will be back</h1>");
    host.run("chmod 644 /etc/tenement/rsticky.html");
    let with_page = CONFIG.replace(
        "sticky = true",
        "sticky = true, maintenance_page = \"/etc/tenement/rsticky.html\"",
    );
    host.configure("routing.toml", &with_page);
    host.run("ten maintenance rsticky on");
    let script = host.get("rsticky.localhost", "/");
    assert_eq!((script.status, script.header("retry-after")), (503, Some("120")));
    assert!(script.text().contains("\"maintenance\""), "{script:?}");
    assert_eq!(host.get("a.rsticky.localhost", "/").status, 503, "its instances too");
    let mut browser = host.client();
    browser
        .send(b"GET / HTTP/1.1\r\nHost: rsticky.localhost\r\nAccept: text/html\r\n\r\n")
        .unwrap();
    let page = browser.response(false).unwrap();
    assert_eq!((page.status, page.text().as_str()), (503, "<h1>We will be back</h1>"));
    host.run("systemctl restart tenement");
    assert_eq!(host.get("rsticky.localhost", "/").status, 503, "it outlives the agent");
    assert_eq!(host.get("rweb.localhost", "/").status, 200, "others are served");
    host.run("ten maintenance rsticky off");
    assert_eq!(host.get("rsticky.localhost", "/").status, 200);
    host.configure("routing.toml", CONFIG);
}

#[test]
fn a_browser_gets_a_page_that_waits_and_an_api_client_never_does() {
    let host = host();
    let asleep = || {
        host.run("ten stop rslow:a");
        host.until_asleep("rslow:a");
    };
    asleep();
    let mut browser = host.client();
    let navigate = b"GET / HTTP/1.1\r\nHost: a.rslow.localhost\r\nAccept: text/html\r\nSec-Fetch-Mode: navigate\r\n\r\n";
    browser.send(navigate).unwrap();
    let page = browser.response(false).unwrap();
    assert_eq!((page.status, page.header("refresh")), (503, Some("1")), "{page:?}");
    assert!(page.text().contains("http-equiv=refresh"));
    until("the page has become the app", Duration::from_secs(30), || {
        browser.send(navigate).unwrap();
        let page = browser.response(false).unwrap();
        if page.status == 200 { Ok(()) } else { Err(page.status) }
    });
    for head in ["Accept: application/json", "Accept: text/html\r\nSec-Fetch-Mode: cors", "X: y"] {
        asleep();
        let mut client = host.client();
        client
            .send(format!("GET / HTTP/1.1\r\nHost: a.rslow.localhost\r\n{head}\r\n\r\n").as_bytes())
            .unwrap();
        assert_eq!(client.response(false).unwrap().status, 200, "{head}");
    }
}
