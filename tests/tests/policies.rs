//! Rules of processes on a real host: addresses, rates, passwords, headers, compression, bodies.

use tenement_tests::http::Response;
use tenement_tests::{Host, until};

fn config(hash: &str) -> String {
    format!(
        r#"
[process.pdeny]
command = "/srv/apps/hello-static"
route = {{ deny = ["127.0.0.1"] }}

[process.prate]
command = "/srv/apps/hello-static"
route = {{ rate = 1, burst = 3 }}

[process.pauth]
command = "/srv/apps/hello-static"
route = {{ basic_auth = ["alice:{hash}"], realm = "customers" }}

[process.pheaders]
command = "/srv/apps/hello-static"
[process.pheaders.route]
response_headers = {{ set = {{ X-Frame-Options = "DENY" }}, remove = ["Content-Type"] }}
body_max = "1k"

[process.pzip]
command = "/srv/apps/notes-big"
directory = "/srv/apps"
[process.pzip.route]
compress = true
"#
    )
}

/// bcrypt of `sesame`, as crypt(3) makes it.
const HASH: &str = "$2b$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O";

/// Answers of several kinds.
const BIG: &str = r#"#!/usr/bin/python3
import http.server, socket, time
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        kind = {"/events": "text/event-stream", "/png": "image/png"}.get(self.path, "text/html")
        body = b"hello tenement " * 2000
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("ETag", '"strong"')
        if self.path == "/slow":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for _ in range(2):
                self.wfile.write(b"5\r\nfirst\r\n")
                self.wfile.flush()
                time.sleep(1)
            self.wfile.write(b"0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
class S(http.server.ThreadingHTTPServer):
    address_family = socket.AF_UNIX
s = S(("", 0), H, bind_and_activate=False)
s.socket = socket.socket(fileno=3)
s.server_name, s.server_port = "x", 0
H.address_string = lambda self: "x"
s.get_request = lambda: (s.socket.accept()[0], ("x", 0))
s.serve_forever()
"#;

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/policies.toml").code != 0 {
        host.write("/srv/apps/notes-big", BIG);
        host.run("chmod 755 /srv/apps/notes-big");
        host.configure("policies.toml", &config(HASH));
        host.run("ten spawn pdeny:a prate:a pauth:a pheaders:a --no-start; ten spawn pzip:a");
    }
    host
}

fn ask(host: &Host, name: &str, head: &str) -> Response {
    let mut client = host.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: {name}\r\n{head}\r\n").as_bytes()).unwrap();
    client.response(false).unwrap()
}

#[test]
fn a_client_that_may_not_ask_wakes_nothing() {
    let host = host();
    let answer = host.get("a.pdeny.localhost", "/");
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(host.get("pdeny.localhost", "/").status, 403, "by whatever name");
    assert_ne!(host.state("pdeny:a"), "running");
}

#[test]
fn a_client_beyond_its_rate_gets_429_and_when_to_come_back() {
    let host = host();
    let mut client = host.client();
    let answers: Vec<_> = (0..8).map(|_| client.get("a.prate.localhost", "/").unwrap()).collect();
    assert!(answers[..3].iter().all(|answer| answer.status == 200), "the burst passes");
    let refused = answers.iter().find(|answer| answer.status == 429).expect("one is refused");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    until("its time has come", std::time::Duration::from_secs(10), || {
        let status = client.get("a.prate.localhost", "/").unwrap().status;
        if status == 200 { Ok(()) } else { Err(status) }
    });
}

#[test]
fn only_who_has_the_password_gets_in_and_the_app_does_not_see_it() {
    let host = host();
    let none = ask(host, "a.pauth.localhost", "");
    assert_eq!(none.status, 401);
    assert_eq!(
        none.header("www-authenticate"),
        Some("Basic realm=\"customers\", charset=\"UTF-8\"")
    );
    let wrong = host.run("printf alice:wrong | base64").out;
    assert_eq!(
        ask(host, "a.pauth.localhost", &format!("Authorization: Basic {}\r\n", wrong.trim()))
            .status,
        401
    );
    assert_ne!(host.state("pauth:a"), "running", "nothing was woken");
    let right = host.run("printf alice:sesame | base64").out;
    let mut client = host.client();
    client.send(format!("GET /headers HTTP/1.1\r\nHost: a.pauth.localhost\r\nAuthorization: Basic {}\r\n\r\n", right.trim()).as_bytes()).unwrap();
    let let_in = client.response(false).unwrap();
    assert_eq!(let_in.status, 200, "{let_in:?}");
    assert!(!let_in.text().to_lowercase().contains("authorization"), "{}", let_in.text());
    assert_eq!(
        host.try_run("grep -r sesame /etc/tenement /var/lib/tenement").code,
        1,
        "no password is kept"
    );
}

#[test]
fn headers_are_set_and_removed_and_bodies_are_limited() {
    let host = host();
    let answer = host.get("a.pheaders.localhost", "/");
    assert_eq!(
        (answer.header("x-frame-options"), answer.header("content-type")),
        (Some("DENY"), None)
    );
    let mut client = host.client();
    assert_eq!(client.post("a.pheaders.localhost", "/", &[b'x'; 2000]).unwrap().status, 413);
    assert_eq!(host.client().post("a.pheaders.localhost", "/", &[b'x'; 500]).unwrap().status, 200);
}

#[test]
fn text_is_compressed_for_who_takes_it_and_nothing_else_is() {
    let host = host();
    let curl = |args: &str| {
        host.run(&format!("curl -sS -D - -o /tmp/body -H 'Host: a.pzip.localhost' {args}"))
            .out
            .to_lowercase()
    };
    let head = curl("-H 'Accept-Encoding: gzip' http://localhost:8080/");
    assert!(
        head.contains("content-encoding: gzip") && head.contains("etag: w/\"strong\""),
        "{head}"
    );
    assert!(
        head.contains("vary: accept-encoding") && !head.contains("content-length: 30000"),
        "{head}"
    );
    assert_eq!(host.run("gzip -dc < /tmp/body | wc -c").out.trim(), "30000");
    let head = curl("-H 'Accept-Encoding: gzip, zstd' http://localhost:8080/");
    assert!(head.contains("content-encoding: zstd"), "{head}");
    let plain = curl("http://localhost:8080/");
    assert!(
        !plain.contains("content-encoding") && plain.contains("vary: accept-encoding"),
        "{plain}"
    );
    for path in ["events", "png"] {
        let head = curl(&format!("-H 'Accept-Encoding: gzip' http://localhost:8080/{path}"));
        assert!(!head.contains("content-encoding") && head.contains("etag: \"strong\""), "{head}");
    }
}

#[test]
fn a_pause_in_a_compressed_answer_holds_nothing_back() {
    let host = host();
    let mut client = host.client();
    client
        .send(b"GET /slow HTTP/1.1\r\nHost: a.pzip.localhost\r\nAccept-Encoding: gzip\r\n\r\n")
        .unwrap();
    let begin = std::time::Instant::now();
    assert_eq!(client.head().unwrap().header("content-encoding"), Some("gzip"));
    let first = client.chunk().unwrap().expect("a piece");
    assert!(!first.is_empty() && begin.elapsed().as_millis() < 900, "{:?}", begin.elapsed());
}
