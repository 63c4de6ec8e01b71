//! `/api/v2/totp/secrets`: registering, listing and deleting secrets.

use axum::response::Response;
use http::{HeaderMap, HeaderName, Method};
use serde_json::Map;

use crate::{
    domain::{audit::Action, ids::SecretId, scope::Scope},
    service::{Code, Refusal},
    transport::{
        http::{
            answer::Problem,
            body::Arriving,
            door::Call,
            query,
            routes::{Answer, Doc, InPath, Input, Route, Run, Takes},
        },
        wire::{
            ListSecretsInput, OK, RegisterInput, SecretCreateResponse, SecretDeleteResponse, SecretListResponse,
            TotpSecret, input_schema, output_schema, read_in,
        },
    },
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The parameter of every path that names a secret.
pub(super) const SECRET_ID: InPath =
    InPath { name: "secret_id", about: "The secret's id, as the list of secrets shows it.", is_uuid: true };

pub(in crate::transport::http) static ROUTES: [Route; 3] = [
    Route {
        method: Method::GET,
        path: "/api/v2/totp/secrets",
        action: Action::Call,
        takes: Takes::Moment,
        run: Run::Keyed(|call, _| Box::pin(list(call))),
        doc: Some(Doc {
            id: "listTotpSecrets",
            tag: "TOTP",
            summary: "List TOTP secrets",
            description: "Every stored secret of the account, newest last, never a seed. Without `limit`, all of them.",
            scope: Some(Scope::SecretsRead),
            in_path: None,
            input: Input::Query(input_schema::<ListSecretsInput>),
            answer: Answer::json("The secrets, without seeds.", output_schema::<SecretListResponse>),
            refusals: &[],
        }),
    },
    Route {
        method: Method::POST,
        path: "/api/v2/totp/secrets",
        action: Action::SecretRegister,
        takes: Takes::Moment,
        run: Run::Keyed(|call, body| Box::pin(register(call, body))),
        doc: Some(Doc {
            id: "registerTotpSecret",
            tag: "TOTP",
            summary: "Register a TOTP secret",
            description: "Stores a secret, encrypted: from an `otpauth://totp/` URI (which overrides all other fields), \
                          or from a label with an optional base32 seed; without a seed one is made. The answer shows \
                          the seed this once. With an `Idempotency-Key` header, a repeat within a day gets the first \
                          answer, without the seed.",
            scope: Some(Scope::SecretsWrite),
            in_path: None,
            input: Input::Body(input_schema::<RegisterInput>),
            answer: Answer::json("The secret, with its seed this once.", output_schema::<SecretCreateResponse>),
            refusals: &[],
        }),
    },
    Route {
        method: Method::DELETE,
        path: "/api/v2/totp/secrets/{secret_id}",
        action: Action::SecretDelete,
        takes: Takes::Moment,
        run: Run::Keyed(|call, _| Box::pin(delete(call))),
        doc: Some(Doc {
            id: "deleteTotpSecret",
            tag: "TOTP",
            summary: "Delete a TOTP secret",
            description: "Permanently deletes a stored secret, as far as any caller can tell.",
            scope: Some(Scope::SecretsWrite),
            in_path: Some(SECRET_ID),
            input: Input::Nothing,
            answer: Answer::json("It was deleted.", output_schema::<SecretDeleteResponse>),
            refusals: &[Code::NotFound],
        }),
    },
];

async fn list(call: Call<'_>) -> Result<Response, Problem> {
    let read = query::read::<ListSecretsInput>(call.parts.uri.query(), Map::new());
    let query = call.or_note(read.and_then(|input| input.to_query(None))).await?;
    let page = call.app.service.list_secrets(&call.caller, &query).await?;
    let totp_secrets = page.secrets.iter().map(TotpSecret::from).collect();
    call.answer(&SecretListResponse { status: OK, totp_secrets })
}

async fn register(mut call: Call<'_>, body: Arriving) -> Result<Response, Problem> {
    call.takes_no_query().await?;
    let repeat = call.or_note(idempotency_key(&call.parts.headers)).await?;
    let body = call.object(body).await?;
    let input: RegisterInput = call.or_note(read_in("body", "", body)).await?;
    let registered = call.app.service.register_secret(&call.caller, input.into_registration(repeat)).await?;
    call.answer(&SecretCreateResponse::from(&registered))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut sent = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = sent.next() else { return Ok(None) };
    if sent.next().is_some() {
        return Err(Refusal::invalid("Idempotency-Key", "must stand there once"));
    }
    let text = key.to_str().map_err(|_| Refusal::invalid("Idempotency-Key", "must be ASCII text"))?;
    Ok(Some(text.to_owned()))
}

async fn delete(call: Call<'_>) -> Result<Response, Problem> {
    call.takes_no_query().await?;
    let id = call.secret_id().await?;
    call.app.service.delete_secret(&call.caller, id).await?;
    call.answer(&SecretDeleteResponse { status: OK })
}

impl Call<'_> {
    /// The secret that the path names.
    pub(super) async fn secret_id(&self) -> Result<SecretId, Refusal> {
        let id = self.named.parse().map_err(|_| Refusal::invalid("secret_id", "must be the UUID of a secret"));
        self.or_note(id).await
    }

    /// Refuses query parameters where there are none.
    pub(super) async fn takes_no_query(&self) -> Result<(), Refusal> {
        self.or_note(query::none(self.parts.uri.query())).await
    }
}
