//! Records when a key was last used, after the request: a request that only reads must not wait for a writer.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::Service;
use crate::domain::{
    api_key::{ApiKey, KeyId},
    time::Timestamp,
};

/// The most keys remembered at once. If more are used within a minute, the uses of the others are not recorded.
const KEYS_MAX: usize = 10_000;

/// The last attempt for each key.
#[derive(Default)]
pub(super) struct LastUses(Mutex<HashMap<KeyId, Tried>>);

#[derive(Clone, Copy)]
struct Tried {
    minute: i64,
    /// Whether the commit has not finished.
    pending: bool,
}

impl LastUses {
    /// Whether to record a use in this minute: once a minute for each key, successful or not, and never before the
    /// previous commit has finished.
    fn begin(&self, key: KeyId, minute: i64) -> bool {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.get(&key).is_some_and(|tried| tried.pending || tried.minute == minute) {
            return false;
        }
        if keys.len() >= KEYS_MAX && !keys.contains_key(&key) {
            keys.retain(|_, tried| tried.pending || tried.minute == minute);
            if keys.len() >= KEYS_MAX {
                return false;
            }
        }
        keys.insert(key, Tried { minute, pending: true });
        true
    }

    fn end(&self, key: KeyId) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tried) = keys.get_mut(&key) {
            tried.pending = false;
        }
    }
}

impl Service {
    /// Records that a key is used now, to the minute, without waiting for the commit.
    pub(super) fn note_use(&self, key: &ApiKey, now: Timestamp) {
        let (id, account) = (key.id, key.rights.account);
        if !self.shared.last_uses.begin(id, now.seconds().div_euclid(60)) {
            return;
        }
        let service = self.clone();
        self.shared.waiters.leave_behind(async move {
            if let Err(cause) = service.vault().touch_key(id, account, now).await {
                tracing::warn!(%cause, "a key's last use could not be noted");
            }
            service.shared.last_uses.end(id);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> KeyId {
        format!("{number:012}").parse().unwrap()
    }

    #[test]
    fn a_use_is_noted_once_a_minute_and_one_commit_at_a_time() {
        let uses = LastUses::default();
        assert!(uses.begin(key(1), 7));
        assert!(!uses.begin(key(1), 7) && !uses.begin(key(1), 8), "the commit is under way");
        assert!(uses.begin(key(2), 7), "each key has its own");
        uses.end(key(1));
        assert!(!uses.begin(key(1), 7), "it is not tried again, whether it succeeded or not");
        assert!(uses.begin(key(1), 8));
    }

    #[test]
    fn more_keys_than_are_remembered_grow_nothing() {
        let uses = LastUses::default();
        assert!((0..KEYS_MAX).all(|number| uses.begin(key(number), 7)));
        assert!(!uses.begin(key(KEYS_MAX), 7) && !uses.begin(key(KEYS_MAX), 8), "all are under way");
        uses.end(key(0));
        assert!(uses.begin(key(KEYS_MAX), 8), "what was tried in an earlier minute makes room");
    }
}
