//! `countersign secret`: manages the secrets from which codes are made. Only `add --generate`, once, `show
//! --qr` and `export` show a seed.

mod add;
mod captured;
mod duplicate;
mod enroll;
mod export;
mod import;
mod import_file;
mod import_report;
mod list;
mod qr;
mod shown_qr;
mod view;

pub(super) use export::new_file;
pub(super) use import::All as Files;

use clap::{Args, Subcommand};

use super::{
    Console, Ending, Failure, Session,
    first::{First, Input, Taken},
    names::{self, Among, SecretName},
    prompt::Consent,
    vault::note_held_back,
};
use crate::{
    child::Children,
    domain::{ids::SecretId, limits::RESTORE_DAYS},
    operations::{
        DeleteSecret, EraseSecret, ErrorCode, GetSecret, ListDeleted, Refusal, ResetSteps, RestoreSecret,
        SecretChanges, SecretDeleteResponse, UpdateSecret, answers::OK,
    },
};

/// What can be done with secrets.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Store a secret; its seed comes from a hidden prompt, standard input, a file or a picture, never from an argument
    #[command(after_help = "Examples:\n  countersign secret add --label ada@example.com --issuer GitHub\n  countersign secret add --qr screenshot.png\n  countersign secret add --qr clipboard\n  countersign secret add --label ada@example.com --generate", aliases = ["create", "new", "register"])]
    Add(add::AddArgs),
    /// Add a secret on a page in your browser; or finish an agent's request on this terminal
    #[command(
        after_help = "Examples:\n  countersign secret enroll --issuer GitHub\n  countersign secret enroll 01a2008d-7400-7000-8000-000000000000\n  countersign secret enroll --phrase 01a2008d-7400-7000-8000-000000000000",
        alias = "enrol"
    )]
    Enroll(enroll::EnrollArgs),
    /// List the secrets
    #[command(
        after_help = "Examples:\n  countersign secret list\n  countersign secret list --query github --json",
        alias = "ls"
    )]
    List(ListArgs),
    /// Show what is known of a secret, without its seed
    #[command(after_help = "Examples:\n  countersign secret show github ada\n  countersign secret show github ada --qr", aliases = ["get", "view"])]
    Show(ShowArgs),
    /// Change a secret: its names, the pages of its codes, whether they are for one caller each
    #[command(
        after_help = "Examples:\n  countersign secret update github ada --label ada@corp.com\n  countersign secret update github ada --single-use",
        alias = "edit"
    )]
    Update(UpdateArgs),
    /// Delete a secret; it can be restored for seven days
    #[command(after_help = "Examples:\n  countersign secret rm github ada\n  countersign secret rm github ada --now --yes", aliases = ["delete", "remove"])]
    Rm(RmArgs),
    /// Bring a deleted secret back
    #[command(after_help = "Examples:\n  countersign secret restore github ada\n  countersign secret list --deleted")]
    Restore(SecretName),
    /// Free the time steps that a clock which ran ahead had marked as used
    #[command(after_help = "Examples:\n  countersign secret reset-steps github ada")]
    ResetSteps(ResetArgs),
    /// Store the secrets of other apps' files: exports of authenticator apps and password managers, lists of otpauth://
    /// links, pictures of Google Authenticator's QR codes
    #[command(
        after_help = "Reads exports of Google Authenticator (text or picture), Aegis, 2FAS, Bitwarden, Proton Authenticator and Pass, Ente, andOTP, FreeOTP+, Stratum, LastPass Authenticator, 2FAuth, Raivo, 1Password, KeePass and KeePassXC (databases, XML, CSV), Apple Passwords, and any CSV with a column of names and one of keys (`totp`, `otp`, `secret`, `key`); the content says which, and encrypted ones ask for their passphrase. Shows what would be added, is present already, or is skipped and why, then asks, then stores all of it at once. Without a terminal to ask on, it stores only if nothing is skipped, or with --yes or --json.\n\nExit status: 0 if every entry was added or is present already; 1 if any was skipped or a part of an export is missing, although the others were added, or if nothing was stored; with --dry-run, what an import with --yes would end with. --json changes none of this: its `skipped` says how many.\n\nExamples:\n  countersign secret import aegis.json\n  countersign secret import part1.png part2.png\n  pass show github | countersign secret import -\n  countersign secret import phone.txt --dry-run"
    )]
    Import(import::ImportArgs),
    /// Write secrets to a file, encrypted with a passphrase or to a key of `age`; each is a row of the audit log
    #[command(
        after_help = "Examples:\n  countersign secret export --output secrets.age\n  countersign secret export github --to age1… --output github.age\n  countersign secret export --plain --output secrets.txt"
    )]
    Export(export::ExportArgs),
}

/// Which secrets to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only secrets with all of these words in issuer and label
    #[arg(long, value_name = "TEXT", conflicts_with = "deleted")]
    query: Option<String>,
    /// The deleted ones that can still be restored
    #[arg(long)]
    deleted: bool,
}

/// What to show.
#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    secret: SecretName,
    /// Show the seed as a QR code, to take it to a phone; a row of the audit log says so
    #[arg(long)]
    qr: bool,
    /// Don't ask
    #[arg(long, short = 'y', requires = "qr")]
    yes: bool,
}

/// What to change.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    #[command(flatten)]
    secret: SecretName,
    /// Another label
    #[arg(long)]
    label: Option<String>,
    /// Another issuer; an empty text removes it
    #[arg(long)]
    issuer: Option<String>,
    /// Give each code of it to one caller only, whatever a call asks for
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    single_use: Option<bool>,
    /// Web origin that its codes may be typed into, in the place of those it has; may be repeated, and an empty text removes all
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<String>,
    /// Type its codes into pages alone, and show them to nobody
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", conflicts_with = "single_use")]
    fill_only: Option<bool>,
    /// Change it although there is one of the same issuer and label then
    #[arg(long)]
    allow_duplicate: bool,
}

/// Whose steps to free.
#[derive(Debug, Args)]
pub struct ResetArgs {
    #[command(flatten)]
    secret: SecretName,
    /// Don't ask
    #[arg(long, short = 'y')]
    yes: bool,
}

/// What to delete.
#[derive(Debug, Args)]
pub struct RmArgs {
    #[command(flatten)]
    secret: SecretName,
    /// Don't ask
    #[arg(long, short = 'y')]
    yes: bool,
    /// Erase it at once and for good, also if it is deleted already
    #[arg(long)]
    now: bool,
}

impl Command {
    /// Whether the command only shows what an import would add.
    pub(super) const fn is_preview(&self) -> bool {
        matches!(self, Self::Import(args) if !args.stores())
    }

    /// Whether the command stores a secret. A dry run does not.
    pub(super) const fn stores(&self) -> bool {
        match self {
            Self::Add(_) => true,
            Self::Enroll(args) => args.stores(),
            Self::Import(args) => args.stores(),
            Self::List(_)
            | Self::Show(_)
            | Self::Update(_)
            | Self::Rm(_)
            | Self::Restore(_)
            | Self::ResetSteps(_)
            | Self::Export(_) => false,
        }
    }
}

/// Reads the input of a command that would make a vault.
pub(super) async fn first(command: &Command, console: &mut Console, children: &Children) -> Result<First, Failure> {
    match command {
        Command::Add(args) => {
            let registration = add::read(args, console, children).await?;
            registration.must_be_sound()?;
            Ok(First::Read(Input(Taken::Secret(registration))))
        }
        Command::Import(args) => import::first(args, console, children).await,
        Command::Enroll(args) => args.first().map(|()| First::Nothing),
        Command::List(_)
        | Command::Show(_)
        | Command::Update(_)
        | Command::Rm(_)
        | Command::Restore(_)
        | Command::ResetSteps(_)
        | Command::Export(_) => Ok(First::Nothing),
    }
}

pub(super) async fn run(command: Command, session: &mut Session) -> Result<Ending, Failure> {
    match command {
        Command::Add(args) => add::add(args, session).await?,
        Command::List(args) if args.deleted => list_deleted(session).await?,
        Command::List(args) => list::list(args.query.as_deref(), session).await?,
        Command::Show(args) => {
            let secret = names::secret(session, &args.secret.text(), Among::Live).await?;
            if args.qr {
                shown_qr::show(secret.id, args.yes, session).await?;
            } else {
                view::show(&secret, None, session)?;
            }
        }
        Command::Update(args) => update(args, session).await?,
        Command::Rm(args) => remove(&args, session).await?,
        Command::Restore(name) => {
            let id = names::secret(session, &name.text(), Among::Deleted).await?.id;
            session.perform(RestoreSecret { id }).await?;
            let secret = session.perform(GetSecret { id }).await?;
            view::show(&secret, None, session)?;
        }
        Command::ResetSteps(args) => {
            let secret = names::secret_to_lose(session, &args.secret.text(), Among::Live).await?;
            let question = format!(
                "Reset the steps of {}? Codes that were given out or accepted may be so once more.",
                view::name(&secret)
            );
            session.console.confirm(&question, args.yes.into())?;
            session.perform(ResetSteps { id: secret.id }).await?;
            session.console.answer(&SecretDeleteResponse { status: OK }, |console| console.line("reset"))?;
        }
        Command::Enroll(args) => return enroll::enroll(args, session).await,
        Command::Import(args) => return import::import(&args, session).await,
        Command::Export(args) => return export::export(&args, session).await,
    }
    Ok(Ending::Done)
}

async fn list_deleted(session: &mut Session) -> Result<(), Failure> {
    // A list of restorable secrets must not show any past its seven days.
    let erased = session.service.erase_expired().await?;
    let secrets = session.perform(ListDeleted).await?;
    let now = session.service.now();
    let ids = view::shown_ids(&secrets, &session.console);
    let answer = view::DeletedAnswer::of(&secrets);
    session.console.answer(&answer, |console| view::deleted(&secrets, ids.as_ref(), now, console))?;
    if secrets.is_empty() {
        session.console.note("No deleted secrets.");
    }
    note_held_back(erased, &mut session.console);
    Ok(())
}

async fn update(args: UpdateArgs, session: &mut Session) -> Result<(), Failure> {
    let origins = (!args.origin.is_empty()).then(|| args.origin.into_iter().filter(|text| !text.trim().is_empty()));
    let changes = SecretChanges {
        label: args.label,
        issuer: args.issuer,
        single_use: args.single_use,
        fill_only: args.fill_only,
        origins: origins.map(Iterator::collect),
    };
    if changes == SecretChanges::default() {
        let problem = "say what to change: --label, --issuer, --origin, --single-use or --fill-only";
        return Err(Failure::Usage(problem.to_owned()));
    }
    let secret = names::secret(session, &args.secret.text(), Among::Live).await?;
    let wanted = duplicate::changed(&secret.metadata, changes.label.as_deref(), changes.issuer.as_deref());
    if !args.allow_duplicate && wanted != duplicate::name(&secret.metadata) {
        duplicate::ask_for(&wanted, Some(secret.id), session).await?;
    }
    let id = secret.id;
    let secret = session.perform(UpdateSecret { id, changes }).await?;
    view::show(&secret, None, session)
}

async fn remove(args: &RmArgs, session: &mut Session) -> Result<(), Failure> {
    let answer = SecretDeleteResponse { status: OK };
    if args.now {
        let (id, name) = to_erase(&args.secret.text(), session).await?;
        session.console.confirm(
            &format!("Erase {name} for good? Its account can't be logged in to without it."),
            args.yes.into(),
        )?;
        session.perform(EraseSecret { id }).await?;
        return session.console.answer(&answer, |console| console.line("erased"));
    }
    let secret = names::secret_to_lose(session, &args.secret.text(), Among::Live).await?;
    let name = view::name(&secret);
    session.console.confirm(&format!("Delete {name}?"), Consent::from(args.yes))?;
    session.perform(DeleteSecret { secret_id: secret.id }).await?;
    session.console.answer(&answer, |console| console.line("deleted"))?;
    session
        .console
        .note(&format!("`countersign secret restore {}` brings it back within {RESTORE_DAYS} days.", secret.id));
    Ok(())
}

/// The id and name of the secret to erase. A damaged one is in no list, but can be named by its whole id.
async fn to_erase(name: &str, session: &mut Session) -> Result<(SecretId, String), Failure> {
    let found = names::secret_to_lose(session, name, Among::All).await;
    match (found, name.trim().parse()) {
        (
            Err(
                Failure::Refused(Refusal::NotFound(_) | Refusal::Damaged(_))
                | Failure::Failed { code: ErrorCode::NotFound, .. },
            ),
            Ok(id),
        ) => Ok((id, format!("the secret {id}"))),
        (found, _) => found.map(|secret| (secret.id, view::name(&secret))),
    }
}
