//! What all tests of the index use.

use std::sync::Arc;

use tenement_logs::index::{Index, Settings, Writer};
use tenement_logs::line::{Level, Line, Source};
use tenement_logs::search::Search;
use tenement_wire::InstanceName;

pub const DAY_US: u64 = 86_400_000_000;
pub const START: u64 = 20_000 * DAY_US;

pub fn name(text: &str) -> InstanceName {
    text.parse().expect("an instance name")
}

pub fn line(seq: u64, time_us: u64, instance: &str, text: &str) -> Line {
    let instance = Arc::new(name(instance));
    Line { seq, time_us, instance, level: Level::Info, source: Source::Instance, text: text.into() }
}

pub fn open(dir: &tempfile::TempDir) -> (Writer, Index) {
    Index::open(dir.path(), Settings::default()).expect("the index opens")
}

pub fn seqs(index: &Index, search: &Search) -> Vec<u64> {
    index.search(search).expect("a search").lines.iter().map(|line| line.seq).collect()
}

/// One commit per day, `each` lines in it, by turns of two processes.
pub fn days(writer: &mut Writer, count: u64, each: u64) {
    for seq in 1..=count * each {
        let day = (seq - 1) / each;
        let who = ["api:prod", "web:dev"][(seq % 2) as usize];
        writer
            .append(line(seq, START + day * DAY_US + seq, who, &format!("word{seq} common")))
            .expect("append");
        if seq % each == 0 {
            writer.commit(&format!("c{day}")).expect("commit");
        }
    }
}
