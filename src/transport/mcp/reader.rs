//! The messages of a host, as the stream that rmcp serves.

use std::time::Duration;

use futures::{Stream, stream};
use rmcp::model::{ClientJsonRpcMessage, ClientNotification, ClientRequest, ServerJsonRpcMessage};
use tokio::{io::AsyncRead, sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    McpServer,
    greeting::flawed_greeting,
    lines::Lines,
    message::{Refused, read_message},
    stdio::Traffic,
    unserved::Requests,
};

const BEGUN: &str = "the session has begun already";
const IN_USE: &str = "`id` is that of a request that is not answered yet; use another one";

/// How long to wait without any answer, after the end of the input, before rmcp ends the session, which takes it
/// seconds.
const STILL: Duration = Duration::from_secs(1);

/// The reading half of a session.
pub(super) struct Reader<R> {
    lines: Lines<R>,
    traffic: watch::Sender<Traffic>,
    changes: watch::Receiver<Traffic>,
    server: McpServer,
    /// Before rmcp's session has begun, everything but requests is dropped, because rmcp would end the session.
    requests: Requests,
    /// Cancelled when nothing more must be read: the process is to end, or the output has failed.
    ended: CancellationToken,
}

impl<R: AsyncRead + Send + Unpin> Reader<R> {
    pub(super) fn new(input: R, traffic: watch::Sender<Traffic>, server: McpServer, ended: CancellationToken) -> Self {
        let changes = traffic.subscribe();
        let requests = server.requests();
        Self { lines: Lines::new(input), traffic, changes, server, requests, ended }
    }

    /// The stream of messages for rmcp. It owns the reading future, so that nothing is lost when rmcp polls something
    /// else in the middle of a line.
    pub(super) fn messages(self) -> impl Stream<Item = ClientJsonRpcMessage> + Send + Unpin {
        Box::pin(stream::unfold(self, async |mut reader| reader.next().await.map(|message| (message, reader))))
    }

    /// The next message for rmcp; `None` when the input has ended and every request is answered.
    async fn next(&mut self) -> Option<ClientJsonRpcMessage> {
        while let Some(read) = self.read().await {
            match read {
                Ok(Some(message)) => {
                    if self.requests.is_refused(&message) {
                        self.server.record_refused(None).await;
                    }
                    return Some(message);
                }
                Ok(None) => {}
                Err(Refused { id, error }) => {
                    tracing::debug!(reason = %error.message, "a line was refused");
                    self.server.record_refused(None).await;
                    let answer = ServerJsonRpcMessage::error(error, id);
                    self.traffic.send_modify(|traffic| traffic.put(&answer));
                }
            }
        }
        // Answer waiting calls now, and report the end to rmcp only after that: it silently drops calls that do not
        // finish within seconds.
        self.server.service().stop_waiting().await;
        all_answered(&mut self.changes).await;
        None
    }

    /// Reads a line, and its message for rmcp, if there is one; `None` at the end.
    async fn read(&mut self) -> Option<Result<Option<ClientJsonRpcMessage>, Refused>> {
        let Self { lines, changes, ended, .. } = self;
        let read = async {
            // A host may write faster than it is served; let other tasks run.
            tokio::task::coop::consume_budget().await;
            // Don't read from a host that does not read: its answers would fill the memory. Still notice the end of the
            // input, unless unread lines come first.
            tokio::select! {
                biased;
                _ = changes.wait_for(Traffic::has_room) => {}
                end = lines.end() => end?,
            }
            lines.next().await
        };
        let line = match ended.run_until_cancelled(read).await? {
            Ok(line) => line?,
            Err(cause) => {
                tracing::debug!(%cause, "standard input failed");
                return None;
            }
        };
        Some(read_message(line).and_then(|message| message.map_or(Ok(None), |message| self.admit(message))))
    }

    /// Passes on only messages that rmcp handles well; drops or refuses the others.
    fn admit(&mut self, message: ClientJsonRpcMessage) -> Result<Option<ClientJsonRpcMessage>, Refused> {
        if let Some((id, error)) = flawed_greeting(&message) {
            return Err(Refused { id: Some(id), error });
        }
        match &message {
            ClientJsonRpcMessage::Request(request) => {
                if self.requests.have_begun() && matches!(request.request, ClientRequest::InitializeRequest(_)) {
                    // rmcp would silently change the session's revision.
                    return Err(Refused::invalid(Some(request.id.clone()), BEGUN));
                }
                let mut is_new = false;
                self.traffic.send_if_modified(|traffic| {
                    is_new = traffic.unanswered.insert(request.id.clone());
                    false
                });
                if !is_new {
                    return Err(Refused::invalid(Some(request.id.clone()), IN_USE));
                }
            }
            _ if !self.requests.have_begun() => return Ok(None),
            ClientJsonRpcMessage::Notification(notification) => {
                // A cancelled request gets no answer.
                if let ClientNotification::CancelledNotification(cancelled) = &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.traffic.send_modify(|traffic| {
                        traffic.unanswered.remove(id);
                    });
                }
            }
            ClientJsonRpcMessage::Response(_) | ClientJsonRpcMessage::Error(_) => {}
        }
        Ok(Some(message))
    }
}

/// Waits until every request is answered, or none was answered for `STILL`.
async fn all_answered(changes: &mut watch::Receiver<Traffic>) {
    loop {
        let left = changes.borrow().unanswered.len();
        let fewer = changes.wait_for(|traffic| traffic.unanswered.len() < left);
        if left == 0 || timeout(STILL, fewer).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use rmcp::model::RequestId;

    use super::*;

    #[tokio::test]
    async fn the_wait_for_answers_ends_with_the_last_of_them() {
        let traffic = watch::Sender::new(Traffic::default());
        traffic.send_modify(|traffic| traffic.unanswered.extend([1, 2].map(RequestId::Number)));
        let mut changes = traffic.subscribe();
        let waits = tokio::spawn(async move { all_answered(&mut changes).await });
        for id in [1, 2] {
            tokio::task::yield_now().await;
            assert!(!waits.is_finished());
            traffic.send_modify(|traffic| assert!(traffic.unanswered.remove(&RequestId::Number(id))));
        }
        waits.await.unwrap();
        assert!(traffic.borrow().unanswered.is_empty());
    }
}
