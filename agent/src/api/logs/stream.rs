//! Lines as they come, as server-sent events (HTML standard, section 9.2).
//!
//! Every line is an event whose id is its `seq`. A client that reconnects with `Last-Event-ID` gets
//! everything after it, once. One that reads too slowly is told what it missed. A comment every few seconds
//! shows that the connection is alive, and when the agent stops the stream ends at once.

use std::collections::VecDeque;
use std::io::Write as _;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use futures_util::StreamExt as _;
use http::HeaderMap;
use tenement_logs::line::Line;
use tenement_logs::search::Search;
use tenement_wire::logs::LogsMissed;
use utoipa_axum::router::UtoipaMethodRouter;

use super::ask::{Limit, Wanted, What};
use super::{Desk, SEARCH_TIME, show, slot};
use crate::api::access::Caller;
use crate::api::input::Input;
use crate::api::problem::Problem;
use crate::api::routes::collect;
use crate::api::serve::Stopping;
use crate::api::sse::{self, Source};
use crate::flows::logbook::{Event, Events, Follow};

/// The route.
pub(super) fn routes() -> UtoipaMethodRouter<Desk> {
    collect!(stream_logs)
}

/// Follow lines as they come, as server-sent events
///
/// The id of an event is the `seq` of its line. `event: missed` says what a slow reader did not get.
#[utoipa::path(get, path = "/logs/stream", tag = "logs", security(("token" = ["read"])),
    params(
        Wanted,
        ("tail" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Begin with so many lines of the past"),
        ("after" = Option<i64>, Query, minimum = 0, description = "Begin after this `seq`"),
        ("Last-Event-ID" = Option<i64>, Header, minimum = 0, description = "The same, as browsers send it"),
    ),
    responses((status = 200, description = "A stream without an end", content_type = "text/event-stream", body = String)),
    extensions(("x-problems" = json!(["logs_off", "too_many"]))))]
async fn stream_logs(
    State(desk): State<Desk>,
    caller: Caller,
    stopping: Option<Extension<Stopping>>,
    headers: HeaderMap,
    mut input: Input,
) -> Result<Response, Problem> {
    let what = What::of(&mut input);
    let tail: Option<Limit> = input.parameter("tail");
    let after = sse::resume(&headers, &mut input, "must be the seq of a line");
    if let Some(what) = what.as_ref()
        && what.until_us.is_some()
    {
        input.wrong::<()>("until", "does not go with a stream: ask for /logs");
    }
    let what = input.finish(what)?.within(&caller)?;
    let slot = slot(&desk.streams, "streams")?;
    let (past, events) = open(&desk, what, after, tail).await?;
    Ok(sse::answer(Lines { past, events, last: 0 }, stopping, slot))
}

/// The lines to begin with, and the ones to come. It follows first and looks back then, so that no line
/// falls between; what is seen twice is told by its `seq`.
async fn open(
    desk: &Desk,
    what: What,
    after: Option<u64>,
    tail: Option<Limit>,
) -> Result<(VecDeque<Line>, Events), Problem> {
    let What { scope, since_us, level, query, .. } = what;
    let follow = Follow { scope, level, query, after };
    let events = desk.logs.follow(follow.clone()).await?;
    if after.is_some() || (tail.is_none() && since_us.is_none()) {
        return Ok((VecDeque::new(), events));
    }
    let search = Search {
        scope: follow.scope.clone(),
        since_us,
        until_us: None,
        level,
        query: follow.query.clone(),
        before: None,
        after: None,
        oldest_first: tail.is_none(),
        limit: tail.as_ref().map_or(1, |tail| tail.0),
        time: SEARCH_TIME,
    };
    let found = desk.logs.search(search).await?;
    if tail.is_some() {
        return Ok((found.lines.into_iter().rev().collect(), events));
    }
    // All since a time: from the first line of that time on, as if it resumed there.
    match found.lines.first() {
        None => Ok((VecDeque::new(), events)),
        Some(first) => {
            let after = Some(first.seq.saturating_sub(1));
            let events = desk.logs.follow(Follow { after, ..follow }).await?;
            Ok((VecDeque::new(), events))
        }
    }
}

/// Lines of the past, and then as they come.
struct Lines {
    past: VecDeque<Line>,
    events: Events,
    /// The last line that was sent: no line at or before it is sent again.
    last: u64,
}

impl Source for Lines {
    type Item = Event;

    async fn next(&mut self) -> Option<Event> {
        match self.past.pop_front() {
            Some(line) => Some(Event::Line(line)),
            None => self.events.next().await,
        }
    }

    fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Line(line) if line.seq <= self.last => {}
            Event::Line(line) => {
                self.last = line.seq;
                let _ = write!(out, "id: {}\ndata: ", line.seq);
                show::ndjson(&show::line(line), out);
                out.push(b'\n');
            }
            Event::Missed { count, next } => {
                let missed = LogsMissed { count: *count, next: *next };
                out.extend_from_slice(b"event: missed\ndata: ");
                let _ = serde_json::to_writer(&mut *out, &missed);
                out.extend_from_slice(b"\n\n");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use axum::body::Bytes;
    use futures_util::{Stream, stream};
    use tenement_logs::line::{Level, Source};
    use tokio::time::Instant;

    use super::*;

    fn feed(
        past: VecDeque<Line>,
        events: Events,
        stopping: Option<Stopping>,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> {
        sse::feed(Lines { past, events, last: 0 }, stopping, None)
    }

    fn line(seq: u64) -> Line {
        Line {
            seq,
            time_us: 1_700_000_000_000_000,
            instance: Arc::new("api:prod".parse().unwrap()),
            level: Level::Info,
            source: Source::Instance,
            text: "two\nlines".into(),
        }
    }

    async fn next(
        feed: &mut std::pin::Pin<Box<impl Stream<Item = Result<Bytes, Infallible>>>>,
    ) -> Option<String> {
        let Ok(bytes) = feed.next().await?;
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_sends_a_comment_every_15_seconds() {
        let mut feed = Box::pin(feed(VecDeque::new(), stream::pending().boxed(), None));
        assert_eq!(next(&mut feed).await.unwrap(), "retry: 1000\n\n");
        for _ in 0..3 {
            let from = Instant::now();
            assert_eq!(next(&mut feed).await.unwrap(), ": alive\n\n");
            assert_eq!(from.elapsed().as_secs(), 15);
        }
    }

    #[tokio::test]
    async fn a_line_is_one_event_with_its_seq_and_none_is_sent_twice() {
        let events = stream::iter([Event::Line(line(2)), Event::Line(line(3))]).boxed();
        let mut feed = Box::pin(feed([line(1), line(2)].into(), events, None));
        next(&mut feed).await;
        let sent = next(&mut feed).await.unwrap();
        let ids: Vec<_> = sent.lines().filter(|line| line.starts_with("id: ")).collect();
        assert_eq!(ids, ["id: 1", "id: 2", "id: 3"]);
        assert_eq!(sent.matches("\n\n").count(), 3, "{sent}");
        assert!(sent.contains(r#""message":"two\nlines""#), "{sent}");
        assert_eq!(next(&mut feed).await.unwrap(), ": the agent stops\n\n");
        assert_eq!(next(&mut feed).await, None);
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_missed() {
        let events =
            [Event::Line(line(1)), Event::Missed { count: 7, next: 9 }, Event::Line(line(9))];
        let mut feed = Box::pin(feed(VecDeque::new(), stream::iter(events).boxed(), None));
        next(&mut feed).await;
        let sent = next(&mut feed).await.unwrap();
        let missed = "\n\nevent: missed\ndata: {\"count\":7,\"next\":9}\n\nid: 9\n";
        assert!(sent.contains(missed), "{sent}");
    }

    #[tokio::test]
    async fn a_stream_ends_when_the_agent_stops() {
        let (stop, stopping) = tokio::sync::watch::channel(());
        let stopping = Some(Stopping(stopping));
        let mut feed = Box::pin(feed(VecDeque::new(), stream::pending().boxed(), stopping));
        next(&mut feed).await;
        drop(stop);
        assert_eq!(next(&mut feed).await.unwrap(), ": the agent stops\n\n");
        assert_eq!(next(&mut feed).await, None);
    }
}
