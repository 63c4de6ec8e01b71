//! The opening of a session over Streamable HTTP.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rmcp::transport::streamable_http_server::session::{SessionId, SessionManager as _};
use tokio::runtime::Handle;

use super::{places::Place, sessions::Sessions};
use crate::operations::Refusal;

/// A session that is being opened. It takes its place before it is created. If the client disconnects before
/// it gets the session's id, this is dropped and closes the session.
pub(super) struct Opening {
    sessions: Arc<Sessions>,
    stage: Mutex<Stage>,
    /// Why there is no session after all.
    refused: OnceLock<Refusal>,
}

enum Stage {
    /// It has a place.
    Placed(Place),
    /// It exists, and the client does not know its id yet.
    Made(SessionId),
    /// The client knows its id, or there is no session.
    Over,
}

impl Opening {
    /// The opening of a session that has a place.
    pub(super) const fn of(sessions: Arc<Sessions>, place: Place) -> Self {
        Self { sessions, stage: Mutex::new(Stage::Placed(place)), refused: OnceLock::new() }
    }

    /// Records that the session exists.
    pub(super) fn is_made(&self, id: SessionId) {
        *self.stage() = Stage::Made(id);
    }

    /// Records that the client gets the session's id.
    pub(super) fn is_known(&self) {
        if let Stage::Made(id) = std::mem::replace(&mut *self.stage(), Stage::Over) {
            self.sessions.is_ready(&id);
        }
    }

    /// Records that there is no session after all.
    pub(super) fn refuse(&self, refusal: Refusal) {
        let _ = self.refused.set(refusal);
    }

    /// Why there is no session after all.
    pub(super) fn refused(&self) -> Option<Refusal> {
        self.refused.get().cloned()
    }

    /// Takes the place; `None` if it was taken before.
    pub(super) fn place(&self) -> Option<Place> {
        match std::mem::replace(&mut *self.stage(), Stage::Over) {
            Stage::Placed(place) => Some(place),
            Stage::Made(_) | Stage::Over => None,
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let (Stage::Made(id), Ok(runtime)) = (&*self.stage(), Handle::try_current()) {
            let (sessions, id) = (Arc::clone(&self.sessions), id.clone());
            if let Some(shared) = &sessions.shared {
                shared.service.end_session_later(id.to_string());
            }
            runtime.spawn(async move { sessions.close_session(&id).await });
        }
    }
}
