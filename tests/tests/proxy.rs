//! The proxy in front of a real instance, on the installed package.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use tenement_tests::host::PORT;
use tenement_tests::{Host, until};

const CONFIG: &str = r#"
[process.pfd]
command = "/srv/apps/hello-static"
idle_timeout = 0
"#;
const GIB: u64 = 1 << 30;

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/proxy.toml").code != 0 {
        host.configure("proxy.toml", CONFIG);
        host.run("ten spawn pfd:a");
    }
    host
}

/// Highest resident set of the agent so far, in kilobytes.
fn agent_peak_kb(host: &Host) -> u64 {
    let pid = host.run("systemctl show -p MainPID --value tenement.service").out;
    let out = host.run(&format!("grep VmHWM /proc/{}/status | tr -dc 0-9", pid.trim())).out;
    out.trim().parse().expect("kilobytes")
}

#[test]
fn a_gibibyte_streams_down_and_up_in_constant_memory() {
    let host = host();
    host.run("systemctl restart tenement");
    until("the agent answers", Duration::from_secs(10), || {
        let answer = host.get("a.pfd.localhost", "/");
        if answer.status == 200 { Ok(()) } else { Err(answer) }
    });
    let before = agent_peak_kb(host);
    let mut stream = host.connect(PORT).expect("accepted");
    let get =
        format!("GET /bytes/{GIB} HTTP/1.1\r\nHost: a.pfd.localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(get.as_bytes()).expect("sent");
    let got = std::io::copy(&mut stream, &mut std::io::sink()).expect("read to the end");
    assert!(got >= GIB, "only {got} bytes came down");

    let mut stream = host.connect(PORT).expect("accepted");
    let post = format!(
        "POST /sink HTTP/1.1\r\nHost: a.pfd.localhost\r\nContent-Length: {GIB}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(post.as_bytes()).expect("sent");
    std::io::copy(&mut std::io::repeat(b'x').take(GIB), &mut stream).expect("all was taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains(&GIB.to_string()), "{answer}");

    let grown = agent_peak_kb(host).saturating_sub(before);
    assert!(grown < 32 * 1024, "the agent grew by {grown} kB");
}

#[test]
fn another_protocol_is_tunnelled_after_an_upgrade() {
    let mut client = host().client();
    let upgrade = "GET /upgrade HTTP/1.1\r\nHost: a.pfd.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.send(upgrade.as_bytes()).expect("sent");
    assert_eq!(client.head().expect("a head").status, 101);
    client.send(b"\x00\xffping").expect("sent");
    let mut echoed = Vec::new();
    while echoed.len() < 6 {
        echoed.extend(client.some().expect("echoed"));
    }
    assert_eq!(echoed, b"\x00\xffping");
}

#[test]
fn events_of_a_stream_arrive_one_by_one() {
    let mut client = host().client();
    client.send(b"GET /sse/3/200 HTTP/1.1\r\nHost: a.pfd.localhost\r\n\r\n").expect("sent");
    assert_eq!(client.head().expect("a head").status, 200);
    for _ in 0..3 {
        let event = client.chunk().expect("the stream goes on").expect("an event");
        assert_eq!(String::from_utf8_lossy(&event).matches("data:").count(), 1);
    }
}

#[test]
fn http2_with_prior_knowledge_is_served() {
    let ran = host().run(
        "curl -sS --http2-prior-knowledge -H 'Host: a.pfd.localhost' -o /dev/null -w '%{http_version} %{http_code}' http://127.0.0.1:8080/",
    );
    assert_eq!(ran.out, "2 200");
}

#[test]
fn an_ambiguous_request_is_refused_and_its_connection_closed() {
    for ambiguous in [
        "POST / HTTP/1.1\r\nHost: a.pfd.localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.pfd.localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "GET / HTTP/1.1\nHost: a.pfd.localhost\n\n",
        "GET / HTTP/1.1\r\nHost : a.pfd.localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.pfd.localhost\r\nHost: b.pfd.localhost\r\n\r\n",
    ] {
        let mut stream = host().connect(PORT).expect("accepted");
        stream.write_all(ambiguous.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered, then closed");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{ambiguous:?}: {answer}");
    }
}

#[test]
fn errors_are_html_for_browsers_and_json_for_others() {
    let mut client = host().client();
    let ask = |accept: &str| {
        format!("GET / HTTP/1.1\r\nHost: x.nope.localhost\r\nAccept: {accept}\r\n\r\n")
    };
    client.send(ask("text/html,*/*;q=0.8").as_bytes()).expect("sent");
    let html = client.response(false).expect("an answer");
    assert!(html.header("content-type").is_some_and(|t| t.starts_with("text/html")), "{html:?}");
    client.send(ask("*/*").as_bytes()).expect("sent");
    let json = client.response(false).expect("an answer");
    let body: serde_json::Value = serde_json::from_slice(&json.body).expect("JSON");
    assert_eq!(body["status"], 404, "{body}");
}

#[test]
fn a_client_cannot_forge_where_it_comes_from() {
    let mut client = host().client();
    let request = "GET /headers HTTP/1.1\r\nHost: a.pfd.localhost\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\n\r\n";
    client.send(request.as_bytes()).expect("sent");
    let text = client.response(false).expect("an answer").text();
    assert!(!text.contains("6.6.6.6"), "{text}");
    assert!(text.to_lowercase().contains("x-forwarded-for: 127.0.0.1"), "{text}");
}
