//! Commands that open no vault.

use std::{fs, io, path::PathBuf};

use clap::{Args, Subcommand};
use tokio::task::spawn_blocking;

use super::{
    Fatal,
    completions::{self, Shell},
    console_of,
    signals::stop_signal,
};
use crate::{
    clock::{Clock as _, SystemClock},
    config::{self, Config, StdioFlags},
    hosts::Launch,
    random::{Random as _, SystemRandom},
    store::create_private_dir,
    transport::cli::{self, Ending, Failure, Stage},
};

/// Such a command.
#[derive(Subcommand)]
pub(super) enum Aside {
    /// Have an MCP host start the sidecar: changes the host's own file, once you have seen how
    #[command(
        after_help = "Examples:\n  countersign setup\n  countersign setup claude-desktop\n  countersign setup codex --seat ada@corp.com --scope codes:read,secrets:read\n  countersign setup cursor --print"
    )]
    Setup(Box<Setup>),
    /// Show what an agent does, call by call, with a vault that is gone afterwards
    #[command(after_help = "Examples:\n  countersign demo")]
    Demo,
    /// Print the script by which a shell completes commands, flags and names
    #[command(
        after_help = "Examples:\n  countersign completions bash >> ~/.bashrc\n  countersign completions zsh >> ~/.zshrc\n  countersign completions fish > ~/.config/fish/completions/countersign.fish\n  countersign completions powershell >> $PROFILE"
    )]
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
}

/// What `setup` takes, and what the sidecar is to take.
#[derive(Args)]
pub(super) struct Setup {
    #[command(flatten)]
    setup: cli::SetupArgs,
    #[command(flatten)]
    sidecar: StdioFlags,
}

impl Aside {
    pub(super) async fn carry_out(self, config: &Config) -> Result<Ending, Fatal> {
        let named = |found: io::Result<PathBuf>| {
            let found = found.map_err(Fatal::Setup)?;
            let unnamed =
                || Failure::Usage("the path of this program is no text in UTF-8; move the program".to_owned());
            Ok::<_, Fatal>(found.to_str().ok_or_else(unnamed)?.to_owned())
        };
        match self {
            Self::Setup(typed) => {
                if has_password(&config.store) {
                    return Err(Failure::Usage(PASSWORD.to_owned()).into());
                }
                let arguments = config.same_vault.iter().cloned().chain(typed.sidecar.words()?).collect();
                let launch = Launch { program: named(config::own_program())?, arguments };
                let (folders, now) = (config::folders()?, SystemClock.now());
                Ok(cli::set_up(&typed.setup, &folders, &launch, now, &mut console_of(config))?)
            }
            Self::Demo => {
                let program = std::env::current_exe().map_err(Fatal::Setup)?;
                let home = Home::make().map_err(Fatal::Setup)?;
                let stage = Stage { program, home: home.0.clone() };
                let (stop, config) = (stop_signal().map_err(Fatal::Setup)?, config.clone());
                let played = spawn_blocking(move || cli::demo(&stage, &mut console_of(&config)));
                // An interruption removes the folder, too.
                tokio::select! {
                    biased;
                    () = stop => Err(Failure::Interrupted.into()),
                    played = played => Ok(played.map_err(|cause| Fatal::Setup(io::Error::other(cause)))??),
                }
            }
            Self::Completions { shell } => completions::print(shell, &named(config::own_name())?),
        }
    }
}

/// A private folder, which is removed on drop with all that is in it.
struct Home(PathBuf);

impl Home {
    fn make() -> io::Result<Self> {
        let id = SystemRandom.random_id().map_err(io::Error::other)?;
        let folder = std::env::temp_dir().join(format!("countersign-demo-{id}"));
        create_private_dir(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(cause) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%cause, folder = %self.0.display(), "what the demo left could not be removed");
        }
    }
}

const PASSWORD: &str = "--store holds a password, which would stand in the host's file; leave it out of the address (a password \
                        file, `~/.pgpass`, or a certificate can take its place), or put COUNTERSIGN_STORE into the host's own \
                        settings by hand";

/// Whether the address of a server holds a password.
fn has_password(store: &str) -> bool {
    let authority = store.split_once("://").and_then(|(_, rest)| rest.split(['/', '?']).next());
    let user = authority.and_then(|authority| authority.rsplit_once('@')).map(|(user, _)| user);
    user.is_some_and(|user| user.contains(':')) || store.contains("password=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_is_noticed() {
        for (store, has) in [
            ("sqlite:", false),
            ("sqlite:/a:b@c", false),
            ("postgres://countersign@db:5432/vault", false),
            ("postgres://countersign:x@db/vault", true),
            ("postgres://db/vault?user=a&password=x", true),
        ] {
            assert_eq!(has_password(store), has, "{store}");
        }
    }
}
