//! Observers of calls, for monitoring: each call is reported to them when it has ended.

use std::{sync::Arc, time::Duration};

use super::{Entry, ErrorCode, Service, Surface};
use crate::domain::{time::Timestamp, trace::TraceParent};

/// An observer of calls. It must be quick: it runs before the caller has its answer.
pub trait Observer: Send + Sync {
    /// Reports a call that has ended.
    fn called(&self, call: &Called<'_>);
}

/// A call that has ended. It holds no secret; the caller chooses `trace` and the `Idempotency-Key` in `surface`.
pub struct Called<'a> {
    /// The operation.
    pub entry: &'static Entry,
    /// The transport.
    pub surface: &'a Surface,
    /// The refusal, if it was refused.
    pub refused: Option<ErrorCode>,
    /// When it began.
    pub began: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Its place in the caller's trace.
    pub trace: Option<TraceParent>,
}

impl Service {
    /// Sets the observer of calls. Call it once, before serving any caller.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        let _ = self.shared.observer.set(observer);
    }
}
