//! Reads the body of a request, in every route that needs a credential.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{
    answer::Problem,
    body::{self, Arriving},
    door::{Call, peer},
};
use crate::{operations::Refusal, transport::owner::Owner};

impl Call<'_> {
    /// Waits for the whole body. If it took long, the caller is authenticated again: its rights must hold when the work
    /// begins, not just when the head arrived.
    pub(super) async fn arrived(&mut self, body: Arriving) -> Result<Bytes, Problem> {
        let coming = match body {
            Arriving::Whole(read) => return read,
            Arriving::Coming(coming) => coming,
        };
        let bytes = coming.await?;
        let owner = Owner::of(&self.caller);
        self.caller = Box::pin(self.app.auth.caller(&self.app.service, &self.parts.headers, peer(&self.parts))).await?;
        // The same headers mean the same caller, unless a login's subject belongs to another seat by now.
        if Owner::of(&self.caller) == owner {
            return Ok(bytes);
        }
        let (refusal, action) = (Refusal::Unauthenticated, self.route.action);
        Err(self.app.service.record_refusal(&self.caller, action, refusal).await.into())
    }

    /// Reads the JSON object of the body.
    pub(super) async fn object(&mut self, body: Arriving) -> Result<Map<String, Value>, Problem> {
        body::object(&self.arrived(body).await?).map_err(Problem::Own)
    }
}
