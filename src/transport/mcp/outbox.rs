//! Answers that are ready together leave together: one write to the pipe, and one host that wakes, for all of them.
//!
//! Whoever has something to say only puts it here; a task of its own, which runs after every task that was ready before
//! it, hands on what has come together. A host that does not read holds up whoever has more to say, instead of filling
//! the process's memory.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroize as _;

/// Bytes that may wait before whoever has more to say has to, and before more is read. Enough for a host that writes
/// thousands of calls before it reads the first answer.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a buffer may keep of its size between writes.
const KEPT_BYTES: usize = 64 * 1024;
/// Room from the start, for an answer such as most are: a buffer that grows leaves copies of what it held behind.
const READY_BYTES: usize = 4 * 1024;

/// What is to be sent, line by line.
#[derive(Clone)]
pub(super) struct Outbox {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Something is to be handed on.
    due: Notify,
    /// Something was handed on, or never will be.
    moved: Notify,
    /// Told when the output fails. Apart from `moved`: who waits for this for long is not woken for every answer.
    ended: CancellationToken,
    /// Writes that the output took something of.
    writes: AtomicUsize,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// There is room for everything.
    limitless: bool,
    /// Something was taken out and is not handed on yet.
    busy: bool,
    failed: Option<io::ErrorKind>,
}

impl Outbox {
    /// Tells `ended` when its output fails.
    pub(super) fn new(ended: CancellationToken) -> Self {
        let (due, moved) = (Notify::new(), Notify::new());
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State { waiting: Vec::with_capacity(READY_BYTES), ..State::default() }),
                due,
                moved,
                ended,
                writes: AtomicUsize::new(0),
            }),
        }
    }

    /// Hands on to an output until that fails.
    pub(super) async fn hand_on(self, mut output: impl AsyncWrite + Unpin) {
        let mut taken = Vec::with_capacity(READY_BYTES);
        loop {
            self.shared.due.notified().await;
            while self.take(&mut taken) {
                if let Err(cause) = self.write(&mut output, &taken).await {
                    return self.fail(cause.kind());
                }
            }
        }
    }

    async fn write(&self, output: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = output.write(bytes).await?;
            bytes = bytes.get(count..).filter(|_| count > 0).ok_or(io::ErrorKind::WriteZero)?;
            self.shared.writes.fetch_add(1, Ordering::Relaxed);
        }
        output.flush().await
    }

    /// Swaps what waits for a buffer that was handed on. Whether anything waited.
    fn take(&self, taken: &mut Vec<u8>) -> bool {
        // A seed or a code may have stood there.
        taken.as_mut_slice().zeroize();
        taken.clear();
        taken.shrink_to(KEPT_BYTES);
        let mut state = self.state();
        std::mem::swap(&mut state.waiting, taken);
        state.busy = !taken.is_empty();
        drop(state);
        self.shared.moved.notify_waiters();
        !taken.is_empty()
    }

    fn fail(&self, kind: io::ErrorKind) {
        let mut state = self.state();
        (state.failed, state.busy) = (Some(kind), false);
        drop(state);
        self.shared.moved.notify_waiters();
        self.shared.ended.cancel();
    }

    /// Adds a message, room or not.
    ///
    /// # Errors
    /// When the output has failed.
    pub(super) fn put(&self, message: &impl Serialize) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        let begun = state.waiting.len();
        if let Err(cause) = serde_json::to_writer(&mut state.waiting, message) {
            state.waiting.truncate(begun);
            return Err(cause.into());
        }
        state.waiting.push(b'\n');
        if !state.busy {
            self.shared.due.notify_one();
        }
        Ok(())
    }

    pub(super) fn has_room(&self) -> bool {
        self.state().has_room()
    }

    /// Makes room for everything that is still said: nothing more is asked for.
    pub(super) fn lift_limit(&self) {
        self.state().limitless = true;
        self.shared.moved.notify_waiters();
    }

    /// Waits for room.
    ///
    /// # Errors
    /// When the output has failed.
    pub(super) async fn room(&self) -> io::Result<()> {
        self.until(State::has_room).await
    }

    /// Waits until everything is handed on.
    ///
    /// # Errors
    /// When the output has failed.
    pub(super) async fn emptied(&self) -> io::Result<()> {
        self.until(|state| state.waiting.is_empty() && !state.busy).await
    }

    /// Waits until everything is handed on, or the output takes nothing for this long.
    ///
    /// # Errors
    /// When the output has failed.
    pub(super) async fn emptied_or_stuck(&self, long: Duration) -> io::Result<()> {
        loop {
            let before = self.shared.writes.load(Ordering::Relaxed);
            match tokio::time::timeout(long, self.emptied()).await {
                Ok(emptied) => return emptied,
                Err(_) if self.shared.writes.load(Ordering::Relaxed) == before => return Ok(()),
                Err(_) => {}
            }
        }
    }

    /// # Errors
    /// When the output has failed.
    pub(super) fn alive(&self) -> io::Result<()> {
        self.state().alive()
    }

    async fn until(&self, reached: impl Fn(&State) -> bool) -> io::Result<()> {
        loop {
            let moved = self.shared.moved.notified();
            {
                let state = self.state();
                state.alive()?;
                if reached(&state) {
                    return Ok(());
                }
            }
            moved.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn has_room(&self) -> bool {
        self.limitless || self.waiting.len() < WAITING_BYTES_MAX
    }

    fn alive(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |kind| Err(kind.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
        time::Instant,
    };

    use futures::FutureExt as _;
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, duplex};

    use super::*;

    /// Counts the writes that reach it.
    struct Counted<W>(W, Arc<AtomicUsize>);

    impl<W: AsyncWrite + Unpin> AsyncWrite for Counted<W> {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    fn to(output: impl AsyncWrite + Send + Unpin + 'static) -> Outbox {
        let outbox = Outbox::new(CancellationToken::new());
        tokio::spawn(outbox.clone().hand_on(output));
        outbox
    }

    #[tokio::test]
    async fn what_is_put_in_one_turn_is_one_write() {
        let (output, mut host) = duplex(64);
        let writes = Arc::new(AtomicUsize::new(0));
        let outbox = to(Counted(output, Arc::clone(&writes)));

        for message in [1, 2, 3] {
            outbox.put(&message).unwrap();
        }
        let mut read = [0; 6];
        host.read_exact(&mut read).await.unwrap();

        assert_eq!(&read, b"1\n2\n3\n");
        assert_eq!(writes.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_host_that_does_not_read_holds_up_the_writer_and_loses_nothing() {
        // More than may wait, and as much again on its way.
        const MESSAGES: usize = 3 * WAITING_BYTES_MAX / 1000;
        let long = |message: usize| format!("{message:01000}");
        let (output, host) = duplex(64 * 1024);
        let outbox = to(output);
        let writer = tokio::spawn({
            let outbox = outbox.clone();
            async move {
                for message in 0..MESSAGES {
                    outbox.room().await.unwrap();
                    outbox.put(&long(message)).unwrap();
                }
                outbox.emptied().await.unwrap();
            }
        });
        while outbox.has_room() {
            tokio::task::yield_now().await;
        }
        assert!(!writer.is_finished());
        assert!(outbox.room().now_or_never().is_none());

        let mut lines = BufReader::new(host).lines();
        for message in 0..MESSAGES {
            assert_eq!(lines.next_line().await.unwrap(), Some(format!("\"{}\"", long(message))));
        }
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn a_host_that_reads_slowly_gets_everything_and_one_that_reads_nothing_is_given_up() {
        // More than a host reads byte by byte in this test.
        const BYTES: usize = WAITING_BYTES_MAX / 2;
        let long = Duration::from_millis(200);
        let (output, mut host) = duplex(4096);
        let outbox = to(output);
        outbox.put(&"x".repeat(BYTES)).unwrap();
        let begun = Instant::now();
        outbox.emptied_or_stuck(long).await.unwrap();
        assert!(begun.elapsed() >= long);

        let waits = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.emptied_or_stuck(long).await }
        });
        let (begun, mut one) = (Instant::now(), [0]);
        let mut count = 0;
        while begun.elapsed() < 2 * long {
            count += host.read_exact(&mut one).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(count < BYTES && !waits.is_finished(), "{count} bytes were read");
        let mut rest = vec![0; BYTES + "\"\"\n".len() - count];
        host.read_exact(&mut rest).await.unwrap();
        waits.await.unwrap().unwrap();
        assert_eq!(rest.last(), Some(&b'\n'));
    }

    #[tokio::test]
    async fn a_host_that_is_gone_is_an_error_for_whoever_says_more() {
        let (output, host) = duplex(16);
        let ended = CancellationToken::new();
        let outbox = Outbox::new(ended.clone());
        tokio::spawn(outbox.clone().hand_on(output));
        assert!(outbox.alive().is_ok() && !ended.is_cancelled());
        drop(host);
        outbox.put(&1).unwrap();

        ended.cancelled().await;
        let tries = [outbox.emptied().await, outbox.put(&2), outbox.room().await, outbox.alive()];
        assert_eq!(tries.map(|tried| tried.unwrap_err().kind()), [io::ErrorKind::BrokenPipe; 4]);
    }
}
