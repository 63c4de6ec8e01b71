//! The rate limit of calls for each key.

use std::{sync::Arc, time::Instant};

use super::owner::Owner;
use crate::{
    domain::{principal::Principal, rate::Rate},
    operations::{Pace, Refusal},
};

/// The rate limit of calls for each key. HTTP passes it to the tools with the caller, so that a tool call beyond it is
/// refused as a call.
#[derive(Clone)]
pub(in crate::transport) struct CallPace(Arc<Pace<Owner>>);

impl CallPace {
    pub(in crate::transport) fn new(rate: Rate) -> Self {
        Self(Arc::new(Pace::new(rate)))
    }

    /// Counts one call of a caller.
    pub(in crate::transport) fn count(&self, caller: &Principal) -> Result<(), Refusal> {
        let taken = self.0.take(Owner::of(caller), Instant::now());
        taken.map_err(|after| Refusal::RateLimited { what: "too many calls with this key", after })
    }
}
