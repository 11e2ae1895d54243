//! Asks a listener on this machine whether it is well. Owns one GET on a connection of its own; knows no headers, so that
//! whoever starts servers needs no HTTP client.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// For one answer. A service's own readiness checks take two seconds at most.
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_ANSWER: u64 = 64 * 1024;

/// A status and what stands after the headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    pub status: u16,
    pub body: String,
}

/// GETs `path` from whoever listens on this loopback port.
///
/// # Errors
/// Nobody listens, or what comes back is no HTTP.
pub fn get(port: u16, path: &str) -> io::Result<Probed> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // With a body in one piece: HTTP/1.0 knows no chunks.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    read(&String::from_utf8_lossy(&answer)).ok_or_else(|| io::Error::other("the answer is no HTTP"))
}

fn read(answer: &str) -> Option<Probed> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Probed { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_and_a_body_are_read() {
        let read_to = |status, body: &str| Some(Probed { status, body: body.to_owned() });
        assert_eq!(read("HTTP/1.1 200 OK\r\nServer: x\r\n\r\n{}"), read_to(200, "{}"));
        assert_eq!(read("HTTP/1.0 503 Service Unavailable\r\n\r\n"), read_to(503, ""));
        for other in ["", "-ERR unknown command\r\n\r\n", "HTTP/1.1 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn nobody_there_is_an_error() {
        let port = crate::process::free_port().expect("a free port");
        assert!(get(port, "/").is_err());
    }
}
