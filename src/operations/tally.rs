//! Counters of what this process has handed out and refused, for monitoring.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{ErrorCode, Service};

/// The counters.
#[derive(Default)]
pub(super) struct Counters {
    codes_issued: AtomicU64,
    refused: [AtomicU64; ErrorCode::ALL.len()],
}

/// The counters' values at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Codes handed out.
    pub codes_issued: u64,
    /// Calls refused, by code.
    pub refused: Vec<(ErrorCode, u64)>,
    /// Callers that are waiting for a code.
    pub waiting: usize,
}

impl Counters {
    /// Counts a code handed out.
    pub(super) fn issued(&self) {
        self.codes_issued.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a refusal.
    pub(super) fn refused(&self, code: ErrorCode) {
        let at = ErrorCode::ALL.iter().position(|known| *known == code);
        at.and_then(|at| self.refused.get(at)).map(|count| count.fetch_add(1, Ordering::Relaxed));
    }
}

impl Service {
    /// Counts a transport's own refusal without an audit row.
    pub fn count_refusal(&self, code: ErrorCode) {
        self.shared.counters.refused(code);
    }

    /// The current values of the counters.
    pub fn tally(&self) -> Tally {
        let counters = &self.shared.counters;
        let refused = ErrorCode::ALL.into_iter().zip(&counters.refused);
        Tally {
            codes_issued: counters.codes_issued.load(Ordering::Relaxed),
            refused: refused.map(|(code, count)| (code, count.load(Ordering::Relaxed))).collect(),
            waiting: self.shared.waiters.count(),
        }
    }
}
