//! The PROXY protocol (versions 1 and 2, as HAProxy's proxy-protocol.txt has them): who the client is, said by the
//! load balancer before the connection's first byte.
//!
//! Taken from the configured load balancers only, and from them it must come: a connection without it could say
//! nothing true of its client.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ppp::{HeaderResult, PartialResult as _, v1, v2};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The longest header that is read. Version 1 has 107 bytes at most; version 2 may carry values of the load
/// balancer's own.
const HEADER_MAX: usize = 4096;
/// How long the rest of half a header is waited for until it is looked for again.
const PAUSE: Duration = Duration::from_millis(5);

/// What a load balancer says of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    /// The client. None: the load balancer speaks for itself (a health check, say).
    pub(super) client: Option<SocketAddr>,
    /// The client came to it by TLS (`PP2_TYPE_SSL`, section 2.2.5).
    pub(super) secured: bool,
}

/// The type of the value about TLS, and the bit of its first byte that says that there was TLS.
const SSL: u8 = 0x20;
const CLIENT_SSL: u8 = 0x01;

/// Reads the header, and not a byte more.
///
/// # Errors
/// If there is none, it is malformed, or it does not come in time.
pub(super) async fn read(stream: &mut TcpStream, within: Duration) -> io::Result<Told> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let (told, length) = tokio::time::timeout(within, look(stream)).await.map_err(late)??;
    // All of it has arrived.
    stream.read_exact(&mut vec![0; length]).await?;
    Ok(told)
}

async fn look(stream: &TcpStream) -> io::Result<(Told, usize)> {
    let mut bytes = vec![0; HEADER_MAX];
    let mut seen = 0;
    loop {
        let n = stream.peek(&mut bytes).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if n == seen {
            // What has arrived stays where it is, so that the socket is readable all the time.
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        seen = n;
        let header = HeaderResult::parse(&bytes[..n]);
        if header.is_incomplete() && n < HEADER_MAX {
            continue;
        }
        return judge(header).ok_or_else(|| io::ErrorKind::InvalidData.into());
    }
}

/// What is told, and the header's length.
fn judge(header: HeaderResult<'_>) -> Option<(Told, usize)> {
    match header {
        HeaderResult::V1(Ok(header)) => {
            let client = match header.addresses {
                v1::Addresses::Tcp4(a) => Some((IpAddr::V4(a.source_address), a.source_port)),
                v1::Addresses::Tcp6(a) => Some((IpAddr::V6(a.source_address), a.source_port)),
                v1::Addresses::Unknown => None,
            };
            let told = Told { client: client.map(Into::into), secured: false };
            Some((told, header.header.len()))
        }
        HeaderResult::V2(Ok(header)) => {
            let client = match header.addresses {
                v2::Addresses::IPv4(a) => Some((IpAddr::V4(a.source_address), a.source_port)),
                v2::Addresses::IPv6(a) => Some((IpAddr::V6(a.source_address), a.source_port)),
                v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
            };
            let client = client.filter(|_| header.command == v2::Command::Proxy);
            let secured = client.is_some()
                && header.tlvs().map_while(Result::ok).any(|one| {
                    one.kind == SSL && one.value.first().is_some_and(|bits| bits & CLIENT_SSL != 0)
                });
            Some((Told { client: client.map(Into::into), secured }, header.as_bytes().len()))
        }
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => None,
    }
}

/// The header of `version` that says that `client` has connected to `here`.
pub(super) fn header(version: u8, client: SocketAddr, here: SocketAddr) -> Vec<u8> {
    let (client_ip, here_ip) = (client.ip().to_canonical(), here.ip().to_canonical());
    // Both addresses are of one family.
    let (client_ip, here_ip) = match (client_ip, here_ip) {
        (IpAddr::V4(a), IpAddr::V6(b)) => (IpAddr::V6(a.to_ipv6_mapped()), IpAddr::V6(b)),
        (IpAddr::V6(a), IpAddr::V4(b)) => (IpAddr::V6(a), IpAddr::V6(b.to_ipv6_mapped())),
        same => same,
    };
    if version == 1 {
        let family = if client_ip.is_ipv4() { "TCP4" } else { "TCP6" };
        let (from, to) = (client.port(), here.port());
        return format!("PROXY {family} {client_ip} {here_ip} {from} {to}\r\n").into_bytes();
    }
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    match (client_ip, here_ip) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes.extend([0x11, 0, 12]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            bytes.extend([0x21, 0, 36]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
        }
        // Not left by the match above.
        _ => {}
    }
    bytes.extend(client.port().to_be_bytes());
    bytes.extend(here.port().to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_of(bytes: &[u8]) -> Option<(Option<SocketAddr>, usize)> {
        judge(HeaderResult::parse(bytes)).map(|(told, length)| (told.client, length))
    }

    #[test]
    fn what_is_written_is_read_again_by_either_version() {
        for (client, here) in
            [("192.0.2.7:4711", "198.51.100.1:80"), ("[2001:db8::7]:4711", "[2001:db8::1]:443")]
        {
            let (client, here) = (client.parse().unwrap(), here.parse().unwrap());
            for version in [1, 2] {
                let mut bytes = header(version, client, here);
                let length = bytes.len();
                bytes.extend(b"GET / HTTP/1.1\r\n");
                assert_eq!(client_of(&bytes), Some((Some(client), length)), "version {version}");
            }
        }
    }

    #[test]
    fn a_load_balancer_speaks_for_itself_or_wrongly() {
        assert_eq!(client_of(b"PROXY UNKNOWN\r\n"), Some((None, 15)));
        let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
        assert_eq!(client_of(local), Some((None, 16)));
        for bad in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PROXY TCP4 1 2 3 4\r\n", b"PROXY\r\n"] {
            assert_eq!(client_of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_load_balancer_says_whether_its_client_came_by_tls() {
        let told = |bits: u8| {
            let mut bytes =
                header(2, "192.0.2.7:1".parse().unwrap(), "192.0.2.1:80".parse().unwrap());
            // ALPN, then SSL with its bits and whether the certificate was good.
            bytes.extend(b"\x01\x00\x02h2\x20\x00\x05");
            bytes.extend([bits, 0, 0, 0, 1]);
            bytes[15] += 13;
            judge(HeaderResult::parse(&bytes)).expect("a header").0.secured
        };
        assert!(told(0x01) && told(0x05));
        assert!(!told(0x00), "the value is there, and says that there was none");
    }
}
