//! How often each key may call.

use std::{sync::Arc, time::Instant};

use super::owner::Owner;
use crate::{
    domain::{principal::Principal, rate::Rate},
    operations::{Pace, Refusal},
};

/// How often each key may call. HTTP hands it to the tools beside the caller: a tool call beyond it is refused as one.
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
