//! `SELECT … FROM logs`: all lines, nothing but reading, and bounds.

use std::time::Duration;

use tenement_logs::index::{Bounds, Error};
use tenement_logs::search::Stopped;

use super::support::{DAY_US, START, days, line, open};

#[test]
fn sql_sees_every_line_of_every_file_and_the_tail() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut writer, index) = open(&dir);
    days(&mut writer, 3, 1000);
    writer.append(line(3001, START + 3 * DAY_US, "web:dev", "in the tail")).expect("append");
    let sql = |query: &str| index.sql(query, Bounds::default()).expect(query);
    let one = |query: &str| sql(query).rows[0][0].clone();
    assert_eq!(one("SELECT count(*) FROM logs"), 3001);
    assert_eq!(
        one("SELECT count(*) FROM logs WHERE process = 'api' AND instance_id = 'prod'"),
        1500
    );
    assert_eq!(one("SELECT message FROM logs WHERE timestamp >= '2024-10-07'"), "in the tail");
    assert_eq!(one("SELECT count(*) FROM logs WHERE timestamp < '2024-10-05'"), 1000);
    assert_eq!(
        one(
            "SELECT count(DISTINCT message) FROM logs WHERE level = 'info' AND message LIKE 'word%'"
        ),
        3000
    );
    assert_eq!(one("SELECT rowid FROM logs ORDER BY rowid LIMIT 1"), 1);
    assert_eq!(one("SELECT rowid FROM logs ORDER BY timestamp DESC LIMIT 1"), 3001);
    let first = sql(
        "SELECT timestamp, level, process, instance_id, message FROM logs ORDER BY rowid DESC LIMIT 1",
    );
    assert_eq!(first.columns, ["timestamp", "level", "process", "instance_id", "message"]);
    assert_eq!(first.rows[0], ["2024-10-07 00:00:00.000000", "info", "web", "dev", "in the tail"]);
}

#[test]
fn sql_reads_and_nothing_else_and_has_bounds() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut writer, index) = open(&dir);
    days(&mut writer, 1, 1000);
    let other = dir.path().join("other.db");
    for refused in [
        "DELETE FROM logs",
        "CREATE TABLE x (y)",
        &format!("ATTACH '{}' AS other", other.display()),
        "PRAGMA journal_mode",
        "SELECT * FROM pragma_database_list",
        "SELECT load_extension('x')",
        "SELECT 1; SELECT 2",
        "SELECT ?1",
        "VACUUM",
        "nonsense",
        "",
        "SELECT zeroblob(1000000000)",
    ] {
        let answer = index.sql(refused, Bounds::default());
        assert!(matches!(answer, Err(Error::Query(_))), "{refused}: {answer:?}");
    }
    assert!(!other.exists());
    let endless =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let short = Bounds { time: Duration::from_millis(50), ..Bounds::default() };
    assert_eq!(index.sql(endless, short).expect("it ends").stopped, Some(Stopped::Time));
    let few = Bounds { rows: 7, ..Bounds::default() };
    let some = index.sql("SELECT * FROM logs", few).expect("rows");
    assert_eq!((some.rows.len(), some.stopped), (7, Some(Stopped::Memory)));
}
