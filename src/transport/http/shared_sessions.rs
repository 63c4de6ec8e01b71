//! Sessions over Streamable HTTP on a vault that several nodes serve. A session is a record, and any node can continue
//! it: rmcp replays the client's greeting there. A node holds only a working copy.
//!
//! A request reads the record once, before rmcp sees it, and [`Records`] returns to rmcp what was read.

use std::{sync::Arc, time::Duration};

use rmcp::{
    model::{ClientCapabilities, Implementation, InitializeRequestParams},
    transport::streamable_http_server::session::{SessionState, SessionStore, SessionStoreError},
};
use tokio_util::sync::CancellationToken;

use super::{
    door::App,
    sessions::{Sessions, VISITOR},
    settings::Limits,
};
use crate::{
    domain::{text::Claim, time::Timestamp},
    operations::{Refusal, Service, SessionLimits},
    transport::owner::Owner,
};

/// The sessions of all nodes.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) service: Service,
    pub(super) limits: SessionLimits,
}

impl Shared {
    /// The shared sessions; `None` if no other node serves this vault.
    pub(super) fn of(service: &Service, limits: Limits) -> Option<Self> {
        let limits = limits_of(limits);
        service.has_other_nodes().then(|| Self { service: service.clone(), limits })
    }

    /// The state that rmcp needs to continue a session of this owner.
    ///
    /// # Errors
    /// `unavailable`.
    pub(super) async fn state(&self, id: &str, owner: Owner) -> Result<Option<SessionState>, Refusal> {
        let greeting = self.service.session(id, &owner.of_session(), &self.limits).await?;
        Ok(greeting.and_then(|greeting| serde_json::from_slice(&greeting).ok()))
    }

    /// Records the uses of this node's copies, and closes those whose sessions have ended.
    async fn refresh(&self, sessions: &Sessions) {
        let now = self.service.now();
        let used = sessions.uses().into_iter().map(|(id, ago)| (id.to_string(), now.minus(ago))).collect();
        // If the store can't be read, keep the copies: each request reads its own record.
        for id in self.noted(used).await {
            sessions.drop_copy(&id).await;
        }
    }

    /// Records uses; returns the sessions that have ended.
    pub(super) async fn noted(&self, used: Vec<(String, Timestamp)>) -> Vec<String> {
        self.service.note_sessions(used, &self.limits).await.unwrap_or_default()
    }
}

/// Keeps this node's sessions and streams in step with the other nodes', if there may be any, until the server stops.
pub(super) async fn follow_other_nodes(app: &App, stop: CancellationToken) {
    let sessions = app.mcp.sessions();
    let Some(shared) = &sessions.shared else { return };
    let mut rounds = tokio::time::interval(app.limits.keep_alive / 5);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(rounds.tick()).await.is_some() {
        shared.refresh(sessions).await;
        app.sse.refresh(shared).await;
    }
}

/// The store's limits of sessions. Times of use are written once a minute if sessions may be idle for the usual five.
pub(super) fn limits_of(limits: Limits) -> SessionLimits {
    let Limits { sessions, sessions_per_key, session_idle, .. } = limits;
    let noted_every: Duration = session_idle / 5;
    SessionLimits { all: sessions, each: sessions_per_key, idle: session_idle, noted_every }
}

/// The part of a greeting that this server uses: the rest may be large, and matters to the client alone.
fn used_of(params: &InitializeRequestParams) -> InitializeRequestParams {
    let mut capabilities = ClientCapabilities::default();
    capabilities.elicitation.clone_from(&params.capabilities.elicitation);
    let claimed = |text: &str| Claim::of(text).as_str().to_owned();
    let client = Implementation::new(claimed(&params.client_info.name), claimed(&params.client_info.version));
    InitializeRequestParams::new(capabilities, client).with_protocol_version(params.protocol_version.clone())
}

/// rmcp's access to the records. Every method runs within a request.
pub(super) struct Records(pub(super) Arc<Shared>);

#[async_trait::async_trait]
impl SessionStore for Records {
    async fn load(&self, _id: &str) -> Result<Option<SessionState>, SessionStoreError> {
        Ok(VISITOR.try_with(|visitor| visitor.known.clone()).ok().flatten())
    }

    async fn store(&self, id: &str, state: &SessionState) -> Result<(), SessionStoreError> {
        let owner = VISITOR.try_with(|visitor| visitor.owner)?;
        let greeting = serde_json::to_vec(&SessionState::new(used_of(&state.initialize_params)))?;
        let Shared { service, limits } = &*self.0;
        let kept = service.keep_session(id, &owner.of_session(), &greeting, limits).await;
        // Otherwise rmcp would continue without a record, in a session that this node alone knows.
        if let (Err(refusal), Ok(Some(opening))) = (&kept, VISITOR.try_with(|visitor| visitor.opening.clone())) {
            opening.refuse(refusal.clone());
        }
        Ok(kept?)
    }

    async fn delete(&self, _id: &str) -> Result<(), SessionStoreError> {
        // The record was removed before rmcp was asked.
        Ok(())
    }
}
