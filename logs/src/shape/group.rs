//! Keeps the lines of a stack trace together, and all lines in order.
//!
//! A line that begins a trace waits for what may follow in the same stream, and every line behind it in
//! the journal waits with it: lines leave in the order of their `seq`. So the wait is short and bounded.

use std::collections::{HashMap, VecDeque};

use super::trace::Trace;
use crate::line::{Line, Source};

/// How long after its last line a trace may go on, microseconds.
pub const HOLD_US: u64 = 100_000;
/// How long a trace may take in all, microseconds: a stream of them must not hold up the others.
const TRACE_US: u64 = 500_000;
/// Bounds of one trace.
const TRACE_LINES: usize = 512;
const TRACE_BYTES: usize = 64 * 1024;
/// Bounds of what waits.
const WAITING: usize = 4096;
const WAITING_BYTES: usize = 1 << 20;

/// Lines on their way from the journal.
#[derive(Debug, Default)]
pub struct Grouper {
    waiting: VecDeque<Waiting>,
    /// How many have left: the number of the first that waits.
    left: u64,
    bytes: usize,
    /// The open trace of each stream, by its number.
    open: HashMap<u64, u64>,
    /// When the newest line was written.
    newest_us: u64,
}

#[derive(Debug)]
struct Waiting {
    line: Line,
    /// Set while more may follow.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    trace: Trace,
    stream: u64,
    text: String,
    lines: usize,
    first_us: u64,
    last_us: u64,
}

impl Grouper {
    /// Takes the next line of the journal. `stream` tells apart what the instance's processes and their
    /// stdout and stderr write at the same time.
    pub fn push(&mut self, line: Line, stream: u64) {
        self.newest_us = line.time_us;
        if line.source != Source::Instance {
            return self.add(line, None);
        }
        if let Some(number) = self.open.get(&stream).copied() {
            if self.join(number, &line) {
                return;
            }
            self.close(number);
        }
        let open = Trace::begin(&line.text).map(|trace| Open {
            trace,
            stream,
            text: String::new(),
            lines: 1,
            first_us: line.time_us,
            last_us: line.time_us,
        });
        self.add(line, open);
    }

    /// The next line in order, if it is complete. `now_us` is the time at which nothing more was in the
    /// journal; `None` while there is more, when the lines' own times are the clock.
    pub fn pop(&mut self, now_us: Option<u64>) -> Option<Line> {
        let clock = now_us.unwrap_or(self.newest_us);
        let full = self.waiting.len() > WAITING || self.bytes > WAITING_BYTES;
        let first = self.waiting.front()?;
        // A clock that was set back must not keep a trace open for ever: hence the difference.
        let over = |open: &Open| {
            clock.abs_diff(open.last_us) > HOLD_US || clock.abs_diff(open.first_us) > TRACE_US
        };
        if first.open.as_ref().is_some_and(|open| !full && !over(open)) {
            return None;
        }
        self.close(self.left);
        let first = self.waiting.pop_front()?;
        self.left += 1;
        self.bytes -= first.line.text.len();
        Some(first.line)
    }

    /// The next line in order, complete or not.
    pub fn take(&mut self) -> Option<Line> {
        self.close(self.left);
        let first = self.waiting.pop_front()?;
        self.left += 1;
        self.bytes -= first.line.text.len();
        Some(first.line)
    }

    /// Whether everything that was pushed has left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn add(&mut self, line: Line, open: Option<Open>) {
        if let Some(open) = &open {
            self.open.insert(open.stream, self.left + self.waiting.len() as u64);
        }
        self.bytes += line.text.len();
        self.waiting.push_back(Waiting { line, open });
    }

    fn at(&mut self, number: u64) -> Option<&mut Waiting> {
        self.waiting.get_mut(usize::try_from(number.checked_sub(self.left)?).ok()?)
    }

    fn join(&mut self, number: u64, line: &Line) -> bool {
        let Some(Waiting { line: first, open: Some(open) }) = self.at(number) else { return false };
        let size = first.text.len() + open.text.len() + line.text.len();
        let fits = open.lines < TRACE_LINES && size < TRACE_BYTES;
        let near = line.time_us.abs_diff(open.last_us) <= HOLD_US;
        if !fits || !near || first.instance != line.instance || !open.trace.takes(&line.text) {
            return false;
        }
        open.text.push('\n');
        open.text.push_str(&line.text);
        open.lines += 1;
        open.last_us = line.time_us;
        // What is worse is what the whole is.
        first.level = first.level.min(line.level);
        self.bytes += line.text.len() + 1;
        true
    }

    fn close(&mut self, number: u64) {
        let Some(waiting) = self.at(number) else { return };
        let Some(open) = waiting.open.take() else { return };
        if !open.text.is_empty() {
            waiting.line.text = format!("{}{}", waiting.line.text, open.text).into();
        }
        if self.open.get(&open.stream) == Some(&number) {
            self.open.remove(&open.stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::line::Level;

    fn line(seq: u64, time_us: u64, text: &str) -> Line {
        Line {
            seq,
            time_us,
            instance: Arc::new("api:prod".parse().expect("a name")),
            level: Level::Info,
            source: Source::Instance,
            text: text.into(),
        }
    }

    fn drain(grouper: &mut Grouper, now_us: Option<u64>) -> Vec<(u64, String)> {
        std::iter::from_fn(|| grouper.pop(now_us)).map(|l| (l.seq, l.text.into())).collect()
    }

    #[test]
    fn a_trace_leaves_as_one_line_and_its_neighbours_in_order_behind_it() {
        let mut grouper = Grouper::default();
        grouper.push(line(1, 10, "hello"), 1);
        grouper.push(line(2, 20, "TypeError: x"), 1);
        grouper.push(line(3, 30, "another stream"), 2);
        grouper.push(line(4, 40, "    at f (x.js:1)"), 1);
        assert_eq!(drain(&mut grouper, None), [(1, "hello".into())]);
        grouper.push(line(5, 50, "served /"), 1);
        let rest = drain(&mut grouper, None);
        let trace = "TypeError: x\n    at f (x.js:1)".to_owned();
        let texts = [(2, trace), (3, "another stream".into()), (5, "served /".into())];
        assert_eq!(rest, texts);
        assert!(grouper.is_empty() && grouper.bytes == 0 && grouper.open.is_empty());
    }

    #[test]
    fn a_trace_waits_a_tenth_of_a_second_and_no_longer() {
        let mut grouper = Grouper::default();
        grouper.push(line(1, 1_000_000, "panic: x"), 1);
        assert_eq!(drain(&mut grouper, Some(1_050_000)).len(), 0);
        assert_eq!(drain(&mut grouper, Some(1_100_001)).len(), 1);
        // Nor longer than until a line of anybody is that much younger, or older.
        grouper.push(line(2, 2_000_000, "panic: x"), 1);
        grouper.push(line(3, 2_200_000, "y"), 2);
        assert_eq!(drain(&mut grouper, None).len(), 2);
        grouper.push(line(4, 3_000_000, "panic: x"), 1);
        grouper.push(line(5, 1_000_000, "\tz"), 1);
        assert_eq!(drain(&mut grouper, None).len(), 2);
    }

    #[test]
    fn endless_traces_are_bounded_in_lines_bytes_and_time() {
        let mut grouper = Grouper::default();
        let mut left = 0;
        for n in 0..10_000 {
            let text = if n == 0 { "panic: x".to_owned() } else { format!("\tat {n}") };
            grouper.push(line(n + 1, n, &text), 1);
            left += drain(&mut grouper, None).len();
            assert!(grouper.waiting.len() <= WAITING + 1);
        }
        assert!(left > 9_000, "{left}");
        let mut lines = Vec::new();
        for n in 0..100 {
            grouper.push(line(n, 1_000_000 + n * 50_000, "panic: y"), 1);
            grouper.push(line(n, 1_000_000 + n * 50_000, "\ty"), 1);
            lines.extend(drain(&mut grouper, None));
        }
        // In five seconds; each of the ten traces held half a second at most.
        assert!((8..=12).contains(&lines.len()), "{}", lines.len());
    }
}
