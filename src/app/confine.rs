//! What a running server or sidecar may write: the folders that it needs, and nothing else.
//!
//! Where Linux has Landlock, the process gives up the right to write, create, rename and remove anywhere else, before
//! it has a second thread and for good; its children inherit that. Reading and starting programs stay as free as they
//! are for its user: certificates, an identity provider's keys and the session's keyring may be anywhere, and systemd's
//! unit restricts them.

use std::path::{Path, PathBuf};

use super::{
    Fatal, Task, answer_host,
    opening::{refuse_far, store_of},
};
use crate::{
    config::Config,
    domain::{browser_address::BrowserAddress, key_source::KeySource},
    store::{self, OpenRequest, create_private_dir},
    transport::cli::Confinement,
};

impl Config {
    /// The folders in which a running process writes: the vault's, that of the state file, that of a key file that may
    /// have to be created, and that of its backups. `None` if a command gives the key, since that command may write
    /// anything anywhere.
    fn written(&self, store: &OpenRequest, backups: Option<&Path>) -> Option<Vec<PathBuf>> {
        let keys = match &self.key_source {
            KeySource::Command(_) => return None,
            KeySource::File(None) => Some(self.key_dir.as_path()),
            // A key file is made together with a vault and is only read afterwards.
            KeySource::File(Some(file)) => file.parent().filter(|_| !file.exists()),
            KeySource::Keyring
            | KeySource::Passphrase(_)
            | KeySource::Recovery(_)
            | KeySource::Credential(_)
            | KeySource::Env(_) => None,
        };
        // A backup of a vault on a server is made in the data directory first.
        let vault = store::folder_of(store).or_else(|| backups.map(|_| self.data_dir.clone()));
        let all = [vault.as_deref(), self.state_dir.as_deref(), keys, backups];
        let mut folders: Vec<_> = all.into_iter().flatten().map(Path::to_owned).collect();
        folders.sort();
        folders.dedup();
        Some(folders)
    }
}

/// Confines a server or sidecar to the folders that it writes. Call it before there is a second thread.
///
/// # Errors
/// One of the folders is in an unintended place.
pub(super) fn confine(config: &Config, task: &Task) -> Result<(), Fatal> {
    let placed = refuse_far(config, task).map_err(Fatal::from);
    placed.map_err(|fatal| if matches!(task, Task::Stdio(_)) { answer_host(fatal) } else { fatal })?;
    let backups = match task {
        Task::Person(_) | Task::Aside(_) => return Ok(()),
        Task::Stdio(_) => None,
        Task::Serve(serve) => serve.backup_dir(),
    };
    let Some(folders) = config.written(&store_of(config), backups) else {
        tracing::debug!("a command gives the key, so Landlock is not applied to this process");
        return Ok(());
    };
    for folder in &folders {
        // A rule needs an existing folder. If one can't be created, opening the vault reports the cause.
        let _ = create_private_dir(folder);
    }
    // The folder of pipes is created by the person who starts the browser. If it were created here, a mistyped one
    // would look right.
    let folders = with_pipes(config, folders);
    if system::confine(&folders) {
        tracing::debug!("Landlock lets this process write in its own folders alone");
    }
    Ok(())
}

/// Adds the folders of browsers' pipes.
fn with_pipes(config: &Config, folders: Vec<PathBuf>) -> Vec<PathBuf> {
    let pipes = config.browsers.iter().filter_map(BrowserAddress::pipes).map(Path::to_owned);
    folders.into_iter().chain(pipes).collect()
}

/// The result that [`confine`] would have. A thread that ends afterwards confines itself to find out.
pub(super) fn tried(config: &Config) -> Confinement {
    let Some(folders) = config.written(&store_of(config), None) else { return Confinement::Command };
    let folders = with_pipes(config, folders);
    let tried = std::thread::scope(|threads| threads.spawn(|| system::confine(&folders)).join());
    if tried.unwrap_or(false) { Confinement::Only(folders) } else { Confinement::Unavailable }
}

#[cfg(target_os = "linux")]
mod system {
    use std::path::PathBuf;

    use landlock::{
        ABI, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus,
        path_beneath_rules,
    };

    /// Devices that a process opens for writing: in the place of a child's errors, and to ask a person.
    const DEVICES: [&str; 2] = ["/dev/null", "/dev/tty"];

    /// Confines this thread, and all that it starts from here on, to writing in these folders. Returns whether that
    /// took effect, at least in part.
    pub(super) fn confine(folders: &[PathBuf]) -> bool {
        let confined = try_to(folders);
        if let Err(cause) = &confined {
            tracing::debug!(%cause, "Landlock is not available");
        }
        confined.is_ok_and(|status| status != RulesetStatus::NotEnforced)
    }

    fn try_to(folders: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
        // All rights to write as of Linux 6.2. An older kernel enforces those that it knows.
        let write = AccessFs::from_write(ABI::V3);
        let rules = Ruleset::default().handle_access(write)?.create()?;
        let rules = rules.add_rules(path_beneath_rules(folders, write))?;
        Ok(rules.add_rules(path_beneath_rules(DEVICES, AccessFs::WriteFile))?.restrict_self()?.ruleset)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::path::PathBuf;

    /// Other systems have no equivalent that needs no privilege and no unsafe code.
    pub(super) const fn confine(_folders: &[PathBuf]) -> bool {
        false
    }
}
