//! The routes of logs: what they ask, what they answer, and what they refuse.

mod api_support;

use std::time::Duration;

use api_support::shelf::Shelf;
use api_support::{Door, Reply};
use serde_json::json;
use tenement_logs::search::Stopped;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

fn messages(reply: &Reply) -> Vec<&str> {
    assert_eq!(reply.status, 200, "{reply:?}");
    let lines = reply.body["lines"].as_array().unwrap();
    lines.iter().map(|line| line["message"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_search_answers_with_lines_of_a_stable_shape_under_both_prefixes() {
    let shelf = Shelf::with(&["one error"]);
    let door = Door::open_logs(shelf);
    for prefix in ["/api/v1", "/api"] {
        let reply = door.ask(&format!("GET {prefix}/logs?process=api&id=prod"), "").await;
        let line = json!({
            "seq": 1, "timestamp": "2023-11-14T22:13:20.000001Z", "level": "error", "process": "api",
            "instance_id": "prod", "source": "instance", "message": "one error",
        });
        assert_eq!(reply.body, json!({"lines": [line], "next": null, "stopped": null}));
    }
}

#[tokio::test]
async fn searches_page_through_every_line_once_in_both_orders() {
    let shelf = Shelf::numbered(5);
    let door = Door::open_logs(shelf);
    for (order, cursor, wanted) in [("newest", "before", "54321"), ("oldest", "after", "12345")] {
        let (mut seen, mut from) = (String::new(), String::new());
        loop {
            let ask = format!("GET /api/v1/logs?q=line&limit=2&order={order}{from}");
            let reply = door.ask(&ask, "").await;
            seen.extend(messages(&reply).iter().map(|text| &text[5..]));
            let Some(next) = reply.body["next"].as_u64() else { break };
            from = format!("&{cursor}={next}");
        }
        assert_eq!(seen, wanted);
    }
}

#[tokio::test]
async fn scope_level_time_and_query_reach_the_index() {
    let shelf = Shelf::with(&["an error in prod", "fine in prod"]);
    shelf.put("web:a", "an error in web");
    let door = Door::open_logs(shelf.clone());
    for (ask, wanted) in [
        ("process=api", vec!["fine in prod", "an error in prod"]),
        ("instance=web:a", vec!["an error in web"]),
        ("level=warn", vec!["an error in web", "an error in prod"]),
        ("search=fin*", vec!["fine in prod"]),
        ("search=level%3E%3Dwarn+-web", vec!["an error in prod"]),
        ("search=%2Ferr.*web%2F", vec!["an error in web"]),
        (
            "since=2023-11-14T22:13:20.000002Z&until=2023-11-14T22:13:20.000003Z",
            vec!["fine in prod"],
        ),
        ("since=2024-01-01&zone=Europe/Berlin", vec![]),
    ] {
        let reply = door.ask(&format!("GET /api/v1/logs?{ask}"), "").await;
        assert_eq!(messages(&reply), wanted, "{ask}");
    }
    let last = shelf.searches.lock().unwrap().pop().unwrap();
    assert_eq!(last.since_us, Some(1_704_063_600_000_000), "midnight in Berlin");
    assert!(last.time <= Duration::from_secs(10) && last.limit == 100);
}

#[tokio::test]
async fn a_search_that_stopped_early_says_so() {
    let shelf = Shelf::with(&["a"]);
    *shelf.stopped.lock().unwrap() = Some(Stopped::Time);
    let door = Door::open_logs(shelf);
    assert_eq!(door.ask("GET /api/v1/logs", "").await.body["stopped"], "time");
    let reply = door.ask("GET /api/v1/logs?format=ndjson", "").await;
    assert!(reply.head.contains("logs-stopped: time"), "{reply:?}");
}

#[tokio::test]
async fn every_bad_parameter_is_named_at_once_with_its_fix() {
    let shelf = Shelf::with(&[]);
    let door = Door::open_logs(shelf.clone());
    let ask = "GET /api/v1/logs?process=A&level=bad&since=soon&search=%22a&limit=0&before=x&order=up&format=xml&zone=Moon&x=1";
    let reply = door.ask(ask, "").await;
    assert_eq!((reply.status, &reply.body["code"]), (422, &json!("invalid_request")));
    let errors = reply.body["errors"].as_array().unwrap();
    let mut fields: Vec<_> = errors.iter().map(|e| e["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    let wanted =
        ["before", "format", "level", "limit", "order", "process", "search", "since", "x", "zone"];
    assert_eq!(fields, wanted, "{reply:?}");
    let found = |field: &str| errors.iter().find(|error| error["field"] == field).unwrap();
    let of = |field: &str| found(field)["message"].as_str().unwrap().to_owned();
    assert_eq!(
        of("search"),
        "column 1: this quote is never closed; add a \" at its end, or write \\\""
    );
    assert!(of("since").contains("10m ago"));
    for ask in [
        "id=prod",
        "instance=api:prod&process=api",
        "search=a&q=b",
        "since=2026-01-02&until=2026-01-01",
    ] {
        assert_eq!(door.ask(&format!("GET /api/v1/logs?{ask}"), "").await.status, 422, "{ask}");
    }
    assert_eq!(door.ask("GET /api/v1/logs/stream?until=now", "").await.status, 422);
    assert!(shelf.searches.lock().unwrap().is_empty());
}

#[tokio::test]
async fn text_that_would_be_sql_or_fts_is_looked_for_as_text() {
    let hostile = "'; DROP TABLE blocks; --";
    let shelf = Shelf::with(&[hostile, "innocent"]);
    let door = Door::open_logs(shelf.clone());
    let ask = "GET /api/v1/logs?search=%22%27%3B%20DROP%20TABLE%20blocks%3B%20--%22";
    assert_eq!(messages(&door.ask(ask, "").await), [hostile]);
    let long = format!("GET /api/v1/logs?q={}", "a+".repeat(3000));
    assert_eq!(door.ask(&long, "").await.status, 422);
    assert_eq!(shelf.searches.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn lines_come_as_ndjson_or_harmless_text_if_asked_for() {
    let shelf = Shelf::with(&["\u{1b}]0;title\u{7}two\nlines \u{1b}[31mred\u{1b}[m"]);
    let door = Door::open_logs(shelf);
    for ask in ["format=text", "accept"] {
        let request = match ask {
            "accept" => {
                "GET /api/logs HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\nConnection: close\r\n\r\n"
            }
            _ => "GET /api/logs?format=text HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        };
        let text = whole(door.send(request).await).await;
        assert!(text.contains("content-type: text/plain"), "{text}");
        let wanted =
            "2023-11-14T22:13:20.000001Z api:prod info   \\u{1b}]0;title\\u{7}two\n    lines red\n";
        assert!(text.ends_with(wanted), "{text:?}");
    }
    let reply = door.ask("GET /api/logs?format=ndjson", "").await;
    assert_eq!(reply.body["seq"], 1, "one line is one JSON object: {reply:?}");
}

async fn whole(mut stream: UnixStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// Reads on until `text` holds `wanted`.
async fn until(stream: &mut UnixStream, text: &mut String, wanted: &str) {
    let reading = async {
        let mut piece = [0; 4096];
        while !text.contains(wanted) {
            let n = stream.read(&mut piece).await.unwrap();
            assert!(n > 0, "{wanted:?} is not in {text:?}");
            text.push_str(std::str::from_utf8(&piece[..n]).unwrap());
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(20), reading).await;
    assert!(read.is_ok(), "{wanted:?} does not come: {text:?}");
}

async fn follow(door: &Door, query: &str, last: Option<u64>) -> (UnixStream, String) {
    let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
    let ask = format!("GET /api/logs/stream?{query} HTTP/1.1\r\nHost: x\r\n{last}\r\n");
    let mut stream = door.send(&ask).await;
    let mut text = String::new();
    until(&mut stream, &mut text, "retry: 1000").await;
    assert!(text.contains("content-type: text/event-stream"), "{text}");
    (stream, text)
}

fn ids(text: &str) -> Vec<u64> {
    text.lines().filter_map(|line| line.strip_prefix("id: ")?.trim().parse().ok()).collect()
}

#[tokio::test]
async fn a_stream_resumes_after_the_last_event_without_loss_or_repeat() {
    let shelf = Shelf::with(&["a", "b", "c"]);
    let mut door = Door::open_logs(shelf.clone());
    for (query, last) in [("process=api&id=prod", Some(1)), ("after=1", None), ("after=0", Some(1))]
    {
        let (mut stream, mut text) = follow(&door, query, last).await;
        until(&mut stream, &mut text, "\nid: 3").await;
        assert_eq!(ids(&text), [2, 3], "{query}");
    }
    let (mut stream, mut text) = follow(&door, "tail=2", None).await;
    until(&mut stream, &mut text, "\nid: 3").await;
    shelf.put("api:prod", "d");
    until(&mut stream, &mut text, "\nid: 4").await;
    assert_eq!(ids(&text), [2, 3, 4]);
    let (mut since, mut from) = follow(&door, "since=2023-11-14T22:13:20.000002Z", None).await;
    until(&mut since, &mut from, "\nid: 4").await;
    assert_eq!(ids(&from), [2, 3, 4]);
    door.stop();
    until(&mut stream, &mut text, ": the agent stops").await;
}

#[tokio::test]
async fn a_last_event_id_that_is_no_seq_is_refused() {
    let door = Door::open_logs(Shelf::numbered(0));
    let ask =
        "GET /api/logs/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\nLast-Event-ID: x\r\n\r\n";
    let reply = door.raw(ask).await;
    assert_eq!((reply.status, &reply.body["errors"][0]["field"]), (422, &json!("Last-Event-ID")));
}

#[tokio::test]
async fn more_streams_than_may_be_are_refused_and_a_closed_one_makes_room() {
    let door = Door::open_logs(Shelf::with(&["a"]));
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(follow(&door, "", None).await);
    }
    let reply = door.ask("GET /api/logs/stream", "").await;
    assert_eq!((reply.status, &reply.body["code"]), (503, &json!("too_many")), "{reply:?}");
    assert!(reply.head.contains("retry-after: 1"));
    assert_eq!(door.ask("GET /api/logs", "").await.status, 200);
    drop(open.pop());
    let room = async {
        loop {
            let mut stream = door.send("GET /api/logs/stream HTTP/1.1\r\nHost: x\r\n\r\n").await;
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.unwrap();
            if head.ends_with(b"200") {
                break;
            }
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), room).await.is_ok());
}

#[tokio::test]
async fn an_export_holds_every_line_from_old_to_new() {
    let shelf = Shelf::numbered(1203);
    let door = Door::open_logs(shelf.clone());
    let get = |format: &str| {
        format!("GET /api/v1/logs/export?format={format} HTTP/1.0\r\nHost: x\r\n\r\n")
    };
    let text = whole(door.send(&get("json")).await).await;
    let body = text.split_once("\r\n\r\n").unwrap().1;
    let seqs: Vec<u64> = body
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap()
        })
        .collect();
    assert!(seqs.iter().copied().eq(1..=1203), "{} lines", seqs.len());
    assert!(shelf.searches.lock().unwrap().iter().all(|search| search.limit <= 1000));
    let text = whole(door.send(&get("export")).await).await;
    assert_eq!(text.matches("\nMESSAGE=line ").count(), 1203);
    assert!(
        text.ends_with("_SYSTEMD_UNIT=ten-api@prod.service\nMESSAGE=line 1203\n\n"),
        "{text:?}"
    );
    assert_eq!(door.ask("GET /api/v1/logs/export?format=xml", "").await.status, 422);
}

#[tokio::test]
async fn a_histogram_counts_what_a_search_would_find_by_time_and_level() {
    let shelf = Shelf::with(&["an error", "fine", "fine too"]);
    shelf.put("web:a", "an error in web");
    let door = Door::open_logs(shelf);
    let time = "since=2023-11-14T22:13:20Z&until=2023-11-14T22:13:21Z&buckets=10";
    for (ask, error, info) in
        [("", 2, 2), ("&process=api", 1, 2), ("&q=too", 0, 1), ("&level=warn", 2, 0)]
    {
        let reply = door.ask(&format!("GET /api/v1/logs/histogram?{time}{ask}"), "").await;
        assert_eq!((reply.status, &reply.body["step_ms"]), (200, &json!(100)), "{reply:?}");
        let buckets = reply.body["buckets"].as_array().unwrap();
        let first = json!({"at_ms": 1_700_000_000_000_u64, "error": error, "warn": 0, "info": info, "debug": 0});
        assert_eq!((buckets.len(), &buckets[0]), (10, &first), "{ask}");
        assert!(buckets[1..].iter().all(|one| one["info"] == 0 && one["error"] == 0), "{ask}");
    }
    let reply = door.ask("GET /api/v1/logs/histogram?buckets=0", "").await;
    assert_eq!(reply.body["errors"][0]["field"], "buckets");
    let reply = door.ask("GET /api/v1/logs/histogram", "").await;
    assert_eq!(reply.body["buckets"].as_array().unwrap().len(), 60, "an hour by the minute");
}

#[tokio::test]
async fn usage_and_sql_answer_and_bad_sql_is_a_bad_field() {
    let door = Door::open_logs(Shelf::with(&[]));
    assert_eq!(door.ask("GET /api/v1/logs/usage", "").await.body["bytes"], 7);
    let reply = door.ask("POST /api/v1/logs/sql", r#"{"sql":"SELECT 1"}"#).await;
    let table = json!({"columns": ["a", "b"], "rows": [[1, null]], "stopped": null});
    assert_eq!((reply.status, reply.body), (200, table));
    let reply = door.ask("POST /api/v1/logs/sql", r#"{"sql":"DROP TABLE x"}"#).await;
    assert_eq!(reply.status, 422);
    let error = json!([{"field": "sql", "message": "only SELECT reads"}]);
    assert_eq!(reply.body["errors"], error);
    assert_eq!(door.ask("POST /api/v1/logs/sql", r#"{"sql":""}"#).await.status, 422);
}

#[tokio::test]
async fn an_agent_without_an_index_says_so_on_every_route() {
    let door = Door::open(tenement_agent::api::Access::user());
    for line in [
        "GET /api/logs",
        "GET /api/logs/stream",
        "GET /api/logs/export",
        "GET /api/logs/usage",
        "GET /api/logs/histogram",
    ] {
        let reply = door.ask(line, "").await;
        assert_eq!((reply.status, &reply.body["code"]), (503, &json!("logs_off")), "{line}");
    }
    assert_eq!(door.ask("PUT /api/logs", "").await.status, 405);
}
