//! What every route of a caller does alike: waiting for the body, noting refusals, answering.

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    answer::{Problem, with_json},
    body::{self, Arriving},
    door::{Call, peer},
};
use crate::{service::Refusal, transport::owner::Owner};

impl Call<'_> {
    /// The whole body. Where it took its time, the caller's rights are read anew: they hold when the work begins, not when
    /// the head arrived.
    pub(super) async fn arrived(&mut self, body: Arriving) -> Result<Bytes, Problem> {
        let coming = match body {
            Arriving::Whole(read) => return read,
            Arriving::Coming(coming) => coming,
        };
        let bytes = coming.await?;
        let owner = Owner::of(&self.caller);
        self.caller = Box::pin(self.app.auth.caller(&self.app.service, &self.parts.headers, peer(&self.parts))).await?;
        // The same headers name the same caller, but for a login whose seat is another's by now.
        if Owner::of(&self.caller) == owner { Ok(bytes) } else { Err(Refusal::Unauthenticated.into()) }
    }

    /// Reads the JSON object of the body; a mistake is on the trail.
    pub(super) async fn object(&mut self, body: Arriving) -> Result<Map<String, Value>, Problem> {
        match self.arrived(body).await {
            Ok(bytes) => Ok(self.or_note(body::object(&bytes)).await?),
            Err(Problem::Own(refusal)) => Err(self.refuse(refusal).await),
            Err(problem) => Err(problem),
        }
    }

    /// A value that was read, or the mistake in it, which goes on the trail.
    pub(super) async fn or_note<T>(&self, read: Result<T, Refusal>) -> Result<T, Refusal> {
        match read {
            Ok(value) => Ok(value),
            Err(refusal) => Err(self.note(refusal).await),
        }
    }

    /// A refusal that this transport decided on, on the trail.
    pub(super) async fn refuse(&self, refusal: Refusal) -> Problem {
        self.note(refusal).await.into()
    }

    async fn note(&self, refusal: Refusal) -> Refusal {
        self.app.service.note_refusal(&self.caller, self.route.action, refusal).await
    }

    /// A good answer.
    pub(super) fn answer<T: Serialize>(&self, answer: &T) -> Result<Response, Problem> {
        match serde_json::to_vec(answer) {
            Ok(bytes) => Ok(with_json(StatusCode::OK, bytes)),
            Err(cause) => Err(self.app.service.bug(&cause).into()),
        }
    }
}
