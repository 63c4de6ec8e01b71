//! The composition root: from the command line to an open vault and a running command. The only room that names all
//! others. Never here: a rule of its own.

mod account;
mod aside;
mod completions;
mod confine;
mod host;
mod keys;
mod opening;
#[cfg(feature = "serve")]
mod serve;
#[cfg(not(feature = "serve"))]
#[path = "serve_absent.rs"]
mod serve;
mod signals;
mod traces;
mod typed;
#[cfg(feature = "serve")]
mod upkeep;

use std::{ffi::OsString, io::IsTerminal as _, process::ExitCode, sync::Arc};

use account::account;
use clap::ColorChoice;
use host::{answer_host, for_host};
use keys::leave_environment;
use opening::{Opening, Ready, open_for};
use typed::{Command, Typed, answered, answers};

use crate::{
    child::{self, Children},
    clock::SystemClock,
    config::{Config, ConfigError, Format, ServeConfig, StdioConfig, StdioFlags, color_of_words},
    domain::{account::Account, principal::Principal},
    operations::{ErrorCode, Refusal, Service},
    random::SystemRandom,
    store,
    telemetry::{self, Form, Ink, NotAFilter},
    transport::{
        ErrorBody,
        cli::{self, Answers, Console, Ending, Failure, Looks, ProcessFacts, Session, Sources, Stream, VaultFacts},
        http::ServeError,
        mcp::stdio::StdioError,
    },
    vault::{OpenError, Vault, VaultStatus},
};

/// Exit status: refused or failed.
const EXIT_FAILED: u8 = 1;
/// Exit status: wrong input.
const EXIT_USAGE: u8 = 2;
/// Exit status: the vault can't be opened (`EX_CONFIG` of sysexits(3)).
const EXIT_NO_VAULT: u8 = 78;

/// What the process does.
enum Task {
    Person(Box<cli::Command>),
    Stdio(StdioConfig),
    Serve(Box<ServeConfig>),
    Aside(aside::Aside),
}

/// Why a process ends without doing its task.
#[derive(Debug, thiserror::Error)]
enum Fatal {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Filter(#[from] NotAFilter),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Failure(#[from] Failure),
    #[error(transparent)]
    Stdio(#[from] StdioError),
    #[error("the process could not be set up: {0}")]
    Setup(std::io::Error),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("--otlp-endpoint or the environment for its exporter can't be used: {0}")]
    Otlp(String),
}

/// The definition of the command line, for the pages of the manual.
pub fn command_line() -> clap::Command {
    typed::whole()
}

/// Runs the process.
pub fn run() -> ExitCode {
    telemetry::hide_panic_payloads();
    let words: Vec<OsString> = std::env::args_os().collect();
    if let Some(ended) = child::of_words(&words).or_else(completions::answered) {
        return ended;
    }
    let early = looks(color_of_words(&words));
    let report_early = |fatal: &Fatal| fatal.report(&mut Console::of_process(answers(&words), early));
    let typed = match Typed::read(&words) {
        Ok(typed) => typed,
        Err(error) => {
            if words.iter().any(|word| word == "stdio") && error.use_stderr() {
                // A host with an invalid command line would otherwise see no more than that the connection was closed.
                let refused = Failure::Usage(
                    "its command line can't be read; standard error says what is wrong with it".to_owned(),
                );
                answer_host(refused.into());
            }
            return answered(error, &words, early).unwrap_or_else(|failure| report_early(&failure.into()));
        }
    };
    if typed.command.is_none() && std::io::stdin().is_terminal() {
        // On a terminal no host is waiting, so show help.
        return Typed::help(early).map_or_else(|failure| report_early(&failure.into()), |()| ExitCode::SUCCESS);
    }
    let (flags, command) = (typed.flags, typed.command);
    let is_sidecar = matches!(command, None | Some(Command::Stdio(_)));
    let config = match Config::of(flags) {
        Ok(config) => match &command {
            Some(Command::Serve(serve)) => Config { log_form: serve.log_form(), ..config },
            _ => config,
        },
        Err(error) if is_sidecar => return report_early(&answer_host(error.into())),
        Err(error) => return report_early(&error.into()),
    };
    let named = command.iter().flat_map(Command::key_sources);
    // Before there is a second thread.
    let left = leave_environment(&words, std::iter::once(&config.key_source).chain(named));
    if let Err(fatal) = left {
        return if is_sidecar { report_early(&answer_host(fatal)) } else { report_early(&fatal) };
    }
    let is_plugin = matches!(&command, Some(Command::Person(command)) if command.is_plugin());
    match task_of(command).and_then(|task| carry_out(&config, task)) {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::No) => ExitCode::from(EXIT_FAILED),
        // The program that started the plugin reads nothing but its answer.
        Err(fatal) if is_plugin => cli::refuse_plugin(&mut console_of(&config), &fatal.body())
            .map_or_else(|failure| Fatal::from(failure).report(&mut console_of(&config)), |()| ExitCode::SUCCESS),
        Err(fatal) => fatal.report(&mut console_of(&config)),
    }
}

fn task_of(command: Option<Command>) -> Result<Task, Fatal> {
    Ok(match command {
        None => Task::Stdio(StdioConfig::of(StdioFlags::default())?),
        Some(Command::Stdio(flags)) => Task::Stdio(StdioConfig::of(flags)?),
        Some(Command::Serve(flags)) => Task::Serve(Box::new(ServeConfig::of(*flags)?)),
        Some(Command::Person(command)) => Task::Person(Box::new(command)),
        Some(Command::Aside(command)) => Task::Aside(command),
    })
}

fn carry_out(config: &Config, task: Task) -> Result<Ending, Fatal> {
    let level = if matches!(task, Task::Serve(_)) { "info" } else { "warn" };
    let ink = if looks(config.color).notes.colour { Ink::Colour } else { Ink::Plain };
    let logging = telemetry::start(config.log.as_deref().unwrap_or(level), config.log_form, ink).map_err(Fatal::from);
    logging.map_err(|fatal| if matches!(task, Task::Stdio(_)) { answer_host(fatal) } else { fatal })?;
    let mut builder = match task {
        Task::Serve(_) => tokio::runtime::Builder::new_multi_thread(),
        Task::Person(_) | Task::Stdio(_) | Task::Aside(_) => tokio::runtime::Builder::new_current_thread(),
    };
    confine::confine(config, &task)?;
    let runtime = builder.enable_all().build().map_err(Fatal::Setup)?;
    let ended = runtime.block_on(async {
        match task {
            Task::Person(command) => for_person(config, *command).await,
            Task::Stdio(stdio) => for_host(config, stdio).await,
            Task::Serve(serve) => serve::for_remote(config, &serve).await,
            Task::Aside(command) => command.carry_out(config).await,
        }
    });
    // A thread that still reads standard input must not keep the process alive.
    runtime.shutdown_background();
    ended
}

/// Runs a person's command.
async fn for_person(config: &Config, command: cli::Command) -> Result<Ending, Fatal> {
    let opening = if let Some(agreed) = command.accepts_loss() {
        cli::ask_to_accept_loss(&mut console_of(config), agreed)?;
        Opening::Outdated
    } else if let Some((backup, agreed)) = command.restores() {
        cli::ask_to_restore(&mut console_of(config), agreed)?;
        Opening::Restored(backup.to_owned())
    } else if command.makes_a_vault() {
        Opening::OrMade
    } else {
        Opening::There
    };
    let sources = Sources::of(config, &command).await?;
    if let Some(ending) = opening::by_itself(config, &command, &sources).await? {
        return Ok(ending);
    }
    // Only `vault create` makes a vault here: a mistyped passphrase would make one that can't be opened, and a mistyped
    // address one in an unintended place.
    let asked = config.key_source.asks() || config.is_on_a_server();
    let opening = if opening == Opening::OrMade && asked && !command.is_creation() { Opening::There } else { opening };
    let (vault, restored, input) = match open_for(config, &command, &sources.opens, opening).await? {
        Ready::Open(open) => *open,
        Ready::Ended(ending) => return Ok(ending),
    };
    let account = match account(config, &vault).await {
        // The doctor examines all accounts, especially an unreadable one.
        Err(_) if command.is_doctor() => {
            let VaultStatus { default_account: id, created_at, .. } = *vault.status();
            Account { id, name: config.account.clone(), created_at }
        }
        found => found?,
    };
    let (status, keys_locked, is_doctor) = (vault.status().clone(), vault.keys_are_locked(), command.is_doctor());
    let service = service_of(config, vault);
    let mut session = session(config, &service, account, &status);
    (session.vault.restored, session.input) = (restored, input);
    if is_doctor {
        let writes = confine::tried(config);
        session.vault.process = Some(ProcessFacts { writes, keys_locked });
    }
    session.sources = Some(sources);
    let ended = cli::run(command, &mut session).await;
    drop(session);
    let closed = close(&service).await;
    let ending = ended?;
    closed?;
    Ok(ending)
}

fn service_of(config: &Config, vault: Vault) -> Service {
    let service = Service::new(vault, Arc::new(SystemClock), Arc::new(SystemRandom));
    service.use_browsers(config.browsers.clone());
    service.watch_clock();
    service
}

fn session(config: &Config, service: &Service, account: Account, status: &VaultStatus) -> Session {
    Session {
        service: service.clone(),
        caller: Principal::person(account.id),
        account,
        vault: VaultFacts {
            vault: status.vault.to_string(),
            backend: status.store.backend.clone(),
            location: status.store.location.display().to_string(),
            opened_by: status.opened_by,
            slot: status.slot,
            key_file: status.key_file.as_ref().map(|file| file.display().to_string()),
            format: status.store.format,
            slots: status.slots.clone(),
            epoch: status.epoch,
            created_at: status.created_at,
            is_new: status.made,
            copied_to: status.moved.as_ref().map(|copy| copy.display().to_string()),
            restored: None,
            process: None,
        },
        sources: None,
        input: None,
        console: console_of(config),
        children: Children::new(),
    }
}

/// Makes the last writes durable and closes the vault. Every call has been answered by now, and its result is stored,
/// unless another file has taken the vault's place.
async fn close(service: &Service) -> Result<(), Failure> {
    service.close().await.map_err(|refusal| Failure::unclosed(&refusal))
}

fn console_of(config: &Config) -> Console {
    let answers = if config.format == Format::Json { Answers::Json } else { Answers::Text };
    let console = Console::of_process(answers, looks(config.color));
    if config.log_form == Form::Json { console.noting_in_log() } else { console }
}

fn looks(choice: ColorChoice) -> Looks {
    let stream = |terminal| {
        let colour = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal,
        };
        Stream { terminal, colour }
    };
    Looks { out: stream(std::io::stdout().is_terminal()), notes: stream(std::io::stderr().is_terminal()) }
}

impl Fatal {
    /// Reports the error to the person or program, and returns the exit status.
    fn report(&self, console: &mut Console) -> ExitCode {
        let exit = match self {
            // The reader is gone, like `head` when it has enough.
            Self::Failure(failure) if failure.is_closed_pipe() => return ExitCode::SUCCESS,
            Self::Failure(failure) if failure.is_usage() => EXIT_USAGE,
            Self::Config(_)
            | Self::Filter(_)
            | Self::Otlp(_)
            | Self::Open(OpenError::Store(store::OpenError::NoAddress)) => EXIT_USAGE,
            Self::Failure(Failure::Interrupted) => cli::EXIT_INTERRUPTED,
            Self::Failure(_)
            | Self::Open(OpenError::RestoredUnopened { .. })
            | Self::Stdio(_)
            | Self::Setup(_)
            | Self::Serve(_) => EXIT_FAILED,
            Self::Open(_) => EXIT_NO_VAULT,
        };
        console.complain(&self.body());
        ExitCode::from(exit)
    }

    fn body(&self) -> ErrorBody {
        let code = match self {
            Self::Failure(failure) => return failure.body(),
            Self::Config(_)
            | Self::Filter(_)
            | Self::Otlp(_)
            | Self::Open(OpenError::Store(store::OpenError::NoAddress)) => ErrorCode::InvalidArgument,
            Self::Open(OpenError::Store(store::OpenError::NoVault(_) | store::OpenError::NoServerVault(_))) => {
                ErrorCode::NotFound
            }
            Self::Open(_) | Self::Stdio(_) | Self::Setup(_) | Self::Serve(_) => ErrorCode::Unavailable,
        };
        ErrorBody::of(code, self.to_string(), None)
    }
}

impl From<Refusal> for Fatal {
    fn from(refusal: Refusal) -> Self {
        Self::Failure(Failure::Refused(refusal))
    }
}
