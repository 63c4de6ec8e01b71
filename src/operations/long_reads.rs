//! Limits the reads whose cost grows with the account: how many of them run at once for each caller, and how many wait,
//! so that one caller's reads don't keep the processor from the codes of all others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Call, Failed, Limit, Refusal,
    waiting::{Whose, whose},
};
use crate::domain::{
    limits::{LONG_READ_WAIT_SECONDS_MAX, LONG_READS_AT_ONCE, LONG_READS_WAITING_MAX},
    principal::Principal,
};

const WAIT_MAX: Duration = Duration::from_secs(LONG_READ_WAIT_SECONDS_MAX);

/// By the end of that time, every read that waits now runs or has been refused.
const TOO_MANY: Refusal = Refusal::RateLimited { limit: Limit::LongReads, after: WAIT_MAX };

/// The long reads of this process.
#[derive(Default)]
pub(super) struct LongReads(Mutex<HashMap<Whose, Arc<Semaphore>>>);

impl LongReads {
    /// The turns of a caller; `None` if more of its reads wait than `waiting_max`. Each read that runs or waits holds a
    /// reference to them.
    fn turns_of(&self, caller: &Principal, waiting_max: usize) -> Option<Arc<Semaphore>> {
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Removes the turns of callers without a read that runs or waits.
        callers.retain(|_, turns| Arc::strong_count(turns) > 1);
        let turns = callers.entry(whose(caller)).or_insert_with(|| Arc::new(Semaphore::new(LONG_READS_AT_ONCE)));
        let others = Arc::strong_count(turns) - 1;
        (others < LONG_READS_AT_ONCE.saturating_add(waiting_max)).then(|| Arc::clone(turns))
    }
}

impl Call<'_> {
    /// Waits for a turn for a long read; dropping the permit ends it. A list that has begun has no limit: its caller
    /// has a part of it already, and its connection is one of few.
    pub(super) async fn turn(&self, has_begun: bool) -> Result<OwnedSemaphorePermit, Failed> {
        let (waiting_max, within) =
            if has_begun { (usize::MAX, None) } else { (LONG_READS_WAITING_MAX, Some(WAIT_MAX)) };
        let turns = self.service.shared.long_reads.turns_of(self.caller, waiting_max).ok_or(TOO_MANY)?;
        let turn = self.service.wait_for(self.caller, within, turns.acquire_owned()).await?;
        // The turns are never closed.
        Ok(turn.and_then(Result::ok).ok_or(TOO_MANY)?)
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
        let turn = |nth| reads.turns_of(&caller(nth), 1)?.acquire_owned().now_or_never()?.ok();
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
