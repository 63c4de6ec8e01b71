//! The shared state of the two halves of a stdio session.

use std::{collections::HashSet, time::Duration};

use rmcp::model::{RequestId, ServerJsonRpcMessage};
use tokio::{sync::watch, time::timeout};

use crate::domain::limits::WAITERS_STDIO_MAX;

/// Unwritten bytes of answers above which nothing more is read from the host. Enough for a host that writes thousands
/// of calls before it reads the first answer.
const UNWRITTEN_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Unanswered requests above which nothing more is read. Not all of them can be waiting for a code, so some end soon.
const UNANSWERED_MAX: usize = 4 * WAITERS_STDIO_MAX;
/// After the end of the input: how long to wait without any answer before rmcp ends the session, which takes it
/// seconds.
const STILL: Duration = Duration::from_secs(1);

/// Requests and answers of one session.
#[derive(Default)]
pub(super) struct Traffic {
    /// The ids of unanswered requests. rmcp distinguishes requests only by id: of two with the same id it forgets the
    /// first, so that its code would be lost, and silently ends the other.
    pub(super) unanswered: HashSet<RequestId>,
    /// Unwritten messages, line by line.
    pub(super) unwritten: Vec<u8>,
}

impl Traffic {
    /// Whether more may be read.
    pub(super) fn has_room(&self) -> bool {
        self.unwritten.len() < UNWRITTEN_BYTES_MAX && self.unanswered.len() < UNANSWERED_MAX
    }

    /// Adds a message for the host.
    pub(super) fn put(&mut self, message: &ServerJsonRpcMessage) {
        let begun = self.unwritten.len();
        match serde_json::to_writer(&mut self.unwritten, message) {
            Ok(()) => self.unwritten.push(b'\n'),
            Err(_) => self.unwritten.truncate(begun),
        }
    }

    /// Adds a message of rmcp's for the host.
    pub(super) fn answer(&mut self, message: &ServerJsonRpcMessage) {
        match message {
            ServerJsonRpcMessage::Response(answer) => self.unanswered.remove(&answer.id),
            ServerJsonRpcMessage::Error(error) => error.id.as_ref().is_some_and(|id| self.unanswered.remove(id)),
            ServerJsonRpcMessage::Request(_) | ServerJsonRpcMessage::Notification(_) => false,
        };
        self.put(message);
    }
}

/// Waits until every request is answered, or none is for a while.
pub(super) async fn all_answered(changes: &mut watch::Receiver<Traffic>) {
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
    use rmcp::model::{EmptyResult, ServerResult};

    use super::*;

    fn pong(id: i64) -> ServerJsonRpcMessage {
        ServerJsonRpcMessage::response(ServerResult::EmptyResult(EmptyResult {}), RequestId::Number(id))
    }

    #[test]
    fn no_more_is_read_while_too_many_requests_or_bytes_wait() {
        let mut traffic = Traffic::default();
        for id in 0..4096 {
            assert!(traffic.has_room() && traffic.unanswered.insert(RequestId::Number(id)));
        }
        assert!(!traffic.has_room());
        traffic.answer(&pong(7));
        assert!(traffic.has_room());
        while traffic.unwritten.len() < UNWRITTEN_BYTES_MAX {
            traffic.put(&pong(8));
        }
        assert!(!traffic.has_room());
        traffic.unwritten.clear();
        assert!(traffic.has_room());
    }

    #[tokio::test]
    async fn the_wait_for_answers_ends_with_the_last_of_them() {
        let traffic = watch::Sender::new(Traffic::default());
        traffic.send_modify(|traffic| traffic.unanswered.extend([1, 2].map(RequestId::Number)));
        let mut changes = traffic.subscribe();
        let waits = tokio::spawn(async move { all_answered(&mut changes).await });
        for id in [1, 2] {
            tokio::task::yield_now().await;
            assert!(!waits.is_finished());
            traffic.send_modify(|traffic| traffic.answer(&pong(id)));
        }
        waits.await.unwrap();
        assert!(traffic.borrow().unanswered.is_empty());
    }
}
