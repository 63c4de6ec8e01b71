//! Decides when a batch is committed. On a server a commit takes long beside what its callers do before they commit
//! again. So while one commit is on its way, other changes queue; if these are committed as soon as it has landed, two
//! groups of callers take turns, and each waits for both commits. The same happens if the first caller that comes back
//! commits alone. Together they wait for one commit. So a batch briefly waits for the callers of the commit that has
//! just landed. If no more than half of them come, the next batches don't wait.
//!
//! Many callers do better in turns: while the commit of one half is on its way, the other half reads and decides.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

/// The longest wait, if the last commit took no less. The runtime's timers count whole milliseconds, and round up.
const LONGEST: Duration = Duration::from_millis(2);
/// The most callers that wait together.
const MOST: usize = 16;
/// The number of batches that are committed at once after a wait in which too few callers came.
const ALONE: u32 = 8;

/// The wait of a batch for the callers of the last commit.
#[derive(Default)]
pub(super) struct BatchDelay(Mutex<State>);

#[derive(Default)]
struct State {
    /// The length of the queue that is waited for, and the channel that ends the wait.
    wanted: Option<(usize, oneshot::Sender<()>)>,
    /// The number of batches that are still committed at once.
    alone: u32,
}

impl BatchDelay {
    /// Reports the current length of the queue.
    pub(super) fn queued(&self, count: usize) {
        let mut state = self.lock();
        if let Some((_, waiting)) = state.wanted.take_if(|(wanted, _)| count >= *wanted) {
            // The receiver may have stopped waiting.
            let _ = waiting.send(());
        }
    }

    /// Waits until the `landed` callers of a commit are in the queue again, beside those that are in it; no longer than
    /// the commit `took`, and no longer than [`LONGEST`]. `queued` returns the length of the queue. A single caller is
    /// not waited for.
    pub(super) async fn wait(&self, landed: usize, took: Duration, queued: impl Fn() -> usize) {
        let before = queued();
        let all = before.saturating_add(landed);
        if !(2..=MOST).contains(&all) {
            return;
        }
        let complete = {
            let mut state = self.lock();
            if state.alone != 0 {
                state.alone -= 1;
                return;
            }
            let (waiting, complete) = oneshot::channel();
            state.wanted = Some((all, waiting));
            complete
        };
        let _ = timeout(LONGEST.min(took), complete).await;
        let came = queued().saturating_sub(before);
        let mut state = self.lock();
        state.wanted = None;
        if came.saturating_mul(2) <= landed {
            state.alone = ALONE;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt as _;

    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn a_batch_waits_until_those_who_have_landed_are_there() {
        let (delay, queue) = (BatchDelay::default(), AtomicUsize::new(1));
        let come = async {
            for count in [2, 3] {
                queue.store(count, Ordering::Relaxed);
                delay.queued(count);
            }
        };
        // `join!` polls them in this order, so the wait begins before the queue grows.
        futures::join!(delay.wait(2, LONG, || queue.load(Ordering::Relaxed)), come);
        assert_eq!(delay.lock().alone, 0);
        assert!(delay.wait(2, LONG, || 1).now_or_never().is_none(), "the next one waits too");
    }

    #[tokio::test]
    async fn after_a_wait_for_which_too_few_came_batches_leave_at_once() {
        let delay = BatchDelay::default();
        delay.wait(2, LONG, || 1).await;
        for left in (0..ALONE).rev() {
            assert!(delay.wait(2, LONG, || 1).now_or_never().is_some(), "{left}");
        }
        assert!(delay.wait(2, LONG, || 1).now_or_never().is_none());
    }

    #[tokio::test]
    async fn nobody_is_waited_for_by_one_alone_or_by_many() {
        let cases =
            [(1, 0, true), (2, 0, false), (1, 1, false), (MOST, 1, true), (1, MOST, true), (MOST - 1, 1, false)];
        for (landed, before, leaves) in cases {
            let left = BatchDelay::default().wait(landed, LONG, || before).now_or_never();
            assert_eq!(left.is_some(), leaves, "{landed} {before}");
        }
    }
}
