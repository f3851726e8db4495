//! Lines like those of small web services: a few words a lot, numbers, ids, and now and then a trace.

use std::sync::Arc;

use tenement_logs::line::{Level, Line, Source};

use crate::Name;

/// 2026-01-01, 03:00 UTC.
const START_US: u64 = 1_767_236_400_000_000;
const INSTANCES: usize = 500;
const PATHS: [&str; 8] = [
    "/api/v1/users",
    "/api/v1/orders",
    "/login",
    "/static/app.js",
    "/health",
    "/api/v1/search",
    "/cart",
    "/checkout",
];
const NOUNS: [&str; 12] = [
    "invoice", "customer", "session", "worker", "queue", "payment", "cache", "upload", "report",
    "webhook", "email", "index",
];
const VERBS: [&str; 8] =
    ["created", "updated", "deleted", "skipped", "retried", "queued", "flushed", "loaded"];

/// A source of lines that gives the same ones every time.
pub struct Corpus {
    state: u64,
    names: Vec<Name>,
    /// How many lines the instances up to each one have, out of the last.
    weights: Vec<u64>,
    seq: u64,
    step_us: u64,
    /// Bytes of text so far.
    pub text_bytes: u64,
}

impl Corpus {
    /// `total` lines fit into one day.
    pub fn new(total: u64) -> Self {
        let mut sum = 0;
        let weights = (1..=INSTANCES as u64).map(|rank| {
            sum += (1e6 / (rank as f64).powf(0.75)) as u64;
            sum
        });
        let weights = weights.collect();
        let name = |n: usize| Arc::new(format!("svc{}:t{n}", n % 10).parse().expect("a name"));
        let names = (0..INSTANCES).map(name).collect();
        Self {
            state: 0x9e37_79b9_7f4a_7c15,
            names,
            weights,
            seq: 0,
            step_us: 72_000_000_000 / total.max(1),
            text_bytes: 0,
        }
    }

    /// An instance; the first is the largest.
    pub fn instance(&self, n: usize) -> &Name {
        &self.names[n % INSTANCES]
    }

    /// A word that only the line `seq` holds.
    pub fn rare(&self, seq: u64) -> String {
        format!("req_{:012x}", seq.wrapping_mul(0x9e37_79b9_7f4a) & 0xffff_ffff_ffff)
    }

    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[(self.random() >> 32) as usize % of.len()]
    }

    /// The next `count` lines.
    pub fn lines(&mut self, count: u64) -> Vec<Line> {
        (0..count).map(|_| self.line()).collect()
    }

    fn line(&mut self) -> Line {
        self.seq += 1;
        let ticket = (self.random() >> 20) % self.weights.last().copied().unwrap_or(1);
        let who = self.weights.partition_point(|sum| *sum <= ticket);
        let kind = (self.random() >> 40) % 100;
        let (level, text) = self.text(kind);
        self.text_bytes += text.len() as u64;
        Line {
            seq: self.seq,
            time_us: START_US + self.seq * self.step_us,
            instance: Arc::clone(&self.names[who]),
            level,
            source: Source::Instance,
            text: text.into(),
        }
    }

    fn text(&mut self, kind: u64) -> (Level, String) {
        let (a, b) = (self.random() >> 30, self.random() >> 30);
        let (noun, verb, path) = (self.pick(&NOUNS), self.pick(&VERBS), self.pick(&PATHS));
        let second = self.seq / 100 % 60;
        match kind {
            0..50 => {
                let request = self.rare(self.seq);
                let status = [200, 200, 200, 201, 304, 404][(a % 6) as usize];
                let text = format!(
                    "INFO request {request} GET {path}/{} status={status} bytes={} duration={}ms user={}",
                    a % 5000,
                    b % 90_000,
                    b % 400,
                    a % 3000
                );
                (Level::Info, text)
            }
            50..75 => {
                let text = format!(
                    "INFO {noun} {verb} id={} shard={} took {}.{:03} ms in worker-{} attempt 1 of 3 second {second}",
                    b % 100_000,
                    a % 16,
                    a % 90,
                    b % 1000,
                    a % 8
                );
                (Level::Info, text)
            }
            75..90 => {
                let text = format!(
                    "{{\"level\":\"debug\",\"msg\":\"{noun} {verb}\",\"id\":{},\"elapsed_ms\":{},\"host\":\"web-{}\",\"path\":\"{path}\"}}",
                    b % 100_000,
                    a % 900,
                    a % 4
                );
                (Level::Debug, text)
            }
            90..96 => {
                let text = format!(
                    "WARN timeout after {}ms while {verb} {noun} id={}, will retry in {}s (queue length {})",
                    a % 30_000,
                    b % 100_000,
                    a % 30,
                    b % 200
                );
                (Level::Warn, text)
            }
            _ => {
                let text = format!(
                    "ERROR connection reset by peer: {noun} {} could not be {verb}: upstream 10.0.{}.{}:5432 said code {}",
                    b % 100_000,
                    a % 255,
                    b % 255,
                    a % 60
                );
                (Level::Error, text)
            }
        }
    }
}
