use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc;
use std::thread;

use super::*;

const BOUND: Duration = Duration::from_secs(20);

/// A relay on a socket of its own, in front of `port`. It ends with this process.
fn relay_to(port: u16) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let listener = OwnedFd::from(UnixListener::bind(&path).unwrap());
    let app = rustix::process::pidfd_open(
        rustix::process::getpid(),
        rustix::process::PidfdFlags::empty(),
    )
    .unwrap();
    thread::spawn(move || serve(listener, &app, port, BOUND));
    (dir, path)
}

fn client(path: &std::path::Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream.set_write_timeout(Some(BOUND)).unwrap();
    stream
}

fn app() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

#[test]
fn big_bodies_go_both_ways_at_once_and_half_closes_are_passed_on() {
    let (listener, port) = app();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                // An echo that answers after the end of what it was sent, as well as before.
                let mut copy = stream.try_clone().unwrap();
                let count = std::io::copy(&mut stream, &mut copy).unwrap();
                write!(copy, "|{count}").unwrap();
                copy.shutdown(Shutdown::Both).unwrap();
            });
        }
    });
    let (_dir, path) = relay_to(port);
    let body = pattern(8 << 20);
    let mut stream = client(&path);
    let mut writer = stream.try_clone().unwrap();
    let sent = body.clone();
    let feeder = thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    feeder.join().unwrap();
    let tail = back.split_off(body.len());
    assert!(back == body, "the bytes differ");
    assert_eq!(tail, format!("|{}", body.len()).as_bytes());
}

#[test]
fn a_connection_waits_for_an_app_that_listens_later() {
    let (listener, port) = app();
    drop(listener);
    let (_dir, path) = relay_to(port);
    let mut stream = client(&path);
    stream.write_all(b"early").unwrap();
    // It has been refused at least once by now: the relay has taken the connection.
    let listener = loop {
        if let Ok(listener) = TcpListener::bind(("::1", port)) {
            break listener;
        }
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            break listener;
        }
    };
    let (mut inside, _) = listener.accept().unwrap();
    let mut found = [0; 5];
    inside.read_exact(&mut found).unwrap();
    assert_eq!(&found, b"early");
    inside.write_all(b"answer").unwrap();
    drop(inside);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer");
}

#[test]
fn who_reads_slowly_slows_down_who_writes() {
    let (listener, port) = app();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let (piece, mut sent) = (pattern(64 * 1024), 0_usize);
        // Without back-pressure this would go on until memory is full.
        while sent < 256 << 20 {
            match stream.write(&piece) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        tell.send(sent).unwrap();
    });
    let (_dir, path) = relay_to(port);
    let _idle = client(&path);
    let sent = told.recv_timeout(BOUND).unwrap();
    assert!(sent < 32 << 20, "{sent} bytes were taken for a client that reads none");
}

#[test]
fn an_app_learns_that_its_client_has_gone() {
    let (listener, port) = app();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut byte = [0];
        let end = stream.read(&mut byte);
        let began = Instant::now();
        let mut failed = false;
        while !failed && began.elapsed() < BOUND {
            failed = stream.write(b"event\n").is_err();
        }
        tell.send((end.unwrap(), failed)).unwrap();
    });
    let (_dir, path) = relay_to(port);
    drop(client(&path));
    assert_eq!(told.recv_timeout(BOUND).unwrap(), (0, true));
}

#[test]
fn many_connections_share_one_relay_and_leave_nothing() {
    let (listener, port) = app();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut line = [0; 4];
                while stream.read_exact(&mut line).is_ok() {
                    stream.write_all(&line).unwrap();
                }
            });
        }
    });
    let (_dir, path) = relay_to(port);
    for _ in 0..3 {
        let mut streams: Vec<_> = (0..100).map(|_| client(&path)).collect();
        for (number, stream) in streams.iter_mut().enumerate() {
            write!(stream, "{number:04}").unwrap();
        }
        for (number, stream) in streams.iter_mut().enumerate() {
            let mut line = [0; 4];
            stream.read_exact(&mut line).unwrap();
            assert_eq!(line, format!("{number:04}").as_bytes());
        }
    }
}

#[test]
fn tokens_name_a_slot_and_a_side() {
    for slot in [0, 1, 7, LINKS_MAX - 1] {
        for side in [Side::Client, Side::App] {
            assert_eq!(untoken(token(slot, side)), (slot, side));
        }
    }
}
