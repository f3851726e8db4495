//! Traces: what of a client's is believed, what an instance is told, what the collector gets.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tenement_agent::config::{self, Cidr, SourceFile};
use tenement_agent::otlp::{Exporter, Target};
use tenement_agent::proxy::Tracer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector, and a proxy that sends spans to it as `more` of `[tracing]` says.
struct Traced {
    world: World,
    tracer: Arc<Tracer>,
    collector: TcpListener,
}

impl Traced {
    async fn with(trusted: bool, more: &str) -> Self {
        let mut policy = policy();
        if trusted {
            let prefix = 8;
            policy.trusted_proxies = vec![Cidr { address: "127.0.0.0".parse().unwrap(), prefix }];
        }
        let world = World::with(policy).await;
        let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = collector.local_addr().unwrap().port();
        let text = format!("[tracing]\nendpoint = \"http://127.0.0.1:{port}\"\n{more}");
        let parsed = config::parse(&[SourceFile::new("tenement.toml".to_owned(), text)]).unwrap();
        let tracing = parsed.settings.tracing.unwrap();
        let target = Target {
            endpoint: tracing.endpoint.clone(),
            headers_file: None,
            timeout: tracing.timeout,
            service_name: tracing.service_name.clone(),
            host_name: "host".to_owned(),
        };
        let exporter = Exporter::start(target, world.proxy.counters.spans.clone()).unwrap();
        let tracer = Arc::new(Tracer::new(exporter, &tracing));
        world.proxy.watch.set(Some(tracer.clone()), None);
        Self { world, tracer, collector }
    }

    /// What one request with these `fields` made the instance see.
    async fn told(&self, backend: &Backend, fields: &str) -> Message {
        let request = format!("GET /a?b=c HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n");
        assert_eq!(self.world.fetch(request).await.status(), 200, "{fields}");
        backend.last()
    }

    /// All spans, by name.
    async fn spans(&self) -> Vec<Span> {
        let receive = async {
            let (mut stream, _) = self.collector.accept().await.unwrap();
            let (mut bytes, mut piece) = (Vec::new(), [0; 65_536]);
            let body = loop {
                let n = stream.read(&mut piece).await.unwrap();
                bytes.extend_from_slice(&piece[..n]);
                let Some(end) = bytes.windows(4).position(|b| b == b"\r\n\r\n") else { continue };
                let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
                let length = head.split("content-length: ").nth(1).unwrap();
                let length: usize = length.lines().next().unwrap().parse().unwrap();
                if bytes.len() >= end + 4 + length {
                    break bytes.split_off(end + 4);
                }
            };
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            ExportTraceServiceRequest::decode(&*body).unwrap()
        };
        let close = self.tracer.exporter().close(Duration::from_secs(10));
        let (request, ()) = tokio::join!(receive, close);
        let mut spans = request.resource_spans[0].scope_spans[0].spans.clone();
        spans.sort_by(|a, b| a.name.cmp(&b.name));
        spans
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match found.value.clone()?.value? {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

fn parent_of(message: &Message) -> Vec<&str> {
    message.get("traceparent").expect("a traceparent").split('-').collect()
}

#[tokio::test]
async fn without_tracing_a_valid_trace_is_passed_on_and_an_invalid_one_is_taken_off() {
    let world = World::start().await;
    let backend = world.answering(OK);
    let ask = async |fields: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n");
        assert_eq!(world.fetch(request).await.status(), 200);
        backend.last()
    };
    let good = format!("00-{TRACE}-{PARENT}-01");
    let seen = ask(&format!("traceparent: {good}\r\ntracestate: a=1\r\ntracestate: b=2\r\n")).await;
    assert_eq!(seen.get("traceparent"), Some(&*good));
    assert_eq!(seen.all("tracestate"), ["a=1", "b=2"]);
    let seen = ask("").await;
    assert_eq!(seen.get("traceparent"), None, "the instance may begin its own");
    for bad in [format!("00-{TRACE}-{PARENT}-01-x"), format!("{good}\r\ntraceparent: {good}")] {
        let seen = ask(&format!("traceparent: {bad}\r\ntracestate: a=1\r\n")).await;
        assert_eq!((seen.get("traceparent"), seen.get("tracestate")), (None, None), "{bad}");
    }
}

#[tokio::test]
async fn an_instance_is_told_that_our_span_caused_what_it_does() {
    let traced = Traced::with(false, "").await;
    let backend = traced.world.answering(OK);
    let fields = format!("traceparent: 00-{TRACE}-{PARENT}-00\r\ntracestate: v=1\r\n");
    let seen = traced.told(&backend, &fields).await;
    let onward = parent_of(&seen);
    assert_eq!((onward[1], onward[3]), (TRACE, "01"), "recorded here");
    assert_ne!(onward[2], PARENT);
    assert_eq!(seen.get("tracestate"), Some("v=1"));
    let spans = traced.spans().await;
    let [span] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.into(), PARENT.into()));
    assert_eq!(hex(&span.span_id), onward[2]);
    assert_eq!((span.name.as_str(), span.kind, span.trace_state.as_str()), ("GET", 2, "v=1"));
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.response.body.size", "2"),
        ("url.path", "/a"),
        ("url.scheme", "http"),
        ("server.address", HOST),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("tenement.instance", "app:a"),
        ("tenement.wake", "hot"),
    ] {
        assert_eq!(attribute(span, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(attribute(span, "url.query"), None, "only where the config wants it");
    assert_eq!(attribute(span, "error.type"), None);
}

#[tokio::test]
async fn a_new_trace_has_the_id_of_the_request() {
    let traced = Traced::with(false, "").await;
    let backend = traced.world.answering(OK);
    let seen = traced.told(&backend, "traceparent: junk\r\ntracestate: v=1\r\n").await;
    assert_eq!(parent_of(&seen)[1], seen.get("x-request-id").unwrap());
    assert_eq!(seen.get("tracestate"), None, "it belonged to another trace");
    let spans = traced.spans().await;
    assert!(spans[0].parent_span_id.is_empty());
}

#[tokio::test]
async fn a_wake_is_a_child_of_its_request() {
    let traced = Traced::with(false, "query = true").await;
    let backend = traced.world.answering(OK);
    traced.world.fake.cold.store(true, Ordering::SeqCst);
    traced.told(&backend, "").await;
    let spans = traced.spans().await;
    let [request, wake] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((request.name.as_str(), wake.name.as_str()), ("GET", "wake"));
    assert_eq!((&wake.trace_id, &wake.parent_span_id), (&request.trace_id, &request.span_id));
    assert_ne!(wake.span_id, request.span_id);
    assert!(wake.start_time_unix_nano >= request.start_time_unix_nano);
    assert!(wake.end_time_unix_nano <= request.end_time_unix_nano);
    assert_eq!(attribute(wake, "tenement.wake.tier").as_deref(), Some("dormant"));
    assert_eq!(attribute(wake, "tenement.wake.outcome").as_deref(), Some("ok"));
    assert_eq!(attribute(request, "url.query").as_deref(), Some("b=c"));
}

#[tokio::test]
async fn a_request_that_fails_says_of_what() {
    let traced = Traced::with(false, "").await;
    traced.world.answering(OK);
    let after = Duration::from_secs(1);
    let error = tenement_agent::flows::WakeError::TimedOut {
        name: "app:a".parse().unwrap(),
        after,
        last: None,
    };
    *traced.world.fake.refuse.lock().unwrap() = Some(error);
    let answer = traced.world.fetch(get("/")).await;
    assert_eq!(answer.status(), 504);
    let spans = traced.spans().await;
    let [request, wake] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(attribute(request, "error.type").as_deref(), Some("wake_timeout"));
    assert_eq!(attribute(wake, "tenement.wake.outcome").as_deref(), Some("timed_out"));
    assert_eq!(request.status.as_ref().unwrap().code, 2);
}

#[tokio::test]
async fn what_is_not_sampled_is_passed_on_and_a_client_cannot_make_us_record() {
    let traced = Traced::with(false, "sample = 0").await;
    let backend = traced.world.answering(OK);
    let good = format!("00-{TRACE}-{PARENT}-01");
    let seen = traced.told(&backend, &format!("traceparent: {good}\r\n")).await;
    assert_eq!(seen.get("traceparent"), Some(&*good), "as it came");
    let seen = traced.told(&backend, "").await;
    assert_eq!(parent_of(&seen)[3], "02", "the decision is handed on: random and not sampled");
    traced.tracer.exporter().close(Duration::from_secs(10)).await;
    assert_eq!(traced.world.proxy.counters.spans.dropped.load(Ordering::Relaxed), 0);
    let waiting = tokio::time::timeout(Duration::from_millis(50), traced.collector.accept());
    assert!(waiting.await.is_err(), "something was sent");
}

#[tokio::test]
async fn a_trusted_proxy_decides_what_is_recorded_and_so_do_clients_if_the_config_says_so() {
    for (trusted, more) in [(true, "sample = 0"), (false, "sample = 0\nfollow_clients = true")] {
        let traced = Traced::with(trusted, more).await;
        let backend = traced.world.answering(OK);
        traced.told(&backend, &format!("traceparent: 00-{TRACE}-{PARENT}-01\r\n")).await;
        traced.told(&backend, &format!("traceparent: 00-{TRACE}-{PARENT}-00\r\n")).await;
        assert_eq!(traced.spans().await.len(), 1, "{more}");
    }
}
