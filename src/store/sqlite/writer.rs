//! Who carries out jobs: the runtime's own thread, or a thread of its own.
//!
//! Inline: the first job spawns a task that empties the queue; on a one-thread runtime every task that is ready queues
//! its job before that task runs, so they share a commit without any hand-over between threads. Thread: a writer thread
//! empties the queue; a job that needs no sync and finds nobody in its way is done where it is.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::oneshot};

use super::{
    commit::{Core, Job, Need, Work},
    db::{Db, Tx},
};
use crate::store::{StoreError, Writes};

/// Jobs in one commit: beyond it the gain is gone and the first one waits too long.
const BATCH: usize = 256;

/// The writing side of the store.
pub(super) struct Writer {
    shared: Arc<Shared>,
    writes: Writes,
    strict: bool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Wakes the writer thread.
    work: Condvar,
    /// `None` once it is closed.
    core: Mutex<Option<Core>>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Box<dyn Job>>,
    /// Inline: a task is on its way to empty it.
    flushing: bool,
    /// When a FULL commit must follow.
    sync_due: Option<Instant>,
    /// Inline: a timer is set for that.
    timer: bool,
    closed: bool,
}

impl Writer {
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(core: Core, writes: Writes, strict: bool) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), work: Condvar::new(), core: Mutex::new(Some(core)) });
        let thread = match writes {
            Writes::Inline => None,
            Writes::Thread => {
                let shared = Arc::clone(&shared);
                let work = move || shared.work_off();
                Some(std::thread::Builder::new().name("vault-writer".to_owned()).spawn(work)?)
            }
        };
        Ok(Self { shared, writes, strict, thread: Mutex::new(thread) })
    }

    /// Runs a function in a transaction, together with others that are ready, and returns once it is committed as
    /// durably as it needs. The function may run more than once.
    pub(super) async fn write<T, F>(&self, need: Need, act: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let need = if self.strict { Need::Sync } else { need };
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Work { need, act, made: None, reply });
        match self.writes {
            Writes::Inline => self.shared.enqueue_inline(job),
            Writes::Thread => self.shared.enqueue(job),
        }
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Runs a function on the writing connection, outside a transaction.
    pub(super) fn with_core<T>(&self, act: impl FnOnce(&mut Core) -> Result<T, StoreError>) -> Result<T, StoreError> {
        lock(&self.shared.core).as_mut().map_or_else(|| Err(closed()), act)
    }

    /// Reads on the writing connection.
    pub(super) fn read<T>(&self, act: impl FnOnce(&Db<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.with_core(|core| act(&core.db()))
    }

    /// Does what is queued, syncs and lets go of the file.
    pub(super) fn close(&self) -> Result<(), StoreError> {
        lock(&self.shared.queue).closed = true;
        self.shared.work.notify_all();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        self.shared.flush();
        let core = lock(&self.shared.core).take();
        core.map_or(Ok(()), Core::close)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

impl Shared {
    fn enqueue_inline(self: &Arc<Self>, job: Box<dyn Job>) {
        {
            let mut queue = lock(&self.queue);
            if queue.closed {
                return;
            }
            queue.jobs.push_back(job);
            if queue.flushing {
                return;
            }
            queue.flushing = true;
        }
        let shared = Arc::clone(self);
        match Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move { shared.flush_inline() });
            }
            Err(_) => shared.flush(),
        }
    }

    /// Empties the queue, then sees to it that a FULL commit follows where one must.
    fn flush_inline(self: &Arc<Self>) {
        self.flush();
        let due = {
            let mut queue = lock(&self.queue);
            if queue.timer {
                return;
            }
            queue.timer = queue.sync_due.is_some();
            queue.sync_due
        };
        let shared = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut next = due;
            while let Some(due) = next {
                tokio::time::sleep_until(due.into()).await;
                // If the store was let go of meanwhile, it has synced then.
                next = shared.upgrade().and_then(|shared| shared.sync());
            }
        });
    }

    /// Queues a job for the writer thread, or does it here if it needs no sync and nobody is in its way.
    fn enqueue(&self, job: Box<dyn Job>) {
        let job = match job.need() {
            Need::Sync => job,
            Need::SyncSoon => match self.do_now(job) {
                Some(job) => job,
                None => return,
            },
        };
        let mut queue = lock(&self.queue);
        if !queue.closed {
            queue.jobs.push_back(job);
            self.work.notify_one();
        }
    }

    fn do_now(&self, job: Box<dyn Job>) -> Option<Box<dyn Job>> {
        let Ok(mut held) = self.core.try_lock() else { return Some(job) };
        let Some(core) = held.as_mut() else { return Some(job) };
        if !lock(&self.queue).jobs.is_empty() {
            return Some(job);
        }
        let undone = core.commit_now(job);
        self.note_due(core);
        undone
    }

    /// The writer thread.
    fn work_off(&self) {
        loop {
            let mut queue = lock(&self.queue);
            while queue.jobs.is_empty() && !queue.closed {
                let left = queue.sync_due.map(|due| due.saturating_duration_since(Instant::now()));
                queue = match left {
                    None => self.work.wait(queue).unwrap_or_else(PoisonError::into_inner),
                    Some(Duration::ZERO) => break,
                    Some(left) => self.work.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
                };
            }
            let batch = queue.take_batch();
            let closed = queue.closed;
            drop(queue);
            match (batch.is_empty(), closed) {
                (false, _) => self.commit(batch),
                (true, false) => drop(self.sync()),
                (true, true) => return,
            }
        }
    }

    /// Commits batch after batch until nothing is queued.
    fn flush(&self) {
        loop {
            let batch = lock(&self.queue).take_batch();
            if batch.is_empty() {
                return;
            }
            self.commit(batch);
        }
    }

    fn commit(&self, batch: Vec<Box<dyn Job>>) {
        if let Some(core) = lock(&self.core).as_mut() {
            core.commit(batch);
            self.note_due(core);
        }
    }

    /// Brings what was committed without a sync to the disk, if its time has come. When to look again.
    fn sync(&self) -> Option<Instant> {
        let mut held = lock(&self.core);
        let core = held.as_mut()?;
        if core.sync_due().is_some_and(|due| due <= Instant::now()) {
            // What fails here is tried again later and with every commit; nobody waits for it.
            let _ = core.sync();
        }
        self.note_due(core);
        // Under the lock on the core: a commit either sees the timer end, or the timer sees the commit.
        let due = core.sync_due();
        lock(&self.queue).timer = due.is_some();
        due
    }

    /// Tells the writer thread when to sync, if it does not know. The core is locked.
    fn note_due(&self, core: &Core) {
        let due = core.sync_due();
        let mut queue = lock(&self.queue);
        if queue.sync_due.is_none() && due.is_some() {
            self.work.notify_one();
        }
        queue.sync_due = due;
    }
}

impl Queue {
    fn take_batch(&mut self) -> Vec<Box<dyn Job>> {
        let count = self.jobs.len().min(BATCH);
        self.flushing = count > 0;
        self.jobs.drain(..count).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic of a job is caught before it reaches a lock; what is behind them is whole in any case.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("the vault is closed".to_owned())
}
