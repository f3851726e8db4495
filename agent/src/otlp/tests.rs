//! The exporter against collectors that answer, refuse, keep silent and are not there.

use std::time::SystemTime;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

fn span(name: &'static str) -> Span {
    Span {
        trace_id: [1; 16],
        span_id: [2; 8],
        parent: Some(([3; 8], true)),
        trace_state: "vendor=1".into(),
        kind: Kind::Server,
        name: name.into(),
        start: SystemTime::UNIX_EPOCH,
        end: SystemTime::UNIX_EPOCH + Duration::from_millis(5),
        attributes: vec![("url.path", "/x".into()), ("http.response.status_code", 503.into())],
        failed: true,
    }
}

fn target(port: u16) -> Target {
    Target {
        endpoint: format!("http://127.0.0.1:{port}/v1/traces").parse().unwrap(),
        headers_file: None,
        timeout: Duration::from_millis(200),
        service_name: "edge".into(),
        host_name: "host".into(),
    }
}

/// Answers each message with the next status, the last one from then on, and hands on the bodies.
async fn collector(statuses: Vec<u16>) -> (u16, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (seen, bodies) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for at in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let body = read(&mut stream).await;
            let status = statuses[at.min(statuses.len() - 1)];
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let _ = seen.send(body);
        }
    });
    (port, bodies)
}

async fn read(stream: &mut tokio::net::TcpStream) -> Vec<u8> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut piece).await.unwrap();
        bytes.extend_from_slice(&piece[..n]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf"), "{head}");
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        if bytes.len() >= end + 4 + length {
            return bytes.split_off(end + 4);
        }
    }
}

fn counted(counts: &Counts) -> (u64, u64) {
    (counts.sent.load(Ordering::Relaxed), counts.dropped.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_collector_gets_spans_with_their_parents_and_attributes() {
    let (port, mut bodies) = collector(vec![200]).await;
    let counts = Arc::new(Counts::default());
    let exporter = Exporter::start(target(port), counts.clone()).unwrap();
    exporter.offer(span("GET"));
    exporter.offer(span("wake"));
    exporter.close(Duration::from_secs(10)).await;
    let request = ExportTraceServiceRequest::decode(&*bodies.recv().await.unwrap()).unwrap();
    let resource = format!("{:?}", request.resource_spans[0].resource);
    assert!(resource.contains("service.name") && resource.contains("edge"), "{resource}");
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    assert_eq!(spans.iter().map(|span| &*span.name).collect::<Vec<_>>(), ["GET", "wake"]);
    let first = &spans[0];
    assert_eq!((&*first.trace_id, &*first.span_id), (&[1; 16][..], &[2; 8][..]));
    assert_eq!((&*first.parent_span_id, &*first.trace_state), (&[3; 8][..], "vendor=1"));
    assert_eq!((first.start_time_unix_nano, first.end_time_unix_nano), (0, 5_000_000));
    assert_eq!(first.attributes[0].key, "url.path");
    assert_eq!(first.status.as_ref().unwrap().code, 2, "an error");
    assert_eq!(counted(&counts), (2, 0));
}

#[tokio::test]
async fn a_batch_that_is_refused_is_sent_again_and_counted_once() {
    let (port, mut bodies) = collector(vec![503, 200]).await;
    let counts = Arc::new(Counts::default());
    let exporter = Exporter::start(target(port), counts.clone()).unwrap();
    exporter.offer(span("GET"));
    let first = bodies.recv().await.unwrap();
    assert_eq!(bodies.recv().await.unwrap(), first, "the same again");
    exporter.close(Duration::from_secs(10)).await;
    assert_eq!(counted(&counts), (1, 0));
}

#[tokio::test]
async fn a_collector_that_is_down_or_silent_costs_spans_and_no_time() {
    // Bound and never served: connections are made and nothing is answered.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    for port in [silent.local_addr().unwrap().port(), gone] {
        let counts = Arc::new(Counts::default());
        let exporter = Exporter::start(target(port), counts.clone()).unwrap();
        let begun = Instant::now();
        for _ in 0..5_000 {
            exporter.offer(span("GET"));
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "offering waited");
        exporter.close(Duration::from_secs(10)).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "one try for each batch");
        assert_eq!(counted(&counts), (0, 5_000), "all are accounted for");
    }
}
