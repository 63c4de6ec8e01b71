//! Programs that request a code by a webhook of their own, signed with a shared key: Skyvern's `totp_url`.
//!
//! Skyvern signs the body alone, with HMAC-SHA256 under its API key, and repeats the request every ten seconds until it
//! gets a code. An answer without a code contains an empty one.

use axum::{body::Body, response::Response};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{
    answer::{Problem, with_json},
    body::Arriving,
    door::Visit,
    routes::{Route, Run, Takes},
    settings::HookSettings,
};
use crate::{
    domain::{audit::Action, ids::SecretId},
    operations::{GetCode, Offered, Refusal, Seconds, answers::Revealed},
};

const PATH: &str = "/hooks/skyvern/{secret_id}";
const SIGNATURE: &str = "x-skyvern-signature";
const TIMESTAMP: &str = "x-skyvern-timestamp";
/// The most seconds by which a request's timestamp may differ from this server's time.
const TIMESTAMP_SLACK: i64 = 300;
/// The seconds for which a code must still be valid: a model's turn passes before it is typed.
const MIN_VALIDITY: u32 = 10;
/// The most seconds to wait for a code: Skyvern waits 30 s for an answer.
const MAX_WAIT: u32 = 20;
/// The most characters of an id that the audit log keeps.
const ID_CHARS_MAX: usize = 40;

pub(super) static ROUTES: [Route; 1] = [Route {
    method: Method::POST,
    path: PATH,
    action: Action::CodeGet,
    takes: Takes::Wait,
    run: Run::Page(|visit, body| Box::pin(code(visit, body))),
    doc: None,
}];

/// The ids in a request, which are not verified.
#[derive(Default, Deserialize)]
struct Claims {
    task_id: Option<String>,
    workflow_run_id: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    verification_code: Revealed,
}

/// The answer that makes Skyvern repeat its request.
const NONE_YET: &str = r#"{"verification_code":""}"#;

async fn code(visit: Visit<'_>, body: Body) -> Result<Response, Problem> {
    let Visit { app, parts } = visit;
    let Some(hook) = &app.hook else { return Err(Problem::NoRoute) };
    let body = match Arriving::of(&parts.headers, body, app.limits.body_wait).await {
        Arriving::Whole(read) => read?,
        Arriving::Coming(coming) => coming.await?,
    };
    let now = app.service.now().seconds();
    let offered = if is_signed(&parts.headers, &body, hook, now) { Offered::Hook(hook.account) } else { Offered::Junk };
    let caller = app.service.authenticate_from(offered, app.from(&parts)).await?;
    let (prefix, _) = PATH.split_once('{').unwrap_or_default();
    let secret = parts.uri.path().strip_prefix(prefix).and_then(|id| id.parse::<SecretId>().ok());
    let secret_id =
        secret.ok_or_else(|| Problem::Own(Refusal::invalid("secret_id", "must be the UUID of a secret")))?;
    let claims: Claims = serde_json::from_slice(&body).unwrap_or_default();
    let request = GetCode {
        single_use: true,
        min_validity: Seconds::new(MIN_VALIDITY),
        max_wait: Seconds::new(MAX_WAIT),
        purpose: Some(claims.purpose()),
        ..GetCode::of(secret_id)
    };
    let issued = match app.service.perform(&caller, request).await {
        Ok(issued) => issued,
        Err(Refusal::Busy { .. } | Refusal::TooManyWaiting | Refusal::Contended) => {
            return Ok(with_json(StatusCode::OK, NONE_YET));
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let answer = serde_json::to_vec(&Answer { verification_code: Revealed::from(&issued.code) })
        .map_err(|cause| Problem::Own(app.service.bug(&cause)))?;
    Ok(with_json(StatusCode::OK, answer))
}

/// Whether the body was signed with the shared key, and its timestamp is within `TIMESTAMP_SLACK` of `now`.
fn is_signed(headers: &HeaderMap, body: &[u8], hook: &HookSettings, now: i64) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let sent_at = text(TIMESTAMP).and_then(|text| text.parse::<i64>().ok());
    let is_fresh = sent_at.is_some_and(|at| at.abs_diff(now) <= TIMESTAMP_SLACK.unsigned_abs());
    let signature = text(SIGNATURE).and_then(|text| data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok());
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(hook.key.expose().as_bytes()) else { return false };
    is_fresh && signature.is_some_and(|signature| mac.chain_update(body).verify_slice(&signature).is_ok())
}

impl Claims {
    fn purpose(&self) -> String {
        let id = |name: &str, id: &Option<String>| {
            let id = id.as_deref().unwrap_or_default();
            let known = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            let shown: String = id.chars().filter(known).take(ID_CHARS_MAX).collect();
            if shown.is_empty() { String::new() } else { format!(" {name} {shown}") }
        };
        format!("skyvern{}{}", id("task", &self.task_id), id("run", &self.workflow_run_id))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderValue;

    use super::*;
    use crate::{domain::ids::AccountId, transport::http::ClientSecret};

    /// A request that Skyvern 1.0.56 made, with the key `test-api-key`.
    const BODY: &str = r#"{"task_id":"tsk_1","workflow_run_id":"wr_1","workflow_permanent_id":"wpid_1"}"#;
    const SIGNED: &str = "8a8700371c67e8f81161b167978bf7231983327f1c5e2ebdae3fd0c0a649a850";
    const SENT_AT: i64 = 1_795_975_368;

    fn headers(signature: &'static str, at: i64) -> HeaderMap {
        let at = HeaderValue::from_str(&at.to_string()).unwrap();
        HeaderMap::from_iter([
            (SIGNATURE.parse().unwrap(), HeaderValue::from_static(signature)),
            (TIMESTAMP.parse().unwrap(), at),
        ])
    }

    #[test]
    fn a_request_of_skyvern_is_known_by_its_signature_and_its_time() {
        let account = AccountId::new(uuid::Uuid::from_u128(1));
        let hook = |key: &str| HookSettings { account, key: Arc::new(ClientSecret::new(key.to_owned().into())) };
        let is_signed = |signature, body: &str, key: &str, now| {
            is_signed(&headers(signature, SENT_AT), body.as_bytes(), &hook(key), now)
        };
        assert!(is_signed(SIGNED, BODY, "test-api-key", SENT_AT + 300));
        assert!(!is_signed(SIGNED, BODY, "test-api-key", SENT_AT + 301), "too old");
        assert!(!is_signed(SIGNED, BODY, "test-api-key", SENT_AT - 301), "ahead");
        assert!(!is_signed(SIGNED, "{}", "test-api-key", SENT_AT), "another body");
        assert!(!is_signed(SIGNED, BODY, "another-key", SENT_AT));
        assert!(!is_signed("", BODY, "test-api-key", SENT_AT));
        assert!(!super::is_signed(&HeaderMap::new(), BODY.as_bytes(), &hook("test-api-key"), SENT_AT));
    }

    #[test]
    fn ids_are_kept_as_what_they_may_be() {
        let claims: Claims = serde_json::from_str(r#"{"task_id":"tsk_1\u202e; drop","workflow_run_id":null}"#).unwrap();
        assert_eq!(claims.purpose(), "skyvern task tsk_1drop");
        assert_eq!(Claims::default().purpose(), "skyvern");
    }
}
