//! The use cases, on a real vault with a clock moved by hand.

mod attribution;
mod bounds;
mod codes;
mod keys;
mod single_use;
mod verification;
mod waiting;
mod wrong_clock;

use countersign::{
    domain::{ids::SecretId, principal::Principal},
    service::{CodeRequest, IssuedCode, Refusal, Service},
};

/// Asks for a code and does not wait for anything but the answer.
pub(crate) async fn code(
    service: &Service,
    caller: &Principal,
    id: SecretId,
    request: CodeRequest,
) -> Result<String, Refusal> {
    whole(service, caller, id, request).await.map(|issued| issued.code.digits().to_owned())
}

pub(crate) async fn whole(
    service: &Service,
    caller: &Principal,
    id: SecretId,
    request: CodeRequest,
) -> Result<IssuedCode, Refusal> {
    service.get_code(caller, id, &request, &()).await
}

/// A plain request, as the mirrored API knows it.
pub(crate) fn plain() -> CodeRequest {
    CodeRequest::default()
}

/// A single-use request that does not wait.
pub(crate) fn single_use() -> CodeRequest {
    CodeRequest { single_use: true, max_wait: Some(0), ..CodeRequest::default() }
}
