//! `countersign vault key` and `vault recovery`: the keys that open the vault.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, Subcommand};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    Ending, Failure, Session, output::Console, prompt::THE_SAME_AGAIN, qr_code::qr_code, secret::new_file, table::Table,
};
use crate::{
    domain::{key_source::KeySource, text::Name, time::Timestamp},
    operations::{
        AddVaultKey, ErrorCode, ListVaultKeys, Passphrase, RecoveryWords, RemoveVaultKey, RotateVaultKey,
        SecretDeleteResponse, Source, VaultKey, answers::OK,
    },
};

/// How many times a person may try to type the words back.
const TRIES: u32 = 3;
/// The default label of a recovery key.
const ON_PAPER: &str = "on paper";

/// What can be done with the keys that open the vault.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a key: another way to open the vault
    #[command(
        after_help = "Examples:\n  countersign vault key add passphrase --label \"in my head\"\n  countersign vault key add file:/media/stick/vault.key\n  countersign vault key add 'command:[\"/usr/bin/op\",\"read\",\"op://ops/vault/key\"]'\n\nThe vault itself is opened by --key-source, or by its key file. `vault recovery` makes a key for paper."
    )]
    Add {
        /// Where the new key is, as for --key-source: `file`, `file:PATH`, `keyring`, `passphrase` … A file or keyring that
        /// has none gets one
        #[arg(value_name = "SOURCE")]
        source: KeySource,
        /// What to call it in lists
        #[arg(long)]
        label: Option<String>,
    },
    /// List the keys that open the vault
    #[command(after_help = "Examples:\n  countersign vault key list", alias = "ls")]
    List,
    /// Remove a key. Copies of the vault that were made before still open by it
    #[command(after_help = "Examples:\n  countersign vault key remove 2", aliases = ["rm", "delete"])]
    Remove {
        /// Its number in the list
        id: u8,
        /// Don't ask
        #[arg(long, short = 'y')]
        yes: bool,
        /// Remove it although the vault was opened by it just now
        #[arg(long)]
        force: bool,
    },
    /// Open the vault by a source and say whether that works. Nothing is changed
    #[command(
        after_help = "Examples:\n  countersign vault key test passphrase\n  countersign --key-source keyring vault key test"
    )]
    Test {
        /// The source [default: --key-source, or the key file]
        #[arg(value_name = "SOURCE")]
        source: Option<KeySource>,
    },
}

impl Command {
    /// The source of the key with which the command opens the vault, if it is not the configured one.
    pub(super) const fn opens_by(&self) -> Option<&KeySource> {
        if let Self::Test { source } = self { source.as_ref() } else { None }
    }

    /// The source of a key that the command adds.
    pub(super) const fn new_key(&self) -> Option<&KeySource> {
        if let Self::Add { source, .. } = self { Some(source) } else { None }
    }
}

/// What a recovery key takes.
#[derive(Debug, Args)]
pub struct RecoveryArgs {
    /// What to call it in lists
    #[arg(long)]
    label: Option<String>,
    /// Take the place of this key, by its number in `vault key list`
    #[arg(long, value_name = "ID", conflicts_with = "label")]
    replace: Option<u8>,
    /// Write the words to a new file for its owner alone instead of showing them
    #[arg(long, value_name = "FILE", requires = "yes")]
    words_file: Option<PathBuf>,
    /// Show them as a QR code, too, for a camera
    #[arg(long, conflicts_with = "words_file")]
    qr: bool,
    /// Don't have the words typed back; with --words-file
    #[arg(long, short = 'y', requires = "words_file")]
    yes: bool,
}

/// A key, as JSON.
#[derive(Serialize)]
struct KeyView {
    id: u8,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    created_at: String,
    in_use: bool,
}

/// The answer to an addition.
#[derive(Serialize)]
struct KeyAnswer {
    vault_key: KeyView,
    status: &'static str,
}

/// The answer to a list.
#[derive(Serialize)]
struct KeysAnswer {
    vault_keys: Vec<KeyView>,
    status: &'static str,
}

/// The answer to a test.
#[derive(Serialize)]
struct TestAnswer {
    opened_by: &'static str,
    key_id: u8,
    status: &'static str,
}

pub(super) async fn run(command: &Command, session: &mut Session) -> Result<Ending, Failure> {
    match command {
        Command::Add { label, .. } => {
            let new = session.sources.as_ref().and_then(|sources| sources.new.clone());
            let new = new.ok_or_else(|| Failure::Usage("name the source of the new key".to_owned()))?;
            let added = add(new, label.clone(), session).await?;
            shown(&added, session)
        }
        Command::List => list(session).await,
        Command::Remove { id, yes, force } => {
            let question =
                "Remove this way to open the vault? Copies of the vault that were made before still open by it.";
            session.console.confirm(question, (*yes).into())?;
            session.perform(RemoveVaultKey { id: *id, force: *force }).await?;
            session.console.answer(&SecretDeleteResponse { status: OK }, |console| console.line("removed"))?;
            Ok(Ending::Done)
        }
        Command::Test { .. } => {
            let (opened_by, key_id) = (session.vault.opened_by.as_str(), session.vault.slot);
            let answer = TestAnswer { opened_by, key_id, status: OK };
            session.console.answer(&answer, |console| console.line(&format!("opened by {opened_by}, key {key_id}")))?;
            Ok(Ending::Done)
        }
    }
}

async fn add(new: Arc<Source>, label: Option<String>, session: &Session) -> Result<VaultKey, Failure> {
    Ok(session.perform(AddVaultKey { new, label }).await?)
}

pub(super) fn shown(key: &VaultKey, session: &mut Session) -> Result<Ending, Failure> {
    let (answer, now) = (KeyAnswer { vault_key: KeyView::from(key), status: OK }, session.service.now());
    session.console.answer(&answer, |console| {
        let view = &answer.vault_key;
        console.facts(&[
            ("id", &view.id.to_string()),
            ("source", view.source),
            ("label", view.label.as_deref().unwrap_or("-")),
            ("created", &console.date(key.created_at, now)),
        ])
    })?;
    Ok(Ending::Done)
}

async fn list(session: &mut Session) -> Result<Ending, Failure> {
    let keys = session.perform(ListVaultKeys).await?;
    let now = session.service.now();
    let answer = KeysAnswer { vault_keys: keys.iter().map(KeyView::from).collect(), status: OK };
    session.console.answer(&answer, |console| {
        let mut table = Table::new(&["ID", "SOURCE", "LABEL", "CREATED", "IN USE"]);
        let created = |at: Timestamp, console: &Console| console.date(at, now);
        for (key, view) in keys.iter().zip(&answer.vault_keys) {
            let in_use = if view.in_use { "yes" } else { "" };
            let label = view.label.clone().unwrap_or_else(|| "-".to_owned());
            let cells = [view.source.to_owned(), label, created(key.created_at, console), in_use.to_owned()];
            table.row(std::iter::once(view.id.to_string()).chain(cells).collect());
        }
        console.table(&table)
    })?;
    Ok(Ending::Done)
}

/// Makes a recovery key: it opens the vault only after its words were typed back or written to a file.
pub(super) async fn recovery(args: &RecoveryArgs, session: &mut Session) -> Result<Ending, Failure> {
    if let Some(label) = &args.label {
        Name::parse(label).map_err(|problem| Failure::Usage(format!("--label {problem}")))?;
    }
    let words = session.service.new_recovery_words()?;
    match &args.words_file {
        Some(file) => write_words(file, &words)?,
        None if session.console.can_ask() => have_typed_back(&words, args.qr, &mut session.console).await?,
        None => {
            let message =
                "the words are shown on a terminal and typed back there; in a script, use --words-file FILE --yes";
            return Err(Failure::Usage(message.to_owned()));
        }
    }
    let label = args.label.clone().unwrap_or_else(|| ON_PAPER.to_owned());
    let source = Arc::new(Source::recovery(words));
    let added = match args.replace {
        Some(id) => session.perform(RotateVaultKey { id, source }).await.map_err(Failure::from),
        None => add(source, Some(label), session).await,
    };
    if let (Err(_), Some(file)) = (&added, &args.words_file) {
        // The words open nothing. If the file can't be removed either, the error reports that no key was added.
        let _ = std::fs::remove_file(file);
    }
    shown(&added?, session)?;
    session.console.note(
        "Keep the words apart from the vault and its backups. They open both: `countersign --key-source recovery vault key test`.",
    );
    Ok(Ending::Done)
}

/// Writes the words durably to a new file.
fn write_words(file: &Path, words: &RecoveryWords) -> Result<(), Failure> {
    let mut text = words.text();
    text.push('\n');
    let mut new = new_file("--words-file", file)?;
    let written = new.write_all(text.as_bytes()).and_then(|()| new.sync_all());
    written.map_err(|cause| Failure::unwritten("--words-file", &cause))
}

/// Shows the words on the terminal, and has the person type them back.
async fn have_typed_back(words: &RecoveryWords, qr: bool, console: &mut Console) -> Result<(), Failure> {
    console.note(
        "Write these 24 words down, on paper. They are shown once, and anybody who has them can open the vault.\n",
    );
    let text = words.text();
    let all: Vec<&str> = text.split(' ').collect();
    let rows = all.len().div_ceil(4);
    for row in 0..rows {
        let cells = (0..4).filter_map(|column| {
            let nth = row + column * rows;
            all.get(nth).map(|word| format!("{:>2}. {word:<10}", nth + 1))
        });
        // Wiped like the words.
        let line = Zeroizing::new(cells.collect::<String>());
        console.note(line.trim_end());
    }
    console.note("");
    if let Some(code) = qr_code(&text).filter(|_| qr) {
        console.note(&code);
    }
    for _ in 0..TRIES {
        let typed =
            console.ask_hidden("Type the words from the paper (hidden): ", "use --words-file FILE --yes").await?;
        match RecoveryWords::parse(&typed) {
            Ok(typed) if typed.is(words) => return Ok(()),
            Ok(_) => console.note("These are other words."),
            Err(problem) => console.note(&format!("Not these words: {problem}.")),
        }
    }
    Err(Failure::Failed {
        code: ErrorCode::InvalidArgument,
        message: "the words were not typed back; no key was added, and the words above open nothing".to_owned(),
    })
}

/// Asks for the vault's passphrase; twice, if it is a new one.
///
/// # Errors
/// [`Failure`]: no person can be asked, or the two differ.
pub async fn ask_passphrase(console: &mut Console, new: bool) -> Result<Zeroizing<String>, Failure> {
    let remedy = "use passphrase:FILE";
    if !new {
        return console.ask_hidden("Passphrase of the vault (hidden): ", remedy).await;
    }
    let typed = console.ask_hidden("New passphrase of the vault (hidden): ", remedy).await?;
    let again = console.ask_hidden(THE_SAME_AGAIN, remedy).await?;
    if Passphrase::new(&typed).is(&Passphrase::new(&again)) {
        Ok(typed)
    } else {
        Err(Failure::invalid("the two passphrases differ; nothing was changed"))
    }
}

/// Asks for the words of a recovery key.
///
/// # Errors
/// [`Failure`]: no person can be asked.
pub async fn ask_recovery_words(console: &mut Console) -> Result<Zeroizing<String>, Failure> {
    console.ask_hidden("The 24 words of the recovery key (hidden): ", "use recovery:FILE").await
}

/// Reads a passphrase or words from standard input.
///
/// # Errors
/// [`Failure`]: the input can't be read, is too long, or is not text.
pub fn read_stdin(console: &mut Console, limit: usize) -> Result<Zeroizing<String>, Failure> {
    console.read_text("standard input", Path::new("-"), limit)
}

impl From<&VaultKey> for KeyView {
    fn from(key: &VaultKey) -> Self {
        Self {
            id: key.id,
            source: key.source.map_or("unknown", |kind| kind.as_str()),
            label: key.label.clone(),
            created_at: key.created_at.to_string(),
            in_use: key.in_use,
        }
    }
}
