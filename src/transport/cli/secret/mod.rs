//! `countersign secret`: keeping the secrets that codes are made from. No command here prints a seed but `add --generate`,
//! once, and `export --plaintext`.

mod add;
mod import;
mod picture;
mod qr;
mod view;

use clap::{Args, Subcommand};

use super::{
    Ending, Failure, Session,
    names::{self, Among},
    prompt::Consent,
};
use crate::{
    domain::{ids::SecretId, limits::RESTORE_DAYS},
    service::{SecretChanges, SecretQuery},
    transport::wire::{OK, SecretDeleteResponse, SecretListResponse, TotpSecret},
};

/// What can be done with secrets.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Store a secret; its seed comes from a hidden prompt, standard input, a file or a picture, never from an argument
    Add(add::AddArgs),
    /// List the secrets
    List(ListArgs),
    /// Show what is known of a secret, without its seed
    Show {
        /// The secret: its id, the start of its id, or its exact label
        #[arg(value_name = "ID|LABEL")]
        secret: String,
    },
    /// Change a secret's label or issuer, or whether its codes are for one caller each
    Update(UpdateArgs),
    /// Delete a secret; it can be restored for seven days
    Rm(RmArgs),
    /// Bring a deleted secret back
    Restore {
        /// The secret, as `secret list --deleted` shows it
        #[arg(value_name = "ID|LABEL")]
        secret: String,
    },
    /// Free the time steps that a clock which ran ahead had marked as used
    ResetSteps {
        /// The secret: its id, the start of its id, or its exact label
        #[arg(value_name = "ID|LABEL")]
        secret: String,
    },
    /// Store the secrets of a file: otpauth:// URIs, one a line, or a JSON array. All of them, or none if one is wrong
    Import(import::ImportArgs),
    /// Print all secrets as otpauth:// URIs, unencrypted; each is a row on the trail
    Export(ExportArgs),
}

/// Which secrets to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only secrets whose label or issuer contains this text, without case
    #[arg(long, value_name = "TEXT", conflicts_with = "deleted")]
    query: Option<String>,
    /// The deleted ones that can still be restored
    #[arg(long)]
    deleted: bool,
}

/// What to change.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// The secret: its id, the start of its id, or its exact label
    #[arg(value_name = "ID|LABEL")]
    secret: String,
    /// Another label
    #[arg(long)]
    label: Option<String>,
    /// Another issuer; an empty text removes it
    #[arg(long)]
    issuer: Option<String>,
    /// Give each code of it to one caller only, whatever a call asks for
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    single_use: Option<bool>,
}

/// What to delete.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// The secret: its id, the start of its id, or its exact label
    #[arg(value_name = "ID|LABEL")]
    secret: String,
    /// Don't ask
    #[arg(long, short = 'y')]
    yes: bool,
    /// Erase it at once and for good, also if it is deleted already
    #[arg(long)]
    now: bool,
}

/// What an export takes.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Say that the seeds leave the vault unencrypted
    #[arg(long, required = true)]
    plaintext: bool,
    /// Print seeds on a terminal, too
    #[arg(long, short = 'y')]
    yes: bool,
}

pub(super) async fn run(command: Command, session: &mut Session) -> Result<Ending, Failure> {
    match command {
        Command::Add(args) => add::add(args, session).await?,
        Command::List(args) if args.deleted => list_deleted(session).await?,
        Command::List(args) => list(args.query, session).await?,
        Command::Show { secret } => {
            let secret = names::secret(session, &secret, Among::Live).await?;
            view::show(&secret, None, session)?;
        }
        Command::Update(args) => update(args, session).await?,
        Command::Rm(args) => remove(&args, session).await?,
        Command::Restore { secret } => {
            let id = names::secret(session, &secret, Among::Deleted).await?.id;
            session.service.restore_secret(&session.caller, id).await?;
            let secret = session.service.get_secret(&session.caller, id).await?;
            view::show(&secret, None, session)?;
        }
        Command::ResetSteps { secret } => {
            let secret = names::secret(session, &secret, Among::Live).await?;
            session.service.reset_steps(&session.caller, secret.id).await?;
            session.console.answer(&SecretDeleteResponse { status: OK }, |console| console.line("reset"))?;
        }
        Command::Import(args) => return import::import(&args, session).await,
        Command::Export(args) => return export(&args, session).await,
    }
    Ok(Ending::Done)
}

async fn list(query: Option<String>, session: &mut Session) -> Result<(), Failure> {
    let query = SecretQuery { query, ..SecretQuery::default() };
    let secrets = session.service.list_secrets(&session.caller, &query).await?.secrets;
    let now = session.service.now();
    let answer = SecretListResponse { status: OK, totp_secrets: secrets.iter().map(TotpSecret::from).collect() };
    session.console.answer(&answer, |console| view::table(&secrets, now, console))?;
    if secrets.is_empty() {
        session.console.note(match query.query {
            Some(_) => "No secret matches.",
            None => "No secrets yet; `countersign secret add --label LABEL` stores one.",
        });
    }
    Ok(())
}

async fn list_deleted(session: &mut Session) -> Result<(), Failure> {
    // A list of what can be restored must not show what is past its seven days.
    session.service.erase_expired().await?;
    let secrets = session.service.list_deleted(&session.caller).await?;
    let now = session.service.now();
    session.console.answer(&view::DeletedAnswer::of(&secrets), |console| view::deleted(&secrets, now, console))?;
    if secrets.is_empty() {
        session.console.note("No deleted secrets.");
    }
    Ok(())
}

async fn update(args: UpdateArgs, session: &mut Session) -> Result<(), Failure> {
    if args.label.is_none() && args.issuer.is_none() && args.single_use.is_none() {
        return Err(Failure::Usage("say what to change: --label, --issuer or --single-use".to_owned()));
    }
    let id = names::secret(session, &args.secret, Among::Live).await?.id;
    let changes = SecretChanges { label: args.label, issuer: args.issuer, single_use: args.single_use };
    let secret = session.service.update_secret(&session.caller, id, &changes).await?;
    view::show(&secret, None, session)
}

async fn remove(args: &RmArgs, session: &mut Session) -> Result<(), Failure> {
    let answer = SecretDeleteResponse { status: OK };
    if args.now {
        let (id, name) = to_erase(&args.secret, session).await?;
        session.console.confirm(
            &format!("Erase {name} for good? Its account can't be logged in to without it."),
            args.yes.into(),
        )?;
        session.service.erase_secret(&session.caller, id).await?;
        return session.console.answer(&answer, |console| console.line("erased"));
    }
    let secret = names::secret(session, &args.secret, Among::Live).await?;
    let name = view::name(&secret);
    session.console.confirm(&format!("Delete {name}?"), Consent::from(args.yes))?;
    session.service.delete_secret(&session.caller, secret.id).await?;
    session.console.answer(&answer, |console| console.line("deleted"))?;
    session
        .console
        .note(&format!("`countersign secret restore {}` brings it back within {RESTORE_DAYS} days.", secret.id));
    Ok(())
}

/// Which secret to erase, and what to call it. A damaged one stands in no list, but can be named by its whole id.
async fn to_erase(name: &str, session: &Session) -> Result<(SecretId, String), Failure> {
    let found = names::secret(session, name, Among::All).await;
    match (found, name.trim().parse()) {
        (Err(_), Ok(id)) => Ok((id, format!("the secret {id}"))),
        (found, _) => found.map(|secret| (secret.id, view::name(&secret))),
    }
}

async fn export(args: &ExportArgs, session: &mut Session) -> Result<Ending, Failure> {
    if session.console.looks().out.terminal && !args.yes {
        let remedy = "seeds would stay on this screen; send them to a file or a program, or add --yes";
        return Err(Failure::Usage(remedy.to_owned()));
    }
    let export = session.service.export_secrets(&session.caller).await?;
    let answer = view::ExportAnswer::of(&export);
    session.console.answer(&answer, |console| {
        for uri in &export.uris {
            console.line(uri)?;
        }
        Ok(())
    })?;
    session.console.note(&format!("{} secrets exported unencrypted.", export.uris.len()));
    if export.damaged.is_empty() {
        return Ok(Ending::Done);
    }
    for id in export.damaged {
        let name = id.map_or_else(|| "a secret with an unreadable id".to_owned(), |id| format!("the secret {id}"));
        session.console.note(&format!("{name} is damaged and was left out"));
    }
    let remedy = "`countersign vault doctor` says what is wrong; restore what is damaged from a backup.";
    session.console.note(remedy);
    Ok(Ending::No)
}
