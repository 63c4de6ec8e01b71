//! The command line as clap reads it, and what is said when it can't be read.

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{
    CommandFactory as _, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::EXIT_USAGE;
use crate::{
    config::{Flags, ServeFlags, StdioFlags},
    transport::cli::{self, Answers, Failure},
};

/// The authenticator app for AI agents: seeds stay sealed, agents get codes, every code has a trail
#[derive(Parser)]
#[command(name = "countersign", version, disable_help_subcommand = true, after_help = AFTER_HELP)]
pub(super) struct Typed {
    #[command(flatten)]
    pub(super) flags: Flags,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

const AFTER_HELP: &str = "\
The vault is made on first use. Without a command, and with standard input that is no terminal, it serves MCP like `stdio`.
Exit status: 0 done, 1 refused or failed, 2 typed wrong, 78 the vault can't be opened.";

#[derive(Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    Person(cli::Command),
    /// Serve MCP on standard input and output, for the host that starts this
    Stdio(StdioFlags),
    /// Serve MCP and REST over HTTP, for remote agents
    Serve(Box<ServeFlags>),
}

/// The part of it that hosts type, each time they start a sidecar. Putting the whole together takes longer than opening
/// the vault.
#[derive(Parser)]
struct TypedByHost {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Option<HostCommand>,
}

#[derive(Subcommand)]
enum HostCommand {
    Stdio(StdioFlags),
}

impl Typed {
    /// Reads what was typed.
    pub(super) fn read() -> Result<Self, clap::Error> {
        let typed: Vec<OsString> = env::args_os().collect();
        if (typed.len() == 1 || typed.iter().any(|word| word == "stdio"))
            && let Ok(TypedByHost { flags, command }) = TypedByHost::try_parse_from(&typed)
        {
            return Ok(Self { flags, command: command.map(|HostCommand::Stdio(flags)| Command::Stdio(flags)) });
        }
        // Anything else, mistakes and calls for help among it, is the whole's to answer.
        Self::try_parse_from(typed)
    }

    /// Prints what `--help` prints.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub(super) fn help() -> Result<(), Failure> {
        printed(Self::command().print_help())
    }
}

/// Answers a call for help or the version; or says what was typed wrong, without saying it again: it may be a seed that
/// somebody put where no seed belongs.
///
/// # Errors
/// [`Failure::Output`], of an answer. [`Failure::Usage`], for a program: it is told in the form of every other error.
pub(super) fn answered(mut error: clap::Error) -> Result<ExitCode, Failure> {
    const WITHHELD: &str = "…";
    let withheld = || ContextValue::String(WITHHELD.to_owned());
    for kind in [ContextKind::InvalidValue, ContextKind::InvalidSubcommand] {
        if error.get(kind).is_some() {
            error.insert(kind, withheld());
        }
    }
    let like_a_flag = |text: &str| {
        let name = text.trim_start_matches('-');
        text.starts_with('-') && name.len() <= 24 && name.chars().all(|c| c.is_ascii_lowercase() || c == '-')
    };
    let unknown = error.kind() == ErrorKind::UnknownArgument;
    if let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg)
        && unknown
        && !like_a_flag(argument)
    {
        error.insert(ContextKind::InvalidArg, withheld());
        for kind in [ContextKind::Suggested, ContextKind::SuggestedArg, ContextKind::TrailingArg] {
            error.remove(kind);
        }
    }
    if let Some(name) = emptied(&error) {
        let tip = format!("the environment variable {name} is set and empty; unset it").into();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    if error.use_stderr() && answers() == Answers::Json {
        return Err(Failure::Usage(in_words(&error)));
    }
    let told = printed(error.print());
    if !error.use_stderr() {
        told?;
    }
    Ok(u8::try_from(error.exit_code()).map_or(ExitCode::from(EXIT_USAGE), ExitCode::from))
}

/// The variable that an option had its value from, if there was nothing in it: whoever set it sees no such option.
fn emptied(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return None };
    let name = option.strip_prefix("--")?.split(' ').next()?;
    let typed = env::args_os().any(|word| word.to_string_lossy().strip_prefix("--").is_some_and(|word| word == name));
    let variable = format!("COUNTERSIGN_{}", name.to_ascii_uppercase().replace('-', "_"));
    (!typed && env::var_os(&variable).is_some_and(|value| value.is_empty())).then_some(variable)
}

/// What is wrong and what to do, on one line.
fn in_words(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let told = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|end| text.find(end)).min();
    let words = text.get(..told.unwrap_or(text.len())).unwrap_or_default().replace("\n\n  tip:", ";");
    let line = words.trim_start_matches("error:").split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{line}; `--help` shows what is accepted")
}

/// How answers are wanted, as far as that can be told of what could not be read: nothing after `--` is a flag.
pub(super) fn answers() -> Answers {
    let json = env::args_os().take_while(|word| word != "--").any(|word| word == "--json");
    if json { Answers::Json } else { Answers::Text }
}

/// What is left in a buffer when the process ends would be lost without a word.
fn printed(printed: io::Result<()>) -> Result<(), Failure> {
    Ok(printed.and_then(|()| io::stdout().flush())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Typed::command().debug_assert();
    }
}
