//! A server that reads a request and answers with exactly the bytes of its script, well-formed or not. What it was asked
//! stays to be looked at.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The reaction to a request.
pub(crate) enum Step {
    /// These bytes, then the end of the connection.
    Bytes(Vec<u8>),
    /// These bytes, and the connection stays for the next request.
    Open(Vec<u8>),
    /// The connection ends without an answer.
    HangUp,
}

/// A well-formed answer.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Step {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    Step::Bytes(
        format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
            .into_bytes(),
    )
}

/// The server.
pub(crate) struct Script {
    pub(crate) base: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    pub(crate) async fn start(steps: Vec<Step>) -> Script {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        tokio::spawn(async move {
            let mut steps = VecDeque::from(steps);
            while let Ok((mut connection, _)) = listener.accept().await {
                while let Some(request) = read(&mut connection).await {
                    log.lock().unwrap().push(request);
                    match steps.pop_front() {
                        Some(Step::Open(bytes)) => connection.write_all(&bytes).await.unwrap(),
                        Some(Step::Bytes(bytes)) => {
                            let _gone = connection.write_all(&bytes).await;
                            let _gone = connection.shutdown().await;
                            break;
                        }
                        Some(Step::HangUp) | None => break,
                    }
                }
            }
        });
        Script { base, asked }
    }

    /// The requests so far, head and body.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// The first lines of the requests so far, without the version.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |request: &String| request.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
        self.asked().iter().map(line).collect()
    }
}

/// One request: the head, and as much body as it announces.
async fn read(connection: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = connection.read(&mut buffer).await.ok()?;
        if count == 0 {
            return None;
        }
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(text);
        }
    }
}
