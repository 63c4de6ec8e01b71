//! The rate limit of calls for each key.

use std::sync::{Arc, Mutex, PoisonError};

use crate::operations::{Pace, Refusal, Service};

/// The rate limit of a caller's calls. HTTP passes it to the tools with the caller, so that a tool call beyond it is refused as a
/// call.
#[derive(Clone)]
pub(in crate::transport) struct CallPace {
    pace: Arc<Pace>,
    caller: [u8; 32],
    /// A call that was counted together with the authentication, which saves a round trip to a server.
    ahead: Arc<Mutex<Option<Result<(), Refusal>>>>,
}

impl CallPace {
    pub(in crate::transport) fn new(pace: &Arc<Pace>, caller: [u8; 32], ahead: Option<Result<(), Refusal>>) -> Self {
        Self { pace: Arc::clone(pace), caller, ahead: Arc::new(Mutex::new(ahead)) }
    }

    /// Counts one call.
    pub(in crate::transport) async fn count(&self, service: &Service) -> Result<(), Refusal> {
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).take();
        match ahead {
            Some(counted) => counted,
            None => service.count(&self.pace, &self.caller).await,
        }
    }
}
