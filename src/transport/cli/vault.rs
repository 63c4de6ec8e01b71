//! `countersign vault`: facts about the vault, and whether it is sound.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::{
    Ending, Failure, Session,
    audit_table::harmless,
    doctor,
    numbers::{counted, kib},
    output::Console,
    vault_key, vault_move, vault_rotate, vault_status,
};
use crate::{
    domain::{
        age::Recipient,
        api_key::KeyId,
        key_source::{KeySource, SourceKind},
        text::Name,
        time::Timestamp,
    },
    operations::{BackUp, Erased, ErrorCode, Restored, SecretDeleteResponse, answers::OK},
};

/// The status of a vault with problems.
const NOT_SOUND: &str = "ERROR";

/// What can be done with the vault.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what is known of the vault
    #[command(
        after_help = "Examples:\n  countersign vault status\n  countersign --data-dir /srv/countersign vault status --json"
    )]
    Status,
    /// Make a vault and its key, and say where they are. Any command that stores something does so too
    #[command(
        after_help = "Examples:\n  countersign vault create\n  countersign --data-dir /srv/countersign --key-file /etc/countersign.key vault create\n  countersign --key-source passphrase vault create"
    )]
    Create,
    /// Bring the vault to the format of this version. Whatever opens a vault in a file first does so, with a copy before; on a
    /// server nothing else does
    #[command(
        after_help = "Examples:\n  countersign vault migrate\n  countersign --store postgres://countersign@db.example/countersign vault migrate"
    )]
    Migrate,
    /// Manage the keys that open the vault
    #[command(subcommand, visible_alias = "keys")]
    Key(vault_key::Command),
    /// Make a recovery key: 24 words for paper, shown once. They open the vault, or a backup of it, when everything else is lost
    #[command(
        after_help = "Examples:\n  countersign vault recovery\n  countersign vault recovery --qr\n  countersign vault recovery --words-file /media/safe/words.txt --yes\n\nTo open the vault by it: `countersign --key-source recovery vault key list`."
    )]
    Recovery(vault_key::RecoveryArgs),
    /// Seal everything under a new data key, while others use the vault. With --root, replace the root key, too; with --key, give
    /// one way to open the vault a new key
    #[command(
        after_help = "Examples:\n  countersign vault rotate\n  countersign vault rotate --root --with recovery --with passphrase\n  countersign vault rotate --key 0\n  countersign vault rotate --key 1 --to credential:vault-2.key\n\nIf it is interrupted, run it again: it goes on. A server goes on, too."
    )]
    Rotate(vault_rotate::RotateArgs),
    /// Examine everything: pages, keyed hashes, every seal, the audit log. Exit status 1 if something is wrong
    #[command(
        after_help = "Examples:\n  countersign vault doctor\n  countersign vault doctor --repair\n  countersign vault doctor --repair --from /mnt/backup/countersign-2026-11-27.db"
    )]
    Doctor {
        /// Repair what can be, after a question. What the vault was before is kept in a file
        #[arg(long)]
        repair: bool,
        /// Take damaged and lost secrets, seats and keys from this backup, as `vault backup` made it
        #[arg(long, value_name = "BACKUP", requires = "repair")]
        from: Option<PathBuf>,
        /// Don't ask
        #[arg(long, short = 'y', requires = "repair")]
        yes: bool,
    },
    /// Write a backup of the vault to a new file, while others use it. The key is not in it: keep that apart
    #[command(
        after_help = "Examples:\n  countersign vault backup /mnt/backup/countersign-$(date +%F).db\n\nTo go back to it: `countersign vault restore FILE`."
    )]
    Backup {
        /// The new file
        file: PathBuf,
        /// Encrypt it once more, to this public key of `age`, for a place that others run; several may open it
        #[arg(long = "to", value_name = "RECIPIENT")]
        recipients: Vec<Recipient>,
    },
    /// Put a backup in the place of the vault, which is kept beside it. Its codes of the next two minutes count as used, and its
    /// API keys are off until they are enabled
    #[command(after_help = "Examples:\n  countersign vault restore /mnt/backup/countersign-2026-11-27.db")]
    Restore {
        /// The backup, as `vault backup` made it; its key must be where keys are
        file: PathBuf,
        /// Don't ask
        #[arg(long, short = 'y')]
        yes: bool,
    },
    /// Move the vault to another place: to a server, or back to a file. Nobody else can write to it meanwhile, what arrives is examined,
    /// and the old place opens nothing any more
    #[command(
        after_help = "Examples:\n  countersign vault move --to postgres://countersign@db.example/countersign\n  countersign --store postgres://countersign@db.example/countersign vault move --to sqlite:\n\nIf it is interrupted, run it again: it goes on, or begins anew."
    )]
    Move(vault_move::MoveArgs),
    /// Go on with a vault that is older than the one that was last open here, such as a restored backup. Its codes of the
    /// next two minutes count as used, and its API keys are off until they are enabled
    #[command(after_help = "Examples:\n  countersign vault accept-loss")]
    AcceptLoss {
        /// Don't ask
        #[arg(long, short = 'y')]
        yes: bool,
    },
}

impl Command {
    /// The source of a key that the command adds.
    pub(super) const fn new_key(&self) -> Option<&KeySource> {
        match self {
            Self::Key(command) => command.new_key(),
            Self::Rotate(args) => args.new_key(),
            Self::Status
            | Self::Create
            | Self::Migrate
            | Self::Recovery(_)
            | Self::Doctor { .. }
            | Self::Backup { .. }
            | Self::Restore { .. }
            | Self::Move(_)
            | Self::AcceptLoss { .. } => None,
        }
    }
}

/// Facts about the open vault, from the code that opened it.
#[derive(Debug, Clone)]
pub struct VaultFacts {
    /// The vault's id.
    pub vault: String,
    /// The name of the storage backend.
    pub backend: String,
    /// Where the vault is stored.
    pub location: String,
    /// The kind of source whose key opened it.
    pub opened_by: SourceKind,
    /// The slot of that key.
    pub slot: u8,
    /// The key file that opened it, if one did.
    pub key_file: Option<String>,
    /// The version of the format on disk.
    pub format: u32,
    /// The sources of the slots' keys.
    pub slots: Vec<String>,
    /// The epoch that new seals use.
    pub epoch: u32,
    /// When the vault was created.
    pub created_at: Timestamp,
    /// Whether this process created it.
    pub is_new: bool,
    /// The copy of the vault in its older format, if this process brought it to the current one.
    pub copied_to: Option<String>,
    /// The result of the restore, if this process restored the vault.
    pub restored: Option<Restored>,
    /// What protects a running process, for the doctor.
    pub process: Option<ProcessFacts>,
}

/// What protects a process that has the vault open.
#[derive(Debug, Clone)]
pub struct ProcessFacts {
    /// Where a server or sidecar may write.
    pub writes: Confinement,
    /// Whether the keys that it holds are kept out of swap.
    pub keys_locked: bool,
}

/// Where a server or sidecar may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confinement {
    /// In these folders alone, which Landlock enforces.
    Only(Vec<PathBuf>),
    /// Wherever its user may: the system has no Landlock.
    Unavailable,
    /// Wherever its user may: a command gives the key, and must be able to write.
    Command,
}

/// Rows of the audit log that a restored vault does not have, as JSON.
#[derive(Serialize)]
struct LostRows {
    first: u64,
    last: u64,
    /// The time of the last row.
    until: String,
}

/// A restored vault, as JSON.
#[derive(Serialize)]
struct RestoredAnswer<'a> {
    location: &'a str,
    /// Where the replaced vault is kept; null if there was none.
    replaced: Option<&'a str>,
    /// Keys that the replaced vault had revoked or removed, of every account.
    revoked_since: Vec<String>,
    /// Whether the replaced vault could not be read, so that more may have been revoked or removed.
    replaced_unread: bool,
    /// Whether the replaced vault was another one, not an older or newer state of this.
    replaced_other: bool,
    /// The rows of the audit log that only the replaced vault has; null if there are none, or it is not known.
    lost: Option<LostRows>,
    /// Keys of the vault, by their numbers, that had been removed since the backup.
    opens_again_by: Vec<u8>,
    status: &'static str,
}

/// A backup, as JSON.
#[derive(Serialize)]
struct BackupAnswer<'a> {
    file: &'a str,
    bytes: u64,
    secrets: u64,
    audit_rows: u64,
    /// The file of the vault's key; null if the key is not in a file.
    key_file: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    problems: &'a [String],
    status: &'static str,
}

pub(super) async fn run(command: &Command, session: &mut Session) -> Result<Ending, Failure> {
    match command {
        Command::Status => vault_status::status(session).await,
        Command::Create if session.vault.is_new => vault_status::status(session).await,
        Command::Create => Err(Failure::Failed {
            code: ErrorCode::InvalidArgument,
            message:
                "there is a vault already; `countersign vault status` says where, and --data-dir names another place"
                    .to_owned(),
        }),
        Command::Migrate => migrated(session),
        Command::Key(command) => vault_key::run(command, session).await,
        Command::Recovery(args) => vault_key::recovery(args, session).await,
        Command::Rotate(args) => vault_rotate::run(args, session).await,
        Command::Doctor { .. } => doctor::doctor(session).await,
        Command::Backup { file, recipients } => backup(file, recipients, session).await,
        Command::Restore { .. } => restored(session),
        // The move is carried out before a vault is opened for a command.
        Command::Move(_) => Ok(Ending::Done),
        Command::AcceptLoss { .. } => {
            let answer = SecretDeleteResponse { status: OK };
            session.console.answer(&answer, |console| console.line("accepted"))?;
            session.console.note(
                "Codes come again in two and a half minutes. API keys are off: `countersign key list` shows them, and \
                 `countersign key enable` lets those in that should be. Delete again what was deleted since this copy was made.",
            );
            Ok(Ending::Done)
        }
    }
}

/// Asks whether to accept an older copy of the vault, before it is opened.
///
/// # Errors
/// [`Failure`]: no person can be asked, or the answer is no.
pub fn ask_to_accept_loss(console: &mut Console, agreed: bool) -> Result<(), Failure> {
    let question = "Go on with this copy of the vault? What happened since it was made is lost, and API keys are off until you \
                    enable them.";
    console.confirm(question, agreed.into())
}

/// Asks whether to put a backup in the place of the vault, before that is opened.
///
/// # Errors
/// [`Failure`]: no person can be asked, or the answer is no.
pub fn ask_to_restore(console: &mut Console, agreed: bool) -> Result<(), Failure> {
    let question = "Put this backup in the place of the vault? What happened since it was made is lost, and API keys are off until \
                    you enable them.";
    console.confirm(question, agreed.into())
}

fn restored(session: &mut Session) -> Result<Ending, Failure> {
    let Restored { aside, revoked_since, is_unread, lost, is_other, opens_again_by } =
        session.vault.restored.clone().unwrap_or_default();
    let aside = aside.map(|path| path.display().to_string());
    let answer = RestoredAnswer {
        location: &session.vault.location.clone(),
        replaced: aside.as_deref(),
        revoked_since: revoked_since.iter().map(|(id, _)| id.to_string()).collect(),
        replaced_unread: is_unread,
        replaced_other: is_other,
        lost: lost.map(|(first, last, until)| LostRows { first, last, until: until.to_string() }),
        opens_again_by: opens_again_by.iter().map(|key| key.id).collect(),
        status: OK,
    };
    session.console.answer(&answer, |console| {
        console.line(&format!("restored: {}", answer.location))?;
        if let Some(aside) = &aside {
            console.line(&format!("replaced vault: {aside}"))?;
        }
        if is_other {
            console.line("The replaced vault is another one, not an older or newer state of this.")?;
        }
        if let Some(LostRows { first, last, until }) = &answer.lost {
            let rows = if first == last { format!("row {first}") } else { format!("rows {first} to {last}") };
            let what = "with the changes in the vault that it records";
            console.line(&format!("lost: {rows} of the audit log, until {until}, {what}"))?;
        }
        let revoked =
            |(id, name): &(KeyId, Name)| console.line(&format!("revoked or removed since: the key \"{name}\" ({id})"));
        revoked_since.iter().try_for_each(revoked)?;
        opens_again_by.iter().try_for_each(|key| {
            let source = key.source.map_or("unknown", SourceKind::as_str);
            console
                .line(&format!("opens again by: key {} ({source}), which was removed since; remove it again", key.id))
        })
    })?;
    if is_unread {
        session.console.note(
            "The replaced vault can't be read, so it is not known which keys were revoked or removed since the backup: look at each \
             one in `countersign key list` and `countersign vault key list`.",
        );
    }
    session.console.note(
        "Codes come again in two and a half minutes. API keys are off: `countersign key list` shows them, and `countersign key enable` lets \
         those in that should be. Delete again what was deleted since.",
    );
    Ok(Ending::Done)
}

/// Reports that secrets past their seven days are still stored.
pub(super) fn note_held_back(erased: Erased, console: &mut Console) {
    if erased.clock_unsettled {
        console.note(
            "Deleted secrets whose seven days are over are not erased yet: the clock has to agree with the audit log for an \
             hour. Run this again after that.",
        );
    }
}

/// What `vault migrate` did, as JSON.
#[derive(Serialize)]
struct MigrateAnswer<'a> {
    format: u32,
    /// The copy of the vault in its older format; null if it had this format already.
    copy: Option<&'a str>,
    status: &'static str,
}

/// Shows whether opening the vault brought it to this format.
fn migrated(session: &mut Session) -> Result<Ending, Failure> {
    let (format, copy) = (session.vault.format, session.vault.copied_to.clone());
    session.console.answer(&MigrateAnswer { format, copy: copy.as_deref(), status: OK }, |console| match &copy {
        Some(copy) => console.line(&format!("moved to format {format}; what it was before is in {copy}")),
        None => console.line(&format!("nothing to do: format {format} is the newest that this version knows")),
    })?;
    Ok(Ending::Done)
}

async fn backup(file: &Path, recipients: &[Recipient], session: &mut Session) -> Result<Ending, Failure> {
    let made = session.perform(BackUp { to: file.to_owned(), recipients: recipients.to_vec() }).await?;
    let sound = made.problems.is_empty();
    let shown = file.display().to_string();
    let key_file = session.vault.key_file.clone();
    let answer = BackupAnswer {
        file: &shown,
        bytes: made.bytes,
        secrets: made.secrets,
        audit_rows: made.audit_rows,
        key_file: key_file.as_deref(),
        problems: &made.problems,
        status: if sound { OK } else { NOT_SOUND },
    };
    session.console.answer(&answer, |console| {
        let (secrets, rows) = (counted(made.secrets, "secret"), counted(made.audit_rows, "row"));
        console.line(&format!("{shown}: {}, {secrets} and {rows} of the audit log", kib(made.bytes)))?;
        made.problems.iter().try_for_each(|problem| console.line(&format!("problem: {}", harmless(problem))))
    })?;
    if sound {
        let key = key_file.unwrap_or_else(|| session.vault.opened_by.as_str().to_owned());
        session.console.note(&format!("Opened and examined. Its key is not in it; keep a copy of that apart: {key}"));
        return Ok(Ending::Done);
    }
    session
        .console
        .note("The vault itself is damaged, and this is a copy of it as it is: keep the backups from before.");
    Ok(Ending::No)
}
