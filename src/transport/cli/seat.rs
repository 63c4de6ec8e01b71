//! `countersign seat`: the people agents work for. Callers read seats; a person manages them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    Console, Ending, Failure, Session,
    first::{First, Input, Taken},
    names::{self, ShortIds},
    numbers::{whole, within},
    prompt::THE_SAME_AGAIN,
    seat_file,
    table::Table,
};
use crate::{
    domain::{account::Account, limits::PIN_CHARS_MAX, principal::Principal, seat::Seat},
    operations::{
        AddSeat, ErrorCode, FindSeats, ListSeats, Refusal, RemoveSeat, SeatChanges, SeatPage, SecretDeleteResponse,
        Service, SetSeatPin, UpdateSeat,
        answers::{self, OK},
        check_seat,
    },
};

/// What can be done with seats.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a seat
    #[command(after_help = "Examples:\n  countersign seat add --email ada@corp.com --first-name Ada", alias = "create")]
    Add {
        /// E-mail address, unique in the account
        #[arg(long)]
        email: String,
        #[command(flatten)]
        profile: ProfileArgs,
    },
    /// List the seats
    #[command(
        after_help = "Examples:\n  countersign seat list\n  countersign seat list --email ada@corp.com --json",
        alias = "ls"
    )]
    List {
        /// Only the seat with exactly this e-mail address
        #[arg(long)]
        email: Option<String>,
        /// Seats at most
        #[arg(long, value_name = "N", value_parser = whole::<u32>)]
        limit: Option<u32>,
        /// Seats to skip
        #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<u64>)]
        offset: u64,
    },
    /// Show a seat
    #[command(after_help = "Examples:\n  countersign seat show ada@corp.com", alias = "get")]
    Show {
        /// The seat: its id, short id, `auth_subject`, e-mail address or name
        #[arg(value_name = "SEAT")]
        seat: String,
    },
    /// Change a seat; an empty text removes what was there
    #[command(
        after_help = "Examples:\n  countersign seat update ada@corp.com --codes-per-hour 60\n  countersign seat update ada@corp.com --last-name \"\"",
        alias = "edit"
    )]
    Update {
        /// The seat: its id, short id, `auth_subject`, e-mail address or name
        #[arg(value_name = "SEAT")]
        seat: String,
        /// E-mail address, unique in the account
        #[arg(long)]
        email: Option<String>,
        #[command(flatten)]
        profile: ProfileArgs,
        #[command(flatten)]
        pin: PinArgs,
    },
    /// Remove a seat; keys bound to it are revoked
    #[command(after_help = "Examples:\n  countersign seat rm ada@corp.com", aliases = ["delete", "remove"])]
    Rm {
        /// The seat: its id, short id, `auth_subject`, e-mail address or name
        #[arg(value_name = "SEAT")]
        seat: String,
        /// Don't ask
        #[arg(long, short = 'y')]
        yes: bool,
    },
    /// Add seats from a file: CSV with a head line, or a JSON array. All that are not there yet, or none if one is wrong
    #[command(after_help = "Examples:\n  countersign seat import people.csv")]
    Import {
        /// The file; `-` for standard input
        file: PathBuf,
    },
}

/// What a person may say of a seat beside the e-mail address.
#[derive(Debug, Clone, Args)]
pub struct ProfileArgs {
    /// Given name
    #[arg(long, value_name = "NAME")]
    first_name: Option<String>,
    /// Family name
    #[arg(long, value_name = "NAME")]
    last_name: Option<String>,
    /// Where calls are forwarded to, such as +14155550123
    #[arg(long, value_name = "NUMBER")]
    forwarding_number: Option<String>,
    /// The person's id at the identity provider; not the id of another seat
    #[arg(long, value_name = "ID")]
    auth_subject: Option<String>,
    /// Codes an hour that may be given for this seat, per secret [default: no limit]; `seat update` takes 0 to remove it
    #[arg(long, value_name = "N", value_parser = whole::<u32>)]
    codes_per_hour: Option<u32>,
}

/// The PIN with which the person of a seat proves on an enrolment page who they are.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct PinArgs {
    /// Set the PIN with which the person lets themselves into the pages of `enroll_totp_secret`; it is asked for twice
    #[arg(long)]
    pin: bool,
    /// Set that PIN from standard input
    #[arg(long)]
    pin_stdin: bool,
    /// Remove that PIN
    #[arg(long)]
    no_pin: bool,
}

/// A seat as its manager sees it: the mirrored API's fields and our own.
#[derive(Serialize)]
pub(super) struct SeatView {
    #[serde(flatten)]
    seat: answers::Seat,
    auth_subject: Option<String>,
    codes_per_hour: Option<u32>,
}

/// One seat, as JSON.
#[derive(Serialize)]
struct SeatAnswer {
    seat: SeatView,
    status: &'static str,
}

/// Seats, as JSON.
#[derive(Serialize)]
struct SeatsAnswer {
    seats: Vec<SeatView>,
    status: &'static str,
}

/// Reads and checks the input of a command that would make a vault.
pub(super) fn first(command: &Command, console: &mut Console) -> Result<First, Failure> {
    match command {
        Command::Add { email, profile } => {
            check_seat(&profile.clone().changes(Some(email.clone())))?;
            Ok(First::Nothing)
        }
        Command::Import { file } => Ok(First::Read(Input(Taken::Seats(seat_file::first(file, console)?)))),
        Command::List { .. } | Command::Show { .. } | Command::Update { .. } | Command::Rm { .. } => Ok(First::Nothing),
    }
}

pub(super) async fn run(command: Command, session: &mut Session) -> Result<Ending, Failure> {
    match command {
        Command::Add { email, profile } => {
            let seat = session.perform(AddSeat { profile: profile.changes(Some(email)) }).await?;
            show(&seat, session)
        }
        Command::List { email, limit, offset } => {
            list(ListSeats { email, limit: within("limit", limit)?, offset, ..ListSeats::default() }, session).await
        }
        Command::Show { seat } => {
            let seat = find(session, &seat).await?;
            show(&seat, session)
        }
        Command::Update { seat, email, profile, pin } => {
            let changes = profile.changes(email);
            let (unchanged, sets_pin) = (changes == SeatChanges::default(), pin.pin || pin.pin_stdin || pin.no_pin);
            if unchanged && !sets_pin {
                let flags = "--email, --first-name, --last-name, --forwarding-number, --auth-subject, --codes-per-hour or --pin";
                return Err(Failure::Usage(format!("say what to change: {flags}")));
            }
            let found = find(session, &seat).await?;
            let seat = found.id.to_string();
            if sets_pin {
                let pin = pin.read(session).await?;
                session.perform(SetSeatPin { seat: seat.clone(), pin }).await?;
            }
            let seat = if unchanged { found } else { session.perform(UpdateSeat { seat, changes }).await? };
            show(&seat, session)
        }
        Command::Rm { seat, yes } => {
            let seat = match find_seat(&session.service, &session.caller, &seat).await {
                Err(Failure::Refused(refusal)) if refusal.code() == ErrorCode::NotFound => {
                    names::seat_to_lose(session, &seat).await?
                }
                found => found?,
            };
            let question = format!("Remove {} and revoke the keys bound to it?", seat.profile.email);
            session.console.confirm(&question, yes.into())?;
            session.perform(RemoveSeat { seat: seat.id.to_string() }).await?;
            session.console.answer(&SecretDeleteResponse { status: OK }, |console| console.line("removed"))?;
            Ok(Ending::Done)
        }
        Command::Import { file } => seat_file::import(&file, session).await,
    }
}

/// The seat that a person names: like callers, by its id or else its `auth_subject`, or by its e-mail address.
///
/// # Errors
/// [`Failure::Refused`]: `not_found`, `unavailable`. [`Failure::Failed`]: the name is one seat's subject and another's
/// address.
pub async fn find_seat(service: &Service, person: &Principal, name: &str) -> Result<Seat, Failure> {
    let mut found = service.perform(person, FindSeats { name: name.to_owned() }).await?;
    match found.pop() {
        Some(seat) if found.is_empty() => Ok(seat),
        Some(last) => {
            found.push(last);
            Err(names::ambiguous(&found))
        }
        None => Err(Refusal::NotFound("seat").into()),
    }
}

/// The seat that a person names: as in [`find_seat`], or by its short id or words of its address and name.
pub(super) async fn find(session: &mut Session, name: &str) -> Result<Seat, Failure> {
    match find_seat(&session.service, &session.caller, name).await {
        Err(Failure::Refused(refusal)) if refusal.code() == ErrorCode::NotFound => names::seat(session, name).await,
        found => found,
    }
}

/// The id of the seat that a person names for an operation. An unknown name is passed on, so that the operation's
/// refusal is in the audit log.
pub(super) async fn id_for_use(session: &mut Session, name: Option<String>) -> Result<Option<String>, Failure> {
    let Some(name) = name else { return Ok(None) };
    match find(session, &name).await {
        Ok(seat) => Ok(Some(seat.id.to_string())),
        Err(Failure::Failed { code: ErrorCode::NotFound, .. }) => Ok(Some(name)),
        Err(failure) => Err(failure),
    }
}

async fn list(query: ListSeats, session: &mut Session) -> Result<Ending, Failure> {
    let filtered = query.email.is_some() || query.offset > 0 || query.limit.is_some();
    let SeatPage { seats, account, .. } = session.perform(query).await?;
    let now = session.service.now();
    let shown = seats.iter().map(|seat| SeatView::of(seat, &account)).collect();
    let ids = shown_ids(session).await?;
    session.console.answer(&SeatsAnswer { seats: shown, status: OK }, |console| {
        let mut table = Table::new(&["ID", "EMAIL", "NAME", "AUTH SUBJECT", "CREATED"]);
        for seat in &seats {
            table.row(vec![
                ids.as_ref().map_or_else(|| seat.id.to_string(), |ids| ids.short(seat.id.uuid())),
                seat.profile.email.to_string(),
                full_name(seat),
                seat.profile.auth_subject.as_ref().map(ToString::to_string).unwrap_or_default(),
                console.date(seat.created_at, now),
            ]);
        }
        if seats.is_empty() { Ok(()) } else { console.table(&table) }
    })?;
    if seats.is_empty() {
        let none = "No seats yet; `countersign seat add --email EMAIL` adds one.";
        session.console.note(if filtered { "No seat matches." } else { none });
    }
    Ok(Ending::Done)
}

/// Short ids for people at a terminal; programs get whole ids.
async fn shown_ids(session: &Session) -> Result<Option<ShortIds>, Failure> {
    if !session.console.looks().out.terminal {
        return Ok(None);
    }
    let all = session.perform(ListSeats::default()).await?.seats;
    Ok(Some(ShortIds::of(&all.iter().map(|seat| seat.id.uuid()).collect::<Vec<_>>())))
}

fn show(seat: &Seat, session: &mut Session) -> Result<Ending, Failure> {
    let answer = SeatAnswer { seat: SeatView::of(seat, &session.account), status: OK };
    let now = session.service.now();
    session.console.answer(&answer, |console| {
        let SeatView { seat: shown, auth_subject, codes_per_hour } = &answer.seat;
        console.facts(&[
            ("seat_id", &shown.seat_id),
            ("account", &shown.account),
            ("email", &shown.email),
            ("first name", shown.first_name.as_deref().unwrap_or_default()),
            ("last name", shown.last_name.as_deref().unwrap_or_default()),
            ("forwarding number", shown.forwarding_number.as_deref().unwrap_or_default()),
            ("auth subject", auth_subject.as_deref().unwrap_or_default()),
            ("codes per hour", &codes_per_hour.map_or_else(|| "no limit".to_owned(), |most| most.to_string())),
            ("created", &console.date(seat.created_at, now)),
        ])
    })?;
    Ok(Ending::Done)
}

fn full_name(seat: &Seat) -> String {
    let names = [&seat.profile.first_name, &seat.profile.last_name];
    names.into_iter().flatten().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

impl SeatView {
    pub(super) fn of(seat: &Seat, account: &Account) -> Self {
        Self {
            seat: answers::Seat::of(seat, account),
            auth_subject: seat.profile.auth_subject.as_ref().map(ToString::to_string),
            codes_per_hour: seat.profile.codes_per_hour,
        }
    }
}

impl PinArgs {
    /// The new PIN; `None` removes it.
    async fn read(&self, session: &mut Session) -> Result<Option<Zeroizing<String>>, Failure> {
        if self.no_pin {
            return Ok(None);
        }
        if self.pin_stdin {
            return session.console.read_stdin(PIN_CHARS_MAX + 2).map(Some);
        }
        let pin = session.console.ask_hidden("New PIN (hidden): ", "use --pin-stdin").await?;
        let again = session.console.ask_hidden(THE_SAME_AGAIN, "use --pin-stdin").await?;
        if *pin != *again {
            return Err(Failure::invalid("the two PINs differ; nothing was changed"));
        }
        Ok(Some(pin))
    }
}

impl ProfileArgs {
    fn changes(self, email: Option<String>) -> SeatChanges {
        SeatChanges {
            email,
            first_name: self.first_name,
            last_name: self.last_name,
            forwarding_number: self.forwarding_number,
            auth_subject: self.auth_subject,
            codes_per_hour: self.codes_per_hour,
        }
    }
}
