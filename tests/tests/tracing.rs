//! Spans and the access log on a real host: a collector gets a request and its wake, the journal gets a line by fields,
//! and a collector that is down or silent harms nobody.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::Value;
use tenement_tests::{Host, until};

const BOUND: Duration = Duration::from_secs(60);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn config(port: u16, log: &str) -> String {
    format!(
        "[tracing]\nendpoint = \"http://127.0.0.1:{port}\"\ntimeout = \"1s\"\n\
         headers_file = \"/etc/tenement/tracing.headers\"\n\
         [process.trc]\ncommand = \"/srv/apps/hello-static\"\naccess_log = \"{log}\"\n"
    )
}

/// Takes what an OpenTelemetry collector takes and writes each message down, in hexadecimal.
const COLLECTOR: &str = r#"
import http.server
class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        good = (self.path == "/v1/traces" and self.headers["Authorization"] == "Bearer for-the-collector"
                and self.headers["Content-Type"] == "application/x-protobuf")
        with open("/root/spans.got", "a") as got:
            got.write(("ok " if good else "bad ") + body.hex() + "\n")
        self.send_response(200 if good else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.HTTPServer(("127.0.0.1", 4318), Collector).serve_forever()
"#;

/// Takes connections and never answers.
const SILENT: &str = r#"
import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", 4319)); s.listen(50); held = []
while True:
    held.append(s.accept())
"#;

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /root/collector.py").code != 0 {
        host.write("/etc/tenement/tracing.headers", "Authorization: Bearer for-the-collector\n");
        host.run("chgrp tenement /etc/tenement/tracing.headers && chmod 640 /etc/tenement/tracing.headers");
        host.write("/root/collector.py", COLLECTOR);
        host.write("/root/silent.py", SILENT);
        host.run("systemd-run --unit=collector --collect python3 /root/collector.py");
        host.run("systemd-run --unit=silent --collect python3 /root/silent.py");
    }
    host
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// Every span that the collector has got.
fn spans(host: &Host) -> Vec<Span> {
    let got = host.try_run("cat /root/spans.got").out;
    let mut spans = Vec::new();
    for line in got.lines() {
        let body = line.strip_prefix("ok ").unwrap_or_else(|| panic!("refused: {line}"));
        let request = ExportTraceServiceRequest::decode(&*unhex(body)).expect("OTLP");
        for resource in request.resource_spans {
            spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    spans
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match found.value.clone()?.value? {
        Any::StringValue(text) => text,
        Any::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

fn ask(host: &Host, path: &str, fields: &str) -> tenement_tests::http::Response {
    let mut client = host.client();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: a.trc.localhost\r\nConnection: close\r\n{fields}\r\n"
    );
    client.send(head.as_bytes()).expect("the proxy reads");
    client.response(false).expect("an answer")
}

fn traffic(host: &Host, key: &str) -> u64 {
    host.ten_json("metrics")["traffic"][key].as_u64().expect("a count")
}

#[test]
fn a_collector_gets_a_request_with_its_wake_below_it() {
    let host = host();
    host.configure("tracing.toml", &config(4318, "all"));
    host.run("ten spawn trc:a && ten sleep trc:a --force");
    host.until_asleep("trc:a");
    let fields = format!("traceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: vendor=1\r\n");
    assert_eq!(ask(host, "/?secret=1", &fields).status, 200);
    let (request, wake) = until("both spans are there", BOUND, || {
        let spans = spans(host);
        let ours: Vec<&Span> = spans.iter().filter(|span| hex(&span.trace_id) == TRACE).collect();
        let of =
            |name: &str| ours.iter().find(|span| span.name == name).map(|span| (*span).clone());
        of("GET").zip(of("wake")).ok_or(format!("{spans:?}"))
    });
    assert_eq!(hex(&request.parent_span_id), PARENT);
    assert_eq!(request.trace_state, "vendor=1");
    assert_eq!(wake.parent_span_id, request.span_id);
    let tier = attribute(&wake, "tenement.wake.tier").unwrap();
    assert!(["parked", "stopped", "dormant"].contains(&tier.as_str()), "{tier}");
    assert_eq!(attribute(&wake, "tenement.wake.outcome").as_deref(), Some("ok"));
    assert_eq!(attribute(&request, "tenement.instance").as_deref(), Some("trc:a"));
    assert_eq!(attribute(&request, "http.response.status_code").as_deref(), Some("200"));
    assert_eq!(attribute(&request, "url.path").as_deref(), Some("/"));
    assert_eq!(attribute(&request, "url.query"), None);
    assert_eq!(attribute(&request, "tenement.wake").as_deref(), Some(tier.as_str()));
}

#[test]
fn the_journal_gets_a_line_by_fields_which_is_none_of_the_instances() {
    let host = host();
    host.configure("tracing.toml", &config(4318, "all"));
    let _ = host.try_run("ten spawn trc:a");
    let answer = ask(host, "/log%0ATENEMENT_STATUS=999/x?secret=1", "X-Forwarded-For: 1.2.3.4\r\n");
    let id = answer.header("x-request-id").expect("an id").to_owned();
    let line: Value = until("the line is in the journal", BOUND, || {
        let found =
            host.try_run(&format!("journalctl -o json --no-pager TENEMENT_REQUEST_ID={id}"));
        serde_json::from_str(found.out.lines().next().unwrap_or(""))
            .map_err(|e| format!("{e}: {found:?}"))
    });
    for (field, value) in [
        ("SYSLOG_IDENTIFIER", "tenement-access"),
        ("_SYSTEMD_UNIT", "tenement.service"),
        ("PRIORITY", "6"),
        ("TENEMENT_PROCESS", "trc"),
        ("TENEMENT_INSTANCE", "a"),
        ("TENEMENT_METHOD", "GET"),
        ("TENEMENT_HOST", "a.trc.localhost"),
        ("TENEMENT_PATH", "/log%0ATENEMENT_STATUS=999/x"),
        ("TENEMENT_CLIENT", "127.0.0.1"),
        ("TENEMENT_TRACE_ID", &id),
    ] {
        assert_eq!(line[field].as_str(), Some(value), "{field}: {line}");
    }
    assert_eq!(line["TENEMENT_STATUS"], answer.status.to_string());
    let out: usize = line["TENEMENT_BYTES_OUT"].as_str().unwrap().parse().unwrap();
    assert_eq!(out, answer.body.len());
    assert!(line["TENEMENT_DURATION_US"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    assert!(line.get("TENEMENT").is_none() && line.get("TENEMENT_QUERY").is_none(), "{line}");
    assert!(!host.run("ten logs trc:a --all").out.contains(&id), "it is no line of the instance");
    // Without it, nothing is written.
    host.configure("tracing.toml", &config(4318, "off"));
    let silent = ask(host, "/quiet", "").header("x-request-id").unwrap().to_owned();
    host.configure("tracing.toml", &config(4318, "all"));
    let loud = ask(host, "/loud", "").header("x-request-id").unwrap().to_owned();
    until("the later one is written", BOUND, || {
        let found =
            host.try_run(&format!("journalctl --no-pager -q TENEMENT_REQUEST_ID={loud}")).out;
        if found.is_empty() { Err("nothing".to_owned()) } else { Ok(()) }
    });
    assert_eq!(
        host.try_run(&format!("journalctl --no-pager -q TENEMENT_REQUEST_ID={silent}")).out,
        ""
    );
}

#[test]
fn a_collector_that_is_down_or_never_answers_harms_nobody() {
    let host = host();
    // 4320 is closed, 4319 takes connections and is silent.
    for port in [4320, 4319] {
        host.configure("tracing.toml", &config(port, "off"));
        let _ = host.try_run("ten spawn trc:a");
        let before = traffic(host, "spans_dropped");
        let begun = Instant::now();
        let mut client = host.client();
        for _ in 0..3_000 {
            assert_eq!(client.get("a.trc.localhost", "/").expect("an answer").status, 200);
        }
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(60), "3,000 requests took {took:?}");
        until("what was not sent is counted", BOUND, || {
            let dropped = traffic(host, "spans_dropped") - before;
            if dropped >= 500 { Ok(()) } else { Err(format!("{dropped} dropped")) }
        });
        let log = host.run("journalctl -u tenement --no-pager -q -n 200").out;
        assert!(log.contains("spans can't be sent to"), "{log}");
        let begun = Instant::now();
        host.run("systemctl restart tenement");
        assert!(begun.elapsed() < Duration::from_secs(20), "the end waited for the collector");
        assert_eq!(ask(host, "/", "").status, 200);
    }
    host.configure("tracing.toml", &config(4318, "off"));
}

#[test]
fn what_waits_is_sent_when_the_agent_stops() {
    let host = host();
    host.configure("tracing.toml", &config(4318, "off"));
    let _ = host.try_run("ten spawn trc:a");
    let trace = "1af7651916cd43dd8448eb211c80319c";
    let asked = ask(host, "/", &format!("traceparent: 00-{trace}-{PARENT}-01\r\n"));
    assert_eq!(asked.status, 200);
    host.run("systemctl restart tenement");
    // No wait: the agent that has ended sent it before.
    let sent = spans(host).iter().any(|span| hex(&span.trace_id) == trace);
    assert!(sent, "the span was lost");
    host.run("rm /etc/tenement/conf.d/tracing.toml; ten rm -y trc:a; ten config reload");
}
