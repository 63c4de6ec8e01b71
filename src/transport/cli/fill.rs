//! `countersign fill`: types a code into the page of a running browser.

use clap::Args;

use super::{
    Ending, Failure, Session,
    interrupt::stop_signal,
    names::{self, Among, SecretName},
    numbers::{whole, within},
    seat,
};
use crate::{
    domain::limits::{PERIOD_SECONDS_MAX, SELECTOR_CHARS_MAX, WAIT_SECONDS_MAX},
    operations::{FillCode, FillResponse, Refusal, Text},
};

/// What `countersign fill` takes.
#[derive(Debug, Args)]
pub struct FillArgs {
    #[command(flatten)]
    secret: SecretName,
    /// The page or frame, by its id in the list of an earlier answer, if several ask for a code
    #[arg(long, value_name = "ID")]
    page: Option<String>,
    /// CSS selector of the field, if it is not found without one
    #[arg(long, value_name = "CSS")]
    selector: Option<String>,
    /// Type the code and leave the page as it is: then everybody who looks at the page sees the code
    #[arg(long)]
    no_submit: bool,
    /// Seconds that must be left of the code [default: 5]
    #[arg(long, value_name = "SECONDS", value_parser = whole::<u32>)]
    min_validity: Option<u32>,
    /// Seconds to wait for the page and for a code at most, up to 120 [default: 45]
    #[arg(long, value_name = "SECONDS", value_parser = whole::<u32>)]
    max_wait: Option<u32>,
    /// The seat that the code is for: its id, `auth_subject`, e-mail address or name
    #[arg(long, value_name = "SEAT")]
    seat: Option<String>,
    /// Why the code is needed, for the audit log
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
}

pub(super) async fn fill(args: FillArgs, session: &mut Session) -> Result<Ending, Failure> {
    let min_validity = within::<0, PERIOD_SECONDS_MAX>("min_validity", args.min_validity)?;
    let max_wait = within::<0, WAIT_SECONDS_MAX>("max_wait", args.max_wait)?;
    let too_long = || Refusal::invalid("selector", format!("must be at most {SELECTOR_CHARS_MAX} characters"));
    let selector = args.selector.map(|text| Text::new(&text).ok_or_else(too_long)).transpose()?;
    let secret = names::secret(session, &args.secret.text(), Among::Live).await?;
    let request = FillCode {
        secret_id: secret.id,
        page: args.page,
        selector,
        submit: Some(!args.no_submit),
        min_validity,
        max_wait,
        seat_id: seat::id_for_use(session, args.seat).await?,
        purpose: args.purpose,
    };
    let stopped = stop_signal()?;
    let filled = tokio::select! {
        // Listen for an interruption before anything is reserved.
        biased;
        () = stopped => return Err(Failure::Interrupted),
        filled = session.service.perform_for(&session.caller, request, &()) => filled,
    };
    if let Err(Refusal::WhichPage { candidates, .. }) = &filled {
        for candidate in candidates {
            session.console.note(&format!("{}  {}  {}", candidate.page.as_str(), candidate.origin, candidate.title));
        }
    }
    let filled = filled?;
    let (what, left) = (if filled.submitted { "submitted to" } else { "typed into" }, filled.expires_in);
    let line = format!("{what} {}  {left} s left", filled.origin);
    session.console.answer(&FillResponse::from(filled), |console| console.line(&line))?;
    Ok(Ending::Done)
}
