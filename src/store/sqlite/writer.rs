//! Who carries out jobs: the runtime's own thread, or a thread of its own.
//!
//! Inline: whoever queues the first job lets every other task that is ready queue its own, then empties the queue for all;
//! on a one-thread runtime they share a commit without any hand-over between threads. Thread: jobs that need
//! no sync are done in the same way, by whichever worker of the runtime comes to it; those that do, and those that find
//! somebody in their way, go to the writer thread, which may wait for the disk without holding anybody up.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    task::Poll,
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
    /// Thread: those of the jobs that need neither the disk nor, with luck, the writer thread.
    quick: VecDeque<Box<dyn Job>>,
    /// A task is on its way to empty it. Thread: to empty the quick ones.
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
            Writes::Inline => {
                if let Some(duty) = self.shared.enqueue_inline(job) {
                    after_others().await;
                    drop(duty);
                }
            }
            Writes::Thread => self.shared.enqueue(job),
        }
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Reads on the writing connection, between transactions.
    pub(super) fn read<T>(&self, act: impl FnOnce(&Db<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        lock(&self.shared.core).as_ref().map_or_else(|| Err(closed()), |core| core.read(act))
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
        self.shared.flush_quick();
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
    /// One caller is given the duty to empty the queue for all.
    fn enqueue_inline(self: &Arc<Self>, job: Box<dyn Job>) -> Option<Duty> {
        let mut queue = lock(&self.queue);
        if queue.closed {
            return None;
        }
        queue.jobs.push_back(job);
        if queue.flushing {
            let full = queue.jobs.len() >= BATCH;
            drop(queue);
            if full {
                // A whole commit's worth: more would only wait longer, and hold memory meanwhile.
                self.flush();
            }
            return None;
        }
        queue.flushing = true;
        drop(queue);
        Some(Duty(Arc::clone(self)))
    }

    fn enqueue(self: &Arc<Self>, job: Box<dyn Job>) {
        let runtime = match job.need() {
            Need::Sync => None,
            Need::SyncSoon => Handle::try_current().ok(),
        };
        let mut queue = lock(&self.queue);
        if queue.closed {
            return;
        }
        let Some(runtime) = runtime else {
            queue.jobs.push_back(job);
            self.work.notify_one();
            return;
        };
        queue.quick.push_back(job);
        if queue.flushing {
            return;
        }
        queue.flushing = true;
        drop(queue);
        let promise = Promise::of(self, |queue| &mut queue.flushing);
        let shared = Arc::clone(self);
        runtime.spawn(async move {
            // A worker runs what it has just spawned first; this lets the others that are ready queue up before.
            tokio::task::yield_now().await;
            shared.flush_quick();
            promise.keep();
        });
    }

    /// Inline: sees to it that a FULL commit follows where one must.
    fn set_timer(self: &Arc<Self>) {
        let mut queue = lock(&self.queue);
        let Some(mut due) = queue.sync_due.filter(|_| !queue.timer) else { return };
        // Without a runtime the store is at its end, and syncs then.
        let Ok(runtime) = Handle::try_current() else { return };
        queue.timer = true;
        drop(queue);
        let promise = Promise::of(self, |queue| &mut queue.timer);
        let shared = Arc::downgrade(self);
        runtime.spawn(async move {
            loop {
                tokio::time::sleep_until(due.into()).await;
                // If the store was let go of meanwhile, it has synced then.
                match shared.upgrade().and_then(|shared| shared.sync()) {
                    Some(next) => due = next,
                    None => break promise.keep(),
                }
            }
        });
    }

    /// Thread: does the quick jobs here, or leaves them to the writer thread if that or another process is writing.
    fn flush_quick(&self) {
        loop {
            let batch = lock(&self.queue).take_quick();
            if batch.is_empty() {
                return;
            }
            let undone = match self.core.try_lock().as_deref_mut() {
                Ok(Some(core)) => {
                    let undone = core.commit_now(batch);
                    self.note_due(core);
                    undone
                }
                Ok(None) | Err(_) => batch,
            };
            if !undone.is_empty() {
                let mut queue = lock(&self.queue);
                queue.jobs.extend(undone);
                let closed = queue.closed;
                drop(queue);
                self.work.notify_one();
                if closed {
                    // Whoever closes may have looked for the last time.
                    self.flush();
                }
            }
        }
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
                // Also while there is always more to do.
                (false, _) => {
                    self.commit(batch);
                    self.sync();
                }
                (true, false) => drop(self.sync()),
                (true, true) => return,
            }
        }
    }

    /// Commits batch after batch until nothing is queued.
    fn flush(&self) {
        loop {
            let mut queue = lock(&self.queue);
            let batch = queue.take_batch();
            queue.flushing = !batch.is_empty();
            drop(queue);
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

/// Inline: to empty the queue, which happens when this is dropped: others rely on it, also if the caller who has it is gone
/// before its turn.
struct Duty(Arc<Shared>);

impl Drop for Duty {
    fn drop(&mut self) {
        self.0.flush();
        self.0.set_timer();
    }
}

/// Goes on after every task that is ready by now has had its turn. Unlike tokio's own way it does not ask the system for
/// news in between.
async fn after_others() {
    let mut waited = false;
    poll_fn(|task| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What a flag says: that a task will see to it. Taken back if the task is dropped before it has: a runtime that shuts
/// down drops its tasks, and another one may go on with the store.
struct Promise {
    shared: Weak<Shared>,
    flag: fn(&mut Queue) -> &mut bool,
    kept: bool,
}

impl Promise {
    fn of(shared: &Arc<Shared>, flag: fn(&mut Queue) -> &mut bool) -> Self {
        Self { shared: Arc::downgrade(shared), flag, kept: false }
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if !self.kept
            && let Some(shared) = self.shared.upgrade()
        {
            *(self.flag)(&mut lock(&shared.queue)) = false;
        }
    }
}

impl Queue {
    fn take_quick(&mut self) -> Vec<Box<dyn Job>> {
        let count = self.quick.len().min(BATCH);
        self.flushing = count > 0;
        self.quick.drain(..count).collect()
    }

    fn take_batch(&mut self) -> Vec<Box<dyn Job>> {
        let count = self.jobs.len().min(BATCH);
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

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    #[test]
    fn a_job_that_comes_back_undone_when_all_is_closed_is_answered() {
        let (reply, mut answer) = oneshot::channel();
        let job: Box<dyn Job> = Box::new(Work { need: Need::SyncSoon, act: |_: &Tx<'_>| Ok(()), made: None, reply });
        let queue = Queue { quick: VecDeque::from([job]), closed: true, ..Queue::default() };
        let shared = Shared { queue: Mutex::new(queue), work: Condvar::new(), core: Mutex::new(None) };

        shared.flush_quick();

        assert!(matches!(answer.try_recv(), Err(TryRecvError::Closed)), "nobody is left to answer it later");
    }
}
