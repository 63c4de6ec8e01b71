//! The writer: commits all queued changes together, with their rows chained onto the audit log.
//!
//! One task at a time commits the queue; callers only wait for their answer, so a caller that goes away stops nothing.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::{
    batch_delay::BatchDelay,
    draft::Outcome,
    job::Job,
    keyring::Keyring,
    ledger::{End, end_of, genesis, head_of, is_kept},
    records::AuditHead,
    state::StateFile,
};
use crate::{
    domain::audit::ChainHead,
    random::SharedRandom,
    store::{Change, Commit, Committed, Durable, Index, Put, SharedStore, StoreError},
};

/// The most changes in one commit.
const BATCH: usize = 256;
/// How long a commit is retried while other processes are faster.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same for a patient job: beside processes that write all the time, one try in some hundred comes through.
const LONG_PATIENCE: Duration = Duration::from_mins(1);
/// The number of tries without a pause.
const EAGER_TRIES: u32 = 3;
/// The longest pause between two tries.
const PAUSE: Duration = Duration::from_millis(5);
/// The longest time for which codes are read again without a check against the vault's end that this machine knows.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// The delay after which commits that need not be durable at once are synced.
const SYNC_DELAY: Duration = Duration::from_millis(200);
const OLDER: &str = "an older copy, or another vault, has taken its place while this process was running; stop it, put the right \
                     one back or run `countersign vault accept-loss`";

type Answer = Result<Outcome, StoreError>;

struct Waiting {
    job: Job,
    answer: oneshot::Sender<Answer>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Whether a task is committing; it also takes jobs that are added meanwhile.
    flushing: bool,
    closed: bool,
}

/// Where this process's chain continues.
#[derive(Clone, Copy)]
struct Chain {
    end: End,
    /// Version of the head's record, 0 if the chain has none yet; `None`: the head was tampered with and stays as evidence.
    head: Option<u64>,
}

pub(super) struct Writer {
    store: SharedStore,
    keyring: Arc<Keyring>,
    random: SharedRandom,
    state: Arc<StateFile>,
    queue: Mutex<Queue>,
    batch_delay: BatchDelay,
    chain: Mutex<Option<Chain>>,
    /// The last row that the state file may name and that was in the vault.
    kept: Mutex<Option<ChainHead>>,
    /// When the vault was last checked against the state file.
    looked: Mutex<Option<Instant>>,
    /// The last row that this process knows to be durable.
    durable: Mutex<Option<ChainHead>>,
    sync_due: AtomicBool,
    /// Whether this process has committed anything.
    committed: AtomicBool,
}

impl Writer {
    pub(super) fn new(
        store: SharedStore,
        keyring: Arc<Keyring>,
        random: SharedRandom,
        state: StateFile,
        durable: Option<ChainHead>,
    ) -> Self {
        Self {
            store,
            keyring,
            random,
            state: Arc::new(state),
            queue: Mutex::default(),
            batch_delay: BatchDelay::default(),
            chain: Mutex::default(),
            kept: Mutex::default(),
            looked: Mutex::default(),
            durable: Mutex::new(durable),
            sync_due: AtomicBool::new(false),
            committed: AtomicBool::new(false),
        }
    }

    /// Records the end of the audit log when the vault is opened.
    pub(super) async fn record_open(&self) {
        let head = *lock(&self.durable);
        if let Some(head) = head {
            *lock(&self.kept) = Some(head);
            self.state.record_end(head, true).await;
        }
    }

    /// Commits a change. The commit is carried out even if the caller stops waiting.
    pub(super) async fn commit(self: &Arc<Self>, job: Job) -> Answer {
        let (answer, answered) = oneshot::channel();
        {
            let mut queue = lock(&self.queue);
            if queue.closed {
                return Err(StoreError::Unavailable("it is closed".to_owned()));
            }
            queue.waiting.push(Waiting { job, answer });
            self.batch_delay.queued(queue.waiting.len());
            if !queue.flushing {
                queue.flushing = true;
                tokio::spawn(Arc::clone(self).drain_queue());
            }
        }
        answered.await.unwrap_or_else(|_| Err(StoreError::Unknown("the commit was given up".to_owned())))
    }

    /// Commits the queued jobs and accepts no more.
    pub(super) async fn close(self: &Arc<Self>) -> Result<(), StoreError> {
        let nothing = Job { change: Change::default(), entries: Vec::new(), durable: Durable::Now, patient: false };
        let last = self.commit(nothing).await;
        lock(&self.queue).closed = true;
        if !self.committed.load(Ordering::Acquire) {
            return last.map(|_| ());
        }
        self.store.sync().await?;
        // Commits that were to be durable soon are durable now; record that in the state file.
        let (end, durable) = (lock(&self.chain).map(|chain| chain.end.head()), *lock(&self.durable));
        if let Some(head) = end.or(durable) {
            // The end of an older copy, which may have grown, must not take the place of the known one.
            self.must_be_newest(&head).await?;
            self.state.record_end(head, true).await;
        }
        last.map(|_| ())
    }

    async fn drain_queue(self: Arc<Self>) {
        let _guard = FreeIfPanicked(&self.queue);
        loop {
            let batch: Vec<_> = {
                let mut queue = lock(&self.queue);
                if queue.waiting.is_empty() {
                    // Under the same lock: a job that is queued after this finds no task at work and starts a new one.
                    queue.flushing = false;
                    return;
                }
                let until = queue.waiting.iter().take(BATCH).position(|waiting| waiting.job.patient);
                let count = until.map_or(queue.waiting.len().min(BATCH), |patient| patient.max(1));
                queue.waiting.drain(..count).collect()
            };
            let (left, landed) = (Instant::now(), batch.len());
            if let Err(cause @ StoreError::Unavailable(_)) = self.commit_all(batch).await {
                // Jobs queued meanwhile have waited as well and would fail for the same reason; don't let them wait as
                // long again.
                let queued = std::mem::take(&mut lock(&self.queue).waiting);
                answer(queued, &Err(cause));
            }
            if self.store.clock().is_some() {
                // The vault is on a server.
                self.batch_delay.wait(landed, left.elapsed(), || lock(&self.queue).waiting.len()).await;
            }
        }
    }

    /// Commits a batch and answers it. The first tries may have taken long because they waited for a server.
    async fn commit_all(self: &Arc<Self>, mut batch: Vec<Waiting>) -> Result<(), StoreError> {
        let deadline = Instant::now() + if batch.iter().any(|one| one.job.patient) { LONG_PATIENCE } else { PATIENCE };
        let mut tried: u32 = 0;
        while !batch.is_empty() && (tried <= EAGER_TRIES || Instant::now() <= deadline) {
            self.pause(tried).await;
            tried = tried.saturating_add(1);
            let failed = match self.try_all(&mut batch).await {
                Ok(true) => return Ok(()),
                Ok(false) => continue,
                Err(cause) => cause,
            };
            // The next commit checks everything anew: another vault may have taken this one's place meanwhile.
            (*lock(&self.chain), *lock(&self.kept), *lock(&self.looked)) = (None, None, None);
            answer(batch, &Err(failed.clone()));
            return Err(failed);
        }
        answer(batch, &Err(StoreError::Unavailable("other processes were faster each time".to_owned())));
        Ok(())
    }

    /// Tries to commit a batch. Changes that can't be committed are answered and removed from it. `true`: all others
    /// were committed.
    async fn try_all(self: &Arc<Self>, batch: &mut Vec<Waiting>) -> Result<bool, StoreError> {
        if batch.iter().all(|waiting| waiting.job.is_nothing()) {
            answer(std::mem::take(batch), &Ok(Outcome::Done));
            return Ok(true);
        }
        let chain = self.chain_for(batch).await?;
        let (commit, next) = self.prepare(batch, chain)?;
        match self.store.commit(Arc::new(commit)).await? {
            Committed::Done => {
                *lock(&self.chain) = Some(next);
                self.done(std::mem::take(batch), next.end.head());
                return Ok(true);
            }
            Committed::Moved { .. } => *lock(&self.chain) = None,
            Committed::Taken { changes } => refuse(batch, &changes, Outcome::Taken),
            Committed::Stale { changes } => {
                // The last change moves the head, which another process has moved meanwhile.
                if changes.contains(&batch.len()) {
                    *lock(&self.chain) = None;
                }
                refuse(batch, &changes, Outcome::Stale);
            }
        }
        Ok(false)
    }

    /// Where the chain continues. An older copy may have been written over the vault, whose chain goes on where this
    /// process left it. That is checked before anything new is given out, and once a second for codes that are read
    /// again.
    async fn chain_for(&self, batch: &[Waiting]) -> Result<Chain, StoreError> {
        let chain = self.chain().await?;
        let is_new = batch.iter().any(|waiting| waiting.job.durable == Durable::Now);
        if is_new || lock(&self.looked).is_none_or(|then| then.elapsed() >= LOOK_PAUSE) {
            self.must_be_newest(&chain.end.head()).await?;
        }
        Ok(chain)
    }

    /// Refuses an older copy: the end of a chain that this machine knows must be a row of it. (Commits check that
    /// `tail` is.)
    async fn must_be_newest(&self, tail: &ChainHead) -> Result<(), StoreError> {
        *lock(&self.looked) = Some(Instant::now());
        let kept = *lock(&self.kept);
        // A row that another process wrote after this one's last may be gone again by the next commit.
        let is_later = |known: &ChainHead| {
            tail.seq < known.seq || kept.is_none_or(|kept| kept.chain != tail.chain || kept.seq < known.seq)
        };
        let Some(known) = self.state.end_of(tail.chain).filter(is_later) else { return Ok(()) };
        if !is_kept(self.store.as_ref(), &self.keyring, &known).await? {
            *lock(&self.chain) = None;
            return Err(StoreError::Unavailable(OLDER.to_owned()));
        }
        *lock(&self.kept) = Some(known);
        Ok(())
    }

    /// The commit of a batch, and where the chain continues after it.
    fn prepare(&self, batch: &[Waiting], chain: Chain) -> Result<(Commit, Chain), StoreError> {
        let (mut next, tail) = (chain, chain.end.tail);
        let mut changes = Vec::with_capacity(batch.len() + 1);
        for Waiting { job, .. } in batch {
            let mut change = job.change.clone();
            for entry in &job.entries {
                change.audit.push(self.keyring.append(&mut next.end, entry)?);
            }
            changes.push(change);
        }
        let rows = next.end.tail != tail;
        // A chain gets its head with its first row.
        let now = chain.head == Some(0) || batch.iter().any(|waiting| waiting.job.durable == Durable::Now);
        // The head may only name rows that are durable with it.
        if let Some(version) = next.head
            && now
            && rows
        {
            let record = self.keyring.record(&AuditHead(next.end.head()), version.saturating_add(1));
            changes.push(Change { put: vec![Put { record, index: Index::Keep }], ..Change::default() });
            next.head = Some(version.saturating_add(1));
        }
        let durable = if now { Durable::Now } else { Durable::Soon };
        Ok((Commit { changes, tail: rows.then_some(tail), durable }, next))
    }

    fn done(self: &Arc<Self>, batch: Vec<Waiting>, head: ChainHead) {
        let now = batch.iter().any(|waiting| waiting.job.durable == Durable::Now);
        let urgent = batch.iter().any(|waiting| !waiting.job.is_code());
        answer(batch, &Ok(Outcome::Done));
        self.committed.store(true, Ordering::Release);
        if now {
            *lock(&self.durable) = Some(head);
            let state = Arc::clone(&self.state);
            *lock(&self.kept) = Some(head);
            if state.is_due(urgent) {
                tokio::spawn(async move { state.record_end(head, urgent).await });
            }
        } else if !self.sync_due.swap(true, Ordering::AcqRel) {
            let writer = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(SYNC_DELAY).await;
                writer.sync_due.store(false, Ordering::Release);
                if let Err(cause) = writer.store.sync().await {
                    tracing::warn!(%cause, "rows of codes that were read again are not durable yet");
                }
            });
        }
    }

    /// Where the chain continues: remembered, or read from the store.
    async fn chain(&self) -> Result<Chain, StoreError> {
        let known = *lock(&self.chain);
        if let Some(chain) = known {
            return Ok(chain);
        }
        let (store, keyring) = (self.store.as_ref(), self.keyring.as_ref());
        let number = store.own_chain().await?;
        let durable = *lock(&self.durable);
        for known in [durable, self.state.end_of(number)].into_iter().flatten() {
            if !is_kept(store, keyring, &known).await? {
                return Err(StoreError::Unavailable(OLDER.to_owned()));
            }
        }
        let end = end_of(store, keyring, number).await?;
        let head = match head_of(store, keyring, number).await? {
            Some((AuditHead(head), version)) => is_kept(store, keyring, &head).await?.then_some(version),
            // The first chain has had a row from the beginning.
            None => (number > 0 && end.head() == genesis(number)).then_some(0),
        };
        if head.is_none() {
            tracing::error!("the audit log does not end where its head says; `countersign audit verify` tells more");
        }
        let chain = Chain { end, head };
        *lock(&self.chain) = Some(chain);
        Ok(chain)
    }

    /// Pauses before the next try, for a different time in each process, so that other processes get a chance.
    async fn pause(&self, tried: u32) {
        if tried < EAGER_TRIES {
            return;
        }
        let mut dice = [0; 1];
        // Without randomness all processes pause equally long.
        let _ = self.random.fill(&mut dice);
        tokio::time::sleep(PAUSE * u32::from(dice[0]) / u32::from(u8::MAX)).await;
    }
}

/// Resets the queue if a commit panics. In the normal case it is reset under the lock that found it empty.
struct FreeIfPanicked<'a>(&'a Mutex<Queue>);

impl Drop for FreeIfPanicked<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Waiting callers get an error when their senders are dropped.
            *lock(self.0) = Queue::default();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(batch: Vec<Waiting>, with: &Answer) {
    for waiting in batch {
        // The receiver may be gone; ignore that.
        let _ = waiting.answer.send(with.clone());
    }
}

/// Answers some changes of a batch and removes them.
fn refuse(batch: &mut Vec<Waiting>, changes: &[usize], outcome: Outcome) {
    let (refused, rest): (Vec<_>, Vec<_>) =
        std::mem::take(batch).into_iter().enumerate().partition(|(nth, _)| changes.contains(nth));
    *batch = rest.into_iter().map(|(_, waiting)| waiting).collect();
    answer(refused.into_iter().map(|(_, waiting)| waiting).collect(), &Ok(outcome));
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::{
        domain::{
            audit::{Action, Actor, AuditEntry},
            ids::AccountId,
            time::Timestamp,
        },
        random::SystemRandom,
        store::{AuditPage, AuditQuery, AuditRecord, Finders, Kind, List, Record, RecordKey, Store, Tail},
        vault::keyring::tests::vault,
    };

    /// A store that answers commits as if other processes were faster, or the disk failed.
    struct Contrary {
        answer: fn(usize) -> Result<Committed, StoreError>,
        commits: Mutex<Vec<Arc<Commit>>>,
        /// The records of its only chain.
        rows: Mutex<Vec<AuditRecord>>,
        synced: Result<(), StoreError>,
        syncs: Mutex<usize>,
    }

    #[async_trait]
    impl Store for Contrary {
        async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, StoreError> {
            Ok(keys.iter().map(|_| None).collect())
        }

        async fn find(&self, _: Kind, _: Option<AccountId>, _: [u8; 32]) -> Result<Option<Record>, StoreError> {
            Ok(None)
        }

        async fn finders(&self, _: &[RecordKey]) -> Result<Vec<Finders>, StoreError> {
            Ok(Vec::new())
        }

        async fn list(&self, _: &List) -> Result<Vec<Record>, StoreError> {
            Ok(Vec::new())
        }

        async fn count(&self, _: &List) -> Result<u64, StoreError> {
            Ok(0)
        }

        async fn commit(&self, commit: Arc<Commit>) -> Result<Committed, StoreError> {
            let mut commits = lock(&self.commits);
            commits.push(commit);
            (self.answer)(commits.len())
        }

        async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
            let rows = lock(&self.rows);
            let after = query.after.0.first().map_or(0, |(_, seq)| *seq);
            let found = if query.newest { rows.last() } else { rows.iter().find(|row| row.seq > after) };
            Ok(AuditPage { records: found.cloned().into_iter().collect(), next: None })
        }

        async fn tail(&self, _: u32) -> Result<Option<Tail>, StoreError> {
            Ok(None)
        }

        async fn chains(&self) -> Result<Vec<u32>, StoreError> {
            Ok(Vec::new())
        }

        async fn sync(&self) -> Result<(), StoreError> {
            *lock(&self.syncs) += 1;
            self.synced.clone()
        }

        async fn probe(&self) -> Result<(), StoreError> {
            Ok(())
        }

        async fn hold(&self) -> Result<(), StoreError> {
            Ok(())
        }

        async fn retire(&self, _: &str) -> Result<(), StoreError> {
            Ok(())
        }

        async fn examine(&self) -> Result<Vec<String>, StoreError> {
            Ok(Vec::new())
        }

        async fn close(&self) -> Result<(), StoreError> {
            Ok(())
        }
    }

    fn writer(answer: fn(usize) -> Result<Committed, StoreError>) -> (Arc<Writer>, Arc<Contrary>) {
        writer_over(contrary(answer), None)
    }

    fn contrary(answer: fn(usize) -> Result<Committed, StoreError>) -> Contrary {
        Contrary { answer, commits: Mutex::default(), rows: Mutex::default(), synced: Ok(()), syncs: Mutex::default() }
    }

    fn writer_over(store: Contrary, states: Option<&std::path::Path>) -> (Arc<Writer>, Arc<Contrary>) {
        let store = Arc::new(store);
        let keyring = Arc::new(vault(1).0);
        let state = StateFile::new(states, Arc::clone(&keyring));
        let shared: SharedStore = Arc::<Contrary>::clone(&store);
        (Arc::new(Writer::new(shared, keyring, Arc::new(SystemRandom), state, None)), store)
    }

    fn job(step: i64) -> Job {
        let entry = AuditEntry::by(Actor::System, Action::Call, Timestamp::from_micros(step));
        Job { change: Change::default(), entries: vec![entry], durable: Durable::Now, patient: false }
    }

    const fn moved() -> Committed {
        Committed::Moved { tail: Tail { chain: 0, seq: 9, mac: [0; 32] } }
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_for_which_others_are_always_faster_ends_within_its_bound() {
        for answer in [|_| Ok(moved()), |_| Ok(Committed::Stale { changes: vec![7] })] {
            for patient in [false, true] {
                let (writer, _store) = writer(answer);
                let begun = Instant::now();
                let refused = writer.commit(Job { patient, ..job(1) }).await.unwrap_err();
                assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
                let most = if patient { LONG_PATIENCE } else { PATIENCE };
                assert!((most..=most + PAUSE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_patient_commit_outlasts_writers_that_never_rest_and_holds_up_none_that_was_before_it() {
        let (writer, store) = writer(|tried| match tried {
            1 | 1000.. => Ok(Committed::Done),
            _ => Ok(moved()),
        });
        let soon = Job { durable: Durable::Soon, ..job(1) };
        let (before, patient) = (writer.commit(soon), writer.commit(Job { patient: true, ..job(2) }));
        let (before, patient) = tokio::join!(before, patient);
        assert_eq!((before, patient), (Ok(Outcome::Done), Ok(Outcome::Done)));
        assert_eq!(lock(&store.commits).len(), 1000);
    }

    #[tokio::test]
    async fn a_commit_comes_through_once_the_others_rest() {
        let (writer, store) = writer(|tried| Ok(if tried < 5 { moved() } else { Committed::Done }));
        assert_eq!(writer.commit(job(1)).await, Ok(Outcome::Done));
        assert_eq!(lock(&store.commits).len(), 5);
    }

    #[tokio::test]
    async fn all_of_a_commit_hear_that_its_outcome_is_unknown_and_the_next_one_looks_anew() {
        let unknown = |tried| if tried == 2 { Err(StoreError::Unknown("cut".to_owned())) } else { Ok(Committed::Done) };
        let (writer, store) = writer(unknown);
        let soon = Job { durable: Durable::Soon, ..job(1) };
        assert_eq!(writer.commit(soon).await, Ok(Outcome::Done));
        let (one, other) = (job(2), job(3));
        let (one, other) = tokio::join!(writer.commit(one), writer.commit(other));
        assert!(matches!((one, other), (Err(StoreError::Unknown(_)), Err(StoreError::Unknown(_)))));
        assert_eq!(writer.commit(job(4)).await, Ok(Outcome::Done));
        let commits = lock(&store.commits);
        let tails: Vec<_> = commits.iter().map(|commit| commit.tail.map(|tail| tail.seq)).collect();
        // For the last commit, the end of the chain was read anew; in the store the chain is empty.
        assert_eq!(tails, [Some(0), Some(1), Some(0)]);
        assert_eq!(commits[1].changes.len(), 2, "both were ready");
    }

    #[tokio::test]
    async fn what_is_queued_behind_an_obstacle_does_not_wait_for_it_once_more() {
        let (writer, store) = writer(|_| Err(StoreError::Unavailable("somebody is in the way".to_owned())));
        let count = i64::try_from(BATCH).unwrap() + 2;
        let all = futures::future::join_all((0..count).map(|step| writer.commit(job(step)))).await;
        assert!(all.iter().all(|one| matches!(one, Err(StoreError::Unavailable(_)))));
        assert_eq!(lock(&store.commits).len(), 1);
    }

    /// The rows of the first jobs, as any process chains them.
    fn rows_of_jobs(count: i64) -> Vec<AuditRecord> {
        let (keyring, mut end) = (vault(1).0, End::of_base(&genesis(0)));
        (1..=count).map(|nth| keyring.append(&mut end, &job(nth).entries[0]).unwrap().record).collect()
    }

    /// The check of the chain's end comes before the commit. It must not be trusted once the commit has failed.
    #[tokio::test]
    async fn an_older_copy_that_came_after_a_commit_that_failed_is_noticed() {
        let failing: [fn(usize) -> Result<Committed, StoreError>; 3] = [
            |tried| if tried == 2 { Err(StoreError::Unavailable("held".to_owned())) } else { Ok(Committed::Done) },
            |tried| if tried == 2 { Err(StoreError::Unknown("cut".to_owned())) } else { Ok(Committed::Done) },
            |tried| Ok(if tried == 2 { Committed::Stale { changes: vec![0] } } else { Committed::Done }),
        ];
        for answer in failing {
            let folder = tempfile::tempdir().unwrap();
            let (writer, store) = writer_over(contrary(answer), Some(folder.path()));
            assert_eq!(writer.commit(job(1)).await, Ok(Outcome::Done));
            // Another process writes two rows after it.
            let rows = rows_of_jobs(3);
            let head = ChainHead { chain: 0, seq: rows[2].seq, mac: rows[2].mac };
            *lock(&store.rows) = rows.clone();
            writer.state.replace(&[head]).unwrap();
            let failed = writer.commit(job(4)).await;
            assert!(failed != Ok(Outcome::Done), "{failed:?}");

            *lock(&store.rows) = rows[..1].to_vec();

            assert_eq!(writer.commit(job(5)).await, Err(StoreError::Unavailable(OLDER.to_owned())));
            *lock(&store.rows) = rows;
            assert_eq!(writer.commit(job(5)).await, Ok(Outcome::Done));
        }
    }

    #[tokio::test]
    async fn closing_takes_no_row_for_durable_that_no_sync_has_brought_to_the_disk() {
        let synced = Err(StoreError::Unknown("the disk did not confirm a write".to_owned()));
        let (writer, _store) = writer_over(Contrary { synced, ..contrary(|_| Ok(Committed::Done)) }, None);
        assert_eq!(writer.commit(job(1)).await, Ok(Outcome::Done));
        assert_eq!(writer.commit(Job { durable: Durable::Soon, ..job(2) }).await, Ok(Outcome::Done));
        assert!(matches!(writer.close().await, Err(StoreError::Unknown(_))));
        assert_eq!(lock(&writer.durable).map(|head| head.seq), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_to_be_durable_soon_is_synced_once_for_all_that_came_meanwhile() {
        let (writer, store) = writer(|_| Ok(Committed::Done));
        for round in 1..=2 {
            for step in 0..3 {
                writer.commit(Job { durable: Durable::Soon, ..job(step) }).await.unwrap();
            }
            assert_eq!(*lock(&store.syncs), round - 1);
            tokio::time::sleep(SYNC_DELAY * 2).await;
            assert_eq!(*lock(&store.syncs), round);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_copy_is_looked_for_once_a_second_where_nothing_new_is_given_out() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, store) = writer_over(contrary(|_| Ok(Committed::Done)), Some(folder.path()));
        *lock(&store.rows) = rows_of_jobs(1);
        assert_eq!(writer.commit(job(1)).await, Ok(Outcome::Done));
        writer.state.replace(&[ChainHead { chain: 0, seq: 9, mac: [9; 32] }]).unwrap();
        let soon = || Job { durable: Durable::Soon, ..job(2) };
        assert_eq!(writer.commit(soon()).await, Ok(Outcome::Done));
        tokio::time::advance(LOOK_PAUSE).await;
        assert_eq!(writer.commit(soon()).await, Err(StoreError::Unavailable(OLDER.to_owned())));
    }

    #[tokio::test]
    async fn the_state_file_follows_every_change_at_once_and_codes_alone_now_and_then() {
        let of = |action| AuditEntry::by(Actor::System, action, Timestamp::from_micros(1));
        let code = Job { entries: vec![of(Action::CodeGet), of(Action::CodeReserve)], ..job(1) };
        let mixed = Job { entries: vec![of(Action::CodeGet), of(Action::Call)], ..job(1) };
        assert_eq!([&code, &mixed, &job(1)].map(Job::is_code), [true, false, false]);

        let folder = tempfile::tempdir().unwrap();
        let (writer, _store) = writer_over(contrary(|_| Ok(Committed::Done)), Some(folder.path()));
        for step in 1..=3 {
            writer.commit(job(step)).await.unwrap();
            let written = async {
                while writer.state.end_of(0).map(|head| head.seq) != Some(step.unsigned_abs()) {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), written).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_commit_that_panics_holds_up_no_other() {
        let (writer, _store) = writer(|tried| {
            assert!(tried > 1, "a fault of the store's");
            Ok(Committed::Done)
        });
        assert!(matches!(writer.commit(job(1)).await, Err(StoreError::Unknown(_))));
        assert_eq!(writer.commit(job(2)).await, Ok(Outcome::Done));
    }

    #[tokio::test]
    async fn a_commit_is_durable_at_once_if_one_of_its_changes_must_be() {
        let (writer, store) = writer(|_| Ok(Committed::Done));
        let soon = |step| Job { durable: Durable::Soon, ..job(step) };
        assert_eq!(writer.commit(job(1)).await, Ok(Outcome::Done));
        assert_eq!(writer.commit(soon(2)).await, Ok(Outcome::Done));
        let (one, other) = tokio::join!(writer.commit(soon(3)), writer.commit(job(4)));
        assert_eq!((one, other), (Ok(Outcome::Done), Ok(Outcome::Done)));
        let durable: Vec<_> = lock(&store.commits).iter().map(|commit| commit.durable).collect();
        assert_eq!(durable, [Durable::Now, Durable::Soon, Durable::Now]);
    }

    #[tokio::test]
    async fn callers_that_are_ready_together_share_a_commit() {
        let (writer, store) = writer(|_| Ok(Committed::Done));
        let callers: Vec<_> = (0..32)
            .map(|nth| {
                let writer = Arc::clone(&writer);
                async move { writer.commit(job(nth)).await }
            })
            .collect();
        let answers = futures::future::join_all(callers).await;
        assert!(answers.iter().all(|answer| *answer == Ok(Outcome::Done)));
        assert!(lock(&store.commits).len() <= 3, "{}", lock(&store.commits).len());
    }

    #[tokio::test]
    async fn who_is_stale_or_finds_a_name_taken_leaves_the_commit_and_the_others_happen() {
        let answer = |tried| match tried {
            1 => Ok(Committed::Stale { changes: vec![0] }),
            2 => Ok(Committed::Taken { changes: vec![1, 2] }),
            _ => Ok(Committed::Done),
        };
        let (writer, store) = writer(answer);
        let all = [1, 2, 3, 4, 5].map(|nth| writer.commit(job(nth)));
        let outcomes = futures::future::join_all(all).await;
        let expected = [Outcome::Stale, Outcome::Done, Outcome::Taken, Outcome::Taken, Outcome::Done].map(Ok);
        assert_eq!(outcomes, expected);
        let commits = lock(&store.commits);
        let rows = |commit: &Commit| commit.changes.iter().map(|change| change.audit.len()).sum::<usize>();
        assert_eq!(commits.iter().map(|commit| rows(commit)).collect::<Vec<_>>(), [5, 4, 2]);
    }
}
