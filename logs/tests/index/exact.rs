//! The index finds what a plain filter finds, whatever happened to its files in between.

use std::time::Duration;

use proptest::prelude::*;
use tenement_logs::index::{Index, Writer};
use tenement_logs::line::{Level, Line};
use tenement_logs::query::{Compare, Expr};
use tenement_logs::search::{Counts, Scope, Search};

use super::support::{DAY_US, START, line, name, open, seqs};

fn search(query: Expr) -> Search {
    Search::new(Scope::All, query, 1000, Duration::from_secs(10))
}

#[test]
fn lines_are_found_from_the_tail_from_the_file_and_after_reopening() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut writer, index) = open(&dir);
    for seq in 1..=700 {
        writer
            .append(line(seq, START + seq, "api:prod", &format!("request {seq} done")))
            .expect("append");
    }
    let all = search(Expr::Word("DONE".into()));
    assert_eq!(seqs(&index, &all), (1..=700).rev().collect::<Vec<_>>());
    writer.commit("cursor-1").expect("commit");
    assert_eq!(seqs(&index, &all), (1..=700).rev().collect::<Vec<_>>());
    assert_eq!(seqs(&index, &search(Expr::Word("699".into()))), [699]);
    drop((writer, index));
    let (writer, index) = open(&dir);
    assert_eq!(writer.resume().cursor.as_deref(), Some("cursor-1"));
    assert_eq!(writer.resume().next_seq, 701);
    assert_eq!(seqs(&index, &search(Expr::Word("699".into()))), [699]);
}

#[test]
fn what_was_not_committed_is_read_again_and_stands_there_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut writer, _) = open(&dir);
    let append = |writer: &mut Writer, seqs: std::ops::Range<u64>, day: u64| {
        for seq in seqs {
            let text = format!("line {seq}");
            writer.append(line(seq, START + day * DAY_US, "api:prod", &text)).expect("append");
        }
    };
    append(&mut writer, 1..300, 0);
    writer.commit("a").expect("commit");
    append(&mut writer, 300..900, 0);
    drop(writer);
    let (mut writer, index) = open(&dir);
    assert_eq!((writer.resume().cursor.as_deref(), writer.resume().next_seq), (Some("a"), 300));
    append(&mut writer, 300..600, 0);
    append(&mut writer, 600..900, 1);
    writer.commit("b").expect("commit");
    assert_eq!(seqs(&index, &search(Expr::All)), (1..900).rev().collect::<Vec<_>>());
    assert_eq!(
        std::fs::read_dir(dir.path())
            .expect("dir")
            .filter(|entry| {
                entry
                    .as_ref()
                    .is_ok_and(|entry| entry.path().extension().is_some_and(|ext| ext == "db"))
            })
            .count(),
        2
    );
}

fn expr() -> impl Strategy<Value = Expr> {
    let word = || {
        prop::sample::select(vec![
            "alpha", "Beta", "gam_ma", "Größe", "ERROR", "x1", "absent", "al", "日本", "sharp",
            "kelvin",
        ])
    };
    let leaf = prop_oneof![
        Just(Expr::All),
        word().prop_map(|word| Expr::Word(word.into())),
        (word(), 1usize..6)
            .prop_map(|(word, length)| Expr::Prefix(word.chars().take(length).collect())),
        prop::collection::vec(word(), 1..3)
            .prop_map(|words| Expr::Phrase(words.into_iter().map(String::from).collect())),
        "[a-zA-Z =\"']{1,8}".prop_map(Expr::Substring),
        (word(), word()).prop_map(|(a, b)| Expr::Substring(format!(" {a}={b}"))),
        (word(), word()).prop_map(|(a, b)| Expr::Substring(format!("{a} {b}"))),
        (prop::sample::select(vec!["k", "level"]), word())
            .prop_map(|(name, value)| Expr::Field(name.into(), value.into())),
        Just(Expr::Field("n".into(), "1000".into())),
        Just(Expr::Regex(regex::Regex::new("(?i)al.*be").expect("a regex"))),
        (
            prop::sample::select(vec![
                Compare::Is,
                Compare::AtLeast,
                Compare::Above,
                Compare::AtMost,
                Compare::Below
            ]),
            0u8..8
        )
            .prop_map(|(compare, level)| Expr::Level(compare, Level::from_priority(level))),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|expr| Expr::Not(Box::new(expr))),
            prop::collection::vec(inner.clone(), 0..3).prop_map(Expr::And),
            prop::collection::vec(inner, 0..3).prop_map(Expr::Or),
        ]
    })
}

fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "alpha", "ALPHA", "beta", "gam_ma", "GRÖSSE", "größe", "error", "x1", "日本", "alpine",
    ]);
    let gap = prop::sample::select(vec![" ", "=", "-", "  ", "\"", "\n", "' OR 1=1 --", "☂"]);
    prop::collection::vec((word, gap), 0..6)
        .prop_map(|parts| parts.into_iter().map(|(word, gap)| format!("{word}{gap}")).collect())
}

/// Words, or a line with fields: plain, or JSON, which may write a letter or a number in several ways.
fn text() -> impl Strategy<Value = String> {
    let fields = prop::sample::select(vec![
        "k=alpha n=1000",
        "k=\"Größe\"",
        "{\"k\":\"alpha\"}",
        "{\"k\":\"al\\u0070ha\",\"n\":1e3}",
        "{\"n\":1000}",
        "{\"\\u006b\":\"x1\"}",
        "ſharp \u{212a}elvin \u{130}x",
        "{\"k\":[\"x1\",{}]}",
    ]);
    prop_oneof![3 => words(), 1 => fields.prop_map(String::from)]
}

#[derive(Debug, Clone)]
enum Step {
    Lines(Vec<(u8, i64, u8, String)>),
    Commit,
    Reopen,
    Compact(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let one = (0u8..5, -DAY_US.cast_signed()..2 * DAY_US.cast_signed(), 0u8..8, text());
    prop_oneof![
        3 => prop::collection::vec(one, 1..40).prop_map(Step::Lines),
        2 => Just(Step::Commit),
        1 => Just(Step::Reopen),
        1 => (1usize..50).prop_map(Step::Compact),
    ]
}

const NAMES: [&str; 5] = ["api:prod", "api:dev", "web:prod", "web:a-b", "a-b:c"];

fn question() -> impl Strategy<Value = Search> {
    let scope = prop_oneof![
        Just(Scope::All),
        prop::sample::select(vec!["api", "web", "a-b", "nobody"])
            .prop_map(|process| Scope::Process(process.into())),
        prop::sample::select(NAMES.to_vec()).prop_map(|instance| Scope::Instance(name(instance))),
    ];
    let time = || prop::option::of(START - DAY_US..START + 2 * DAY_US);
    let level = prop::option::of((0u8..8).prop_map(Level::from_priority));
    let seq = || prop::option::of(0u64..300);
    (scope, time(), time(), level, expr(), seq(), seq(), any::<bool>(), 1usize..20).prop_map(
        |(scope, since_us, until_us, level, query, before, after, oldest_first, limit)| {
            let time = Duration::from_secs(60);
            Search {
                scope,
                since_us,
                until_us,
                level,
                query,
                before,
                after,
                oldest_first,
                limit,
                time,
            }
        },
    )
}

/// The lines that answer `search`, by looking at each.
fn plainly(lines: &[Line], search: &Search) -> Vec<u64> {
    let mut found: Vec<_> = lines
        .iter()
        .filter(|line| match &search.scope {
            Scope::All => true,
            Scope::Process(process) => line.instance.process().as_str() == process,
            Scope::Instance(name) => *line.instance == *name,
        })
        .filter(|line| search.since_us.is_none_or(|since| line.time_us >= since))
        .filter(|line| search.until_us.is_none_or(|until| line.time_us < until))
        .filter(|line| search.level.is_none_or(|level| line.level <= level))
        .filter(|line| search.before.is_none_or(|before| line.seq < before))
        .filter(|line| search.after.is_none_or(|after| line.seq > after))
        .filter(|line| search.query.matches(line))
        .map(|line| line.seq)
        .collect();
    if !search.oldest_first {
        found.reverse();
    }
    found
}

/// Every page of a search.
fn pages(index: &Index, search: &Search) -> Vec<u64> {
    let mut search = search.clone();
    let mut all = Vec::new();
    loop {
        let found = index.search(&search).expect("a search");
        assert!(found.lines.len() <= search.limit);
        assert_eq!(found.stopped, None);
        all.extend(found.lines.iter().map(|line| line.seq));
        match found.next {
            Some(next) if search.oldest_first => search.after = Some(next),
            Some(next) => search.before = Some(next),
            None => return all,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_search_finds_exactly_what_a_plain_filter_finds(
        steps in prop::collection::vec(step(), 1..12),
        questions in prop::collection::vec(question(), 1..12),
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut writer, mut index) = open(&dir);
        let mut lines: Vec<Line> = Vec::new();
        let mut committed = 0;
        for step in steps {
            match step {
                Step::Lines(new) => for (who, offset, level, text) in new {
                    let seq = lines.len() as u64 + 1;
                    let time = START.saturating_add_signed(offset);
                    let level = Level::from_priority(level);
                    let line = Line { level, ..line(seq, time, NAMES[usize::from(who)], &text) };
                    lines.push(line.clone());
                    writer.append(line).expect("append");
                },
                Step::Commit => {
                    writer.commit(&format!("c{}", lines.len())).expect("commit");
                    if !lines.is_empty() { committed = lines.len(); }
                }
                Step::Compact(budget) => {
                    writer.compact(budget).expect("compact");
                }
                Step::Reopen => {
                    drop((writer, index));
                    (writer, index) = open(&dir);
                    lines.truncate(committed);
                    prop_assert_eq!(writer.resume().next_seq, committed as u64 + 1);
                }
            }
            for question in &questions {
                prop_assert_eq!(pages(&index, question), plainly(&lines, question), "{:?}", question);
                let all = Search { before: None, after: None, limit: usize::MAX, ..question.clone() };
                let counts = index.count(&all, Counts::new(0, u64::MAX, 1)).expect("a count");
                let counted: u64 = counts.buckets[0].iter().sum();
                let found = index.search(&all).expect("a search").lines.len();
                prop_assert_eq!(counted, found as u64, "{:?}", question);
            }
        }
    }
}
