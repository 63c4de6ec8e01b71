//! Which ids stand for a request that is not answered yet.
//!
//! rmcp goes by the id alone: of two requests with one id it forgets the first, so that a code that was given for it would
//! reach nobody, and ends the other without a word. An id that is used again right after it was cancelled, which the protocol
//! forbids, may still get the empty answer that the cancelled request ends with.

use rmcp::model::{ClientJsonRpcMessage, ClientNotification, RequestId, ServerJsonRpcMessage};

/// The ids of one session. Seldom more than a few, and about a thousand at most, which may wait: a list is quicker than a table.
#[derive(Default)]
pub(super) struct Unanswered(Vec<RequestId>);

impl Unanswered {
    /// Takes note of what a host says. The id, if it is of a request that is not answered yet.
    pub(super) fn heard(&mut self, message: &ClientJsonRpcMessage) -> Option<RequestId> {
        match message {
            ClientJsonRpcMessage::Request(request) => {
                if self.0.contains(&request.id) {
                    return Some(request.id.clone());
                }
                self.0.push(request.id.clone());
            }
            ClientJsonRpcMessage::Notification(said) => {
                // A request that is cancelled gets no answer.
                if let ClientNotification::CancelledNotification(cancelled) = &said.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.forget(id);
                }
            }
            ClientJsonRpcMessage::Response(_) | ClientJsonRpcMessage::Error(_) => {}
        }
        None
    }

    /// Whether every request is answered.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes note of what a host is told.
    pub(super) fn told(&mut self, message: &ServerJsonRpcMessage) {
        let id = match message {
            ServerJsonRpcMessage::Response(answer) => Some(&answer.id),
            ServerJsonRpcMessage::Error(error) => error.id.as_ref(),
            ServerJsonRpcMessage::Request(_) | ServerJsonRpcMessage::Notification(_) => None,
        };
        if let Some(id) = id {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: &RequestId) {
        if let Some(at) = self.0.iter().position(|unanswered| unanswered == id) {
            self.0.swap_remove(at);
        }
    }
}
