//! Lanes: threads that serve connections, each with a runtime of its own.
//!
//! rmcp makes three tasks of a call, which hand each other messages. On a runtime that spreads tasks over threads, each
//! hand-over may wake another thread, which costs more than the call. In a lane a connection and all that it begins stay
//! on one thread. Nothing here takes long on it: what waits for the disk waits elsewhere.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{JoinHandle, available_parallelism},
};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// The lanes of a server.
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    stop: CancellationToken,
}

struct Lane {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

/// A connection's place in a lane, given up on drop.
pub(super) struct InLane(Arc<AtomicUsize>);

impl Lanes {
    /// Opens a lane for each processor.
    pub(super) fn open() -> io::Result<Self> {
        let stop = CancellationToken::new();
        let count = available_parallelism().map_or(1, usize::from);
        let lanes = (0..count).map(|_| Lane::open(stop.clone())).collect::<io::Result<_>>()?;
        Ok(Self { lanes, stop })
    }

    /// The lane with the fewest connections.
    pub(super) fn enter(&self) -> Option<(&Handle, InLane)> {
        let lane = self.lanes.iter().min_by_key(|lane| lane.connections.load(Ordering::Relaxed))?;
        lane.connections.fetch_add(1, Ordering::Relaxed);
        Some((&lane.runtime, InLane(Arc::clone(&lane.connections))))
    }

    /// Closes the lanes. What is still begun in them is dropped: rmcp's tasks for clients that are gone.
    pub(super) async fn close(mut self) {
        self.stop.cancel();
        let threads: Vec<_> = std::mem::take(&mut self.lanes).into_iter().map(|lane| lane.thread).collect();
        let joined = tokio::task::spawn_blocking(|| threads.into_iter().try_for_each(JoinHandle::join)).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("a serving thread ended in a panic");
        }
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Lane {
    fn open(stop: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let serve = move || runtime.block_on(stop.cancelled());
        let thread = std::thread::Builder::new().name("http-lane".to_owned()).spawn(serve)?;
        Ok(Self { runtime: handle, connections: Arc::default(), thread })
    }
}

impl Drop for InLane {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
