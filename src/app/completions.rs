//! Completion by shells: of commands and flags as clap knows them, and of names from the vault.
//!
//! The script that `countersign completions` prints calls the program with a variable set, so that it fits every
//! version. Names are looked up only where that prompts no person and starts no program: the key must be in a file.

use std::{
    ffi::{OsStr, OsString},
    io::Write as _,
    process::ExitCode,
    sync::Arc,
};

use clap::{Arg, Command, FromArgMatches as _, ValueEnum};
use clap_complete::{
    CompleteEnv, CompletionCandidate,
    engine::ArgValueCompleter,
    env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Zsh},
};

use super::{
    Fatal,
    account::find_account,
    close, console_of,
    keys::{Asks, source_of},
    opening::{Opening, open_as},
    service_of,
    typed::whole,
};
use crate::{
    config::{Config, Flags},
    domain::{key_source::KeySource, limits::PAGE_ROWS_MAX, principal::Principal},
    operations::Service,
    transport::cli::{self, Ending, Failure, Offered},
    vault::Writes,
};

/// The variable that marks a call by a shell.
const VARIABLE: &str = "COUNTERSIGN_COMPLETE";
const PROGRAM: &str = "countersign";

/// A shell.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
    #[value(alias = "pwsh")]
    Powershell,
    Elvish,
}

/// Prints the script of a shell.
pub(super) fn print(shell: Shell, program: &str) -> Result<Ending, Fatal> {
    let shell: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
        Shell::Powershell => &Powershell,
        Shell::Elvish => &Elvish,
    };
    let mut script = Vec::new();
    let written = shell.write_registration(VARIABLE, PROGRAM, PROGRAM, program, &mut script);
    let written = written.and_then(|()| std::io::stdout().write_all(&script));
    written.map_err(Failure::Output)?;
    Ok(Ending::Done)
}

/// Answers a shell that calls the program to complete a command line.
pub(super) fn answered() -> Option<ExitCode> {
    let folder = std::env::current_dir().ok();
    match CompleteEnv::with_factory(known).var(VARIABLE).try_complete(std::env::args_os(), folder.as_deref()) {
        Ok(false) => None,
        Ok(true) => Some(ExitCode::SUCCESS),
        // A shell would not show the error.
        Err(_) => Some(ExitCode::FAILURE),
    }
}

/// The command line, with completion of names.
fn known() -> Command {
    whole().mut_subcommands(|noun| {
        let named = match noun.get_name() {
            "key" => Names::Keys,
            "seat" => Names::Seats,
            _ => Names::Secrets,
        };
        with_names(noun, named)
    })
}

fn with_names(command: Command, of_positional: Names) -> Command {
    let completed = |arg: Arg| {
        let is_of = |name: &str| arg.get_value_names().is_some_and(|names| names.iter().any(|given| given == name));
        let names = if is_of("SEAT") {
            Some(Names::Seats)
        } else if is_of("NAME") && arg.is_positional() {
            Some(of_positional)
        } else {
            None
        };
        match names {
            Some(names) => arg.add(ArgValueCompleter::new(move |typed: &OsStr| names.candidates(typed))),
            None => arg,
        }
    };
    command.mut_args(completed).mut_subcommands(|verb| with_names(verb, of_positional))
}

/// What a name refers to.
#[derive(Clone, Copy)]
enum Names {
    Secrets,
    Seats,
    Keys,
}

impl Names {
    /// The names that begin with `typed`, from the vault that the command line so far selects. None if it can't be read
    /// at once.
    fn candidates(self, typed: &OsStr) -> Vec<CompletionCandidate> {
        let Some(typed) = typed.to_str() else { return Vec::new() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let found = runtime.ok().and_then(|runtime| {
            let found = runtime.block_on(self.find(typed));
            runtime.shutdown_background();
            found
        });
        let candidate = |(name, help): Offered| CompletionCandidate::new(name).help(help.map(Into::into));
        let found = found.unwrap_or_default().into_iter();
        found.filter(|(name, _)| name.starts_with(typed)).map(candidate).collect()
    }

    async fn find(self, typed: &str) -> Option<Vec<Offered>> {
        let config = config()?;
        if !matches!(config.key_source, KeySource::File(_)) {
            return None;
        }
        let mut silent = console_of(&config);
        let source = source_of(&config, &config.key_source, Asks::Nobody, &mut silent).await.ok()?;
        let (vault, _) = open_as(&config, Arc::clone(&source), Opening::There, Writes::Inline).await.ok()?;
        let account = find_account(&config.account, &vault).await.ok()??;
        let service: Service = service_of(&config, vault);
        let person = Principal::person(account.id);
        let found = match self {
            Self::Secrets => cli::names_of_secrets(&service, &person, PAGE_ROWS_MAX, typed).await,
            Self::Seats => cli::names_of_seats(&service, &person).await,
            Self::Keys => cli::names_of_keys(&service, &person).await,
        };
        close(&service).await.ok()?;
        found.ok()
    }
}

/// The settings of the unfinished command line after `--`.
fn config() -> Option<Config> {
    let words: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let matches = whole().ignore_errors(true).try_get_matches_from(words).ok()?;
    Config::of(Flags::from_arg_matches(&matches).ok()?).ok()
}
