//! Types a code into the right page of a running browser. No answer holds a digit.
//!
//! It finds the page and the field first, and then issues the code as every other (`issue`): the step is reserved, the
//! code is typed, and the use is committed.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Access, Api, ApiOperation, Call, Effect, ErrorCode, Failed, ForSeat, Method, Operation, Refusal, Seconds, Spec,
    Text,
    bounds::{PageText, PurposeText},
    origins::origins_of,
};
use crate::{
    browser::{Field, FieldQuery, NotFound, Typed, Untyped},
    domain::{
        audit::Action,
        ids::SecretId,
        limits::{
            FILL_VALIDITY_DEFAULT, PERIOD_SECONDS_MAX, SELECTOR_CHARS_MAX, WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX,
        },
        origin::Origin,
        page::PageId,
        scope::Scope,
        steps::CodeWish,
        text::Purpose,
        totp::{Code, Step},
    },
};

/// The error text if no browser is configured.
const NONE: &str = "none is configured; whoever runs this starts it with `--browser http://127.0.0.1:9222`";
const NO_FIELD: &str =
    "`page` has no field for a code; open the page that asks for it, or name the field by `selector`";
const SEVERAL_FIELDS: &str = "`page` has several fields that may be for a code; name one by `selector`";
const SEVERAL_PAGES: &str = "`page` must name one of several pages that ask for a code";
const NOT_TAKEN: &str =
    "`selector` must name another field: the one that was found does not take digits; nothing was typed";

/// Types a code of a secret into a page.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct FillCode {
    /// From the list of secrets.
    pub secret_id: SecretId,
    /// The page or frame, if several ask for a code.
    #[serde(default)]
    #[schemars(with = "PageText")]
    pub page: Option<String>,
    /// The field in CSS, if it is not found.
    #[serde(default)]
    #[schemars(with = "Text<SELECTOR_CHARS_MAX>")]
    pub selector: Option<Text<SELECTOR_CHARS_MAX>>,
    /// False: the code stays in the page, for everybody who looks.
    #[serde(default)]
    #[schemars(with = "bool", extend("default" = true))]
    pub submit: Option<bool>,
    /// Seconds that must be left of the code.
    #[serde(default)]
    #[schemars(with = "Seconds<0, PERIOD_SECONDS_MAX>", extend("default" = FILL_VALIDITY_DEFAULT))]
    pub min_validity: Option<Seconds<0, PERIOD_SECONDS_MAX>>,
    /// Seconds to wait for page and code at most.
    #[serde(default)]
    #[schemars(with = "Seconds<0, WAIT_SECONDS_MAX>", extend("default" = WAIT_SECONDS_DEFAULT))]
    pub max_wait: Option<Seconds<0, WAIT_SECONDS_MAX>>,
    /// The seat (user) it is for: its id or `auth_subject`.
    #[serde(default)]
    #[schemars(with = "String")]
    pub seat_id: Option<String>,
    /// Why, for the audit log. No secrets or codes.
    #[serde(default)]
    #[schemars(with = "PurposeText")]
    pub purpose: Option<String>,
}

impl FillCode {
    /// A plain call for a code to be typed.
    pub const fn of(secret_id: SecretId) -> Self {
        Self {
            secret_id,
            page: None,
            selector: None,
            submit: None,
            min_validity: None,
            max_wait: None,
            seat_id: None,
            purpose: None,
        }
    }
}

/// A code that was typed.
#[derive(Debug)]
pub struct FilledCode {
    /// Whether it was submitted.
    pub submitted: bool,
    /// The origin that it went to.
    pub origin: String,
    /// Whole seconds that were left of it; 0 if it rotated meanwhile.
    pub expires_in: u32,
}

/// What became of a code, as callers see it. Never a digit.
#[derive(Serialize, JsonSchema)]
pub struct FillResponse {
    /// `SUBMITTED`, or `FILLED` if it stands in the field.
    #[schemars(extend("enum" = ["FILLED", "SUBMITTED"]))]
    pub status: &'static str,
    /// The web origin of the page that it was typed into.
    pub origin: String,
    /// Whole seconds until the code rotates.
    #[schemars(range(min = 0, max = PERIOD_SECONDS_MAX))]
    pub expires_in: u32,
}

impl From<FilledCode> for FillResponse {
    fn from(from: FilledCode) -> Self {
        let status = if from.submitted { "SUBMITTED" } else { "FILLED" };
        Self { status, origin: from.origin, expires_in: from.expires_in }
    }
}

impl ApiOperation for FillCode {
    const API: Api = Api {
        title: "Type a TOTP code into a page",
        words: Some(
            "Types a login code of a stored secret into the browser page that asks for it, and submits it; the answer never holds the code. Call it when that page is open: it must be of one of the secret's origins. The code goes to no other caller. After invalid_argument, choose among its candidates by page or selector.",
        ),
        method: Method::Post,
        path: "/api/v2/totp/code/{secret_id}/fill",
        id: "fillTotpCode",
        tag: "TOTP",
        description: "Types a code of a secret into the page of a running browser that asks for it, and submits it. The \
                      page must be one of the secret's origins; the browser is one that this server was started with \
                      (`--browser`). The answer holds no digit. `max_wait` limits the wait for the page and the code; \
                      typing has at least two seconds. `invalid_argument` has `candidates` if it is not clear \
                      which page is meant.",
        answer: "Where the code went.",
        waits: true,
        refusals: &[ErrorCode::NotFound, ErrorCode::Busy, ErrorCode::WrongOrigin],
    };
    type Answer = FillResponse;
    type RestAnswer = FillResponse;
}

impl Operation for FillCode {
    const SPEC: Spec = Spec {
        name: "fill_totp_code",
        access: Access::Scope(Scope::CodesFill),
        action: Action::CodeFill,
        effect: Effect::Fill,
    };
    type Output = FilledCode;

    fn secret(&self) -> Option<SecretId> {
        Some(self.secret_id)
    }

    fn seat(&self) -> ForSeat<'_> {
        ForSeat::Named(self.seat_id.as_deref())
    }

    async fn run(self, call: &mut Call<'_>) -> Result<FilledCode, Failed> {
        call.entry.purpose = self.purpose.as_deref().and_then(Purpose::of);
        let max_wait = Duration::from_secs(self.max_wait.map_or(WAIT_SECONDS_DEFAULT, Seconds::get).into());
        let begun = Instant::now();
        let field = self.field(call, max_wait).await?;
        let mut typist = Typist { field, submit: self.submit.unwrap_or(true), until: begun + max_wait, typed: None };
        let wish = CodeWish {
            min_validity: self.min_validity.map_or(FILL_VALIDITY_DEFAULT, Seconds::get),
            single_use: true,
            max_wait: max_wait.saturating_sub(begun.elapsed()),
        };
        let issued = call.issue_to(&mut typist, self.secret_id, wish).await?;
        let origin = typist.field.origin().to_owned();
        let submitted = match typist.typed {
            Some((Typed::Filled, _)) => false,
            Some((Typed::Submitted, _)) => true,
            Some((Typed::Unknown, _)) | None => return Err(Refusal::PageLost.into()),
        };
        if submitted {
            typist.field.leave().boxed().await;
        }
        Ok(FilledCode { submitted, origin, expires_in: issued.expires_in })
    }
}

impl FillCode {
    /// The field that the code goes into.
    async fn field(&self, call: &Call<'_>, within: Duration) -> Result<Field, Failed> {
        let page = self.page.as_deref().map(str::parse::<PageId>).transpose();
        let page = page.map_err(|problem| Refusal::invalid("page", problem.to_string()))?;
        let browsers = call.service.shared.browsers.get();
        let kept = call.service.vault().secret(call.caller.account(), self.secret_id).await?;
        let kept = kept.filter(|kept| kept.deleted_at.is_none()).ok_or(Refusal::NotFound("secret"))?;
        let browsers = browsers.ok_or_else(|| Refusal::NoBrowser(NONE.to_owned()))?;
        let origins: Vec<Origin> = origins_of(&kept.value).cloned().collect();
        if origins.is_empty() {
            return Err(Refusal::NoOrigins.into());
        }
        let selector = self.selector.as_ref().map(Text::as_str);
        let sought = FieldQuery { origins: &origins, page: page.as_ref(), selector, within };
        browsers.find(&sought).boxed().await.map_err(|not_found| refusal(not_found, origins).into())
    }
}

fn refusal(not_found: NotFound, origins: Vec<Origin>) -> Refusal {
    match not_found {
        NotFound::NoBrowser(why) => Refusal::NoBrowser(why),
        NotFound::WrongOrigin => Refusal::WrongOrigin(origins),
        NotFound::Silent => Refusal::PageSilent,
        NotFound::NoSuchPage => {
            Refusal::invalid("page", "names no open page; leave it out to learn which pages may be meant")
        }
        NotFound::Selector => Refusal::invalid("selector", "must be a selector of CSS, such as `#code`"),
        NotFound::NoField(candidates) => Refusal::WhichPage { problem: NO_FIELD, candidates },
        NotFound::SeveralFields(candidates) => Refusal::WhichPage { problem: SEVERAL_FIELDS, candidates },
        NotFound::SeveralPages(candidates) => Refusal::WhichPage { problem: SEVERAL_PAGES, candidates },
    }
}

/// Types a code into a field, once.
pub(super) struct Typist {
    field: Field,
    submit: bool,
    /// When the caller expects an answer.
    until: Instant,
    /// The outcome of the typing, and the code's step.
    typed: Option<(Typed, Step)>,
}

impl Typist {
    /// The step whose code was typed.
    pub(super) fn step(&self) -> Option<Step> {
        self.typed.map(|(_, step)| step)
    }

    /// The origin that the code goes to.
    pub(super) fn origin(&self) -> Option<Origin> {
        self.field.origin().parse().ok()
    }

    /// Types the code, unless one was typed already.
    ///
    /// # Errors
    /// If no digit was typed.
    pub(super) async fn type_once(&mut self, code: &Code, step: Step) -> Result<(), Refusal> {
        if self.typed.is_some() {
            return Ok(());
        }
        let unclear = |problem| Refusal::WhichPage { problem, candidates: Vec::new() };
        let typed =
            self.field.type_in(code, self.submit, self.until.into()).boxed().await.map_err(
                |untyped| match untyped {
                    Untyped::Moved => Refusal::PageMoved,
                    Untyped::NoField => unclear(NO_FIELD),
                    Untyped::SeveralFields => unclear(SEVERAL_FIELDS),
                    Untyped::Refused => unclear(NOT_TAKEN),
                },
            )?;
        self.typed = Some((typed, step));
        Ok(())
    }
}
