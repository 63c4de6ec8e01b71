//! Deadlines for a connection's bytes: for the arrival of a request's head, and for reading an answer.
//!
//! hyper has one timer for idle connections and for slow heads. They need different limits, so that a slow-loris
//! attacker holds a connection for seconds, while an honest client may keep an idle one for a minute.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::head::Heads;

/// The phase of a connection: the service sets it, the stream reads it.
#[derive(Clone)]
pub(super) struct Phase(Arc<AtomicU8>);

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;

impl Phase {
    /// The phase of a new connection, which waits for its first head.
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU8::new(HEAD)))
    }

    /// Records that a request's head has arrived.
    pub(super) fn busy(&self) {
        self.0.store(BUSY, Ordering::Relaxed);
    }

    /// Records that the answer is being sent.
    pub(super) fn idle(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stream under deadlines.
pub(super) struct Timed<S> {
    inner: S,
    phase: Phase,
    head_wait: Duration,
    write_wait: Duration,
    heads: Heads,
    reading: Option<Pin<Box<Sleep>>>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    pub(super) fn new(inner: S, phase: Phase, head_wait: Duration, write_wait: Duration) -> Self {
        Self { inner, phase, head_wait, write_wait, heads: Heads::new(), reading: None, writing: None }
    }

    /// Whether the arriving head has taken too long.
    fn head_is_late(&mut self, cx: &mut Context<'_>) -> bool {
        if self.phase.get() != HEAD {
            self.reading = None;
            return false;
        }
        elapsed(&mut self.reading, self.head_wait, cx)
    }

    fn written<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        match written {
            Poll::Pending if elapsed(&mut self.writing, self.write_wait, cx) => Poll::Ready(Err(late())),
            Poll::Pending => Poll::Pending,
            Poll::Ready(done) => {
                self.writing = None;
                Poll::Ready(done)
            }
        }
    }
}

fn elapsed(deadline: &mut Option<Pin<Box<Sleep>>>, wait: Duration, cx: &mut Context<'_>) -> bool {
    let sleep = deadline.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + wait)));
    sleep.as_mut().poll(cx).is_ready()
}

fn late() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if polled.is_pending() && self.head_is_late(cx) {
            return Poll::Ready(Err(late()));
        }
        ready!(polled)?;
        if buf.filled().len() > before && self.phase.get() == IDLE {
            self.phase.0.store(HEAD, Ordering::Relaxed);
            self.reading = None;
            if self.heads.is_lost() {
                self.heads.restart();
            }
        }
        if let Some(arrived) = buf.filled_mut().get_mut(before..) {
            self.heads.follow(arrived);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.written(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.written(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.written(closed, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
