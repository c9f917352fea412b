//! Short requests on loopback: whether a starting process is ready, and control routes. Anything more goes through a real
//! client.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};

const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer: the simulator's record of some ten thousand requests.
const MAX_ANSWER: u64 = 64 << 20;

/// Status and body of `http://127.0.0.1:{port}{path}`.
pub(crate) fn get(port: u16, path: &str) -> io::Result<(u16, String)> {
    send(port, "GET", path, "")
}

/// Status and body of the answer to a request with a JSON body.
pub(crate) fn send(port: u16, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // HTTP/1.0: the body is neither chunked nor followed by anything.
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| io::Error::other("no HTTP answer"))
}

/// The JSON answer to a request; any status but 2xx is an error.
pub(crate) fn json(port: u16, method: &str, path: &str, body: &str) -> anyhow::Result<serde_json::Value> {
    let asked = || format!("{method} {path} on port {port}");
    let (status, answer) = send(port, method, path, body).with_context(asked)?;
    ensure!((200..300).contains(&status), "{}: {status} {answer}", asked());
    serde_json::from_str(&answer).with_context(asked)
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// Whether a process could listen on this port of 127.0.0.1.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A free port.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        assert_eq!(parse("HTTP/1.1 200 OK\r\na: b\r\n\r\n{}"), Some((200, "{}".to_owned())));
        assert_eq!(parse("SSH-2.0\r\n\r\n"), None);
    }

    #[test]
    fn a_taken_port_is_not_free() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_free(port));
        assert_ne!(free_port().unwrap(), port);
    }
}
