//! Whether requests get here: the proxy's port, and the names that lead to it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;

use super::{Check, PATIENCE};

/// That something answers HTTP on the proxy's port.
pub fn port(port: u16) -> Check {
    const NAME: &str = "port";
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = match TcpStream::connect_timeout(&address, PATIENCE) {
        Ok(stream) => stream,
        Err(e) => {
            return Check::fail(
                NAME,
                format!("nothing listens on {address}: {e}"),
                "sudo systemctl restart tenement.socket (after a change of `port`, too)",
            );
        }
    };
    let request = "GET / HTTP/1.1\r\nHost: ten-doctor.invalid\r\nConnection: close\r\n\r\n";
    let mut answer = [0; 12];
    let answered = stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.write_all(request.as_bytes()))
        .and_then(|()| stream.read_exact(&mut answer));
    match answered {
        Ok(()) if answer.starts_with(b"HTTP/1.") => Check::ok(NAME, format!("{address} answers")),
        _ => Check::fail(
            NAME,
            format!("{address} is open, but does not answer HTTP"),
            format!("see who holds it (sudo ss -ltnp sport = :{port}), or restart tenement"),
        ),
    }
}

/// That a name under the domain resolves.
pub fn domain(domain: &str) -> Check {
    const NAME: &str = "dns";
    if domain == "localhost" || domain.ends_with(".localhost") {
        // RFC 6761 section 6.3; browsers and curl resolve these names without asking anybody.
        return Check::ok(NAME, format!("*.{domain} leads to this machine by itself"));
    }
    let name = format!("ten-doctor.ten-doctor.{domain}");
    let (tell, told) = mpsc::channel();
    let asked = name.clone();
    // getaddrinfo has no deadline of its own. A thread that is too late ends with the program.
    thread::spawn(move || {
        let found = (asked.as_str(), 80).to_socket_addrs().map(|mut all| all.next());
        let _ = tell.send(found.ok().flatten());
    });
    match told.recv_timeout(PATIENCE) {
        Ok(Some(found)) => Check::ok(NAME, format!("*.*.{domain} leads to {}", found.ip())),
        Ok(None) => Check::warn(
            NAME,
            format!("{name} does not resolve"),
            format!(
                "add a wildcard record to your DNS: *.{domain} (it covers every depth) A, AAAA = this host"
            ),
        ),
        Err(_) => Check::warn(
            NAME,
            format!("no name server answered for {name}"),
            "check /etc/resolv.conf and the network",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::Status;
    use super::*;

    #[test]
    fn a_port_that_speaks_http_is_ok_and_a_closed_one_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let free = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 512]);
            stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap();
        });
        assert_eq!(port(free).status, Status::Ok);
        server.join().unwrap();
        assert_eq!(port(free).status, Status::Fail);
    }

    #[test]
    fn localhost_needs_no_name_server() {
        assert_eq!(domain("localhost").status, Status::Ok);
        assert_eq!(domain("ten.localhost").status, Status::Ok);
    }
}
