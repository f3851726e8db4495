//! The index under trouble and over time: hostile text, clocks, damage, full disks, retention, bounds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tenement_logs::index::{Error, Index, Keep, Policy, Settings};
use tenement_logs::query::Expr;
use tenement_logs::search::{Scope, Search, Stopped};

use super::support::{DAY_US, START, days, line, name, open, seqs};

const NONE: [u64; 0] = [];

fn search(query: Expr) -> Search {
    Search::new(Scope::All, query, 10_000, Duration::from_secs(20))
}

/// The day files, oldest first.
fn files(dir: &tempfile::TempDir) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.path()).expect("the directory");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "db"))
        .collect();
    files.sort();
    files
}

#[test]
fn hostile_words_find_what_holds_them_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut writer, index) = open(&dir);
    let hostile = [
        "\" OR \"a",
        "x' OR 1=1; DROP TABLE blocks --",
        "p:api",
        "i:api:prod",
        "u:",
        "NEAR(a b)",
        "a AND NOT b",
        "*",
        "^a",
        "{}:",
        "\\\"",
        "\0",
        "a\0b",
        "tokens:a",
        "-",
        "(",
        "\u{202e}",
        "%",
        "_",
        "''",
        "\" * \"",
    ];
    for (at, text) in hostile.iter().enumerate() {
        writer.append(line(at as u64 + 1, START, "api:prod", text)).expect("append");
    }
    writer.append(line(99, START, "other:one", "quite harmless")).expect("append");
    writer.commit("c").expect("commit");
    for (at, text) in hostile.iter().enumerate() {
        let whole = seqs(&index, &search(Expr::Substring((*text).to_owned())));
        assert!(whole.contains(&(at as u64 + 1)), "{text:?}: {whole:?}");
        assert!(!whole.contains(&99) || "quite harmless".contains(text), "{text:?}");
        for expr in [
            Expr::Word((*text).into()),
            Expr::Prefix((*text).into()),
            Expr::Phrase(vec![(*text).into(), "a".into()]),
            Expr::Field((*text).into(), (*text).into()),
        ] {
            index.search(&search(expr)).expect("a search with hostile text");
        }
        let scope = Scope::Process((*text).to_owned());
        assert_eq!(seqs(&index, &Search { scope, ..search(Expr::All) }), NONE);
    }
}

#[test]
fn a_clock_that_goes_back_neither_hides_nor_repeats_lines() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut writer, index) = open(&dir);
    let times = [
        START + 5 * DAY_US,
        START,
        START + 1,
        START + DAY_US,
        START + DAY_US - 7,
        START + DAY_US + 9,
        START - 3 * DAY_US,
    ];
    for (at, time) in times.iter().enumerate() {
        writer.append(line(at as u64 + 1, *time, "api:prod", "tick")).expect("append");
    }
    writer.commit("c").expect("commit");
    assert_eq!(seqs(&index, &search(Expr::All)), [7, 6, 5, 4, 3, 2, 1]);
    // Around midnight lines are in disorder as a matter of course: that alone makes no new file.
    assert_eq!(files(&dir).len(), 4);
    let early = Search { until_us: Some(START + 2), ..search(Expr::Word("tick".into())) };
    assert_eq!(seqs(&index, &early), [7, 3, 2]);
}

#[test]
fn a_damaged_newest_file_is_moved_aside_and_reading_goes_on_at_the_cursor_before_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut writer, index) = open(&dir);
    days(&mut writer, 3, 100);
    drop((writer, index));
    let newest = files(&dir).pop().expect("a file");
    std::fs::write(&newest, vec![0x55; 40_000]).expect("damage");
    let (writer, index) = open(&dir);
    assert_eq!((writer.resume().cursor.as_deref(), writer.resume().next_seq), (Some("c1"), 201));
    assert_eq!(index.set_aside().len(), 1);
    assert!(index.set_aside()[0].exists());
    assert_eq!(seqs(&index, &search(Expr::All)).len(), 200);
}

#[test]
fn files_deleted_under_a_running_index_are_written_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut writer, index) = open(&dir);
    days(&mut writer, 3, 100);
    std::fs::remove_dir_all(dir.path()).expect("deleted");
    writer.append(line(301, START + 3 * DAY_US, "api:prod", "late")).expect("append");
    // Not that all is well: what was committed is gone, and the journal is to be read again.
    let error = writer.commit("c").expect_err("its files are gone");
    assert!(
        matches!(&error, tenement_logs::index::Error::StartAgain { aside: None, .. }),
        "{error}"
    );
    assert_eq!((writer.resume().cursor, writer.resume().next_seq), (None, 1));
    assert_eq!(seqs(&index, &search(Expr::All)), NONE);
    days(&mut writer, 2, 50);
    assert_eq!(seqs(&index, &search(Expr::All)).len(), 100);
    assert_eq!(files(&dir).len(), 2);
    // An old one alone costs its own lines.
    std::fs::remove_file(&files(&dir)[0]).expect("deleted");
    assert_eq!(seqs(&index, &search(Expr::All)).len(), 50);
}

#[test]
fn a_damaged_old_file_costs_its_own_lines_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut writer, index) = open(&dir);
    days(&mut writer, 3, 100);
    drop((writer, index));
    std::fs::write(&files(&dir)[0], b"not a database at all, and long enough to be looked at")
        .expect("damage");
    let (writer, index) = open(&dir);
    assert_eq!(writer.resume().cursor.as_deref(), Some("c2"));
    assert_eq!(seqs(&index, &search(Expr::All)), (101..=300).rev().collect::<Vec<_>>());
}

#[test]
fn a_commit_that_fails_loses_nothing_and_is_made_up_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut writer, index) = open(&dir);
    days(&mut writer, 1, 50);
    // Another writer's lock stands for a disk that refuses: SQLite gives up after its patience is over.
    let blocker = rusqlite::Connection::open(&files(&dir)[0]).expect("the file");
    blocker.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    for seq in 51..=80 {
        writer.append(line(seq, START + seq, "api:prod", "late")).expect("append");
    }
    assert!(matches!(writer.commit("x"), Err(Error::Sqlite { .. })));
    assert_eq!(seqs(&index, &search(Expr::Word("late".into()))).len(), 30);
    writer.append(line(81, START + 81, "api:prod", "late")).expect("append");
    blocker.execute_batch("ROLLBACK").expect("the lock is gone");
    writer.commit("y").expect("commit");
    assert_eq!(writer.resume().next_seq, 82);
    assert_eq!(
        seqs(&index, &search(Expr::Word("late".into()))),
        (51..=81).rev().collect::<Vec<_>>()
    );
}

#[test]
fn no_more_lines_are_taken_than_may_wait() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = Settings { tail_bytes: 1000, ..Settings::default() };
    let (mut writer, _) = Index::open(dir.path(), settings).expect("the index opens");
    for seq in 1..=10 {
        writer.append(line(seq, START, "api:prod", &"x".repeat(100))).expect("append");
    }
    assert!(matches!(
        writer.append(line(11, START, "api:prod", "y")),
        Err(Error::TailFull { bytes: 1000 })
    ));
    writer.commit("c").expect("commit");
    writer.append(line(11, START, "api:prod", "y")).expect("append");
}

#[test]
fn many_small_blocks_of_a_quiet_instance_become_few_and_stay_searchable() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut writer, index) = open(&dir);
    for seq in 1..=300 {
        let who = ["api:prod", "web:dev", "web:test"][(seq % 3) as usize];
        writer.append(line(seq, START + seq, who, &format!("word{seq}"))).expect("append");
        writer.commit(&format!("c{seq}")).expect("commit");
    }
    let count = || {
        let conn = rusqlite::Connection::open(&files(&dir)[0]).expect("the file");
        conn.query_row("SELECT count(*) FROM blocks", [], |row| row.get::<_, i64>(0))
            .expect("a count")
    };
    assert_eq!(count(), 300);
    assert!(writer.compact(40).expect("compact") >= 40, "as much as it may, at once");
    while writer.compact(1000).expect("compact") > 0 {}
    assert!(count() <= 12, "{} blocks are left", count());
    assert_eq!(seqs(&index, &search(Expr::All)), (1..=300).rev().collect::<Vec<_>>());
    assert_eq!(seqs(&index, &search(Expr::Word("word17".into()))), [17]);
}

#[test]
fn old_days_go_as_files_and_a_process_may_keep_less_or_more() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut writer, index) = open(&dir);
    days(&mut writer, 5, 20);
    let day = |days: u64| Duration::from_secs(days * 86_400);
    let mut policy =
        Policy { all: Keep { age: Some(day(3)), bytes: None }, processes: BTreeMap::new() };
    let now = START + 5 * DAY_US;
    let gone = writer.retain(&policy, now).expect("retain");
    assert_eq!(gone.files, 2);
    assert_eq!(seqs(&index, &search(Expr::All)), (41..=100).rev().collect::<Vec<_>>());
    policy.processes.insert("web".to_owned(), Keep { age: Some(day(1)), bytes: None });
    writer.retain(&policy, now).expect("retain");
    let web = Search { scope: Scope::Process("web".into()), ..search(Expr::All) };
    assert!(seqs(&index, &web).into_iter().all(|seq| seq > 80));
    assert_eq!(
        seqs(&index, &Search { scope: Scope::Process("api".into()), ..search(Expr::All) }).len(),
        30
    );
    policy.processes.insert("web".to_owned(), Keep { age: None, bytes: Some(0) });
    writer.retain(&policy, now).expect("retain");
    assert_eq!(seqs(&index, &web), NONE);
    assert_eq!(seqs(&index, &search(Expr::All)).len(), 30);
}

#[test]
fn too_much_loses_its_oldest_files_but_never_the_cursor() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut writer, index) = open(&dir);
    days(&mut writer, 4, 600);
    let policy = Policy { all: Keep { age: None, bytes: Some(1) }, processes: BTreeMap::new() };
    writer.retain(&policy, START).expect("retain");
    assert_eq!(files(&dir).len(), 1);
    assert_eq!(seqs(&index, &search(Expr::All)), NONE);
    drop((writer, index));
    assert_eq!(open(&dir).0.resume().next_seq, 2401);
}

#[test]
fn a_purged_instance_is_gone_from_files_and_tail_and_only_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut writer, index) = open(&dir);
    days(&mut writer, 2, 600);
    writer.append(line(1201, START + DAY_US, "api:prod", "pending")).expect("append");
    writer.append(line(1202, START + DAY_US, "web:dev", "pending")).expect("append");
    let usage = index.usage().expect("usage");
    assert_eq!(
        usage
            .iter()
            .map(|one| (one.instance.to_string(), one.lines, one.days.len()))
            .collect::<Vec<_>>(),
        [("api:prod".to_owned(), 600, 2), ("web:dev".to_owned(), 600, 2)]
    );
    assert!(usage[0].bytes > 0 && usage[0].bytes < usage[0].text_bytes);
    writer.purge(&name("api:prod")).expect("purge");
    writer.commit("after").expect("commit");
    assert_eq!(
        seqs(&index, &Search { scope: Scope::Process("api".into()), ..search(Expr::All) }),
        NONE
    );
    assert_eq!(
        seqs(&index, &Search { scope: Scope::Process("web".into()), ..search(Expr::All) }).len(),
        601
    );
    assert_eq!(index.usage().expect("usage").len(), 1);
}

#[test]
fn a_search_that_has_no_time_says_so_and_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut writer, index) = open(&dir);
    days(&mut writer, 3, 1000);
    for oldest_first in [false, true] {
        let mut hurried =
            Search { time: Duration::ZERO, oldest_first, ..search(Expr::Substring("ommo".into())) };
        let (mut all, mut stops) = (Vec::new(), 0);
        for _ in 0..1000 {
            let found = index.search(&hurried).expect("a search");
            all.extend(found.lines.iter().map(|line| line.seq));
            stops += u32::from(found.stopped == Some(Stopped::Time));
            let Some(next) = found.next else { break };
            if oldest_first { hurried.after = Some(next) } else { hurried.before = Some(next) }
        }
        assert!(stops > 2);
        let mut expected: Vec<_> = (1..=3000).collect();
        if !oldest_first {
            expected.reverse();
        }
        assert_eq!(all, expected);
    }
}

#[test]
fn a_search_holds_no_more_than_it_may_and_pages_give_the_rest() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = Settings { found_bytes: 20_000, ..Settings::default() };
    let (mut writer, index) = Index::open(dir.path(), settings).expect("the index opens");
    for seq in 1..=500 {
        writer.append(line(seq, START + seq, "api:prod", &"long ".repeat(100))).expect("append");
    }
    writer.commit("c").expect("commit");
    for oldest_first in [false, true] {
        let mut page = Search { oldest_first, ..search(Expr::All) };
        let mut all = Vec::new();
        loop {
            let found = index.search(&page).expect("a search");
            assert!(found.lines.iter().map(|line| line.text.len()).sum::<usize>() <= 20_000);
            all.extend(found.lines.iter().map(|line| line.seq));
            match found.next {
                Some(next) if oldest_first => page.after = Some(next),
                Some(next) => page.before = Some(next),
                None => break,
            }
        }
        all.sort_unstable();
        assert_eq!(all, (1..=500).collect::<Vec<_>>());
    }
}
