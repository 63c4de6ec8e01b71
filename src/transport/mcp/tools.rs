//! The tools, one table: what a model reads about each, what it takes and answers, and which use case it calls.

use std::sync::{Arc, LazyLock};

use futures::future::BoxFuture;
use rmcp::{
    RoleServer,
    model::{Tool, ToolAnnotations},
    service::RequestContext,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{arguments::read, handler::Reveal, patience::Progress};
use crate::{
    domain::{audit::Action, ids::SecretId, limits::PAGE_ROWS_DEFAULT, principal::Principal, scope::Scope},
    service::{Refusal, Service},
    transport::{
        pace::CallPace,
        wire::{
            GetCodeInput, GetSeatInput, Input, ListSeatsInput, ListSecretsInput, OK, RegisterInput, Seat,
            SeatCountInput, SeatCountResponse, SeatListResponse, SeatRetrieveResponse, SecretCreateResponse,
            SecretDeleteResponse, SecretIdInput, SecretPageResponse, TotpGetCodeResponse, VerifyInput, VerifyResponse,
            input_schema, output_schema,
        },
    },
};

/// One tool.
pub struct ToolSpec {
    /// Its name, the mirrored API's.
    pub name: &'static str,
    /// What a person reads.
    pub title: &'static str,
    /// What a model reads: what it does, what it changes, what it returns, how it fails.
    pub description: &'static str,
    /// What a caller needs to call it, or to see it at all.
    pub scope: Scope,
    /// How the trail calls it.
    pub(super) action: Action,
    effect: Effect,
    input: fn() -> Map<String, Value>,
    output: fn() -> Map<String, Value>,
    pub(super) run: Run,
}

/// What a tool changes.
enum Effect {
    /// Nothing.
    Reads,
    /// It adds.
    Adds,
    /// It marks something as used: the same call again may be answered otherwise.
    Uses,
    /// It takes away.
    Destroys,
}

type Run = for<'a> fn(Call<'a>, Map<String, Value>) -> BoxFuture<'a, Result<Answer, Refusal>>;

/// What a tool answers, in both forms that a result has.
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) value: Value,
}

/// One call, as a tool sees it.
pub(super) struct Call<'a> {
    pub(super) service: &'a Service,
    pub(super) caller: &'a Principal,
    pub(super) reveal: Reveal,
    pub(super) context: &'a RequestContext<RoleServer>,
    pub(super) tool: &'static ToolSpec,
}

/// Every tool, as lists show them: what an agent does most comes first, and what can't be undone last.
pub static TOOLS: &[ToolSpec] = &[
    ToolSpec {
        name: "list_totp_secrets",
        title: "List TOTP secrets",
        description: "Lists the stored TOTP secrets, newest last: id, label, issuer and parameters, never a seed or a \
                      code. Returns 50 unless limit says otherwise, and total, the number of all that match; if none \
                      matches query, note says how many are stored. Changes nothing.",
        scope: Scope::SecretsRead,
        action: Action::Call,
        effect: Effect::Reads,
        input: input_schema::<ListSecretsInput>,
        output: output_schema::<SecretPageResponse>,
        run: |call, arguments| Box::pin(list_totp_secrets(call, arguments)),
    },
    ToolSpec {
        name: "get_totp_code",
        title: "Get a TOTP code",
        description: "Returns the current login code of a stored secret, and expires_in, the whole seconds until it \
                      rotates. Call it at the moment the code is asked for. With min_validity it waits for the next \
                      code if fewer seconds are left; with single_use the code goes to no other caller, and a later one \
                      is waited for if need be (max_wait seconds at most). Every code given is put into the audit log. \
                      Fails with not_found for an unknown secret, busy (with the seconds until a code is free) and \
                      rate_limited: wait that long, then ask again.",
        scope: Scope::CodesRead,
        action: Action::CodeGet,
        effect: Effect::Uses,
        input: input_schema::<GetCodeInput>,
        output: output_schema::<TotpGetCodeResponse>,
        run: |call, arguments| Box::pin(get_totp_code(call, arguments)),
    },
    ToolSpec {
        name: "verify_totp_code",
        title: "Verify a TOTP code",
        description: "Checks a code that a person typed from their own authenticator app against a stored secret, to \
                      prove their presence or to finish an enrolment. Returns valid: true if it is right at this \
                      moment (one time step either side) and neither it nor a later one was accepted before. Wrong codes \
                      slow down further checks of that secret: rate_limited says for how long.",
        scope: Scope::CodesVerify,
        action: Action::CodeVerify,
        effect: Effect::Uses,
        input: input_schema::<VerifyInput>,
        output: output_schema::<VerifyResponse>,
        run: |call, arguments| Box::pin(verify_totp_code(call, arguments)),
    },
    ToolSpec {
        name: "register_totp_secret",
        title: "Register a TOTP secret",
        description: "Stores a TOTP secret, encrypted, so that codes can be made with it: from an otpauth:// uri, or \
                      from label and secret (the base32 seed a service shows when 2FA is set up). Without a secret a \
                      new one is made. Returns the stored record; its secret field, where shown, is shown this once \
                      only. Calling it twice stores two secrets. Fails with invalid_argument, which names the field.",
        scope: Scope::SecretsWrite,
        action: Action::SecretRegister,
        effect: Effect::Adds,
        input: input_schema::<RegisterInput>,
        output: output_schema::<SecretCreateResponse>,
        run: |call, arguments| Box::pin(register_totp_secret(call, arguments)),
    },
    ToolSpec {
        name: "list_seats",
        title: "List seats",
        description: "Lists the seats (people) of the account, oldest first; with email, the one with exactly that \
                      address; limit and offset page through them. Changes nothing.",
        scope: Scope::SeatsRead,
        action: Action::Call,
        effect: Effect::Reads,
        input: input_schema::<ListSeatsInput>,
        output: output_schema::<SeatListResponse>,
        run: |call, arguments| Box::pin(list_seats(call, arguments)),
    },
    ToolSpec {
        name: "get_seat",
        title: "Get a seat",
        description: "Returns one seat (a person in the account), named by its id or by its auth_subject, the user's id \
                      at the identity provider. Changes nothing. Fails with not_found if there is no such seat.",
        scope: Scope::SeatsRead,
        action: Action::Call,
        effect: Effect::Reads,
        input: input_schema::<GetSeatInput>,
        output: output_schema::<SeatRetrieveResponse>,
        run: |call, arguments| Box::pin(get_seat(call, arguments)),
    },
    ToolSpec {
        name: "get_seat_count",
        title: "Count seats",
        description: "Returns how many seats (people) the account has; with email, how many have exactly that address. \
                      Changes nothing.",
        scope: Scope::SeatsRead,
        action: Action::Call,
        effect: Effect::Reads,
        input: input_schema::<SeatCountInput>,
        output: output_schema::<SeatCountResponse>,
        run: |call, arguments| Box::pin(get_seat_count(call, arguments)),
    },
    ToolSpec {
        name: "delete_totp_secret",
        title: "Delete a TOTP secret",
        description: "Permanently deletes a stored TOTP secret: no codes can be made with it any more, and logins that \
                      need them will fail. Only on the explicit wish of a person. Returns status OK. Fails with \
                      not_found if there is no such secret.",
        scope: Scope::SecretsWrite,
        action: Action::SecretDelete,
        effect: Effect::Destroys,
        input: input_schema::<SecretIdInput>,
        output: output_schema::<SecretDeleteResponse>,
        run: |call, arguments| Box::pin(delete_totp_secret(call, arguments)),
    },
];

/// The tools as `tools/list` shows them, in the order of [`TOOLS`].
pub fn listed() -> &'static [Tool] {
    // Made when somebody asks: an agent that knows its tools has its first code before they would be ready.
    static LISTED: LazyLock<Vec<Tool>> = LazyLock::new(|| TOOLS.iter().map(ToolSpec::listed).collect());
    &LISTED
}

impl ToolSpec {
    /// Whether it can work for a caller: a key that is limited to given secrets has no use for a tool that adds others.
    pub(super) fn works_for(&self, caller: &Principal) -> bool {
        caller.may(self.scope) && !(caller.is_limited() && matches!(self.effect, Effect::Adds))
    }

    fn listed(&self) -> Tool {
        let (read_only, destructive, idempotent) = match self.effect {
            Effect::Reads => (true, false, true),
            Effect::Adds | Effect::Uses => (false, false, false),
            Effect::Destroys => (false, true, true),
        };
        let annotations = ToolAnnotations::with_title(self.title)
            .read_only(read_only)
            .destructive(destructive)
            .idempotent(idempotent)
            .open_world(false);
        Tool::new(self.name, self.description, Arc::new((self.input)()))
            .with_title(self.title)
            .with_raw_output_schema(Arc::new((self.output)()))
            .with_annotations(annotations)
    }
}

impl Call<'_> {
    /// Reads the arguments; a mistake in them is on the trail.
    async fn read<T: Input>(&self, arguments: Map<String, Value>) -> Result<T, Refusal> {
        match read(arguments) {
            Ok(input) => Ok(input),
            Err(refusal) => Err(self.note(refusal).await),
        }
    }

    async fn secret_id(&self, text: &str) -> Result<SecretId, Refusal> {
        match text.parse() {
            Ok(id) => Ok(id),
            Err(_) => Err(self.note(Refusal::invalid("secret_id", "must be the UUID of a secret")).await),
        }
    }

    /// Counts the call, where the carrier limits its caller's.
    pub(super) fn count_call(&self) -> Result<(), Refusal> {
        let pace: Option<&CallPace> = self.carried();
        pace.map_or(Ok(()), |pace| pace.count(self.caller))
    }

    /// What the carrier gave the request along.
    fn carried<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.context.extensions.get::<http::request::Parts>()?.extensions.get()
    }

    async fn note(&self, refusal: Refusal) -> Refusal {
        self.service.note_refusal(self.caller, self.tool.action, refusal).await
    }

    fn answer<T: Serialize + JsonSchema>(&self, answer: &T) -> Result<Answer, Refusal> {
        // Room for most answers from the start: a buffer that grows would leave copies of a seed behind.
        let mut text = Vec::with_capacity(1024);
        let both = serde_json::to_writer(&mut text, answer).and_then(|()| serde_json::to_value(answer));
        let value = both.map_err(|cause| self.service.bug(&cause))?;
        let text = String::from_utf8(text).map_err(|cause| self.service.bug(&cause.utf8_error()))?;
        Ok(Answer { text, value })
    }
}

async fn register_totp_secret(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, Refusal> {
    let input: RegisterInput = call.read(arguments).await?;
    let registered = call.service.register_secret(call.caller, input.into_registration(None)).await?;
    let mut answer = SecretCreateResponse::from(&registered);
    if call.reveal == Reveal::Never {
        answer.totp_secret.secret = None;
    }
    call.answer(&answer)
}

async fn list_totp_secrets(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, Refusal> {
    let input: ListSecretsInput = call.read(arguments).await?;
    let query = match input.to_query(Some(PAGE_ROWS_DEFAULT)) {
        Ok(query) => query,
        Err(refusal) => return Err(call.note(refusal).await),
    };
    let page = call.service.list_secrets(call.caller, &query).await?;
    call.answer(&SecretPageResponse::from(&page))
}

async fn delete_totp_secret(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, Refusal> {
    let input: SecretIdInput = call.read(arguments).await?;
    let id = call.secret_id(&input.secret_id).await?;
    call.service.delete_secret(call.caller, id).await?;
    call.answer(&SecretDeleteResponse { status: OK })
}

async fn get_totp_code(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, Refusal> {
    let (id, request) = {
        let input: GetCodeInput = call.read(arguments).await?;
        (call.secret_id(&input.secret_id).await?, input.to_request())
    };
    let progress = Progress(call.context);
    let code = call.service.get_code(call.caller, id, &request, &progress).await?;
    call.answer(&TotpGetCodeResponse::from(&code))
}

async fn verify_totp_code(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, Refusal> {
    let input: VerifyInput = call.read(arguments).await?;
    let id = call.secret_id(&input.secret_id).await?;
    let seat = input.seat_id.as_deref();
    let verification = call.service.verify_code(call.caller, id, input.code.expose(), seat).await?;
    call.answer(&VerifyResponse { status: OK, valid: verification.valid })
}

async fn list_seats(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, Refusal> {
    let input: ListSeatsInput = call.read(arguments).await?;
    let query = match input.to_query() {
        Ok(query) => query,
        Err(refusal) => return Err(call.note(refusal).await),
    };
    let seats = call.service.list_seats(call.caller, &query).await?;
    let account = call.service.account_name(call.caller.account()).await?;
    let seats = seats.iter().map(|seat| Seat::of(seat, &account)).collect();
    call.answer(&SeatListResponse { seats, status: OK })
}

async fn get_seat_count(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, Refusal> {
    let input: SeatCountInput = call.read(arguments).await?;
    let count = call.service.count_seats(call.caller, input.email.as_deref()).await?;
    call.answer(&SeatCountResponse { count })
}

async fn get_seat(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, Refusal> {
    let input: GetSeatInput = call.read(arguments).await?;
    let seat = call.service.get_seat(call.caller, &input.seat_id).await?;
    let account = call.service.account_name(call.caller.account()).await?;
    call.answer(&SeatRetrieveResponse { seat: Seat::of(&seat, &account), status: OK })
}
