//! `ten busy`: the command holds the lock, whatever becomes of it, and nobody else does afterwards.

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use support::{run, ten};

#[test]
fn the_lock_is_held_while_the_command_and_what_it_left_behind_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.busy");
    let probe = File::create(&path).unwrap();
    let free = || flock(&probe, FlockOperation::NonBlockingLockExclusive).is_ok();
    let mut child = ten(dir.path())
        .env("TENEMENT_BUSY", &path)
        .args(["busy", "--", "sh", "-c", "echo ready; exec 3<&0; cat <&3 & exit 7"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let held = child.stdin.take().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7), "the exit code is the command's");
    assert!(!free(), "a process that the command left is still at work");
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !free() {
        assert!(Instant::now() < deadline, "the lock is still held after the last process");
        std::thread::yield_now();
    }
}

#[test]
fn outside_of_an_instance_and_with_no_such_command_it_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let out = run(ten(dir.path()).env_remove("TENEMENT_BUSY").args(["busy", "true"])).exits(2);
    assert!(
        out.err.contains("TENEMENT_BUSY is not set") && out.err.contains("hint: "),
        "{}",
        out.err
    );
    let path = dir.path().join("a.busy");
    File::create(&path).unwrap();
    let gone =
        run(ten(dir.path()).env("TENEMENT_BUSY", &path).args(["busy", "--", "./none"])).exits(3);
    assert!(gone.err.contains("can't execute ./none"), "{}", gone.err);
    run(ten(dir.path()).args(["busy"])).exits(2);
}
