//! Asks a person to add a secret, so that its seed passes neither the model nor its host: returns a link, and waits for
//! the outcome.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Access, Api, ApiOperation, Call, Effect, ErrorCode, Failed, ForSeat, Limit, Method, Operation, Refusal, Spec,
    answers::{self, OK},
    bounds::OriginList,
    origins::origins,
    register_secret::shown,
    sound,
    waiting::{WaitingPlace, Watch},
};
use crate::{
    domain::{
        audit::{Action, Actor},
        enrolment::{Asker, Enrolment, EnrolmentState, ProofWanted, Proposal},
        ids::EnrolmentId,
        limits::{
            ENROLMENT_KEPT_SECONDS, ENROLMENT_SECONDS, ENROLMENT_WAIT_SECONDS, ENROLMENTS_OPEN_MAX,
            ENROLMENTS_PER_ACCOUNT_MAX,
        },
        scope::Scope,
        secret::TotpSecret,
        text::{Purpose, ShownText},
        time::Timestamp,
    },
    vault::{Draft, Outcome, Versioned},
};

/// Asks a person to add a secret, or waits for what came of it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct EnrollSecret {
    /// What to call it.
    #[serde(default)]
    #[schemars(with = "ShownText")]
    pub label: Option<String>,
    /// The service that issues it.
    #[serde(default)]
    #[schemars(with = "ShownText")]
    pub issuer: Option<String>,
    /// Where its login pages are.
    #[serde(default)]
    #[schemars(with = "OriginList")]
    pub origins: Option<Vec<String>>,
    /// The seat (user) who adds it: its id or `auth_subject`. Required if the key has none.
    #[serde(default)]
    #[schemars(with = "String")]
    pub seat_id: Option<String>,
    /// From an earlier answer, to wait for what came of it.
    #[serde(default)]
    #[schemars(with = "EnrolmentId")]
    pub enrollment_id: Option<EnrolmentId>,
}

/// An enrolment, as its caller sees it.
#[derive(Serialize, JsonSchema)]
pub struct EnrollResponse {
    /// `PENDING` until the person has answered; `OK` once the secret is stored; `DECLINED`, `CANCELLED`, `EXPIRED`.
    #[schemars(extend("enum" = ["PENDING", "OK", "DECLINED", "CANCELLED", "EXPIRED"]))]
    pub status: &'static str,
    /// What to call again with. Only while pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub enrollment_id: Option<String>,
    /// The link for the person to open. It holds nothing secret and opens nothing by itself. Only while pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub enrollment_url: Option<String>,
    /// Two words that the page shows too, so that the person knows that it is the right one. Only while pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub words: Option<String>,
    /// Whole seconds until the link stops working. Only while pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub expires_in: Option<u64>,
    /// What to tell the person if the link does not open. Only while pending, and only if it leads to this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub note: Option<String>,
    /// The secret, without its seed. Only once it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "answers::TotpSecret")]
    pub totp_secret: Option<answers::TotpSecret>,
}

/// The outcome of an enrolment.
pub enum Enrolled {
    /// The person has not answered yet.
    Pending {
        /// The enrolment.
        id: EnrolmentId,
        /// The link.
        url: String,
        /// The two words that the page shows too.
        words: String,
        /// The time until the link stops working.
        left: Duration,
        /// How the person proves their identity on the page.
        proof: ProofWanted,
    },
    /// The secret is stored.
    Stored(Box<TotpSecret>),
    /// The person declined.
    Declined,
    /// The enrolment was cancelled: after too many wrong proofs, by the agent's user, with its key, or to make room.
    Cancelled,
    /// The person did not answer in time.
    Expired,
}

impl From<Enrolled> for EnrollResponse {
    fn from(from: Enrolled) -> Self {
        let ended = |status| Self {
            status,
            enrollment_id: None,
            enrollment_url: None,
            words: None,
            expires_in: None,
            note: None,
            totp_secret: None,
        };
        match from {
            Enrolled::Pending { id, url, words, left, proof } => Self {
                enrollment_id: Some(id.to_string()),
                note: port_here(&url).map(|_| how_to_reach(&url, id, proof)),
                enrollment_url: Some(url),
                words: Some(words),
                expires_in: Some(left.as_secs()),
                ..ended("PENDING")
            },
            Enrolled::Stored(secret) => {
                Self { totp_secret: Some(answers::TotpSecret::from(secret.as_ref())), ..ended(OK) }
            }
            Enrolled::Declined => ended("DECLINED"),
            Enrolled::Cancelled => ended("CANCELLED"),
            Enrolled::Expired => ended("EXPIRED"),
        }
    }
}

impl ApiOperation for EnrollSecret {
    const API: Api = Api {
        title: "Have a person add a TOTP secret",
        words: Some(
            "Asks the user to add a TOTP secret on a page of their own, so that the seed never passes through this conversation; use it instead of asking for a seed. If the answer is PENDING, show the user enrollment_url and the two words (the page shows the same ones), don't open it yourself, and call again with enrollment_id: that waits up to 45 seconds for OK, DECLINED, CANCELLED or EXPIRED.",
        ),
        method: Method::Post,
        path: "/api/v2/totp/enrollments",
        id: "enrollTotpSecret",
        tag: "TOTP",
        description: "Asks a person to add a secret on a page, where they prove who they are: the seed never passes the \
                      caller. Answers `PENDING` with a link; with `enrollment_id`, waits up to 45 seconds for what came of \
                      an earlier one.",
        answer: "The enrolment.",
        waits: true,
        refusals: &[ErrorCode::NotFound, ErrorCode::Busy],
    };
    type Answer = EnrollResponse;
    type RestAnswer = EnrollResponse;
}

impl Operation for EnrollSecret {
    const SPEC: Spec = Spec {
        name: "enroll_totp_secret",
        access: Access::Scope(Scope::SecretsWrite),
        action: Action::EnrolBegin,
        effect: Effect::Ask,
    };
    type Output = Enrolled;

    fn seat(&self) -> ForSeat<'_> {
        match self.enrollment_id {
            None => ForSeat::Named(self.seat_id.as_deref()),
            Some(_) => ForSeat::Nobody,
        }
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Enrolled, Failed> {
        match self.enrollment_id {
            Some(id) => call.outcome_of(id).await,
            None => call.begin(self.proposal()?).await,
        }
    }
}

impl EnrollSecret {
    /// Checks its proposal.
    ///
    /// # Errors
    /// [`Refusal::Invalid`].
    pub fn must_be_sound(&self) -> Result<(), Refusal> {
        self.proposal().map(drop)
    }

    fn proposal(&self) -> Result<Proposal, Refusal> {
        let text = |field, text: &Option<String>| text.as_deref().map(|text| shown(field, text)).transpose();
        Ok(Proposal {
            label: text("label", &self.label)?,
            issuer: text("issuer", &self.issuer)?,
            origins: origins(self.origins.as_deref().unwrap_or_default())?,
        })
    }
}

impl Call<'_> {
    async fn begin(&mut self, proposal: Proposal) -> Result<Enrolled, Failed> {
        let (service, account, now) = (self.service, self.caller.account(), self.entry.at);
        let page = service.enrolment_page()?;
        let proof = page.proof();
        let seat = self.seat.as_ref().map(|seat| seat.id);
        if proof == ProofWanted::Seat {
            let Some(seat) = &self.seat else {
                let problem = "is required with this key: name the person who is to add the secret; list_seats shows the \
                               seats. A key that is bound to a seat (`countersign key create --seat`) needs none";
                return Err(Refusal::invalid("seat_id", problem).into());
            };
            let signs_in = page.signs_in() || service.can_sign_in(account, seat);
            if !signs_in && service.vault().seat_pin(seat.id).await?.is_none() {
                return Err(Refusal::NoProof.into());
            }
        }
        let _one_at_a_time = service.shared.enrolments.beginning.lock().await;
        self.make_room(proof).await?;
        let enrolment = Enrolment {
            id: EnrolmentId::new(service.ordered_id(now)?),
            account,
            asker: Asker::of(self.caller),
            seat,
            proposal,
            proof,
            tries: 0,
            opened: false,
            state: EnrolmentState::Pending,
            created_at: now,
            expires_at: now.plus(Duration::from_secs(ENROLMENT_SECONDS)),
        };
        let url = service.link_of(&enrolment).await?;
        let words = service.enrolment_words(enrolment.id);
        self.entry.purpose = Purpose::of(&format!("enrolment {words}"));
        match service.vault().draft(self.entry.clone()).add(&enrolment).commit().await? {
            Outcome::Done => {
                Ok(Enrolled::Pending { id: enrolment.id, url, words, left: now.until(enrolment.expires_at), proof })
            }
            Outcome::Stale | Outcome::Taken => Err(Refusal::NotFound("account").into()),
        }
    }

    /// Ends expired enrolments, removes old ones, and refuses a new one above the limit. In a sidecar, the oldest
    /// unopened enrolment is cancelled instead: a host that restarts the sidecar repeatedly can't end those of its
    /// earlier processes.
    async fn make_room(&self, proof: ProofWanted) -> Result<(), Failed> {
        let (service, now) = (self.service, self.entry.at);
        let all = sound(service.vault().enrolments(self.caller.account()).await?);
        let kept_until = |enrolment: &Enrolment| enrolment.expires_at.plus(Duration::from_secs(ENROLMENT_KEPT_SECONDS));
        let (old, all): (Vec<_>, Vec<_>) = all.into_iter().partition(|kept| kept_until(kept) <= now);
        for kept in all.iter().filter(|kept| kept.state_at(now) != kept.state) {
            service.settled(kept.id).await?;
        }
        if !old.is_empty() {
            // Stale: another process removes them.
            old.iter().fold(service.vault().silent_draft(), Draft::remove).commit().await?;
        }
        let mut open: Vec<&Versioned<Enrolment>> =
            all.iter().filter(|kept| kept.is_open(now) && kept.is_of(self.caller)).collect();
        open.sort_by_key(|kept| (kept.opened, kept.expires_at));
        while proof == ProofWanted::Machine && open.len() >= ENROLMENTS_OPEN_MAX {
            service.finish(open.remove(0).id, EnrolmentState::Cancelled, (Actor::System, Action::EnrolCancel)).await?;
        }
        let full = |limit, at: Option<Timestamp>| Refusal::RateLimited {
            limit,
            after: at.map_or(Duration::ZERO, |at| now.until(at)),
        };
        if open.len() >= ENROLMENTS_OPEN_MAX {
            let first = open.iter().map(|kept| kept.expires_at).min();
            return Err(full(Limit::Enrolments, first).into());
        }
        if all.len() >= ENROLMENTS_PER_ACCOUNT_MAX {
            let first = all.iter().map(|kept| kept_until(kept)).min();
            return Err(full(Limit::EnrolmentsPerDay, first).into());
        }
        Ok(())
    }

    /// Waits for the outcome of an enrolment.
    async fn outcome_of(&mut self, id: EnrolmentId) -> Result<Enrolled, Failed> {
        let mut place = None::<WaitingPlace>;
        let mut watch = Watch::of(Duration::from_secs(ENROLMENT_WAIT_SECONDS));
        loop {
            let changed = self.service.shared.enrolments.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed, including one that happens before the next read.
            changed.as_mut().enable();
            let enrolment = self.service.settled(id).await?.filter(|kept| kept.is_of(self.caller));
            let enrolment = enrolment.ok_or(Refusal::NotFound("enrolment"))?;
            if enrolment.state != EnrolmentState::Pending || watch.is_over() {
                return self.service.enrolled(&enrolment).await;
            }
            if place.is_none() {
                place = Some(self.service.shared.waiters.enter(self.caller).ok_or(Refusal::TooManyWaiting)?);
            }
            self.service.nap(self.caller, &mut watch, self.patience, changed).await?;
        }
    }
}

/// The port of a link that leads to this machine alone.
fn port_here(url: &str) -> Option<&str> {
    url.strip_prefix("http://127.0.0.1:")?.split('/').next()
}

/// Instructions for a person who can't open the link because their browser is on another machine.
pub fn how_to_reach(url: &str, id: EnrolmentId, proof: ProofWanted) -> String {
    let on_terminal = format!("`countersign secret enroll {id}` on that machine's terminal");
    let Some(port) = port_here(url) else {
        return format!("Open the link in any browser, or use {on_terminal}.");
    };
    let asks = match proof {
        ProofWanted::Machine => {
            format!("and the page asks for the phrase that `countersign secret enroll --phrase {id}` prints there")
        }
        ProofWanted::Seat => "and the page asks for a sign-in or the seat's PIN".to_owned(),
    };
    format!(
        "The link works on the machine where Countersign runs. From another one, `ssh -L {port}:127.0.0.1:{port} HOST` makes \
         it work, {asks}; or use {on_terminal}."
    )
}

/// Ends an enrolment for the caller that began it, whose user refused to open the link.
#[derive(Debug, Clone, Copy)]
pub struct EndEnrolment {
    /// The enrolment.
    pub id: EnrolmentId,
    /// Whether the user declined it; otherwise they only closed the question.
    pub declined: bool,
}

impl Operation for EndEnrolment {
    const SPEC: Spec = Spec {
        name: "end_enrolment",
        access: Access::Scope(Scope::SecretsWrite),
        action: Action::EnrolDecline,
        effect: Effect::Change,
    };
    type Output = ();

    async fn run(self, call: &mut Call<'_>) -> Result<(), Failed> {
        let (how, action) = if self.declined {
            (EnrolmentState::Declined, Action::EnrolDecline)
        } else {
            (EnrolmentState::Cancelled, Action::EnrolCancel)
        };
        call.entry.action = action;
        let kept = call.service.vault().enrolment(self.id).await?.filter(|kept| kept.is_of(call.caller));
        kept.ok_or(Refusal::NotFound("enrolment"))?;
        call.service.finish(self.id, how, (call.caller.actor(), action)).await.map(drop)
    }
}

impl super::Service {
    /// The outcome of an enrolment, for its caller.
    pub(super) async fn enrolled(&self, enrolment: &Enrolment) -> Result<Enrolled, Failed> {
        let now = self.now();
        Ok(match enrolment.state_at(now) {
            EnrolmentState::Pending => Enrolled::Pending {
                id: enrolment.id,
                url: self.link_of(enrolment).await?,
                words: self.enrolment_words(enrolment.id),
                left: now.until(enrolment.expires_at),
                proof: enrolment.proof,
            },
            EnrolmentState::Stored(secret) => {
                let kept = self.vault().secret(enrolment.account, secret).await?;
                let kept = kept.filter(|kept| kept.deleted_at.is_none()).ok_or(Refusal::NotFound("secret"))?;
                Enrolled::Stored(Box::new(kept.value))
            }
            EnrolmentState::Declined => Enrolled::Declined,
            EnrolmentState::Cancelled => Enrolled::Cancelled,
            EnrolmentState::Expired => Enrolled::Expired,
        })
    }
}
