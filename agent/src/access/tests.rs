//! The access log's line, and its queue.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderValue, Method, Version};

use super::*;

fn line(path: &str) -> Line {
    Line {
        instance: "api:prod".parse().unwrap(),
        method: Method::GET,
        host: HeaderValue::from_static("prod.api.example.com"),
        path: path.to_owned(),
        query: None,
        version: Version::HTTP_11,
        status: 200,
        duration: Duration::from_micros(1_500),
        bytes_in: None,
        bytes_out: 12,
        complete: true,
        client: [192, 0, 2, 7].into(),
        request_id: HeaderValue::from_static("abc"),
        trace_id: Some([0xab; 16]),
        wake: Some(Wake::Cold("parked")),
        error: None,
    }
}

fn told(line: &Line) -> (String, Vec<(String, String)>) {
    line.tell(|message, fields| {
        let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value.to_string()));
        (message.to_owned(), fields.collect())
    })
}

fn field(line: &Line, key: &str) -> Option<String> {
    told(line).1.into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

#[test]
fn a_line_has_all_that_was_asked_of_it_in_fields() {
    let line = line("/orders/7");
    let expected = [
        ("TENEMENT_ACCESS", "1"),
        ("TENEMENT_PROCESS", "api"),
        ("TENEMENT_INSTANCE", "prod"),
        ("TENEMENT_METHOD", "GET"),
        ("TENEMENT_HOST", "prod.api.example.com"),
        ("TENEMENT_PATH", "/orders/7"),
        ("TENEMENT_PROTOCOL", "1.1"),
        ("TENEMENT_STATUS", "200"),
        ("TENEMENT_DURATION_US", "1500"),
        ("TENEMENT_BYTES_OUT", "12"),
        ("TENEMENT_CLIENT", "192.0.2.7"),
        ("TENEMENT_REQUEST_ID", "abc"),
        ("TENEMENT_TRACE_ID", "abababababababababababababababab"),
        ("TENEMENT_WAKE", "parked"),
    ];
    for (key, value) in expected {
        assert_eq!(field(&line, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(field(&line, "TENEMENT"), None, "the mark of instances' lines");
    assert_eq!(field(&line, "TENEMENT_QUERY"), None, "only where the config wants it");
    let (message, _) = told(&line);
    assert_eq!(message, "192.0.2.7 GET prod.api.example.com/orders/7 200 12 B 1.5 ms");
}

#[test]
fn nothing_that_a_client_sends_breaks_a_line_or_steers_a_terminal() {
    let nasty = "/a\nTENEMENT_STATUS=200\r\x1b[2J\u{202e}\u{9b}b";
    let (message, fields) = told(&line(nasty));
    let shown = "/a\\nTENEMENT_STATUS=200\\r\\u{1b}[2J\\u{202e}\\u{9b}b";
    assert!(message.contains(shown), "{message}");
    assert!(fields.iter().all(|(_, value)| !value.contains(char::is_control)), "{fields:?}");
    let (_, fields) = told(&line(&format!("/{}", "x".repeat(100_000))));
    assert!(fields.iter().all(|(_, value)| value.len() <= 2_048));
}

#[tokio::test]
async fn a_journal_that_takes_nothing_costs_lines_and_no_time() {
    let counts = Arc::new(Counts::default());
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let log = AccessLog::with(counts.clone(), move |_| held.lock().unwrap().recv().is_err());
    let log = log.unwrap();
    let begun = Instant::now();
    let sent = QUEUE as u64 + 1_000;
    for _ in 0..sent {
        log.offer(line("/"));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "offering waited");
    let dropped = counts.dropped.load(Ordering::Relaxed);
    assert!((999..=1_000).contains(&dropped), "the thread holds at most one: {dropped}");
    log.close(Duration::from_millis(50)).await;
    assert_eq!(counts.written.load(Ordering::Relaxed), 0, "closing waited no longer than told");
    // The journal is back: what waited is written.
    drop(release);
    log.close(Duration::from_secs(10)).await;
    assert_eq!(counts.written.load(Ordering::Relaxed) + dropped, sent);
}
