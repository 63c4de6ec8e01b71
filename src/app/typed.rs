//! The command line as clap reads it, and the errors for input that it can't read.

use std::{ffi::OsString, io, process::ExitCode};

use clap::{
    Arg, ArgAction, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{EXIT_USAGE, aside::Aside};
use crate::{
    config::{Flags, ServeFlags, StdioFlags},
    domain::key_source::KeySource,
    transport::cli::{self, Answers, Failure, Looks},
};

/// The authenticator app for AI agents: seeds stay sealed, agents get codes, every code is in the audit log
#[derive(Parser)]
#[command(name = "countersign", version, after_help = AFTER_HELP)]
pub(super) struct Typed {
    #[command(flatten)]
    pub(super) flags: Flags,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

const AFTER_HELP: &str = "\
Examples:
  countersign secret add --label ada@example.com --issuer GitHub
  countersign code github

The first command that stores something creates the vault. If no command is given and standard input is not a terminal, it \
serves MCP like `stdio`.
Exit status: 0 done, 1 refused or failed, 2 typed wrong, 78 the vault can't be opened.";

/// Replaces the global options on every page of help but the first.
const GLOBAL_OPTIONS: &str = "Global options: see `countersign --help`";

/// Words of other programs, and the corresponding command here.
const OTHER_WORDS: [(&[&str], &str); 21] = [
    (&["get", "otp", "totp", "codes", "token"], "countersign code NAME"),
    (&["add", "create", "new", "register", "store"], "countersign secret add --label LABEL"),
    (&["list", "ls"], "countersign secret list"),
    (&["show", "read", "view"], "countersign secret show NAME"),
    (&["delete", "rm", "remove", "del"], "countersign secret rm NAME"),
    (&["import"], "countersign secret import FILE"),
    (&["export"], "countersign secret export --output FILE"),
    (&["init"], "countersign vault create"),
    (&["status", "info"], "countersign vault status"),
    (&["doctor", "check"], "countersign vault doctor"),
    (&["log", "logs", "trail", "history"], "countersign audit list"),
    (&["mcp"], "countersign stdio"),
    (&["install", "configure", "config"], "countersign setup HOST"),
    (&["completion"], "countersign completions SHELL"),
    (&["server", "start", "http"], "countersign serve"),
    (&["update", "edit"], "countersign secret update NAME"),
    (&["revoke"], "countersign key revoke NAME"),
    (&["restore"], "countersign secret restore NAME"),
    (&["backup"], "countersign vault backup FILE"),
    (&["rotate", "rekey"], "countersign vault rotate"),
    (&["trace", "prune"], "countersign audit --help"),
];

#[derive(Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    Person(cli::Command),
    /// Serve MCP on standard input and output, for the host that starts this
    #[command(
        after_help = "Examples:\n  countersign stdio --scope codes:read,secrets:read\n  countersign stdio --seat ada@corp.com --reveal never"
    )]
    Stdio(StdioFlags),
    /// Serve MCP and REST over HTTP, for remote agents
    #[command(
        after_help = "Examples:\n  countersign serve\n  countersign serve --listen 0.0.0.0:8787 --behind-proxy --public-url https://codes.example.com"
    )]
    Serve(Box<ServeFlags>),
    #[command(flatten)]
    Aside(Aside),
}

/// The part of the command line that hosts use each time they start a sidecar. Building the whole command line takes
/// longer than opening the vault.
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

impl Command {
    /// The sources of keys among its arguments.
    pub(super) fn key_sources(&self) -> impl Iterator<Item = &KeySource> {
        let person = if let Self::Person(command) = self { Some(command) } else { None };
        person
            .into_iter()
            .flat_map(|command| command.opens_by().into_iter().chain(command.new_key()).chain(command.more_keys()))
    }
}

impl Typed {
    /// Reads the command line.
    pub(super) fn read(words: &[OsString]) -> Result<Self, clap::Error> {
        if (words.len() == 1 || words.iter().any(|word| word == "stdio"))
            && let Ok(TypedByHost { flags, command }) = TypedByHost::try_parse_from(words)
        {
            return Ok(Self { flags, command: command.map(|HostCommand::Stdio(flags)| Command::Stdio(flags)) });
        }
        // Everything else, including mistakes and requests for help, needs the whole command line.
        let mut whole = whole();
        let mut matches = match words {
            // People try this after `help`.
            [program, word] if word == "version" => whole.try_get_matches_from_mut([program, &"--version".into()]),
            words => whole.try_get_matches_from_mut(words),
        }?;
        Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut whole))
    }

    /// Prints what `--help` prints.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub(super) fn help(looks: Looks) -> Result<(), Failure> {
        Ok(print(&whole().render_help(), looks.out.colour, io::stdout())?)
    }
}

/// The whole command line, with the global options only on the first page of help.
pub(super) fn whole() -> clap::Command {
    let root = Typed::command();
    let globals: Vec<Arg> =
        root.get_arguments().filter(|arg| arg.is_global_set()).map(|arg| arg.clone().hide(true)).collect();
    root.mut_subcommands(|noun| with_hidden(noun, &globals))
}

fn with_hidden(command: clap::Command, globals: &[Arg]) -> clap::Command {
    let examples = command.get_after_help().map(|help| format!("{help}\n\n")).unwrap_or_default();
    command
        .disable_help_subcommand(true)
        // `-1` is then a value that is out of bounds, and the error names its flag.
        .mut_args(|arg| {
            let takes_values = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
            if takes_values { arg.allow_negative_numbers(true) } else { arg }
        })
        .args(globals)
        .after_help(format!("{examples}{GLOBAL_OPTIONS}"))
        .mut_subcommands(|verb| with_hidden(verb, globals))
}

/// Prints help or the version, or an error for wrong input. The error does not repeat input that may be a seed in the
/// wrong place.
///
/// # Errors
/// [`Failure::Output`], when printing fails. [`Failure::Usage`], for a program: it gets the error in the usual form.
pub(super) fn answered(mut error: clap::Error, words: &[OsString], looks: Looks) -> Result<ExitCode, Failure> {
    const WITHHELD: &str = "…";
    let withheld = || ContextValue::String(WITHHELD.to_owned());
    // An empty value means that none was given, and clap reports that.
    if error.get(ContextKind::InvalidValue).is_some_and(|value| *value != ContextValue::String(String::new())) {
        error.insert(ContextKind::InvalidValue, withheld());
    }
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) {
        match (is_mistyped_word(word), tip_for(word, words)) {
            (false, _) => drop(error.insert(ContextKind::InvalidSubcommand, withheld())),
            (true, Some(tip)) => {
                error.remove(ContextKind::SuggestedSubcommand);
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
            }
            (true, None) => {}
        }
    }
    let unknown = error.kind() == ErrorKind::UnknownArgument;
    if let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg)
        && unknown
    {
        let tip = tip_for_argument(argument, words);
        let shown = is_mistyped_flag(argument);
        if !shown {
            error.insert(ContextKind::InvalidArg, withheld());
        }
        if !shown || tip.is_some() {
            for kind in [ContextKind::Suggested, ContextKind::SuggestedArg, ContextKind::TrailingArg] {
                error.remove(kind);
            }
        }
        if let Some(tip) = tip {
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
        }
    }
    if error.use_stderr() && answers(words) == Answers::Json {
        return Err(Failure::Usage(in_words(&error)));
    }
    if error.use_stderr() {
        // There may be no reader; the exit status does not depend on that.
        let _ = print(&error.render(), looks.notes.colour, io::stderr());
    } else {
        print(&error.render(), looks.out.colour, io::stdout())?;
    }
    Ok(u8::try_from(error.exit_code()).map_or(ExitCode::from(EXIT_USAGE), ExitCode::from))
}

/// Whether a mistyped word may be repeated: it is shorter than any seed and looks like a command.
fn is_mistyped_word(word: &str) -> bool {
    (1..16).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

fn is_mistyped_flag(text: &str) -> bool {
    let name = text.trim_start_matches('-');
    text.starts_with('-') && name.len() <= 24 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

/// The command for a word of another program, used as a command or after a noun.
fn tip_for(word: &str, words: &[OsString]) -> Option<String> {
    let root = Typed::command();
    let noun = words.iter().skip(1).find_map(|typed| root.find_subcommand(typed.to_str()?));
    if word == "help" {
        let noun = noun.map(|noun| format!(" {}", noun.get_name())).unwrap_or_default();
        return Some(format!("`countersign{noun} --help` shows what is accepted"));
    }
    let (_, meant) = OTHER_WORDS.iter().find(|(others, _)| noun.is_none() && others.contains(&word))?;
    Some(format!("did you mean `{meant}`?"))
}

/// What to type instead of an argument that other programs take.
fn tip_for_argument(argument: &str, words: &[OsString]) -> Option<&'static str> {
    let typed = |word: &str| words.iter().skip(1).any(|typed| typed == word);
    let named = |flags: &[&str]| flags.iter().any(|flag| argument.split('=').next() == Some(flag));
    if typed("add") && (named(&["--secret", "--seed", "--key", "--uri"]) || !argument.starts_with('-')) {
        return Some(
            "the seed is never an argument: leave it out to be asked for it, or use --stdin; quote a label with spaces",
        );
    }
    if typed("list") && !argument.starts_with('-') {
        return Some("--query TEXT lists those whose issuer and label contain the text").filter(|_| typed("secret"));
    }
    named(&["--format", "--output-format"]).then_some("use --json")
}

/// The error and its remedy, on one line.
fn in_words(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let cut_at = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|end| text.find(end)).min();
    let words = text.get(..cut_at.unwrap_or(text.len())).unwrap_or_default().replace("\n\n  tip:", ";");
    let line = words.trim_start_matches("error:").split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{line}; `--help` shows what is accepted")
}

/// The wanted output format, as far as it can be read from an invalid command line: nothing after `--` is a flag.
pub(super) fn answers(words: &[OsString]) -> Answers {
    let json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    if json { Answers::Json } else { Answers::Text }
}

/// Prints and flushes: a buffer left at the end of the process would be lost silently.
fn print(text: &StyledStr, colour: bool, mut out: impl io::Write) -> io::Result<()> {
    if colour {
        write!(out, "{}", text.ansi())?;
    } else {
        write!(out, "{text}")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        whole().debug_assert();
        TypedByHost::command().debug_assert();
    }

    /// Every page of help, with the path of its command.
    fn pages(command: &mut clap::Command, path: &str) -> Vec<(String, String)> {
        let mut all = vec![(path.to_owned(), command.render_help().to_string())];
        let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
        for name in names {
            if let Some(sub) = command.find_subcommand_mut(&name) {
                all.extend(pages(sub, &format!("{path} {name}")));
            }
        }
        all
    }

    #[test]
    fn global_options_stand_on_the_first_page_of_help_alone_and_every_command_has_an_example() {
        let mut whole = whole();
        whole.build();
        for (path, page) in pages(&mut whole, "countersign") {
            if path.split(' ').any(|word| word == "help") {
                continue;
            }
            let first = path == "countersign";
            assert_eq!(page.contains("--data-dir <DIR>"), first, "{path}\n{page}");
            assert_eq!(page.contains(GLOBAL_OPTIONS), !first, "{path}\n{page}");
            let leaf = !page.contains("Commands:");
            assert!(!leaf || page.contains(&format!("Examples:\n  {path}")), "{path} has no example\n{page}");
        }
    }

    #[test]
    fn a_word_that_may_be_a_seed_is_not_shown_and_a_mistyped_one_is() {
        for word in ["lsit", "get", "secrte", "reset-setps"] {
            assert!(is_mistyped_word(word), "{word}");
        }
        for word in ["", "GEZDGNBV", "gezdgnbvgy3tqojq", "gezdgnbvgyatqojq", "a2", "otpauth://x"] {
            assert!(!is_mistyped_word(word), "{word}");
        }
    }
}
