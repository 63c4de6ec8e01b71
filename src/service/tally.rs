//! What this process has handed out and refused, in numbers, for those who watch it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Code, Service};

/// The counters.
#[derive(Default)]
pub(super) struct Counters {
    codes_issued: AtomicU64,
    refused: [AtomicU64; Code::ALL.len()],
}

/// Their values at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Codes handed out.
    pub codes_issued: u64,
    /// Calls refused, by code.
    pub refused: Vec<(Code, u64)>,
    /// Callers that wait for a code.
    pub waiting: usize,
}

impl Counters {
    /// Counts a code handed out.
    pub(super) fn issued(&self) {
        self.codes_issued.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a refusal.
    pub(super) fn refused(&self, code: Code) {
        let at = Code::ALL.iter().position(|known| *known == code);
        at.and_then(|at| self.refused.get(at)).map(|count| count.fetch_add(1, Ordering::Relaxed));
    }
}

impl Service {
    /// Counts a refusal that leaves no row on the trail: a transport's own, or that of a mere look.
    pub fn count_refusal(&self, code: Code) {
        self.parts.counters.refused(code);
    }

    /// What this process has handed out and refused.
    pub fn tally(&self) -> Tally {
        let counters = &self.parts.counters;
        let refused = Code::ALL.into_iter().zip(&counters.refused);
        Tally {
            codes_issued: counters.codes_issued.load(Ordering::Relaxed),
            refused: refused.map(|(code, count)| (code, count.load(Ordering::Relaxed))).collect(),
            waiting: self.parts.waiters.count(),
        }
    }
}
