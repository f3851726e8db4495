//! The short run of the fuzz targets: every seed, and some thousand variations of them. `make fuzz` runs the
//! same bodies under libFuzzer.

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::path::Path;

/// Variations of the seeds of each target.
const VARIATIONS: usize = 5_000;

/// Xorshift: the same variations on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    /// `seed` with a few bytes changed, taken out or put in from `other`.
    fn vary(&mut self, seed: &[u8], other: &[u8]) -> Vec<u8> {
        let mut data = seed.to_vec();
        for _ in 0..=self.below(6) {
            let at = self.below(data.len() + 1);
            match self.below(3) {
                0 => data.insert(at, self.below(256) as u8),
                1 if at < data.len() => drop(data.remove(at)),
                _ => {
                    let from = self.below(other.len());
                    data.splice(at..at, other[from..].iter().copied());
                }
            }
        }
        data.truncate(8192);
        data
    }
}

fn run(target: &str, body: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let seeds: Vec<_> = entries.map(|e| std::fs::read(e.unwrap().path()).unwrap()).collect();
    assert!(seeds.len() >= 5, "{target} has only {} seeds", seeds.len());
    seeds.iter().for_each(|seed| body(seed));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..VARIATIONS {
        let seed = &seeds[random.below(seeds.len())];
        let other = &seeds[random.below(seeds.len())];
        body(&random.vary(seed, other));
    }
}

#[test]
fn no_host_reaches_what_it_does_not_name() {
    run("host", bodies::host);
}

#[test]
fn every_config_is_read_or_refused_with_a_reason() {
    run("config", bodies::config);
}

#[test]
fn every_query_finds_or_is_refused_with_a_reason() {
    run("query", bodies::query);
}

#[test]
fn every_token_has_one_text() {
    run("token", bodies::token);
}
