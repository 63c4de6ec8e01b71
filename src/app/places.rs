//! Places that nobody meant. Of a folder that a flag or a variable names, only the last part is made: a mistyped one would be
//! made with all that is above it. Default places are made whole.

use std::path::{Path, PathBuf};

use super::Task;
use crate::config::{Config, ConfigError};

/// Refuses such places, for a task that may make something in them.
///
/// # Errors
/// [`ConfigError::FarPlace`].
pub(super) fn refuse_far(config: &Config, task: &Task) -> Result<(), ConfigError> {
    if let Task::Person(command) = task
        && !command.makes_a_vault()
        && command.restores().is_none()
    {
        return Ok(());
    }
    if let Task::Serve(serve) = task
        && let Some(plan) = &serve.backups
    {
        refuse_far_folder("--backup-dir", &plan.dir)?;
    }
    refuse_far_folders(&config.named_folders)
}

/// The same for folders with the names of their flags.
pub(super) fn refuse_far_folders(folders: &[(&'static str, PathBuf)]) -> Result<(), ConfigError> {
    folders.iter().try_for_each(|(flag, folder)| refuse_far_folder(flag, folder))
}

pub(super) fn refuse_far_folder(flag: &'static str, folder: &Path) -> Result<(), ConfigError> {
    // What can't be looked up is left to whoever opens it.
    let is_absent = |folder: &Path| matches!(folder.try_exists(), Ok(false));
    let is_far = is_absent(folder) && folder.parent().is_some_and(is_absent);
    if is_far { Err(ConfigError::FarPlace(flag)) } else { Ok(()) }
}
