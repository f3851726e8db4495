//! Figures, printed and appended to `target/bench/results.jsonl`.

use std::io::Write as _;
use std::path::PathBuf;

use serde_json::json;

/// One figure.
#[derive(Debug, Clone, Default)]
pub struct Figure<'a> {
    /// Its name, such as `wake.static.overhead_ms`.
    pub name: &'a str,
    /// Its value.
    pub value: f64,
    /// Its unit, such as `ms`; empty for a ratio or count.
    pub unit: &'a str,
    /// What it was compared with in the same run.
    pub peer: Option<f64>,
    /// Ratio to the peer.
    pub ratio: Option<f64>,
    /// Version of systemd.
    pub systemd: u32,
}

impl Figure<'_> {
    /// Prints the figure and appends it to the results.
    ///
    /// # Panics
    /// When the results can't be written.
    pub fn record(&self) {
        let Self { name, value, unit, peer, ratio, systemd } = self;
        println!(
            "{name:<36} {value:>12.3} {unit:<8} peer {peer:?} ratio {ratio:?} systemd {systemd}"
        );
        let row = json!({
            "name": name, "value": value, "unit": unit,
            "peer": peer, "ratio": ratio, "systemd": systemd,
        });
        let file = file();
        std::fs::create_dir_all(file.parent().expect("has a parent")).expect("target is writable");
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .expect("results can be opened");
        writeln!(file, "{row}").expect("results can be written");
    }
}

fn file() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    target.join("bench/results.jsonl")
}

/// The middle value.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    assert!(!values.is_empty(), "no values");
    values[values.len() / 2]
}
