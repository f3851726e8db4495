//! Ways of using more than one's share, for the tests of limits.

use std::hint::black_box;
use std::io::Write as _;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What was eaten stays eaten: limits are about what a process holds.
static EATEN: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
static CHILDREN: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// Takes `mb` MiB of memory and touches every page of it.
pub fn eat(mb: u64) -> String {
    for _ in 0..mb {
        let piece = vec![1_u8; 1 << 20];
        EATEN.lock().expect("no panic while held").push(black_box(piece));
    }
    format!("ate {mb} MiB\n")
}

/// Starts `count` processes that do nothing for a minute; says how many there could be.
pub fn fork(count: u64) -> String {
    let mut started = 0;
    for _ in 0..count {
        // Itself, as a sleeper: a static app finds no other program for certain.
        match Command::new("/proc/self/exe").args(["--sleep", "60"]).spawn() {
            Ok(child) => {
                CHILDREN.lock().expect("no panic while held").push(child);
                started += 1;
            }
            Err(_) => break,
        }
    }
    format!("started {started} of {count}\n")
}

/// Ends what [`fork`] started.
pub fn reap() -> String {
    let mut children = CHILDREN.lock().expect("no panic while held");
    let count = children.len();
    for mut child in children.drain(..) {
        let _ = child.kill();
        let _ = child.wait();
    }
    format!("ended {count}\n")
}

/// Keeps `threads` threads busy for `seconds`, in the background.
pub fn spin(seconds: u64, threads: u64) -> String {
    let end = Instant::now() + Duration::from_secs(seconds);
    for _ in 0..threads {
        std::thread::spawn(move || {
            let mut n = 0_u64;
            while Instant::now() < end {
                n = black_box(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            }
        });
    }
    format!("spinning {threads} threads for {seconds} s\n")
}

/// Writes `mb` MiB to a file in the data directory, with fsync, and says how long that took.
pub fn write(mb: u64) -> std::io::Result<String> {
    let begin = Instant::now();
    let dir = std::env::var("DATA_DIR").unwrap_or_else(|_| ".".to_owned());
    let mut file = std::fs::File::create(format!("{dir}/greedy.bin"))?;
    let piece = vec![7_u8; 1 << 20];
    for _ in 0..mb {
        file.write_all(&piece)?;
    }
    file.sync_all()?;
    Ok(format!("wrote {mb} MiB in {} ms\n", begin.elapsed().as_millis()))
}

/// Writes `lines` lines to the log.
pub fn shout(lines: u64) -> String {
    for n in 0..lines {
        eprintln!("shout {n}");
    }
    format!("shouted {lines} lines\n")
}
