//! Logs in memory, for tests of their routes.

use std::sync::{Arc, Mutex};

use futures_util::{StreamExt as _, stream};
use tenement_agent::flows::logbook::{Event, Events, Follow, Logs, LogsError, Reply as Later};
use tenement_logs::line::{Level, Line, Source};
use tenement_logs::search::{Counts, Found, Scope, Search, Stopped};
use tenement_wire::logs::{LogsCell, LogsDay, LogsOfInstance, LogsTable, LogsUsage};
use tokio::sync::mpsc;

/// Lines in memory.
#[derive(Default)]
pub struct Shelf {
    lines: Mutex<Vec<Line>>,
    pub searches: Mutex<Vec<Search>>,
    followers: Mutex<Vec<mpsc::UnboundedSender<Event>>>,
    pub stopped: Mutex<Option<Stopped>>,
    pub follows: Mutex<Vec<Scope>>,
}

fn line(seq: u64, name: &str, text: &str) -> Line {
    Line {
        seq,
        time_us: 1_700_000_000_000_000 + seq,
        instance: Arc::new(name.parse().unwrap()),
        level: if text.contains("error") { Level::Error } else { Level::Info },
        source: Source::Instance,
        text: text.into(),
    }
}

impl Shelf {
    pub fn with(texts: &[&str]) -> Arc<Self> {
        let shelf = Self::default();
        for text in texts {
            shelf.put("api:prod", text);
        }
        Arc::new(shelf)
    }

    pub fn numbered(count: u64) -> Arc<Self> {
        let lines = (1..=count).map(|n| line(n, "api:prod", &format!("line {n}"))).collect();
        Arc::new(Self { lines: Mutex::new(lines), ..Self::default() })
    }

    pub fn put(&self, name: &str, text: &str) {
        let mut lines = self.lines.lock().unwrap();
        let line = line(lines.len() as u64 + 1, name, text);
        lines.push(line.clone());
        for follower in self.followers.lock().unwrap().iter() {
            let _ = follower.send(Event::Line(line.clone()));
        }
    }

    fn find(&self, search: &Search) -> Found {
        let lines = self.lines.lock().unwrap();
        let fits = |line: &&Line| {
            (match &search.scope {
                Scope::All => true,
                Scope::Process(process) => line.instance.process().as_str() == process,
                Scope::Instance(name) => *line.instance == *name,
            }) && search.query.matches(line)
                && search.level.is_none_or(|level| line.level <= level)
                && search.before.is_none_or(|seq| line.seq < seq)
                && search.after.is_none_or(|seq| line.seq > seq)
                && search.since_us.is_none_or(|at| line.time_us >= at)
                && search.until_us.is_none_or(|at| line.time_us < at)
        };
        let mut found: Vec<Line> = lines.iter().filter(fits).cloned().collect();
        if !search.oldest_first {
            found.reverse();
        }
        let more = found.len() > search.limit;
        found.truncate(search.limit);
        let next = more.then(|| found.last().unwrap().seq);
        Found { lines: found, next, stopped: *self.stopped.lock().unwrap() }
    }
}

impl Logs for Shelf {
    fn search(&self, search: Search) -> Later<'_, Found> {
        let found = self.find(&search);
        self.searches.lock().unwrap().push(search);
        Box::pin(std::future::ready(Ok(found)))
    }

    fn count(&self, search: Search, mut counts: Counts) -> Later<'_, Counts> {
        for line in self.find(&search).lines {
            counts.add(line.time_us, line.level);
        }
        Box::pin(std::future::ready(Ok(counts)))
    }

    fn follow(&self, follow: Follow) -> Later<'_, Events> {
        let (send, receive) = mpsc::unbounded_channel();
        if let Some(after) = follow.after {
            for line in self.lines.lock().unwrap().iter().filter(|line| line.seq > after) {
                send.send(Event::Line(line.clone())).unwrap();
            }
        }
        self.follows.lock().unwrap().push(follow.scope);
        self.followers.lock().unwrap().push(send);
        let events =
            stream::unfold(
                receive,
                |mut receive| async move { Some((receive.recv().await?, receive)) },
            );
        Box::pin(std::future::ready(Ok(events.boxed())))
    }

    fn usage(&self) -> Later<'_, LogsUsage> {
        let of = |process: &str, bytes| LogsOfInstance {
            process: process.into(),
            instance_id: "prod".into(),
            bytes,
            lines: bytes * 10,
            days: 1,
            oldest_ms: 1,
            newest_ms: 2,
        };
        let instances = vec![of("api", 3), of("web", 4)];
        let days = vec![LogsDay { day: "2026-01-01".into(), bytes: 7, lines: 70 }];
        let usage = LogsUsage { bytes: 7, lines: 70, days, instances };
        Box::pin(std::future::ready(Ok(usage)))
    }

    fn sql(&self, sql: String) -> Later<'_, LogsTable> {
        let answer = if sql.starts_with("SELECT") {
            let rows = vec![vec![LogsCell::Integer(1), LogsCell::Null(())]];
            Ok(LogsTable { columns: vec!["a".into(), "b".into()], rows, stopped: None })
        } else {
            Err(LogsError::Sql { message: "only SELECT reads".into() })
        };
        Box::pin(std::future::ready(answer))
    }
}
