//! The composition root: from what was typed to a vault that is open and a command that runs. The only room that names
//! all others. Never: a rule of its own.

mod serve;
mod typed;

use std::{ffi::OsString, io::IsTerminal as _, process::ExitCode, sync::Arc};

use clap::ColorChoice;
use tokio_util::sync::CancellationToken;
use typed::{Command, Typed, answered, answers};

use crate::{
    clock::{Clock as _, SystemClock},
    config::{Config, ConfigError, Durability, Format, Reveal, ServeConfig, StdioConfig, color_of_words},
    domain::{account::Account, principal::Principal, scope::ScopeSet},
    random::SystemRandom,
    service::{Code, Refusal, Service},
    store::{self, Made, OpenError, OpenRequest, VaultStatus, Writes},
    telemetry::{self, Ink, NotAFilter},
    transport::{
        cli::{self, Answers, Console, Ending, Failure, Looks, Session, Stream, VaultFacts},
        http::ServeError,
        mcp::{self, McpServer, stdio::StdioError},
        wire::ErrorBody,
    },
};

/// Refused or failed.
const EXIT_FAILED: u8 = 1;
/// Typed wrong.
const EXIT_USAGE: u8 = 2;
/// The vault can't be opened: `EX_CONFIG` of sysexits(3).
const EXIT_NO_VAULT: u8 = 78;
/// Interrupted by the person, as shells count it.
const EXIT_INTERRUPTED: u8 = 130;

/// What is to be done.
enum Task {
    Person(Box<cli::Command>),
    Stdio(StdioConfig),
    Serve(Box<ServeConfig>),
}

/// What becomes of a vault that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absent {
    /// It is made, for somebody who stores something.
    IsMade,
    /// It is refused, to somebody who reads.
    IsRefused,
}

/// Why a process ends without having done its task.
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
}

/// Runs the process that was asked for.
pub fn run() -> ExitCode {
    telemetry::hide_panic_payloads();
    let words: Vec<OsString> = std::env::args_os().collect();
    let early = looks(color_of_words(&words));
    let told_early = |fatal: &Fatal| fatal.told(&mut Console::of_process(answers(&words), early));
    let typed = match Typed::read(&words) {
        Ok(typed) => typed,
        Err(error) => return answered(error, &words, early).unwrap_or_else(|failure| told_early(&failure.into())),
    };
    if typed.command.is_none() && std::io::stdin().is_terminal() {
        // Nobody is there to be served, and somebody to be helped.
        return Typed::help(early).map_or_else(|failure| told_early(&failure.into()), |()| ExitCode::SUCCESS);
    }
    let (flags, command) = (typed.flags, typed.command);
    let is_sidecar = matches!(command, None | Some(Command::Stdio(_)));
    let config = match Config::of(flags) {
        Ok(config) => config,
        Err(error) if is_sidecar => return told_early(&told_to_host(error.into())),
        Err(error) => return told_early(&error.into()),
    };
    match task_of(command).and_then(|task| carry_out(&config, task)) {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::No) => ExitCode::from(EXIT_FAILED),
        Err(fatal) => fatal.told(&mut console_of(&config)),
    }
}

/// Tells the host of a sidecar that can't serve it why, in the protocol. Nothing runs yet.
fn told_to_host(fatal: Fatal) -> Fatal {
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
        runtime.block_on(refuse_host(&fatal));
        // A thread that still reads standard input must not keep the process.
        runtime.shutdown_background();
    }
    fatal
}

async fn refuse_host(fatal: &Fatal) {
    // A person reads standard error.
    if !std::io::stdin().is_terminal() {
        mcp::stdio::refuse(&fatal.body().message).await;
    }
}

fn task_of(command: Option<Command>) -> Result<Task, Fatal> {
    Ok(match command {
        None => Task::Stdio(StdioConfig::default()),
        Some(Command::Stdio(flags)) => Task::Stdio(StdioConfig::of(flags)),
        Some(Command::Serve(flags)) => Task::Serve(Box::new(ServeConfig::of(*flags)?)),
        Some(Command::Person(command)) => Task::Person(Box::new(command)),
    })
}

fn carry_out(config: &Config, task: Task) -> Result<Ending, Fatal> {
    let level = if matches!(task, Task::Serve(_)) { "info" } else { "warn" };
    let ink = if looks(config.color).notes.colour { Ink::Colour } else { Ink::Plain };
    let logging = telemetry::start(config.log.as_deref().unwrap_or(level), ink).map_err(Fatal::from);
    logging.map_err(|fatal| if matches!(task, Task::Stdio(_)) { told_to_host(fatal) } else { fatal })?;
    let mut builder = match task {
        Task::Serve(_) => tokio::runtime::Builder::new_multi_thread(),
        Task::Person(_) | Task::Stdio(_) => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = builder.enable_all().build().map_err(Fatal::Setup)?;
    let ended = runtime.block_on(async {
        match task {
            Task::Person(command) => for_person(config, *command).await,
            Task::Stdio(stdio) => for_host(config, stdio).await,
            Task::Serve(serve) => serve::for_remote(config, &serve).await,
        }
    });
    // A thread that still reads standard input must not keep the process.
    runtime.shutdown_background();
    ended
}

/// A command of a person.
async fn for_person(config: &Config, command: cli::Command) -> Result<Ending, Fatal> {
    let absent = if command.makes_a_vault() { Absent::IsMade } else { Absent::IsRefused };
    let (service, status, made) = open(config, absent, Writes::Inline, Durability::Normal)?;
    let account = match account(config, &service).await {
        // It looks at all of them, and at the one that can't be read most of all.
        Err(_) if command.is_doctor() => {
            Account { id: status.default_account, name: config.account.clone(), created_at: status.created_at }
        }
        found => found?,
    };
    let mut session = session(config, &service, &account, &status, made);
    let ended = cli::run(command, &mut session).await;
    drop(session);
    let closed = close(&service).await;
    let ending = ended?;
    closed?;
    Ok(ending)
}

/// The sidecar of a host.
async fn for_host(config: &Config, stdio: StdioConfig) -> Result<Ending, Fatal> {
    let (service, server) = match sidecar(config, stdio).await {
        Ok(ready) => ready,
        Err(fatal) => {
            refuse_host(&fatal).await;
            return Err(fatal);
        }
    };
    let (told, hung_up) = (serve::told_to_stop().map_err(Fatal::Setup)?, serve::hung_up().map_err(Fatal::Setup)?);
    if std::io::stdin().is_terminal() {
        // Hosts start this; a person who typed it would wait for an answer that never comes.
        console_of(config)
            .note("Waiting for an MCP host on standard input; Ctrl-C ends it. Hosts start this by themselves.");
    }
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = told => {}
            () = hung_up => {}
        }
        stopping.cancel();
    });
    let ended = mcp::stdio::serve(server, stop).await;
    close(&service).await?;
    ended?;
    Ok(Ending::Done)
}

/// What a sidecar serves its host with.
async fn sidecar(config: &Config, stdio: StdioConfig) -> Result<(Service, McpServer), Fatal> {
    let (service, ..) = open(config, Absent::IsMade, Writes::Inline, Durability::Normal)?;
    let account = account(config, &service).await?;
    let seat = match &stdio.seat {
        None => None,
        Some(name) => Some(cli::find_seat(&service, &Principal::person(account.id), name).await?.id),
    };
    let caller = Principal::stdio(account.id, stdio.scopes.unwrap_or(ScopeSet::ALL), seat);
    let reveal = match stdio.reveal {
        Reveal::Once => mcp::Reveal::Once,
        Reveal::Never => mcp::Reveal::Never,
    };
    let server = McpServer::for_caller(service.clone(), caller, reveal);
    Ok((service, server))
}

fn open(
    config: &Config,
    absent: Absent,
    writes: Writes,
    durability: Durability,
) -> Result<(Service, VaultStatus, Made), OpenError> {
    let request = OpenRequest {
        url: config.store.clone(),
        data_dir: config.data_dir.clone(),
        key_dir: config.key_dir.clone(),
        key_file: config.key_file.clone(),
        now: SystemClock.now(),
        writes,
        strict: durability == Durability::Strict,
    };
    let opened = match absent {
        Absent::IsMade => store::open(&request),
        Absent::IsRefused => store::open_existing(&request),
    }?;
    if opened.made == Made::Now {
        console_of(config).note(&format!(
            "Made a vault: {}\nIts key:      {}\nKeep a backup of both, apart from each other: without the key nobody can open \
             the vault.",
            opened.status.location.display(),
            opened.status.key_file.display()
        ));
    }
    let service = Service::new(opened.store, opened.keyring, Arc::new(SystemClock), Arc::new(SystemRandom));
    Ok((service, opened.status, opened.made))
}

async fn account(config: &Config, service: &Service) -> Result<Account, Failure> {
    let found = service.find_account(config.account.as_str()).await;
    found.map_err(|refusal| {
        if refusal.code() != Code::NotFound {
            return Failure::Refused(refusal);
        }
        let message = "there is no account of this name; `countersign account list` shows what exists, and `countersign \
                       account add` makes one";
        Failure::Failed { code: Code::NotFound, message: message.to_owned() }
    })
}

fn session(config: &Config, service: &Service, account: &Account, status: &VaultStatus, made: Made) -> Session {
    Session {
        service: service.clone(),
        caller: Principal::person(account.id),
        account: account.name.clone(),
        vault: VaultFacts {
            vault: status.vault.to_string(),
            backend: status.backend.clone(),
            location: status.location.display().to_string(),
            key_file: status.key_file.display().to_string(),
            format: status.format,
            slots: status.slots.clone(),
            epoch: status.epoch,
            created_at: status.created_at,
            is_new: made == Made::Now,
        },
        console: console_of(config),
    }
}

/// Brings to the disk what is not there yet. By now everything has been answered, and what was answered is kept.
async fn close(service: &Service) -> Result<(), Failure> {
    service.close().await.map_err(|refusal| {
        let message = "what was answered is kept, but the disk did not take the last write: a power cut could still lose that a \
                       code was read again. Look whether the disk is full, then run `countersign vault doctor`";
        Failure::Failed { code: refusal.code(), message: message.to_owned() }
    })
}

fn console_of(config: &Config) -> Console {
    let answers = match config.format {
        Format::Text => Answers::Text,
        Format::Json => Answers::Json,
    };
    Console::of_process(answers, looks(config.color))
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
    /// Tells the person, or the program, and the shell.
    fn told(&self, console: &mut Console) -> ExitCode {
        let exit = match self {
            // The reader went away, as `head` does when it has enough.
            Self::Failure(failure) if failure.is_closed_pipe() => return ExitCode::SUCCESS,
            Self::Failure(failure) if failure.is_usage() => EXIT_USAGE,
            Self::Config(_) | Self::Filter(_) | Self::Open(OpenError::NoAddress) => EXIT_USAGE,
            Self::Failure(Failure::Interrupted) => EXIT_INTERRUPTED,
            Self::Open(_) => EXIT_NO_VAULT,
            Self::Failure(_) | Self::Stdio(_) | Self::Setup(_) | Self::Serve(_) => EXIT_FAILED,
        };
        console.complain(&self.body());
        ExitCode::from(exit)
    }

    fn body(&self) -> ErrorBody {
        let code = match self {
            Self::Failure(failure) => return failure.body(),
            Self::Config(_) | Self::Filter(_) | Self::Open(OpenError::NoAddress) => Code::InvalidArgument,
            Self::Open(OpenError::NoVault(_)) => Code::NotFound,
            Self::Open(_) | Self::Stdio(_) | Self::Setup(_) | Self::Serve(_) => Code::Unavailable,
        };
        ErrorBody { status: "ERROR", error: code.as_str(), message: self.to_string(), retry_after: None }
    }
}

impl From<Refusal> for Fatal {
    fn from(refusal: Refusal) -> Self {
        Self::Failure(Failure::Refused(refusal))
    }
}
