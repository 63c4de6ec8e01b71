//! Combines reads of records: one statement reads what several callers request while the connection is busy. Under load
//! a statement costs the server more than the records that it finds.

use std::{
    collections::{BTreeSet, HashMap},
    mem::replace,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{runtime::Handle, sync::oneshot};

use super::{
    reads,
    store::{Reads, Shared},
};
use crate::store::{Record, RecordKey, StoreError};

type ReadRecords = Result<Vec<Option<Record>>, StoreError>;

/// Statements on their way: the server has the next one when it has answered one.
const UNDER_WAY: usize = 2;
/// Records that one statement reads at most.
const TOGETHER: usize = 1024;

/// The reads that wait for the connection.
#[derive(Default)]
pub(super) struct ReadQueue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// Statements on their way.
    under_way: usize,
    callers: Vec<Caller>,
}

/// A waiting caller.
struct Caller {
    keys: Vec<RecordKey>,
    answer: oneshot::Sender<ReadRecords>,
}

/// The right to have a statement on its way. Dropping it passes it to the waiting callers.
struct Turn(Arc<Shared>);

impl Drop for Turn {
    fn drop(&mut self) {
        let mut waiting = self.0.read_queue.lock();
        let callers = waiting.next();
        // Without a runtime no caller can receive an answer.
        let runtime = Handle::try_current().ok().filter(|_| !callers.is_empty());
        let Some(runtime) = runtime else {
            waiting.under_way -= 1;
            return;
        };
        drop(waiting);
        runtime.spawn(serve(Self(Arc::clone(&self.0)), callers));
    }
}

impl Waiting {
    /// Takes the callers whose records are read next.
    fn next(&mut self) -> Vec<Caller> {
        let mut count = 0;
        let fits = |caller: &&Caller| {
            let is_first = count == 0;
            count += caller.keys.len();
            is_first || count <= TOGETHER
        };
        let fitting = self.callers.iter().take_while(fits).count();
        let later = self.callers.split_off(fitting);
        replace(&mut self.callers, later)
    }
}

impl ReadQueue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads records, in the order of their keys, all as of one moment that is not before this call.
pub(super) async fn read(shared: &Arc<Shared>, keys: &[RecordKey]) -> ReadRecords {
    let waits = {
        let mut waiting = shared.read_queue.lock();
        if waiting.under_way < UNDER_WAY {
            waiting.under_way += 1;
            None
        } else {
            let (answer, answered) = oneshot::channel();
            waiting.callers.push(Caller { keys: keys.to_vec(), answer });
            Some(answered)
        }
    };
    let Some(answered) = waits else {
        let _turn = Turn(Arc::clone(shared));
        return of_server(shared, keys).await;
    };
    answered.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the read was given up".to_owned())))
}

async fn of_server(shared: &Shared, keys: &[RecordKey]) -> ReadRecords {
    shared.read_over(Reads::Records, |link| async move { reads::read(&link, keys).await }).await
}

/// Reads the records of these callers, and answers each.
async fn serve(turn: Turn, callers: Vec<Caller>) {
    let wanted: BTreeSet<&RecordKey> = callers.iter().flat_map(|caller| &caller.keys).collect();
    let wanted: Vec<RecordKey> = wanted.into_iter().cloned().collect();
    let found = of_server(&turn.0, &wanted).await;
    drop(turn);
    let found: Result<HashMap<&RecordKey, Option<Record>>, _> = found.map(|found| wanted.iter().zip(found).collect());
    for Caller { keys, answer } in callers {
        let own = found.as_ref().map_err(Clone::clone);
        let own = own.map(|found| keys.iter().map(|key| found.get(key).cloned().flatten()).collect());
        // The caller may have stopped waiting.
        let _ = answer.send(own);
    }
}
