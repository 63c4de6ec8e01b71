//! Reads that cost as much as an account is large: how many of them run at once for each caller, so that one caller's don't
//! keep the processor from the codes of all others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::waiting::{Whose, whose};
use crate::domain::principal::Principal;

/// Long reads of one caller that run at once.
const AT_ONCE: usize = 2;

/// The long reads of this process.
#[derive(Default)]
pub(super) struct LongReads(Mutex<HashMap<Whose, Arc<Semaphore>>>);

impl LongReads {
    /// Waits for a turn, which ends on drop.
    pub(super) async fn turn(&self, caller: &Principal) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those of callers that read and wait no more.
            callers.retain(|_, turns| Arc::strong_count(turns) > 1);
            Arc::clone(callers.entry(whose(caller)).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))))
        };
        turns.acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::domain::{ids::AccountId, scope::ScopeSet};

    #[test]
    fn a_caller_has_two_turns_at_once_and_takes_none_from_others() {
        let reads = LongReads::default();
        let caller = |nth| Principal::stdio(AccountId::new(uuid::Uuid::from_u128(nth)), ScopeSet::ALL, None);
        let turn = |nth| reads.turn(&caller(nth)).now_or_never().flatten();
        let held = (turn(1), turn(1));
        assert!(held.0.is_some() && held.1.is_some() && turn(1).is_none());
        assert!(turn(2).is_some());
        drop(held.0);
        assert!(turn(1).is_some());
        drop(held.1);
        assert!(turn(3).is_some());
        assert!(reads.0.lock().unwrap().len() <= 1, "callers that read no more are forgotten");
    }
}
