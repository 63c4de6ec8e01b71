//! Makes the source of a key from the configuration, the environment and a person's input.

use std::{ffi::OsString, path::Path, sync::Arc};

use zeroize::Zeroizing;

use super::{Fatal, console_of, opening};
use crate::{
    config::{Config, ConfigError, HANDED, handed_keys, key_variable},
    domain::{key_source::KeySource, limits::PASSPHRASE_BYTES_MAX},
    store,
    transport::cli::{self, Console, Failure, Sources},
    vault::{self, KeyError, KeyFileError, OpenError, Passphrase, RecoveryWords, Source, Ways},
};

/// The file name that means standard input.
const STDIN: &str = "-";

/// Whether a person may be asked for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// No person can be asked: a host has the process's input.
    Nobody,
    /// The person may be asked, for a key that exists.
    Person,
    /// The person may be asked twice, for a key that is created now.
    PersonTwice,
}

/// Replaces the process by the same program without the keys in its environment, and hands those over to it: other
/// processes can read a process's environment as long as it runs. Returns if there are none.
///
/// # Errors
/// The process could not be replaced.
pub(super) fn leave_environment<'a>(
    words: &[OsString],
    sources: impl IntoIterator<Item = &'a KeySource>,
) -> Result<(), Fatal> {
    let mut found = Vec::new();
    for source in sources {
        if let KeySource::Env(name) = source
            && let Some(value) = key_variable(name)
        {
            found.push((name.clone(), value));
        }
    }
    if found.is_empty() || cfg!(not(unix)) {
        return Ok(());
    }
    let cause = vault::hand_over(HANDED, words, &found);
    let error = KeyError::Env("can't be removed from the environment, where other processes could read it");
    tracing::debug!(%cause, "the process could not be replaced");
    Err(no_key(error))
}

/// Makes a source. A passphrase and the words of a recovery key are asked for or read here, before anything is opened.
///
/// # Errors
/// [`Fatal`]: no person can be asked, or the passphrase or words can't be read.
pub(super) async fn source_of(
    config: &Config,
    from: &KeySource,
    asks: Asks,
    console: &mut Console,
) -> Result<Arc<Source>, Fatal> {
    refuse_beside_vault(config, from)?;
    let takes_input = from.asks() || from.path().is_some_and(|path| path == Path::new(STDIN));
    if asks == Asks::Nobody && takes_input {
        return Err(no_key(KeyError::NoPerson));
    }
    Ok(Arc::new(match from {
        KeySource::File(named) => Source::file(named.clone(), config.key_dir.clone()),
        KeySource::Keyring => Source::keyring(asks != Asks::Nobody),
        KeySource::Passphrase(Some(file)) => Source::passphrase(Passphrase::new(&text_of(file, console)?)),
        KeySource::Passphrase(None) => {
            let twice = asks == Asks::PersonTwice;
            Source::passphrase(Passphrase::new(&cli::ask_passphrase(console, twice).await?))
        }
        KeySource::Recovery(_) if asks == Asks::PersonTwice => {
            let message = "a recovery key is made by `countersign vault recovery`, for a vault that exists; with --replace ID it takes \
                           the place of another key";
            return Err(Failure::Usage(message.to_owned()).into());
        }
        KeySource::Recovery(file) => {
            let words = match file {
                Some(file) => text_of(file, console)?,
                None => cli::ask_recovery_words(console).await?,
            };
            Source::recovery(RecoveryWords::parse(&words).map_err(|cause| no_key(cause.into()))?)
        }
        KeySource::Credential(name) => Source::credential(config.credentials_dir.clone(), name.clone()),
        KeySource::Env(name) => Source::env(name.clone(), variable(name)?),
        KeySource::Command(words) => Source::command(words.clone()),
    }))
}

impl Sources {
    /// The sources of a person's command: the one that opens the vault, and the one of a new key.
    pub(super) async fn of(config: &Config, command: &cli::Command) -> Result<Self, Fatal> {
        let mut console = console_of(config);
        let asks = if command.is_creation() { Asks::PersonTwice } else { Asks::Person };
        let opens = match command.opens_by() {
            Some(named) => config.source(named)?,
            None => config.key_source.clone(),
        };
        let opens = source_of(config, &opens, asks, &mut console).await?;
        let new = match command.new_key() {
            Some(named) => {
                let source = config.source(named)?;
                if let KeySource::File(Some(file)) = &source
                    && let Some(folder) = file.parent()
                {
                    opening::refuse_far_folder("--to", folder)?;
                }
                Some(source)
            }
            None => command.renews_own_key().then(|| config.key_source.clone()),
        };
        let new = match new {
            Some(from) => Some(source_of(config, &from, Asks::PersonTwice, &mut console).await?),
            None => None,
        };
        let mut more = Vec::new();
        for named in command.more_keys() {
            more.push(source_of(config, &config.source(named)?, Asks::Person, &mut console).await?);
        }
        Ok(Self { opens, new, more })
    }
}

/// Refuses the folder of state files, and a file with a passphrase or words, in the folder of the vault, directly or through
/// a link: every copy of that folder would have them. (A key file is checked where its place is known.)
pub(super) fn refuse_beside_vault(config: &Config, from: &KeySource) -> Result<(), Fatal> {
    let place = opening::store_of(config);
    let Some(vault) = store::folder_of(&place) else { return Ok(()) };
    let is_beside = |folder: &Path| [&vault, &config.data_dir].into_iter().any(|vault| store::is_within(folder, vault));
    if config.state_dir.as_deref().is_some_and(is_beside) {
        return Err(ConfigError::StateInData.into());
    }
    let read = from.path().filter(|path| !matches!(from, KeySource::File(_)) && *path != Path::new(STDIN));
    let folders = read.into_iter().flat_map(|path| [Some(path.to_owned()), path.canonicalize().ok()]).flatten();
    if folders.into_iter().any(|path| path.parent().is_some_and(is_beside)) {
        return Err(ConfigError::KeyInData.into());
    }
    Ok(())
}

/// A passphrase or words, from a file that no other user can read, or from standard input.
fn text_of(file: &Path, console: &mut Console) -> Result<Zeroizing<String>, Fatal> {
    if file == Path::new(STDIN) {
        return Ok(cli::read_stdin(console, PASSPHRASE_BYTES_MAX)?);
    }
    let bytes = vault::read_private(file, PASSPHRASE_BYTES_MAX).map_err(|cause| {
        let missing = matches!(cause, KeyFileError::Missing(_));
        no_key(if missing { KeyError::NoFile(file.to_owned()) } else { cause.into() })
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| no_key(KeyError::Passphrase("is not text in UTF-8")))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// A variable that holds a key: handed over, or on systems without that, still in the environment.
fn variable(name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Fatal> {
    let handed = vault::handed(&handed_keys(), name);
    let unread = |_| no_key(KeyError::Env("can't be read"));
    Ok(handed.map_err(unread)?.or_else(|| if cfg!(unix) { None } else { key_variable(name) }))
}

fn no_key(source: KeyError) -> Fatal {
    OpenError::NoKey { source, ways: Ways::default() }.into()
}
