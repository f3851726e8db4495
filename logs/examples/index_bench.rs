//! Measures the log index: `cargo run --release -p tenement-logs --example index_bench -- LINES [--json FILE]
//! [--peer-lines N]`.
//!
//! Writes LINES realistic lines of 500 instances (a few print most of them), and searches them at a quarter
//! of that and at the end. Beside it: the textbook schema (a table, FTS5 with external content, triggers)
//! with fewer lines, and grep over compressed text where `zstd` and `rg` are installed.

#[path = "index_bench/corpus.rs"]
mod corpus;
#[path = "index_bench/peers.rs"]
mod peers;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corpus::Corpus;
use tenement_logs::index::{Index, Settings, Writer};
use tenement_logs::query::Expr;
use tenement_logs::search::{Scope, Search};
use tenement_wire::InstanceName;

/// Lines per commit, as the indexer commits while it reads a backlog.
const COMMIT: u64 = 100_000;
/// Searches of a kind.
const ROUNDS: usize = 60;

fn main() {
    let mut args = std::env::args().skip(1);
    let mut lines = 2_000_000u64;
    let mut peer_lines = 200_000u64;
    let mut json = None;
    let mut keep = false;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => json = args.next(),
            "--keep" => keep = true,
            "--peer-lines" => {
                peer_lines = args.next().and_then(|n| n.parse().ok()).expect("a number of lines")
            }
            number => lines = number.parse().expect("a number of lines"),
        }
    }
    let dir = tempfile::Builder::new()
        .prefix("tenement-index-bench")
        .tempdir_in("/var/tmp")
        .expect("a directory");
    let dir = Kept { path: dir.path().to_owned(), dir: (!keep).then_some(dir) };
    let mut report = Report { json };
    let (mut writer, index) =
        Index::open(dir.path.as_path(), Settings::default()).expect("the index opens");
    let mut corpus = Corpus::new(lines);
    println!("{lines} lines, 500 instances");

    let first = fill(&mut writer, &mut corpus, lines / 4);
    println!("at {} lines: {:.2} CPU-µs per line", lines / 4, first.cpu_us);
    let early = latencies(&index, &corpus, lines / 4);
    let rest = fill(&mut writer, &mut corpus, lines - lines / 4);
    let late = latencies(&index, &corpus, lines);
    drop((writer, index));

    let size = bytes_below(dir.path.as_path()) as f64 / lines as f64;
    let average = corpus.text_bytes as f64 / lines as f64;
    let cpu = (first.cpu_us * first.lines + rest.cpu_us * rest.lines) / (first.lines + rest.lines);
    let per_100 = size * 100.0 / average;
    println!(
        "a line has {average:.1} B; {cpu:.2} CPU-µs and {size:.1} B per line ({per_100:.1} B per 100 B)"
    );

    let textbook = peers::textbook(dir.path.as_path(), peer_lines);
    println!(
        "textbook FTS5 at {peer_lines} lines: {:.2} CPU-µs and {:.1} B per line",
        textbook.cpu_us, textbook.bytes
    );
    println!("textbook FTS5, word in one instance: p95 {:.2} ms", textbook.word_p95_ms);
    report.line("logs.index.cpu_us", cpu, "us", Some(("textbook FTS5", textbook.cpu_us)));
    report.line(
        "logs.index.bytes_per_line",
        per_100,
        "B per 100 B",
        Some(("textbook FTS5", textbook.bytes * 100.0 / average)),
    );
    report.line("logs.index.disk_ratio", size / textbook.bytes, "ratio", None);
    report.line(
        "logs.query.word_p95_ms",
        late.word,
        "ms",
        Some(("textbook FTS5", textbook.word_p95_ms)),
    );
    report.line("logs.query.growth_ratio", late.word / early.word, "ratio", None);
    let grep = peers::grep(dir.path.as_path(), &corpus, lines);
    report.line(
        "logs.query.substring_p95_ms",
        late.substring,
        "ms",
        grep.map(|ms| ("zstd | rg", ms)),
    );
}

/// The directory of the run; with `--keep` it stays, to be looked into.
struct Kept {
    path: std::path::PathBuf,
    #[expect(dead_code, reason = "it is there to be dropped")]
    dir: Option<tempfile::TempDir>,
}

struct Filled {
    cpu_us: f64,
    lines: f64,
}

/// Appends `count` lines; only the index's own work is measured.
fn fill(writer: &mut Writer, corpus: &mut Corpus, count: u64) -> Filled {
    let mut spent = Duration::ZERO;
    let mut left = count;
    while left > 0 {
        let batch = corpus.lines(left.min(COMMIT));
        left -= batch.len() as u64;
        let start = cpu();
        for line in batch {
            writer.append(line).expect("append");
        }
        writer.commit("s=bench").expect("commit");
        spent += cpu() - start;
    }
    let start = cpu();
    while writer.compact(100_000).expect("compact") > 0 {}
    let compacting = cpu() - start;
    println!(
        "of that, merging small blocks took {:.2} µs per line",
        compacting.as_secs_f64() * 1e6 / count as f64
    );
    spent += compacting;
    Filled { cpu_us: spent.as_secs_f64() * 1e6 / count as f64, lines: count as f64 }
}

/// The processor time of this process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/schedstat").expect("schedstat");
    Duration::from_nanos(
        stat.split(' ').next().and_then(|ns| ns.parse().ok()).expect("nanoseconds"),
    )
}

struct Latencies {
    word: f64,
    substring: f64,
}

/// The 95th percentile of each kind of search, in milliseconds.
fn latencies(index: &Index, corpus: &Corpus, lines: u64) -> Latencies {
    let small =
        |round: usize| Scope::Instance(InstanceName::clone(corpus.instance(150 + round * 5)));
    let large = |_: usize| Scope::Instance(InstanceName::clone(corpus.instance(0)));
    let word = |word: &str| Expr::Word(word.into());
    println!("searches at {lines} lines (newest 100; ms: p50, p95, p95 of processor time):");
    let run = |what: &str, scope: &dyn Fn(usize) -> Scope, query: &dyn Fn(usize) -> Expr| {
        let figures = timed(ROUNDS, |round| {
            let found = index.search(&search(scope(round), query(round))).expect("a search");
            assert_eq!(found.stopped, None, "{what}");
            found.lines.len()
        });
        let Times { median, p95, cpu_p95, last } = figures;
        println!("  {what:<44}{median:>9.2} {p95:>9.2} {cpu_p95:>9.2}   ({last} found)");
        p95
    };
    let all = |_: usize| Scope::All;
    run("rare word, everybody", &all, &|round| word(&corpus.rare(round as u64 * (lines / 100))));
    let frequent = run("frequent word, small instance", &small, &|_| word("request"));
    let second = run("less frequent word, small instance", &small, &|_| word("timeout"));
    let absent = run("absent word, small instance", &small, &|_| word("zebra"));
    run("frequent word, largest instance", &large, &|_| word("request"));
    let phrase =
        Expr::Phrase(vec!["connection".into(), "reset".into(), "by".into(), "peer".into()]);
    run("phrase, largest instance", &large, &|_| phrase.clone());
    run("prefix, everybody", &all, &|_| Expr::Prefix("conn".into()));
    run("two-letter prefix, small instance", &small, &|_| Expr::Prefix("co".into()));
    run("substring, largest instance", &large, &|_| Expr::Substring("nnection re".into()));
    let substring = run("absent substring, largest instance", &large, &|_| {
        Expr::Substring("osuchthinganywher".into())
    });
    Latencies { word: frequent.max(second).max(absent), substring }
}

fn search(scope: Scope, query: Expr) -> Search {
    Search::new(scope, query, 100, Duration::from_secs(30))
}

/// What the searches of a kind took, in milliseconds.
struct Times {
    median: f64,
    p95: f64,
    /// Of processor time, which shows what of `p95` was waiting for a busy machine.
    cpu_p95: f64,
    /// What the last one gave.
    last: usize,
}

/// Times `once`. A first round is not counted.
fn timed(rounds: usize, mut once: impl FnMut(usize) -> usize) -> Times {
    let mut last = once(0);
    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let (wall, start) = (Instant::now(), cpu());
        last = once(round);
        walls.push(wall.elapsed().as_secs_f64() * 1e3);
        cpus.push((cpu() - start).as_secs_f64() * 1e3);
    }
    walls.sort_by(f64::total_cmp);
    cpus.sort_by(f64::total_cmp);
    let at = rounds * 95 / 100;
    Times { median: walls[rounds / 2], p95: walls[at], cpu_p95: cpus[at], last }
}

fn bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).expect("the directory");
    entries.map(|entry| entry.and_then(|entry| entry.metadata()).map_or(0, |meta| meta.len())).sum()
}

struct Report {
    json: Option<String>,
}

impl Report {
    fn line(&mut self, name: &str, value: f64, unit: &str, peer: Option<(&str, f64)>) {
        let beside = peer.map_or(String::new(), |(who, what)| format!("   ({who}: {what:.2})"));
        println!("{name:<34}{value:>10.2} {unit}{beside}");
        let Some(path) = &self.json else { return };
        let line = serde_json::json!({
            "name": name, "value": value, "unit": unit,
            "peer": peer.map(|(_, what)| what),
            "ratio": peer.map(|(_, what)| value / what), "systemd": null,
        });
        use std::io::Write;
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        writeln!(file.expect("the results file"), "{line}").expect("a result is written");
    }
}

/// So that the peers measure in the same way.
pub fn measure_p95(rounds: usize, once: impl FnMut(usize) -> usize) -> f64 {
    timed(rounds, once).p95
}

/// So that the peers measure in the same way.
pub fn cpu_now() -> Duration {
    cpu()
}

/// An instance as the corpus knows it.
pub type Name = Arc<InstanceName>;
