//! HTTP+SSE on a vault that several nodes serve: a message that arrives at another node than the one with its stream is
//! sent to that node as a letter. Each node polls for letters while it has streams.

use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use http::Request;
use rmcp::model::{CallToolRequestMethod, ClientJsonRpcMessage, ConstString as _};
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

use super::{
    answer::Problem,
    auth::Auth,
    door::App,
    shared_sessions::{Shared, limits_of},
    sse::{NO_STREAM, Posted, Sse, accepted, read},
};
use crate::{
    domain::{principal::Principal, session::Letter},
    operations::Refusal,
    transport::pace::CallPace,
};

/// The interval at which a node polls for letters.
const LOOKED_FOR: Duration = Duration::from_millis(25);

/// Queues the letters to this node until the server stops.
pub(super) async fn deliver_letters(app: &App, stop: CancellationToken) {
    if app.sse.node.is_none() {
        return;
    }
    let mut rounds = tokio::time::interval(LOOKED_FOR);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(rounds.tick()).await.is_some() {
        if app.sse.streams() != 0 {
            let _in_order = app.sse.queueing.lock().await;
            // If the store can't be read, the letters wait.
            let _ = app.sse.collect().await;
        }
    }
}

impl Sse {
    /// Sends a message to the node with the stream.
    pub(super) async fn send_on(
        &self,
        id: &str,
        caller: &Principal,
        bytes: &Bytes,
        pace: Option<CallPace>,
    ) -> Result<Response, Problem> {
        let Some(node) = self.node else { return Err(NO_STREAM) };
        // Refused here, so that the sender gets the refusal.
        let (parts, ()) = Request::new(()).into_parts();
        let message = read(bytes, parts, http::Extensions::new())?;
        if let (Some(pace), ClientJsonRpcMessage::Request(request)) = (pace, &*message)
            && request.request.method() == CallToolRequestMethod::VALUE
        {
            // Counted on this node, where the message arrived; the other node does not count it again.
            pace.count(&self.service).await.map_err(Problem::Own)?;
        }
        let sent = self.service.send_letter((id, node), caller, bytes, &limits_of(self.limits)).await;
        if sent.map_err(Problem::Own)? { Ok(accepted()) } else { Err(NO_STREAM) }
    }

    /// Queues the letters to this node. The caller holds `queueing`.
    pub(super) async fn collect(&self) -> Result<(), Refusal> {
        let Some(node) = self.node else { return Ok(()) };
        let letters = self.service.letters(node).await?;
        let (mut taken, mut queued, mut full) = (Vec::new(), Vec::new(), Vec::new());
        for letter in letters {
            if full.contains(&letter.session) {
                continue;
            }
            // A letter for a stream that is gone is only removed.
            if let Some((id, messages)) = self.stream_of(&letter.session) {
                match messages.try_reserve_owned() {
                    Ok(room) => queued.extend(self.opened(&id, &letter).await?.map(|message| (room, message))),
                    Err(TrySendError::Closed(_)) => {}
                    Err(TrySendError::Full(_)) => {
                        full.push(letter.session);
                        continue;
                    }
                }
            }
            taken.push(letter);
        }
        // The letters are removed first, so that none is delivered twice.
        if !taken.is_empty() && self.service.take_letters(&taken).await? {
            for (room, message) in queued {
                room.send(message);
            }
        }
        Ok(())
    }

    /// The message in a letter; `None` if its sender may not call any more.
    async fn opened(&self, id: &str, letter: &Letter) -> Result<Option<Posted>, Refusal> {
        let opened = self.service.open_letter(id, letter).await?;
        Ok(opened.and_then(|(caller, message)| {
            let (parts, ()) = Request::new(()).into_parts();
            read(&message, parts, Auth::carried(caller, None)).ok()
        }))
    }

    /// Records that the streams are open, and ends those whose shared sessions have ended.
    pub(super) async fn refresh(&self, shared: &Shared) {
        let now = self.service.now();
        let used = self.known().into_iter().map(|id| (id, now)).collect();
        for id in shared.noted(used).await {
            self.end_stream(&id);
        }
    }
}
