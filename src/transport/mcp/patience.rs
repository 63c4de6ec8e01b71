//! Reports to a client that its call is still waiting, so that the client extends its timeout.

use std::time::Duration;

use async_trait::async_trait;
use rmcp::{RoleServer, model::ProgressNotificationParam, service::RequestContext};

use crate::operations::Patience;

/// Sends MCP progress to clients that requested it. It looks up the progress token only when a call waits, since most
/// don't.
pub(super) struct Progress<'a>(pub(super) &'a RequestContext<RoleServer>);

#[async_trait]
impl Patience for Progress<'_> {
    async fn waiting(&self, waited: Duration, total: Duration) {
        let Some(token) = self.0.meta.get_progress_token() else { return };
        let left = total.saturating_sub(waited).as_secs_f64().ceil();
        let progress = ProgressNotificationParam::new(token, waited.as_secs_f64())
            .with_total(total.as_secs_f64())
            .with_message(format!("waiting; {left} s left at most"));
        // The transport notices a client that is gone.
        let _ = self.0.peer.notify_progress(progress).await;
    }

    fn listens(&self) -> bool {
        self.0.meta.get_progress_token().is_some()
    }
}
