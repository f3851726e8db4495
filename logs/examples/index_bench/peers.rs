//! What one would do otherwise, measured in the same run.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use rusqlite::Connection;

use crate::corpus::Corpus;
use crate::{cpu_now, measure_p95};

/// Figures of the textbook schema.
pub struct Textbook {
    /// CPU microseconds per line.
    pub cpu_us: f64,
    /// Bytes per line.
    pub bytes: f64,
    /// A frequent word in a small instance, newest 100.
    pub word_p95_ms: f64,
}

const SCHEMA: &str = "
PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;
CREATE TABLE logs (id INTEGER PRIMARY KEY, timestamp INTEGER, level TEXT, process TEXT, instance_id TEXT, message TEXT);
CREATE INDEX logs_by_instance ON logs (process, instance_id, timestamp);
CREATE INDEX logs_by_time ON logs (timestamp);
CREATE VIRTUAL TABLE logs_fts USING fts5 (message, content='logs', content_rowid='id');
CREATE TRIGGER logs_ai AFTER INSERT ON logs BEGIN
    INSERT INTO logs_fts (rowid, message) VALUES (new.id, new.message);
END;
CREATE TRIGGER logs_ad AFTER DELETE ON logs BEGIN
    INSERT INTO logs_fts (logs_fts, rowid, message) VALUES ('delete', old.id, old.message);
END;
";

/// A row per line, FTS5 with external content, kept up by triggers.
pub fn textbook(dir: &Path, lines: u64) -> Textbook {
    let path = dir.join("textbook.sqlite");
    let mut conn = Connection::open(&path).expect("a database");
    conn.execute_batch(SCHEMA).expect("the schema");
    let mut corpus = Corpus::new(lines);
    let mut spent = std::time::Duration::ZERO;
    let mut left = lines;
    while left > 0 {
        let batch = corpus.lines(left.min(50_000));
        left -= batch.len() as u64;
        let start = cpu_now();
        let transaction = conn.transaction().expect("a transaction");
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO logs VALUES (NULL, ?1, ?2, ?3, ?4, ?5)")
                .expect("the statement");
            for line in batch {
                let name = &line.instance;
                let names = (name.process().as_str(), name.id().as_str());
                let values =
                    (line.time_us as i64, line.level.as_str(), names.0, names.1, &*line.text);
                insert.execute(values).expect("insert");
            }
        }
        transaction.commit().expect("commit");
        spent += cpu_now() - start;
    }
    let word_p95_ms = measure_p95(30, |round| {
        let name = corpus.instance(150 + round * 5);
        let mut find = conn
            .prepare_cached(
                "SELECT l.id, l.message FROM logs_fts f JOIN logs l ON l.id = f.rowid \
                 WHERE logs_fts MATCH '\"request\"' AND l.process = ?1 AND l.instance_id = ?2 ORDER BY l.id DESC LIMIT 100",
            )
            .expect("the query");
        let rows = find
            .query_map((name.process().as_str(), name.id().as_str()), |row| row.get::<_, String>(1))
            .expect("the rows");
        rows.count()
    });
    conn.pragma_update_and_check(None, "wal_checkpoint", "TRUNCATE", |_| Ok(()))
        .expect("a checkpoint");
    drop(conn);
    let bytes = path.metadata().expect("the file").len() as f64 / lines as f64;
    Textbook { cpu_us: spent.as_secs_f64() * 1e6 / lines as f64, bytes, word_p95_ms }
}

/// How long `zstd -dc | rg` takes over the text of the largest instance alone, which is more than anyone has
/// who keeps one log. None if they are not installed.
pub fn grep(dir: &Path, corpus: &Corpus, lines: u64) -> Option<f64> {
    let installed = |name: &str| {
        Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let grep = ["rg", "grep"].into_iter().find(|name| installed(name))?;
    if !installed("zstd") {
        return None;
    }
    let path = dir.join("largest.log");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).ok()?);
    let mut again = Corpus::new(lines);
    let mut left = lines;
    while left > 0 {
        let batch = again.lines(left.min(50_000));
        left -= batch.len() as u64;
        for line in batch.iter().filter(|line| line.instance == *corpus.instance(0)) {
            writeln!(file, "{}", line.text).ok()?;
        }
    }
    file.flush().ok()?;
    Command::new("zstd").args(["-q", "-3"]).arg(&path).status().ok()?;
    let command = format!("zstd -dc '{}.zst' | {grep} -ci 'osuchthinganywher'", path.display());
    let p95 = measure_p95(10, |_| {
        Command::new("sh").args(["-c", &command]).stdout(Stdio::null()).status().map_or(0, |_| 1)
    });
    println!("zstd -dc | {grep} over the largest instance's text: p95 {p95:.1} ms");
    Some(p95)
}
