//! Opens the vault of a command or a server, and reports whether that created the vault or moved it to another format.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Fatal, Task, console_of,
    keys::{Asks, refuse_beside_vault, source_of},
};
use crate::{
    child::Children,
    clock::{Clock as _, SystemClock},
    config::{Config, ConfigError},
    domain::account::DEFAULT_ACCOUNT,
    operations::{ErrorCode, Refusal},
    random::{SharedRandom, SystemRandom},
    store,
    transport::cli::{self, Ending, Failure, First, Input, Sources},
    vault::{self, OpenError, OpenRequest, Source, Travel, Vault, VaultRequest, VaultStatus, Writes},
};

/// How to open the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Opening {
    /// Create it if it does not exist: for commands that store something.
    OrMade,
    /// Refuse if it does not exist: for commands that read.
    There,
    /// Refuse if it does not exist, but accept an older copy, as a person requested.
    Outdated,
    /// Put this backup in its place first, as a person requested.
    Restored(PathBuf),
}

/// Opens the vault with the configured key source, for a host or a server. If it does not exist and would be in a file,
/// creates it once `before` has succeeded.
///
/// # Errors
/// [`Fatal`].
pub(super) async fn open(
    config: &Config,
    asks: Asks,
    writes: Writes,
    before: impl FnOnce() -> Result<(), Fatal>,
) -> Result<Vault, Fatal> {
    let source = source_of(config, &config.key_source, asks, &mut console_of(config)).await?;
    match open_there(config, &source, writes).await? {
        Ok((vault, _)) => Ok(vault),
        Err(none) if config.is_on_a_server() => Err(none.into()),
        Err(_) => {
            before()?;
            refuse_without_time()?;
            Ok(open_as(config, source, Opening::OrMade, writes).await?.0)
        }
    }
}

/// Opens the vault if it exists. The inner error means that there is no vault and that one may be created for the
/// configured account.
///
/// # Errors
/// [`Fatal`].
async fn open_there(
    config: &Config,
    source: &Arc<Source>,
    writes: Writes,
) -> Result<Result<(Vault, Option<vault::Restored>), OpenError>, Fatal> {
    match open_as(config, Arc::clone(source), Opening::There, writes).await {
        Err(none @ OpenError::Store(store::OpenError::NoVault(_) | store::OpenError::NoServerVault(_))) => {
            // A new vault has the default account alone.
            if config.account.as_str() == DEFAULT_ACCOUNT { Ok(Err(none)) } else { Err(no_account()) }
        }
        opened => Ok(Ok(opened?)),
    }
}

/// Refuses unintended places, for a task that may create something in them: of a folder that a flag or a variable
/// names, only the last part is created. A mistyped one would be created with all that is above it. Default places are
/// created whole.
///
/// # Errors
/// [`ConfigError::FarPlace`].
pub(super) fn refuse_far(config: &Config, task: &Task) -> Result<(), ConfigError> {
    let makes_none = match task {
        Task::Person(command) => !command.makes_a_vault() && command.restores().is_none(),
        Task::Aside(_) => true,
        Task::Stdio(_) | Task::Serve(_) => false,
    };
    if makes_none {
        return Ok(());
    }
    if let Task::Serve(serve) = task
        && let Some(dir) = serve.backup_dir()
    {
        refuse_far_folder("--backup-dir", dir)?;
    }
    refuse_far_folders(&config.named_folders)
}

/// Refuses unintended folders, each given with the name of its flag.
pub(super) fn refuse_far_folders(folders: &[(&'static str, PathBuf)]) -> Result<(), ConfigError> {
    folders.iter().try_for_each(|(flag, folder)| refuse_far_folder(flag, folder))
}

pub(super) fn refuse_far_folder(flag: &'static str, folder: &Path) -> Result<(), ConfigError> {
    // A folder that can't be looked up counts as present: opening it returns the precise error.
    let is_absent = |folder: &Path| matches!(folder.try_exists(), Ok(false));
    let is_far = is_absent(folder) && folder.parent().is_some_and(is_absent);
    if is_far { Err(ConfigError::FarPlace(flag)) } else { Ok(()) }
}

/// Refuses to create a vault while the clock is implausible: the vault's age and its first row would be wrong for ever.
fn refuse_without_time() -> Result<(), Failure> {
    if SystemClock.now().is_plausible() { Ok(()) } else { Err(Refusal::Clock.into()) }
}

/// The error for an account that does not exist.
pub(super) fn no_account() -> Fatal {
    let message = "there is no account of this name; `countersign account list` shows what exists, and `countersign \
                   account add` makes one";
    Failure::Failed { code: ErrorCode::NotFound, message: message.to_owned() }.into()
}

/// The result of preparing a person's command.
pub(super) enum Ready {
    /// The vault, what a restore replaced, and the command's input if it has been read.
    Open(Box<(Vault, Option<vault::Restored>, Option<Input>)>),
    /// The command has ended, and needed no vault.
    Ended(Ending),
}

/// Opens the vault for a person's command. If no vault exists, the command's input is read and checked before a
/// vault is created.
///
/// # Errors
/// [`Fatal`].
pub(super) async fn open_for(
    config: &Config,
    command: &cli::Command,
    source: &Arc<Source>,
    opening: Opening,
) -> Result<Ready, Fatal> {
    let makes = opening == Opening::OrMade;
    if !makes && !command.is_preview() {
        let (vault, restored) = open_as(config, Arc::clone(source), opening, Writes::Inline).await?;
        return Ok(Ready::Open(Box::new((vault, restored, None))));
    }
    let none = match open_there(config, source, Writes::Inline).await? {
        Ok((vault, restored)) => return Ok(Ready::Open(Box::new((vault, restored, None)))),
        Err(none) => none,
    };
    let input = match cli::first(command, SystemClock.now(), &mut console_of(config), &Children::new()).await? {
        First::Ended(ending) => return Ok(Ready::Ended(ending)),
        First::Read(input) => Some(input),
        First::Nothing => None,
    };
    if !makes {
        return Err(none.into());
    }
    refuse_without_time()?;
    let (vault, restored) = open_as(config, Arc::clone(source), Opening::OrMade, Writes::Inline).await?;
    Ok(Ready::Open(Box::new((vault, restored, input))))
}

/// Where the configured vault is, and how to open it.
pub(super) fn request(config: &Config, source: Arc<Source>, opening: &Opening, writes: Writes) -> VaultRequest {
    let store = OpenRequest { writes, make: *opening == Opening::OrMade, ..store_of(config) };
    VaultRequest { store, source, state_dir: config.state_dir.clone(), now: SystemClock.now() }
}

/// Where the configured vault is.
pub(super) fn store_of(config: &Config) -> OpenRequest {
    let (url, data_dir) = (config.store.clone(), config.data_dir.clone());
    OpenRequest { url, data_dir, writes: Writes::Inline, make: false }
}

/// Opens the vault, and returns what a restore replaced.
///
/// # Errors
/// [`OpenError`].
pub(super) async fn open_as(
    config: &Config,
    source: Arc<Source>,
    opening: Opening,
    writes: Writes,
) -> Result<(Vault, Option<vault::Restored>), OpenError> {
    let request = request(config, source, &opening, writes);
    let random: SharedRandom = Arc::new(SystemRandom);
    let (vault, restored) = match opening {
        Opening::OrMade | Opening::There => (vault::open(&request, random).await?, None),
        Opening::Outdated => (vault::accept_loss(&request, random).await?, None),
        Opening::Restored(backup) => {
            let (vault, restored) = vault::restore(&request, &backup, random, || SystemClock.now()).await?;
            (vault, Some(restored))
        }
    };
    let VaultStatus { made, moved, store, key_file, opened_by, .. } = vault.status();
    let place = store.location.display();
    if *made {
        console_of(config).note(&format!(
            "Made a vault: {place}\nIts key:      {}\nKeep a backup of both, apart from each other: without the key nobody can open \
             the vault. `countersign vault recovery` makes a second one, on paper.",
            key_file.as_ref().map_or_else(|| format!("from its source ({})", opened_by.as_str()), |file| file.display().to_string())
        ));
    }
    if let Some(copy) = moved {
        console_of(config).note(&format!(
            "Moved the vault to format {}: {place}\nA copy of what it was: {}\nRemove the copy once everything is as it should be.",
            store.format,
            copy.display()
        ));
    }
    Ok((vault, restored))
}

/// Carries out a command that opens the vault by itself; `None` for any other command.
///
/// # Errors
/// [`Fatal`].
pub(super) async fn by_itself(
    config: &Config,
    command: &cli::Command,
    sources: &Sources,
) -> Result<Option<Ending>, Fatal> {
    if let Some(asked) = command.repairs() {
        return repair(config, &asked, sources).await.map(Some);
    }
    match command.moves() {
        Some(asked) => relocate(config, asked, sources).await.map(Some),
        None => Ok(None),
    }
}

/// Repairs the vault, which may be too damaged to be opened.
///
/// # Errors
/// [`Fatal`].
async fn repair(config: &Config, asked: &cli::Repair, sources: &Sources) -> Result<Ending, Fatal> {
    let mut console = console_of(config);
    let attempt = async |act| {
        let request = request(config, Arc::clone(&sources.opens), &Opening::There, Writes::Inline);
        let now = || SystemClock.now();
        let repaired = vault::repair(&request, asked.from.as_deref(), act, Arc::new(SystemRandom), now).await;
        repaired.inspect_err(|_| {
            console_of(config).note(
                "Nothing was changed. A vault that can't be repaired is replaced by a backup: `countersign vault restore BACKUP`.",
            );
        })
    };
    let plan = attempt(vault::Act::Plan).await?;
    if let Some(ending) = cli::ask_to_repair(&mut console, &plan, asked.agreed)? {
        return Ok(ending);
    }
    let done = attempt(vault::Act::Carry).await?;
    Ok(cli::repaired(&mut console, &done)?)
}

/// Moves the vault to another place.
///
/// # Errors
/// [`Fatal`]; the vault stays where it was, unless the error states otherwise.
async fn relocate(config: &Config, asked: &cli::MoveArgs, sources: &Sources) -> Result<Ending, Fatal> {
    let mut console = console_of(config);
    let there = config.at(&asked.to, "--to")?;
    refuse_far_folders(&there.named_folders)?;
    refuse_beside_vault(&there, &config.key_source)?;
    let request = request(config, Arc::clone(&sources.opens), &Opening::There, Writes::Inline);
    let relocation = vault::relocation(&request, &store_of(&there), Arc::new(SystemRandom)).await?;
    let places = (relocation.from(), relocation.to());
    if let Err(declined) = cli::ask_to_move(&mut console, places, relocation.size(), asked.yes) {
        relocation.leave().await?;
        return Err(declined.into());
    }
    let travel = Travel::default();
    // Boxed, so that the futures of other commands don't take the memory that it needs.
    let work = Box::pin(relocation.carry_out(&travel, SystemClock.now()));
    let done = cli::moving(&mut console, &travel, work).await??;
    Ok(cli::moved(&mut console, &done)?)
}
