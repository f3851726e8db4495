//! Posts to a receiver on this host.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn order(port: u16, secret_file: PathBuf) -> Order {
    Order {
        url: format!("http://127.0.0.1:{port}/hook?x=1").parse().unwrap(),
        secret_file,
        id: "a1".into(),
        body: Bytes::from_static(b"{\"a\":1}"),
        now: 1_700_000_000,
        timeout: Duration::from_secs(20),
    }
}

fn secret_in(dir: &tempfile::TempDir) -> PathBuf {
    let path = dir.path().join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    path
}

#[tokio::test]
async fn what_is_posted_carries_a_signature_that_the_receiver_can_check() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let receiver = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut text, mut piece) = (Vec::new(), [0; 4096]);
        while !text.ends_with(b"{\"a\":1}") {
            let count = stream.read(&mut piece).await.unwrap();
            text.extend_from_slice(&piece[..count]);
        }
        // A redirect is an answer like any other, and nobody follows it.
        let answer = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 5\r\n\r\na\x1b[2J";
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(text).unwrap()
    });
    let answer = post(order(port, secret_in(&dir))).await.unwrap();
    assert_eq!(answer, Answer { status: 302, said: "a [2J".into() });
    let text = receiver.await.unwrap();
    assert!(text.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{text}");
    assert!(text.contains("tenement-alert-id: a1\r\n"), "{text}");
    let signature =
        text.lines().find_map(|line| line.strip_prefix("tenement-signature: ")).unwrap();
    let (secret, body) = (SECRET.as_bytes(), b"{\"a\":1}".as_slice());
    assert!(verify(secret, signature, body, 1_700_000_200, 300), "{signature}");
    assert!(!verify(secret, signature, body, 1_700_000_301, 300), "too old");
    assert!(!verify(secret, signature, b"{\"a\":2}", 1_700_000_000, 300), "another body");
    assert!(!verify(b"another secret...", signature, body, 1_700_000_000, 300));
    assert!(!verify(secret, &signature.replace("t=17", "t=18"), body, 1_800_000_000, 300));
}

#[test]
fn the_signature_is_the_one_that_openssl_makes() {
    // printf '%s' '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
    let hex = "f05f2539e3ae1c49aec5f8cfdad75ef6b06480b133973ffbb7ec9e18827af177";
    assert_eq!(
        sign(SECRET.as_bytes(), 1_700_000_000, b"{\"a\":1}"),
        format!("t=1700000000,v1={hex}")
    );
}

#[tokio::test]
async fn a_bad_secret_or_a_receiver_that_is_away_or_silent_is_an_error_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = Order { timeout: Duration::from_millis(50), ..order(port, secret_in(&dir)) };
    assert!(post(silent).await.unwrap_err().to_string().contains("no answer within 50ms"));
    drop(listener);
    let error = post(order(port, secret_in(&dir))).await.unwrap_err();
    assert!(error.to_string().starts_with("can't connect"), "{error}");
    std::fs::write(dir.path().join("secret"), "short\n").unwrap();
    for (file, why) in
        [("secret", "shorter than 16"), ("none", "No such file"), (".", "not a file")]
    {
        let error = post(order(port, dir.path().join(file))).await.unwrap_err();
        assert!(
            matches!(error, HookError::Secret { .. }) && error.to_string().contains(why),
            "{error}"
        );
    }
}
