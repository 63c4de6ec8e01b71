//! The use cases, on a real vault with a clock moved by hand.

mod adding;
mod archive;
mod attribution;
mod bounds;
mod codes;
mod decoys;
mod enrolment;
mod keys;
mod rotation;
mod sessions;
mod single_use;
mod together;
mod verification;
mod waiting;
mod wrong_clock;

use countersign::{
    domain::{ids::SecretId, principal::Principal},
    operations::{GetCode, IssuedCode, Refusal, Seconds, Service},
};

/// Requests a code, and returns its digits.
pub(crate) async fn code(
    service: &Service,
    caller: &Principal,
    id: SecretId,
    request: GetCode,
) -> Result<String, Refusal> {
    whole(service, caller, id, request).await.map(|issued| issued.code.digits().to_owned())
}

pub(crate) async fn whole(
    service: &Service,
    caller: &Principal,
    id: SecretId,
    request: GetCode,
) -> Result<IssuedCode, Refusal> {
    service.perform(caller, GetCode { secret_id: id, ..request }).await
}

/// A plain request, as in the mirrored API; the secret is set by the call.
pub(crate) fn plain() -> GetCode {
    GetCode::of(SecretId::new(uuid::Uuid::nil()))
}

/// A single-use request that does not wait.
pub(crate) fn single_use() -> GetCode {
    GetCode { single_use: true, max_wait: Seconds::new(0), ..plain() }
}
