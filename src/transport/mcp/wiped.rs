//! Buffers for stdio that may hold a seed, and are wiped after use.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use rmcp::model::{ContentBlock, ServerJsonRpcMessage, ServerResult};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};
use zeroize::{Zeroize as _, Zeroizing};

use crate::operations::WipeTexts;

/// Bytes of one read.
const READ_BYTES: usize = 8 * 1024;

/// A buffered reader that wipes consumed bytes. Tokio's keeps them until they are overwritten.
pub(super) struct WipedReader<R> {
    input: R,
    buffer: Zeroizing<Vec<u8>>,
    begin: usize,
    end: usize,
}

impl<R> WipedReader<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, buffer: Zeroizing::new(vec![0; READ_BYTES]), begin: 0, end: 0 }
    }
}

impl<R: AsyncRead + Unpin> AsyncBufRead for WipedReader<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.begin == this.end {
            let mut room = ReadBuf::new(&mut this.buffer);
            ready!(Pin::new(&mut this.input).poll_read(cx, &mut room))?;
            (this.begin, this.end) = (0, room.filled().len());
        }
        Poll::Ready(Ok(this.buffer.get(this.begin..this.end).unwrap_or_default()))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        let this = self.get_mut();
        let next = this.end.min(this.begin + amount);
        if let Some(consumed) = this.buffer.get_mut(this.begin..next) {
            consumed.zeroize();
        }
        this.begin = next;
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for WipedReader<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(self.as_mut().poll_fill_buf(cx))?;
        let taken = read.get(..into.remaining()).unwrap_or(read);
        into.put_slice(taken);
        let count = taken.len();
        self.consume(count);
        Poll::Ready(Ok(()))
    }
}

/// Drops a message that was passed on, and wipes a tool's answer, which may hold seeds and codes.
pub(super) fn wipe(message: ServerJsonRpcMessage) {
    if let ServerJsonRpcMessage::Response(answer) = message
        && let ServerResult::CallToolResult(mut result) = answer.result
    {
        for block in &mut result.content {
            if let ContentBlock::Text(said) = block {
                said.text.zeroize();
            }
        }
        result.structured_content.as_mut().map(WipeTexts::wipe_texts);
    }
}
