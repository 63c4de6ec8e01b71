//! `countersign secret enroll`: adds a secret on a page in the person's browser, finishes an agent's request on the
//! terminal, or prints the phrase with which a page lets its person in.

use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::view;
use crate::{
    domain::{
        enrolment::EnrolmentState,
        ids::EnrolmentId,
        otpauth::{Names, OtpAuth, OtpAuthError, is_link, unquoted},
        text::ShownText,
    },
    operations::{
        Added, EndEnrolment, EnrollResponse, EnrollSecret, Enrolled, EnrolmentPhrase, ErrorCode, OpenEnrolment, Proven,
        Review, Typed, answers::OK, how_to_reach, in_words,
    },
    transport::{
        cli::{Ending, Failure, Session, browser, interrupt::stop_signal},
        http::LocalPage,
    },
};

/// What to enrol.
#[derive(Debug, Args)]
pub struct EnrollArgs {
    /// An agent's request, by its `enrollment_id`: finish it here instead of on its page
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Print the phrase with which the page of this request lets you in
    #[arg(long, value_name = "ID", conflicts_with_all = ["id", "label", "issuer", "no_open"])]
    phrase: Option<String>,
    /// What to call the secret
    #[arg(long)]
    label: Option<String>,
    /// The service that issues it
    #[arg(long)]
    issuer: Option<String>,
    /// Print the link of the page, and open nothing
    #[arg(long, conflicts_with = "id")]
    no_open: bool,
}

/// A phrase, as JSON.
#[derive(Serialize)]
struct PhraseAnswer<'a> {
    status: &'static str,
    phrase: &'a str,
    words: &'a str,
}

impl EnrollArgs {
    /// Whether the command stores a secret, for which a missing vault is created.
    pub(super) const fn stores(&self) -> bool {
        self.id.is_none() && self.phrase.is_none()
    }

    /// Checks the label and issuer that a request would propose.
    pub(super) fn first(&self) -> Result<(), Failure> {
        let (label, issuer) = (self.label.clone(), self.issuer.clone());
        Ok(EnrollSecret { label, issuer, ..EnrollSecret::default() }.must_be_sound()?)
    }
}

pub(super) async fn enroll(args: EnrollArgs, session: &mut Session) -> Result<Ending, Failure> {
    if let Some(id) = &args.phrase {
        let (phrase, words) = session.perform(EnrolmentPhrase { id: id_of(id)? }).await?;
        let answer = PhraseAnswer { status: OK, phrase: &phrase, words: &words };
        session.console.answer(&answer, |console| console.line(&phrase))?;
        session.console.note(&format!("For the request {words}. Type the phrase into its page, and nowhere else."));
        return Ok(Ending::Done);
    }
    match &args.id {
        Some(id) => on_terminal(id_of(id)?, &args, session).await,
        None => on_page(args, session).await,
    }
}

fn id_of(text: &str) -> Result<EnrolmentId, Failure> {
    let remedy = "the request must be named by its whole `enrollment_id`";
    text.trim().parse().map_err(|_| Failure::Usage(remedy.to_owned()))
}

/// Serves the page until the person has answered.
async fn on_page(args: EnrollArgs, session: &mut Session) -> Result<Ending, Failure> {
    let page = LocalPage::default();
    session.service.offer_enrolments(Arc::new(page.clone()));
    let ask = EnrollSecret { label: args.label, issuer: args.issuer, ..EnrollSecret::default() };
    let stopped = stop_signal()?;
    tokio::pin!(stopped);
    let mut enrolled = session.perform(ask).await?;
    if let Enrolled::Pending { id, url, words, proof, .. } = &enrolled {
        session
            .console
            .note(&format!("Add the secret on this page within ten minutes: {url}\nIt shows the words {words}."));
        let opens = !args.no_open && session.console.can_ask();
        if !opens || !browser::open(url).await {
            session.console.note(&format!("No browser was opened. {}", how_to_reach(url, *id, *proof)));
        }
    }
    while let Enrolled::Pending { id, .. } = enrolled {
        let again = session.perform(EnrollSecret { enrollment_id: Some(id), ..EnrollSecret::default() });
        enrolled = tokio::select! {
            biased;
            () = &mut stopped => {
                // Its page can't be opened any more, and the number of open requests is limited.
                session.perform(EndEnrolment { id, declined: false }).await?;
                return Err(Failure::Interrupted);
            }
            answer = again => answer?,
        };
    }
    // The page's last answer may still be in transit.
    page.end().await;
    match enrolled {
        Enrolled::Stored(secret) => view::show(&secret, None, session).map(|()| Ending::Done),
        ended @ (Enrolled::Pending { .. } | Enrolled::Declined | Enrolled::Cancelled | Enrolled::Expired) => {
            let answer = EnrollResponse::from(ended);
            let word = answer.status.to_lowercase();
            session.console.answer(&answer, |console| console.line(&word))?;
            Ok(Ending::No)
        }
    }
}

/// Finishes a request on the terminal.
async fn on_terminal(id: EnrolmentId, args: &EnrollArgs, session: &mut Session) -> Result<Ending, Failure> {
    let proven = session.perform(OpenEnrolment { id }).await?.map_err(ended)?;
    tell_who_asks(&proven, session);
    let remedy = "run it on a terminal, or answer on the page of the link";
    let key = session.console.ask_hidden("Key or otpauth:// link (hidden): ", remedy).await?;
    let proposal = &proven.view.proposal;
    let chosen = |given: &Option<String>, proposed: &Option<ShownText>| {
        given.clone().or_else(|| proposed.as_ref().map(ToString::to_string)).unwrap_or_default()
    };
    let (mut label, issuer) = (chosen(&args.label, &proposal.label), chosen(&args.issuer, &proposal.issuer));
    // Most links contain a label.
    let brings_name = || {
        let names = Names { issuer: ShownText::parse(&issuer).ok(), ..Names::default() };
        let read = OtpAuth::parse_meant(unquoted(&key), names);
        is_link(unquoted(&key)) && !matches!(read, Err(OtpAuthError::NoName))
    };
    if label.is_empty() && !brings_name() {
        // An invalid key is refused before more is asked for.
        let (label_for_now, issuer) = (Some("-"), Some(issuer.as_str()));
        session.service.take_typed(&proven, &Typed { key: &key, label: label_for_now, issuer }).await?;
        label = session.console.ask("Label, such as the account's name: ", "add --label")?;
    }
    let typed = Typed { key: &key, label: Some(&label), issuer: Some(&issuer) };
    let handle = session.service.take_typed(&proven, &typed).await?;
    let Some(review) = session.service.review(&proven, &handle).await? else {
        return Err(ended(EnrolmentState::Expired));
    };
    tell_what_it_is(&review, session);
    session.console.confirm("Add it?", false.into())?;
    match session.service.add_typed(&proven, &handle).await? {
        Added::Stored(secret) => view::show(&secret, None, session).map(|()| Ending::Done),
        Added::Ended(state) => Err(ended(state)),
        Added::Lost => Err(ended(EnrolmentState::Expired)),
    }
}

fn tell_who_asks(proven: &Proven, session: &mut Session) {
    let view = &proven.view;
    let client = match view.client.name.as_str() {
        "" if view.is_person => "you, at a terminal",
        "" => "an agent that does not say its name",
        name => name,
    };
    let key = view.key.as_ref().map(|key| format!(", with the key {key}")).unwrap_or_default();
    let seat = view.seat.as_ref().map(|seat| format!(", for {}", seat.profile.email)).unwrap_or_default();
    session.console.note(&format!("Asked by {client}{key}{seat}. The chat shows the words {}.", view.words));
}

fn tell_what_it_is(review: &Review, session: &mut Session) {
    let metadata = &review.metadata;
    let issuer = metadata.issuer.as_ref().map(|issuer| format!("{issuer}, ")).unwrap_or_default();
    let console = &mut session.console;
    console.note(&format!("{issuer}{}: {}", metadata.label, in_words(&metadata.totp)));
    review.repaired.iter().for_each(|repair| console.note(&repair.description()));
    for same in &review.same_seed {
        console.note(&format!("This key is there already, as {}.", view::name(same)));
    }
    for same in review.same_name.iter().filter(|_| review.same_seed.is_empty()) {
        console.note(&format!("{} is there already, with another key.", view::name(same)));
    }
    if let (Some(wanted), Some(issuer)) = (&review.other_wanted, &metadata.issuer) {
        console.note(&format!("The agent asks for a secret of {wanted}, and this one is of {issuer}."));
    }
    let left = review.expires_in;
    console.note(&format!("Its current code, to finish the service's set-up: {}  {left} s left", review.code.digits()));
}

/// The error for a request that was answered or cancelled, or has expired.
fn ended(state: EnrolmentState) -> Failure {
    let message = match state {
        EnrolmentState::Stored(_) => "a secret was added for this request already",
        EnrolmentState::Declined => "this request was declined; nothing was added",
        EnrolmentState::Cancelled => {
            "this request was cancelled, or the key that made it was revoked or has expired; nothing was added"
        }
        EnrolmentState::Pending | EnrolmentState::Expired => "this request has expired; nothing was added",
    };
    Failure::Failed { code: ErrorCode::NotFound, message: message.to_owned() }
}
