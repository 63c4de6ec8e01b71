//! Which ids stand for a request that is not answered yet.
//!
//! rmcp goes by the id alone: of two requests with one id it forgets the first, so that a code that was given for it would
//! reach nobody, and ends the other without a word.

use std::collections::HashSet;

use rmcp::model::{ClientJsonRpcMessage, ClientNotification, RequestId, ServerJsonRpcMessage};

/// The ids of one session.
#[derive(Default)]
pub(super) struct Unanswered(HashSet<RequestId>);

impl Unanswered {
    /// Takes note of what a host says. The id, if it is of a request that is not answered yet.
    pub(super) fn heard(&mut self, message: &ClientJsonRpcMessage) -> Option<RequestId> {
        match message {
            ClientJsonRpcMessage::Request(request) => {
                return (!self.0.insert(request.id.clone())).then(|| request.id.clone());
            }
            ClientJsonRpcMessage::Notification(said) => {
                // A request that is cancelled gets no answer.
                if let ClientNotification::CancelledNotification(cancelled) = &said.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.0.remove(id);
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
            self.0.remove(id);
        }
    }
}
