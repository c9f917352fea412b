//! Connections that can go wrong: a listener whose connections can be cut from within a handler, and bodies that come in
//! pieces, break off, or never end.

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

use crate::world::World;

/// A body that takes its time comes in so many pieces.
const PIECES: usize = 20;
/// Zeros are sent in chunks of this size.
static ZEROS: [u8; 65_536] = [0; 65_536];
/// What was given to a connection is waited for so long before the connection is cut.
const FLUSH: Duration = Duration::from_secs(5);
/// A connection that was written nothing for so long has nothing left to write.
const SETTLED: Duration = Duration::from_millis(5);

/// Listens, and makes connections that can be cut.
#[derive(Debug)]
pub(crate) struct Line(pub(crate) TcpListener);

impl Listener for Line {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        // Small pieces leave as they are written.
        stream.set_nodelay(true).ok();
        (Connection { stream, wire: Wire::default() }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    wire: Wire,
}

/// A handle on a connection, which handlers get as its connect info.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_cut: AtomicBool,
    written: AtomicU64,
}

impl Connected<IncomingStream<'_, Line>> for Wire {
    fn connect_info(stream: IncomingStream<'_, Line>) -> Self {
        stream.io().wire.clone()
    }
}

impl Wire {
    /// Closes the connection without another byte. Gives a response, as a handler needs one; it is not sent.
    pub(crate) fn cut(&self) -> Response {
        self.0.is_cut.store(true, Ordering::Release);
        Response::default()
    }

    /// Waits until so many bytes in all, and what else was ready, were handed to the system. The head of a response is
    /// not in the number, as nobody knows its length here.
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
        self.wire.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.wire.check()?;
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wire.count(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire.check()?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wire.count(&written);
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

/// What a body does next.
#[derive(Debug)]
pub(crate) enum Step {
    Send(Bytes),
    Zeros(u64),
    Wait(Duration),
    /// What was sent arrives, and then the connection closes.
    Cut,
}

/// A body without a length of its own.
pub(crate) fn body(world: &Arc<World>, wire: &Wire, steps: impl IntoIterator<Item = Step>) -> Body {
    struct Rest {
        world: Arc<World>,
        wire: Wire,
        steps: VecDeque<Step>,
        /// How far the connection has to be written before it may be cut.
        target: u64,
    }
    let target = wire.0.written.load(Ordering::Acquire);
    let rest = Rest { world: world.clone(), wire: wire.clone(), steps: steps.into_iter().collect(), target };
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
                    rest.world.pause(duration).await;
                    continue;
                }
                Step::Cut => {
                    rest.wire.written(rest.target).await;
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
