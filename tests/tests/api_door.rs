//! The management API on the proxy's bare domain: tokens, browser sessions, second factors, and the end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenement_tests::http::Response;
use tenement_tests::{Host, until};

const BOUND: Duration = Duration::from_secs(30);

/// A new token of `scope`: its text and its id.
fn token(host: &Host, scope: &str) -> (String, String) {
    let made = host.run(&format!(
        "curl -sS --unix-socket /run/tenement/admin.sock --json '{{\"scope\":\"{scope}\"}}' http://x/api/v1/tokens"
    ));
    let made: Value = serde_json::from_str(&made.out).expect("a token");
    (made["secret"].as_str().unwrap().to_owned(), made["token"]["id"].as_str().unwrap().to_owned())
}

/// One request on a connection of its own; `fields` are whole lines.
fn ask(host: &Host, name: &str, what: &str, fields: &[&str], body: Option<Value>) -> Response {
    let mut client = host.client();
    let mut head = format!("{what} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n");
    for field in fields {
        head += &format!("{field}\r\n");
    }
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    if !body.is_empty() {
        head += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    client.send(format!("{head}\r\n{body}").as_bytes()).expect("the proxy reads");
    client.response(what.starts_with("HEAD ")).unwrap_or_else(|e| panic!("{what}: {e}"))
}

fn json_of(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_default()
}

fn code(response: &Response) -> String {
    json_of(response)["code"].as_str().unwrap_or("").to_owned()
}

#[test]
fn the_domain_serves_the_api_to_who_has_a_token_and_to_nobody_else() {
    let host = Host::the();
    let (secret, id) = token(host, "admin");
    let bearer = format!("Authorization: Bearer {secret}");
    for path in ["/api/v1/instances", "/api/v1/version", "/api/config", "/api/v1/nothing"] {
        let without = ask(host, "localhost", &format!("GET {path}"), &[], None);
        assert_eq!((without.status, code(&without)), (401, "unauthenticated".into()), "{path}");
        assert_eq!(without.header("www-authenticate"), Some("Bearer"));
    }
    let version = ask(host, "localhost:8080", "GET /api/v1/version", &[&bearer], None);
    assert_eq!(version.status, 200, "{}", version.text());
    assert_eq!(version.header("x-frame-options"), Some("DENY"));
    assert!(version.header("content-security-policy").is_some());
    assert!(version.headers.iter().all(|(name, _)| !name.starts_with("access-control")));
    let http2 = host.run(&format!(
        "curl -sS --http2-prior-knowledge -H '{bearer}' -o /dev/null -w '%{{http_version}} %{{http_code}}' http://localhost:8080/api/v1/version"
    ));
    assert_eq!(http2.out, "2 200");
    for open in ["/health", "/healthz", "/api/v1/health", "/api/v1/openapi.json"] {
        assert_eq!(host.get("localhost", open).status, 200, "{open}");
    }

    // A name that was made to point here is none of ours.
    let rebound = ask(host, "evil.example.org", "GET /api/v1/version", &[&bearer], None);
    assert_eq!((rebound.status, code(&rebound)), (404, "unknown_host".into()));
    assert_eq!(ask(host, "127.0.0.1", "GET /api/v1/version", &[&bearer], None).status, 200);
    // Somebody forwards who is not trusted: the client's bytes came in the clear.
    let clear = [bearer.as_str(), "X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: https"];
    let clear = ask(host, "localhost", "GET /api/v1/version", &clear, None);
    assert_eq!((clear.status, code(&clear)), (403, "insecure_transport".into()));

    host.run(&format!(
        "curl -sS --unix-socket /run/tenement/admin.sock -X DELETE http://x/api/v1/tokens/{id}"
    ));
    let revoked = ask(host, "localhost", "GET /api/v1/version", &[&bearer], None);
    assert_eq!(revoked.status, 401, "a revoked token counts at once");
}

#[test]
fn the_remote_api_can_be_switched_off_and_trusts_configured_proxies_only() {
    let host = Host::the();
    let (secret, _) = token(host, "read");
    let bearer = format!("Authorization: Bearer {secret}");
    let version =
        |fields: &[&str]| ask(host, "localhost", "GET /api/v1/version", fields, None).status;
    host.configure("door.toml", "[api]\nremote = false\n");
    assert_eq!(version(&[&bearer]), 404);
    assert_eq!(host.get("localhost", "/health").status, 200);
    host.configure("door.toml", "[settings]\ntrusted_proxies = [\"127.0.0.1\"]\n");
    let from = "X-Forwarded-For: 198.51.100.7";
    assert_eq!(version(&[&bearer, from, "X-Forwarded-Proto: https"]), 200);
    assert_eq!(version(&[&bearer, from, "X-Forwarded-Proto: http"]), 403);
    assert_eq!(version(&[&bearer, from]), 403, "the proxy does not say");
    host.configure("door.toml", "[api]\ninsecure = true\naliases = [\"console.example.org\"]\n");
    assert_eq!(version(&[&bearer, from]), 200);
    let alias = ask(host, "console.example.org", "GET /api/v1/version", &[&bearer, from], None);
    assert_eq!(alias.status, 200);
    host.run("rm /etc/tenement/conf.d/door.toml && ten config reload");
    assert_eq!(version(&[&bearer, from]), 403);
}

#[test]
fn a_browser_session_outlives_the_agent_and_ends_with_its_token() {
    let host = Host::the();
    let (secret, id) = token(host, "admin");
    let body = || Some(json!({"token": secret}));
    let foreign = ["Origin: http://prod.api.localhost:8080"];
    let refused = ask(host, "localhost:8080", "POST /api/v1/session", &foreign, body());
    assert_eq!(code(&refused), "cross_origin", "a tenant's page logs nobody in");
    let login = ask(host, "localhost:8080", "POST /api/v1/session", &[], body());
    assert_eq!(login.status, 200, "{}", login.text());
    let set = login.header("set-cookie").expect("a cookie");
    assert!(set.contains("HttpOnly; SameSite=Strict") && !set.contains("Secure"), "{set}");
    let cookie = format!("Cookie: {}", set.split(';').next().unwrap());
    let csrf = format!("X-CSRF-Token: {}", json_of(&login)["session"]["csrf"].as_str().unwrap());
    let with = |what: &str, fields: &[&str]| {
        let mut all = vec![cookie.as_str()];
        all.extend_from_slice(fields);
        let answer = ask(host, "localhost:8080", what, &all, None);
        (answer.status, code(&answer))
    };
    assert_eq!(with("GET /api/v1/instances", &[]).0, 200);
    assert_eq!(with("POST /api/v1/config/reload", &[]), (403, "csrf".into()));
    assert_eq!(with("POST /api/v1/config/reload", &[&csrf]).0, 200);
    let tenant = "Origin: http://prod.api.localhost:8080";
    assert_eq!(with("POST /api/v1/config/reload", &[&csrf, tenant]).1, "cross_origin");

    host.run("systemctl restart tenement.service");
    assert_eq!(with("GET /api/v1/instances", &[]).0, 200, "an upgrade logs nobody out");
    let stored = host.run("cat /var/lib/tenement/_agent/state.db* | base64 -w0").out;
    assert!(!stored.is_empty());
    let raw = cookie.rsplit('=').next().unwrap();
    let grep = host.try_run(&format!("grep -c {raw} /var/lib/tenement/_agent/*"));
    assert!(grep.out.lines().all(|line| line.ends_with(":0")), "{}", grep.out);
    let mode = host.run("stat -c '%a %U' /var/lib/tenement/_agent/door.key").out;
    assert_eq!(mode.trim(), "600 tenement");
    host.run(&format!(
        "curl -sS --unix-socket /run/tenement/admin.sock -X POST http://x/api/v1/tokens/{id}/rotate"
    ));
    assert_eq!(with("GET /api/v1/instances", &[]).0, 401, "it ends with the old secret");
}

/// Enables a second factor as a person would: reads the URI, computes the code, types it.
const ENABLE: &str = r#"
import base64, hashlib, hmac, re, struct, subprocess, sys, time
def code(secret):
    h = hmac.new(secret, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    o = h[-1] & 15
    return "%06d" % ((struct.unpack(">I", h[o:o+4])[0] & 0x7fffffff) % 1000000)
p = subprocess.Popen(["ten", "totp", "enable", sys.argv[1]], stdin=subprocess.PIPE,
                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
for line in p.stderr:
    found = re.search(r"secret=([A-Z2-7]+)", line)
    if found: break
text = found.group(1)
p.stdin.write(code(base64.b32decode(text + "=" * (-len(text) % 8))) + "\n")
p.stdin.close()
sys.stdout.write(p.stdout.read())
sys.exit(p.wait())
"#;

#[test]
fn ten_totp_makes_logins_need_a_code_and_recovery_codes_count_once() {
    let host = Host::the();
    let (secret, id) = token(host, "read");
    host.write("/tmp/totp.py", ENABLE);
    let out = host.run(&format!("timeout 60 python3 /tmp/totp.py {id}")).out;
    let recovery: Vec<&str> = out.lines().collect();
    assert_eq!(recovery.len(), 10, "{out}");
    let status = host.run(&format!("ten totp status {id} --json")).out;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status, json!({"enabled": true, "pending": false, "recovery_codes": 10}));
    let login = |code: Option<&str>| {
        let body = json!({"token": secret, "code": code});
        let answer = ask(host, "localhost", "POST /api/v1/session", &[], Some(body));
        (answer.status, self::code(&answer))
    };
    assert_eq!(login(None), (401, "code_needed".into()));
    assert_eq!(login(Some("1")), (401, "wrong_code".into()));
    assert_eq!(login(Some(recovery[7])).0, 200);
    assert_eq!(login(Some(recovery[7])), (401, "wrong_code".into()));
    host.run(&format!("ten totp disable {id}"));
    assert_eq!(login(None).0, 200);
}

#[test]
fn a_stream_on_the_domain_ends_when_the_agent_stops() {
    let host = Host::the();
    let (secret, _) = token(host, "read");
    let mut client = host.client();
    let request = format!(
        "GET /api/v1/logs/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n\r\n"
    );
    client.send(request.as_bytes()).unwrap();
    assert_eq!(client.head().expect("a head").status, 200);
    assert!(client.chunk().expect("a greeting").is_some());
    let begun = Instant::now();
    host.run("systemctl restart tenement.service");
    while let Ok(Some(_)) = client.chunk() {}
    assert!(begun.elapsed() < Duration::from_secs(9), "it took {:?}", begun.elapsed());
    until("the agent answers again", BOUND, || {
        let answer = host.get("localhost", "/health");
        if answer.status == 200 { Ok(()) } else { Err(answer.status) }
    });
}
