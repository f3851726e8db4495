//! TCP ports and the PROXY protocol on a real host.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use tenement_tests::{Host, until};

const CONFIG: &str = r#"
[settings]
proxy_protocol = ["127.0.0.2"]

[process.techo]
command = "/usr/bin/python3 /srv/apps/echo.py"
listen = "fd"
idle_timeout = "500ms"
park = 0
listen_tcp = 7001

[process.tproxy]
command = "/usr/bin/python3 /srv/apps/echo.py"
listen = "fd"
idle_timeout = 0
listen_tcp = { a = 7002 }
tcp_proxy_protocol = 2

[process.theaders]
command = "/srv/apps/hello-static"
idle_timeout = 0
"#;

/// Sends back what it gets.
const ECHO: &str = r#"
import socket, threading
s = socket.socket(fileno=3)
def serve(c):
    while True:
        b = c.recv(4096)
        if not b:
            break
        c.sendall(b)
    c.close()
while True:
    c, _ = s.accept()
    threading.Thread(target=serve, args=(c,), daemon=True).start()
"#;

/// Sends bytes from another address, and prints what comes.
const ASK: &str = r#"
import socket, sys
s = socket.create_connection(("127.0.0.1", 8080), source_address=("127.0.0.2", 0))
s.settimeout(20)
s.sendall(BYTES)
got = b""
while True:
    try:
        piece = s.recv(4096)
    except ConnectionResetError:
        break
    if not piece:
        break
    got += piece
sys.stdout.write(got.decode())
"#;

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/tcp.toml").code != 0 {
        host.write("/srv/apps/echo.py", ECHO);
        host.configure("tcp.toml", CONFIG);
        host.run("ten spawn techo:a tproxy:a theaders:a");
    }
    host
}

#[test]
fn a_tcp_connection_wakes_its_instance_and_keeps_it_awake_to_its_end() {
    let host = host();
    host.until_asleep("techo:a");
    let mut stream = host.connect(7001).expect("the port is open");
    stream.write_all(b"hello").unwrap();
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
    let begin = std::time::Instant::now();
    while begin.elapsed() < Duration::from_millis(1500) {
        assert_eq!(host.state("techo:a"), "running", "an open connection holds it awake");
    }
    stream.write_all(b"again").unwrap();
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"again");
    drop(stream);
    host.until_asleep("techo:a");
}

#[test]
fn an_instance_learns_by_the_proxy_protocol_who_its_client_is() {
    let host = host();
    let mut stream = host.connect(7002).expect("the port is open");
    let from = stream.local_addr().unwrap();
    stream.write_all(b"x").unwrap();
    let mut header = [0; 29];
    stream.read_exact(&mut header).unwrap();
    assert_eq!(&header[..16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c");
    assert_eq!(
        (&header[16..20], &header[24..26]),
        (&[127, 0, 0, 1][..], &from.port().to_be_bytes()[..])
    );
    assert_eq!(header[28], b'x');
}

#[test]
fn a_port_is_opened_and_closed_with_the_config() {
    let host = host();
    host.configure("tcp.toml", &CONFIG.replace("7001", "7003"));
    until("the new port is open", Duration::from_secs(10), || {
        host.connect(7003).map(drop).map_err(|e| e.to_string())
    });
    until("the old one is closed", Duration::from_secs(10), || match host.connect(7001) {
        Ok(_) => Err("open"),
        Err(_) => Ok(()),
    });
    host.configure("tcp.toml", CONFIG);
}

#[test]
fn a_load_balancer_says_who_the_client_is_and_must() {
    let host = host();
    // Only 127.0.0.2 is a load balancer.
    let ask = |bytes: &str| {
        let script = ASK.replace("BYTES", bytes);
        host.feed("python3 -", &script).out
    };
    let get = "b'GET /headers HTTP/1.1\\r\\nHost: a.theaders.localhost\\r\\nConnection: close\\r\\n\\r\\n'";
    let answer = ask(&format!("b'PROXY TCP4 198.51.100.7 127.0.0.1 4711 80\\r\\n'+{get}"));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.to_lowercase().contains("x-forwarded-for: 198.51.100.7"), "{answer}");
    assert_eq!(ask(get), "", "without a header it is closed");
    let mut client = host.client();
    client.send(b"PROXY TCP4 198.51.100.7 127.0.0.1 4711 80\r\n\r\n").unwrap();
    assert_eq!(
        client.response(false).expect("an answer").status,
        400,
        "from others it is malformed"
    );
}
