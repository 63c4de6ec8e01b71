//! Counters of the codes that this process has handed out and the calls that it has refused, for monitoring.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::{ErrorCode, Limit, Service};
use crate::domain::time::Timestamp;

/// The counters.
#[derive(Default)]
pub(super) struct Counters {
    codes_issued: AtomicU64,
    refused: [AtomicU64; ErrorCode::ALL.len()],
    limited: [AtomicU64; Limit::ALL.len()],
    /// The time of the last backup, in seconds; 0: none yet.
    last_backup: AtomicI64,
}

/// The counters' values at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Codes handed out.
    pub codes_issued: u64,
    /// Calls refused, by code.
    pub refused: Vec<(ErrorCode, u64)>,
    /// Calls refused, by the limit that they exceeded.
    pub limited: Vec<(Limit, u64)>,
    /// Callers that are waiting for a code.
    pub waiting: usize,
    /// When this process last made a backup by itself, in seconds.
    pub last_backup: Option<i64>,
    /// Microseconds by which this machine's clock is ahead of that of the vault's server, if it is on one.
    pub clock_ahead: Option<i64>,
}

impl Counters {
    /// Counts a code handed out.
    pub(super) fn issued(&self) {
        self.codes_issued.fetch_add(1, Ordering::Relaxed);
    }

    /// Records a backup that the process made by itself.
    pub(super) fn backed_up(&self, at: Timestamp) {
        self.last_backup.store(at.seconds(), Ordering::Relaxed);
    }

    /// Counts a refusal.
    pub(super) fn refused(&self, code: ErrorCode) {
        let at = ErrorCode::ALL.iter().position(|known| *known == code);
        at.and_then(|at| self.refused.get(at)).map(|count| count.fetch_add(1, Ordering::Relaxed));
    }

    /// Counts a refusal by the limit that was exceeded.
    pub(super) fn limited(&self, limit: Limit) {
        let at = Limit::ALL.iter().position(|known| *known == limit);
        at.and_then(|at| self.limited.get(at)).map(|count| count.fetch_add(1, Ordering::Relaxed));
    }
}

impl Service {
    /// Counts a transport's own refusal without an audit row.
    pub fn count_refusal(&self, code: ErrorCode) {
        self.shared.counters.refused(code);
    }

    /// Counts a transport's own refusal by the limit that was exceeded.
    pub fn count_limit(&self, limit: Limit) {
        self.shared.counters.limited(limit);
    }

    /// The current values of the counters.
    pub fn tally(&self) -> Tally {
        let counters = &self.shared.counters;
        let refused = ErrorCode::ALL.into_iter().zip(&counters.refused);
        let limited = Limit::ALL.into_iter().zip(&counters.limited);
        Tally {
            codes_issued: counters.codes_issued.load(Ordering::Relaxed),
            refused: refused.map(|(code, count)| (code, count.load(Ordering::Relaxed))).collect(),
            limited: limited.map(|(limit, count)| (limit, count.load(Ordering::Relaxed))).collect(),
            waiting: self.shared.waiters.count(),
            last_backup: Some(counters.last_backup.load(Ordering::Relaxed)).filter(|at| *at != 0),
            clock_ahead: self.clock_ahead(),
        }
    }
}
