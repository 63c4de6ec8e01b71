//! The command line: turns a person's input into operations, and their answers into tables or JSON.
//!
//! Each noun has a file with its flags and commands. Answers and questions pass through `output`, `prompt` and
//! `hidden`; only the countdown of `code` and the last line of `interrupt` are written beside them. Standard output is
//! for the answer; prompts, progress and errors go to standard error. This module never takes a seed or a code as an
//! argument, quotes no typed text but names of files in an error, and leaves every decision to the operations.

mod account;
mod anchors;
mod audit;
mod audit_pages;
mod audit_table;
mod audit_verify;
mod browser;
mod clipboard;
mod code;
mod demo;
mod doctor;
mod failure;
mod file_names;
mod fill;
mod first;
mod guard;
mod hidden;
mod interrupt;
mod key;
mod live;
mod names;
mod numbers;
mod offered;
mod output;
mod plugin;
mod prompt;
mod qr_code;
mod seat;
mod seat_file;
mod secret;
mod setup;
mod short_ids;
mod table;
mod times;
mod vault;
mod vault_key;
mod vault_move;
mod vault_rotate;
mod vault_status;
mod working;

use std::sync::Arc;

use clap::Subcommand;

pub use demo::{Stage, demo};
pub use doctor::{Repair, ask_to_repair, repaired};
pub use failure::{Ending, Failure};
pub use first::{First, Input, first};
pub use interrupt::{EXIT_INTERRUPTED, ends_in_order};
pub use key::{first_key, listening};
pub use offered::{Offered, names_of_keys, names_of_seats, names_of_secrets};
pub use output::{Answers, Console, Looks, Stream};
pub use plugin::refuse as refuse_plugin;
pub use seat::find_seat;
pub use setup::{SetupArgs, set_up};
pub use vault::{Confinement, ProcessFacts, VaultFacts, ask_to_accept_loss, ask_to_restore};
pub use vault_key::{ask_passphrase, ask_recovery_words, read_stdin};
pub use vault_move::{MoveArgs, ask_to_move, moved, moving};

use crate::{
    child::Children,
    domain::{account::Account, audit::Action, key_source::KeySource, principal::Principal},
    operations::{Operation, Refusal, Service, Source},
};

/// What a person may ask for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Manage the secrets that codes are made from
    #[command(subcommand, visible_alias = "secrets")]
    Secret(secret::Command),
    /// Show the current code of a secret; of all of them without a name
    #[command(
        after_help = "Examples:\n  countersign code github ada\n  countersign code github --copy\n  countersign code github --watch\n  countersign code github --decoy\n  countersign code --json github"
    )]
    Code(code::CodeArgs),
    /// Type a code into the page of a running browser that asks for it, and submit it
    #[command(
        after_help = "The browser takes commands if it was started with --remote-debugging-port=9222.\n\nExamples:\n  countersign fill github ada --browser http://127.0.0.1:9222\n  countersign fill github --no-submit"
    )]
    Fill(fill::FillArgs),
    /// Be the proxy of an agent's browser: what it types are decoys, and codes take their place on the way to an origin
    #[command(
        after_help = "An agent gets a decoy by get_totp_code with `decoy`, or by `countersign code NAME --decoy`.\n\nExamples:\n  countersign guard\n  chromium --user-data-dir=DIR --proxy-server=http://127.0.0.1:8899 --ignore-certificate-errors-spki-list=$(countersign guard ca | head -n 1)"
    )]
    Guard(guard::GuardArgs),
    /// Answer another program, which starts this one as its plugin
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Check a code that somebody read from their authenticator app
    #[command(
        after_help = "Examples:\n  countersign verify github ada\n  echo 492039 | countersign verify github ada --stdin"
    )]
    Verify(code::VerifyArgs),
    /// Manage seats: the people agents work for
    #[command(subcommand, visible_alias = "seats")]
    Seat(seat::Command),
    /// Manage the API keys of remote agents
    #[command(subcommand, visible_alias = "keys")]
    Key(key::Command),
    /// Manage accounts: tenants of the vault
    #[command(subcommand, visible_alias = "accounts")]
    Account(account::Command),
    /// Read and check the audit log: every code given and every change
    #[command(subcommand)]
    Audit(audit::Command),
    /// Look after the vault
    #[command(subcommand)]
    Vault(vault::Command),
}

impl Command {
    /// Whether the command stores data: only then is a missing vault created.
    pub const fn makes_a_vault(&self) -> bool {
        match self {
            Self::Secret(command) => command.stores(),
            Self::Seat(command) => matches!(command, seat::Command::Add { .. } | seat::Command::Import { .. }),
            Self::Key(command) => matches!(command, key::Command::Create(_)),
            Self::Account(command) => matches!(command, account::Command::Add { .. }),
            Self::Vault(command) => matches!(command, vault::Command::Create),
            Self::Code(_) | Self::Fill(_) | Self::Guard(_) | Self::Plugin(_) | Self::Verify(_) | Self::Audit(_) => {
                false
            }
        }
    }

    /// Whether the command only shows what it would store, which needs no vault.
    pub const fn is_preview(&self) -> bool {
        matches!(self, Self::Secret(command) if command.is_preview())
    }

    /// Whether a program that uses this one as its plugin reads the answer.
    pub const fn is_plugin(&self) -> bool {
        matches!(self, Self::Plugin(_))
    }

    /// Whether the command examines the vault, any part of which may then be damaged.
    pub const fn is_doctor(&self) -> bool {
        matches!(self, Self::Vault(vault::Command::Doctor { .. }))
    }

    /// For a command that accepts an older copy of the vault, whether the person has already agreed.
    pub const fn accepts_loss(&self) -> Option<bool> {
        if let Self::Vault(vault::Command::AcceptLoss { yes }) = self { Some(*yes) } else { None }
    }

    /// The repair that the command makes, if any.
    pub fn repairs(&self) -> Option<Repair> {
        if let Self::Vault(vault::Command::Doctor { repair: true, from, yes }) = self {
            return Some(Repair { from: from.clone(), agreed: *yes });
        }
        None
    }

    /// The move that the command makes, if any.
    pub const fn moves(&self) -> Option<&MoveArgs> {
        if let Self::Vault(vault::Command::Move(args)) = self { Some(args) } else { None }
    }

    /// Whether the command does nothing but create a vault.
    pub const fn is_creation(&self) -> bool {
        matches!(self, Self::Vault(vault::Command::Create))
    }

    /// The source of the key with which the command opens the vault, if it is not the configured one.
    pub const fn opens_by(&self) -> Option<&KeySource> {
        if let Self::Vault(vault::Command::Key(command)) = self { command.opens_by() } else { None }
    }

    /// The source of a key that the command adds to the vault.
    pub const fn new_key(&self) -> Option<&KeySource> {
        if let Self::Vault(command) = self { command.new_key() } else { None }
    }

    /// Whether the new key comes from the source that opens the vault.
    pub const fn renews_own_key(&self) -> bool {
        if let Self::Vault(vault::Command::Rotate(args)) = self { args.renews_own_key() } else { false }
    }

    /// The sources of the other keys that open the vault.
    pub fn more_keys(&self) -> &[KeySource] {
        if let Self::Vault(vault::Command::Rotate(args)) = self { args.more_keys() } else { &[] }
    }

    /// The backup with which the command replaces the vault, if any, and whether the person has already agreed.
    pub fn restores(&self) -> Option<(&std::path::Path, bool)> {
        if let Self::Vault(vault::Command::Restore { file, yes }) = self { Some((file, *yes)) } else { None }
    }
}

/// The environment of a command.
pub struct Session {
    /// The service that carries out operations.
    pub service: Service,
    /// The person.
    pub caller: Principal,
    /// The person's account.
    pub account: Account,
    /// Facts about the open vault.
    pub vault: VaultFacts,
    /// The sources of keys, for commands that change the vault's keys.
    pub sources: Option<Sources>,
    /// The command's input, if it was read before there was a vault.
    pub input: Option<Input>,
    /// The streams for answers and questions.
    pub console: Console,
    /// The child processes that read untrusted files.
    pub children: Children,
}

/// The sources of a command's keys.
pub struct Sources {
    /// The source that opened the vault.
    pub opens: Arc<Source>,
    /// The source of a new key.
    pub new: Option<Arc<Source>>,
    /// The sources of the other keys that open the vault.
    pub more: Vec<Arc<Source>>,
}

impl Session {
    /// Carries out an operation for the person.
    pub(super) async fn perform<O: Operation>(&self, operation: O) -> Result<O::Output, Refusal> {
        self.service.perform(&self.caller, operation).await
    }
}

/// Carries out a command.
///
/// # Errors
/// [`Failure`]: a refusal, wrong input, or output that could not be written.
pub async fn run(command: Command, session: &mut Session) -> Result<Ending, Failure> {
    let refused = session.service.tally().refused;
    let ending = match command {
        Command::Secret(command) => secret::run(command, session).await,
        Command::Code(args) => code::show(args, session).await,
        Command::Fill(args) => fill::fill(args, session).await,
        Command::Guard(args) => args.run(session).await,
        Command::Plugin(plugin::Command::AgentBrowser) => plugin::answer(session).await,
        Command::Verify(args) => code::verify(&args, session).await,
        Command::Seat(command) => seat::run(command, session).await,
        Command::Key(command) => key::run(command, session).await,
        Command::Account(command) => account::run(command, session).await,
        Command::Audit(command) => audit::run(command, session).await,
        Command::Vault(command) => vault::run(&command, session).await,
    };
    // The door records refusals. A command that fails before it reaches an operation, by an unknown name or an invalid seed,
    // has not been through it.
    if let Err(failure) = &ending
        && let Some(refusal) = failure.refusal()
        && session.service.tally().refused == refused
    {
        session.service.record_refusal(&session.caller, Action::Call, refusal).await;
    }
    let ending = ending?;
    session.console.flush()?;
    Ok(ending)
}
