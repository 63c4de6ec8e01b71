//! Telling a client that its call still waits, so that it extends its timeout.

use std::time::Duration;

use async_trait::async_trait;
use rmcp::{
    Peer, RoleServer,
    model::{ProgressNotificationParam, ProgressToken},
    service::RequestContext,
};

use crate::service::Patience;

/// MCP progress, for the clients that asked for it.
pub(super) struct Progress {
    listener: Option<(ProgressToken, Peer<RoleServer>)>,
}

impl Progress {
    pub(super) fn of(context: &RequestContext<RoleServer>) -> Self {
        Self { listener: context.meta.get_progress_token().map(|token| (token, context.peer.clone())) }
    }
}

#[async_trait]
impl Patience for Progress {
    async fn waiting(&self, waited: Duration, total: Duration) {
        let Some((token, peer)) = &self.listener else { return };
        let left = total.saturating_sub(waited).as_secs_f64().ceil();
        let progress = ProgressNotificationParam::new(token.clone(), waited.as_secs_f64())
            .with_total(total.as_secs_f64())
            .with_message(format!("{left} s until the code"));
        // A client that has gone is noticed by its carrier.
        let _ = peer.notify_progress(progress).await;
    }

    fn listens(&self) -> bool {
        self.listener.is_some()
    }
}
