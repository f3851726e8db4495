//! Clients that cost more than they pay: each is cut off or bounded, and others don't notice.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// HEADERS of `GET /` to [`HOST`], ending the stream: static table entries and one literal (RFC 7541).
pub fn request(stream: u32) -> Vec<u8> {
    let mut block = vec![0x82, 0x84, 0x86, 0x41, u8::try_from(HOST.len()).unwrap()];
    block.extend(HOST.bytes());
    frame(1, 0x5, stream, &block)
}

async fn until_cut_off(world: &World, most: u32, piece: impl Fn(u32) -> Vec<u8>) -> u32 {
    flood(TcpStream::connect(world.addr).await.unwrap(), most, piece).await
}

/// Sends pieces until the proxy closes; how many it took. What it answers is read and dropped.
pub async fn flood<S>(stream: S, most: u32, piece: impl Fn(u32) -> Vec<u8>) -> u32
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let drain = tokio::spawn(async move {
        let mut bytes = vec![0; 64 * 1024];
        while reader.read(&mut bytes).await.is_ok_and(|n| n > 0) {}
    });
    let mut begin = PREFACE.to_vec();
    begin.extend(frame(4, 0, 0, &[]));
    writer.write_all(&begin).await.unwrap();
    let mut sent = 0;
    // TLS holds back what it could not write yet.
    while sent < most
        && !drain.is_finished()
        && writer.write_all(&piece(sent)).await.is_ok()
        && writer.flush().await.is_ok()
    {
        sent += 1;
    }
    tokio::time::timeout(PATIENCE, drain).await.expect("the proxy closes").unwrap();
    sent
}

#[tokio::test]
async fn http2_floods_are_cut_off_while_others_are_served() {
    let world = World::start().await;
    world.answering(OK);
    let hundred = |frame: Vec<u8>| frame.repeat(100);
    let pings = until_cut_off(&world, 5_000, |_| hundred(frame(6, 0, 0, &[0; 8]))).await;
    assert!(pings < 5_000, "500,000 pings were let through");
    let settings = until_cut_off(&world, 5_000, |_| hundred(frame(4, 0, 0, &[]))).await;
    assert!(settings < 5_000, "500,000 settings were let through");
    // CVE-2023-44487: streams that are opened and reset at once.
    let resets = until_cut_off(&world, 100_000, |n| {
        let stream = 2 * n + 1;
        let mut both = request(stream);
        both.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
        both
    })
    .await;
    assert!(resets < 100_000, "100,000 rapid resets were let through");
    assert_eq!(world.fetch(get("/")).await.status(), 200);
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_off_at_the_body_timeout_and_its_backend_freed() {
    let mut policy = policy();
    policy.limits.body_timeout = Duration::from_millis(300);
    let world = World::with(policy).await;
    let (freed, mut done) = tokio::sync::mpsc::unbounded_channel();
    world.backend(move |mut conn| {
        let freed = freed.clone();
        async move {
            let Some(request) = conn.request().await else { return };
            if request.start.contains("small") {
                conn.stream.send(OK).await;
                return;
            }
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
            let mut sent = conn.stream.send(head).await as usize;
            while conn.stream.send(vec![b'x'; 64 * 1024]).await {
                sent += 64 * 1024;
            }
            let _ = freed.send(sent);
        }
    });
    let mut deaf = world.client().await;
    deaf.send(get("/endless")).await;
    assert_eq!(world.fetch(get("/small")).await.status(), 200);
    let sent = tokio::time::timeout(PATIENCE, done.recv()).await.expect("freed").unwrap();
    // Both sockets' buffers and one piece between them, not the answer.
    assert!(sent < 64 * 1024 * 1024, "{sent} bytes were taken from the backend");
}

#[tokio::test]
async fn an_http2_client_with_a_closed_window_that_answers_pings_loses_its_streams() {
    let mut policy = policy();
    policy.limits.body_timeout = Duration::from_millis(300);
    let world = World::with(policy).await;
    let body = "x".repeat(100_000);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let backend = world.answering(answer);
    let mut client = TcpStream::connect(world.addr).await.unwrap();
    let mut begin = PREFACE.to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE (4) is 0.
    begin.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
    begin.extend(request(1));
    client.write_all(&begin).await.unwrap();
    let reset = async {
        let mut pings = 0;
        loop {
            let mut head = [0; 9];
            client.read_exact(&mut head).await.expect("the connection stays");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            client.read_exact(&mut payload).await.unwrap();
            match (head[3], head[4] & 1) {
                (3, _) => return pings,
                (4, 0) => client.write_all(&frame(4, 1, 0, &[])).await.unwrap(),
                (6, 0) => {
                    pings += 1;
                    client.write_all(&frame(6, 1, 0, &payload)).await.unwrap();
                }
                (0, _) => panic!("nothing may be sent into a closed window"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, reset).await.expect("the stream is reset");
    crate::poll::until("its instance is let go", || backend.instance.gate.leases() == 0).await;
    assert_eq!(world.fetch(get("/")).await.status(), 200);
}
