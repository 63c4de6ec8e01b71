//! Two guards between standard input and rmcp: lines that are too long are refused rather than dropped in silence, and
//! notifications before the first request don't end the process.

use std::{
    borrow::Cow,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use rmcp::{
    RoleServer,
    model::ClientJsonRpcMessage,
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::Transport,
};
use tokio::io::{AsyncRead, ReadBuf};

use crate::domain::limits::LINE_BYTES_MAX;

/// What stands for a refused line: JSON that is no request, which rmcp answers with `Invalid request`. The line break
/// before it ends the part that was passed on already.
const REFUSED: &[u8] = b"\n{}\n";

/// Passes lines of at most [`LINE_BYTES_MAX`] bytes.
pub(super) struct BoundedLines<R> {
    inner: R,
    /// Bytes of the current line so far.
    length: usize,
    /// The rest of this line is not passed on.
    skipping: bool,
    /// Bytes that were read and not yet passed on.
    pending: Vec<u8>,
}

impl<R> BoundedLines<R> {
    pub(super) const fn new(inner: R) -> Self {
        Self { inner, length: 0, skipping: false, pending: Vec::new() }
    }

    /// What of a chunk is passed on. Most chunks hold no long line and pass untouched.
    fn passed<'a>(&mut self, chunk: &'a [u8]) -> Cow<'a, [u8]> {
        let last_break = chunk.iter().rposition(|byte| *byte == b'\n');
        if !self.skipping && chunk.len() + self.length <= LINE_BYTES_MAX {
            self.length = last_break.map_or(self.length + chunk.len(), |at| chunk.len() - at - 1);
            return Cow::Borrowed(chunk);
        }
        let mut out = Vec::with_capacity(chunk.len() + REFUSED.len());
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            let ends = piece.ends_with(b"\n");
            self.length += piece.len();
            if self.length > LINE_BYTES_MAX && !self.skipping {
                self.skipping = true;
                out.extend_from_slice(REFUSED);
            }
            if !self.skipping {
                out.extend_from_slice(piece);
            }
            if ends {
                (self.length, self.skipping) = (0, false);
            }
        }
        Cow::Owned(out)
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for BoundedLines<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.pending.is_empty() {
                let fits = this.pending.len().min(out.remaining());
                out.put_slice(this.pending.get(..fits).unwrap_or_default());
                this.pending.drain(..fits);
                return Poll::Ready(Ok(()));
            }
            let before = out.filled().len();
            std::task::ready!(Pin::new(&mut this.inner).poll_read(cx, out))?;
            let chunk = out.filled().get(before..).unwrap_or_default();
            if chunk.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let Cow::Owned(passed) = this.passed(chunk) else { return Poll::Ready(Ok(())) };
            out.set_filled(before);
            this.pending = passed;
            // All of the chunk may have been skipped: read on.
        }
    }
}

/// Drops notifications that come before the first request; rmcp would end the process.
pub(super) struct SkipEarlyNotifications<T> {
    inner: T,
    open: bool,
}

impl<T> SkipEarlyNotifications<T> {
    pub(super) const fn new(inner: T) -> Self {
        Self { inner, open: false }
    }
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for SkipEarlyNotifications<T> {
    type Error = T::Error;

    fn name() -> Cow<'static, str> {
        T::name()
    }

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.inner.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            let message = self.inner.receive().await?;
            self.open |= matches!(message, ClientJsonRpcMessage::Request(_));
            if self.open {
                return Some(message);
            }
        }
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.inner.close()
    }
}
