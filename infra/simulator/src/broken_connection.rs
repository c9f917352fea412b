//! Connections that a handler can cut, and bodies that come in pieces, break off, or never end.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::connect_info::Connected;
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use bytes::Bytes;
use futures::stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::shutdown::Shutdown;

/// The number of pieces of a slow body.
const PIECES: usize = 20;
/// A chunk of padding.
static ZEROS: [u8; 65_536] = [0; 65_536];
/// The longest wait for a connection to write its data before it is cut.
const FLUSH: Duration = Duration::from_secs(5);
/// A connection that wrote nothing for this long has nothing left to write.
const SETTLED: Duration = Duration::from_millis(5);

/// A listener whose connections can be cut.
#[derive(Debug)]
pub(crate) struct CuttableListener(pub(crate) TcpListener);

impl Listener for CuttableListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        // Small pieces are sent as they are written.
        stream.set_nodelay(true).ok();
        (Connection { stream, handle: ConnectionHandle::default() }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    handle: ConnectionHandle,
}

/// A handle on a connection, which handlers get as its connect info.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionHandle(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    is_cut: AtomicBool,
    written: AtomicU64,
}

impl Connected<IncomingStream<'_, CuttableListener>> for ConnectionHandle {
    fn connect_info(stream: IncomingStream<'_, CuttableListener>) -> Self {
        stream.io().handle.clone()
    }
}

impl ConnectionHandle {
    /// Closes the connection without another byte. The response is for the handler to return; it is not sent.
    pub(crate) fn cut(&self) -> Response {
        self.0.is_cut.store(true, Ordering::Release);
        Response::default()
    }

    /// Waits until at least this many bytes in all were written and no more follow. The number does not include the head of
    /// the response, whose length is not known here.
    async fn written(&self, bytes: u64) {
        let enough = async {
            let mut before = 0;
            loop {
                let now = self.0.written.load(Ordering::Acquire);
                if now >= bytes && now == before {
                    return;
                }
                before = now;
                tokio::time::sleep(SETTLED).await;
            }
        };
        drop(tokio::time::timeout(FLUSH, enough).await);
    }

    fn check(&self) -> io::Result<()> {
        match self.0.is_cut.load(Ordering::Acquire) {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }

    fn count(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.0.written.fetch_add(*bytes as u64, Ordering::AcqRel);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.handle.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.handle.check()?;
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.handle.count(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.handle.check()?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.handle.count(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// One step of a body.
#[derive(Debug)]
pub(crate) enum Step {
    Send(Bytes),
    Zeros(u64),
    Wait(Duration),
    /// Closes the connection once the former steps have arrived.
    Cut,
}

/// A body without a length of its own.
pub(crate) fn body(shutdown: &Shutdown, handle: &ConnectionHandle, steps: impl IntoIterator<Item = Step>) -> Body {
    struct Rest {
        shutdown: Shutdown,
        handle: ConnectionHandle,
        steps: VecDeque<Step>,
        /// The bytes that have to be written before the connection may be cut.
        target: u64,
    }
    let target = handle.0.written.load(Ordering::Acquire);
    let rest = Rest { shutdown: shutdown.clone(), handle: handle.clone(), steps: steps.into_iter().collect(), target };
    Body::from_stream(stream::unfold(rest, |mut rest| async move {
        loop {
            let bytes = match rest.steps.pop_front()? {
                Step::Send(bytes) => bytes,
                Step::Zeros(0) => continue,
                Step::Zeros(number) => {
                    let now = number.min(ZEROS.len() as u64);
                    rest.steps.push_front(Step::Zeros(number - now));
                    Bytes::from_static(&ZEROS[..now as usize])
                }
                Step::Wait(duration) => {
                    rest.shutdown.sleep(duration).await;
                    continue;
                }
                Step::Cut => {
                    rest.handle.written(rest.target).await;
                    return Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), rest));
                }
            };
            rest.target += bytes.len() as u64;
            return Some((Ok(bytes), rest));
        }
    }))
}

/// The steps that send bytes in pieces over a time.
pub(crate) fn trickle(bytes: &Bytes, over: Duration) -> Vec<Step> {
    let size = bytes.len().div_ceil(PIECES).max(1);
    let mut steps = Vec::with_capacity(2 * PIECES);
    let mut start = 0;
    while start < bytes.len() {
        let end = (start + size).min(bytes.len());
        steps.push(Step::Send(bytes.slice(start..end)));
        steps.push(Step::Wait(over / PIECES as u32));
        start = end;
    }
    steps
}
