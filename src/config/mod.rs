//! Configuration: turns flags and variables into typed and checked settings.
//!
//! [`Flags`], [`StdioFlags`] and [`ServeFlags`] hold the raw input and read nothing else; [`Config`], [`StdioConfig`]
//! and [`ServeConfig`] are the settings. Only this room reads the environment. Never here: opening a file, or an error
//! that quotes a value, since a store's address may hold a password.

mod browsers;
mod colors;
mod keys;
mod otlp;
mod places;
#[cfg(feature = "serve")]
mod serve;
#[cfg(not(feature = "serve"))]
#[path = "serve_absent.rs"]
mod serve;
mod sidecar;

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use clap::{Args, ColorChoice, ValueEnum};
use directories::BaseDirs;

pub use colors::color_of_words;
pub use keys::{HANDED, handed_keys, key_variable};
#[cfg(feature = "serve")]
pub use serve::{Backups, Client, Durability, Oauth};
pub use serve::{ServeConfig, ServeFlags};
pub use sidecar::{folders, own_name, own_program};

use self::{
    browsers::BrowserFlags,
    colors::color,
    keys::TypedKey,
    otlp::OtlpFlags,
    places::{Written, absolute, address, setting, variable},
    sidecar::SameVault,
};
use crate::{
    domain::{
        account::DEFAULT_ACCOUNT,
        browser_address::BrowserAddress,
        key_source::{KeySource, KeySourceError},
        scope::{Scope, ScopeSet},
        text::{Name, TextError},
    },
    telemetry::Form,
};

/// Our folder's name inside the platform's folders.
const FOLDER: &str = "countersign";
/// The default store: the file `vault.db` in the data directory.
const DEFAULT_STORE: &str = "sqlite:";
/// The folder for key files inside our configuration folder.
const KEY_FOLDER: &str = "keys";

/// What every command takes, as typed. Variables stand in the help; they are read by [`Config::of`], where an empty one is
/// unset.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Flags {
    /// Folder of the vault [default: the platform's data directory] [env: `COUNTERSIGN_DATA_DIR`]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where the vault is kept: `sqlite:` (the file vault.db in the data directory), `sqlite:FILE`, or
    /// `postgres://USER@HOST/DATABASE` [default: sqlite:] [env: `COUNTERSIGN_STORE`]
    #[arg(long, global = true, value_name = "URL")]
    store: Option<OsString>,
    /// File of the vault's key, short for `--key-source file:FILE` [default: keys/ID.key in the platform's configuration directory] [env:
    /// `COUNTERSIGN_KEY_FILE`]
    #[arg(long, global = true, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// What opens the vault: `file:PATH`, `keyring`, `passphrase`, `recovery`, `credential:NAME` (of systemd), `env:NAME` or
    /// `command:["PROGRAM","ARGUMENT"]`; `passphrase:FILE` and `recovery:FILE` ask nobody [default: the key file] [env:
    /// `COUNTERSIGN_KEY_SOURCE`]
    #[arg(long, global = true, value_name = "SOURCE")]
    key_source: Option<OsString>,
    /// Folder in which this machine keeps what it last knew of its vaults, so that an old copy is noticed [default: the
    /// platform's state directory] [env: `COUNTERSIGN_STATE_DIR`]
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Account to work in [default: default] [env: `COUNTERSIGN_ACCOUNT`]
    #[arg(long, global = true, value_name = "NAME")]
    account: Option<OsString>,
    #[command(flatten)]
    browsers: BrowserFlags,
    /// Print one JSON document on standard output
    #[arg(long, global = true)]
    json: bool,
    /// What to log on standard error, such as `debug` or `countersign=trace` [default: warn; info for serve] [env:
    /// `COUNTERSIGN_LOG`]
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<OsString>,
    /// When to use colour; `NO_COLOR` is honoured [default: auto]
    #[arg(long, global = true, value_name = "WHEN", value_enum)]
    color: Option<ColorChoice>,
}

/// What `countersign stdio` takes, as typed.
#[derive(Debug, Default, Args)]
pub struct StdioFlags {
    /// Make every call for this seat (its id, `auth_subject` or e-mail address), and refuse calls for others
    #[arg(long, value_name = "ID")]
    seat: Option<String>,
    /// Allow these scopes only, separated by commas
    #[arg(long, value_name = "SCOPE,…", value_parser = scopes)]
    scope: Option<ScopeSet>,
    /// Whether the answer to a registration shows the seed
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    reveal: Reveal,
    #[command(flatten)]
    otlp: OtlpFlags,
}

/// Whether the answer to a registration shows the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Reveal {
    /// Once, as the mirrored API does
    #[default]
    Once,
    /// Never: it stays out of the model's context
    Never,
}

/// The format of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The settings of every command.
#[derive(Debug, Clone)]
pub struct Config {
    /// The vault's folder, absolute.
    pub data_dir: PathBuf,
    /// The store's address. Never shown, because it may hold a password.
    pub store: String,
    /// Our folder for key files in the platform's configuration directory, empty if the platform has no such directory.
    /// Never within the data directory if a key is looked up in it.
    pub key_dir: PathBuf,
    /// The source of the key that opens the vault; a path in it is absolute and never within the data directory.
    pub key_source: KeySource,
    /// The folder of systemd's credentials, if this is a service that has some.
    pub credentials_dir: Option<PathBuf>,
    /// The folder for state files; `None` if the platform has none.
    pub state_dir: Option<PathBuf>,
    /// The account to work in.
    pub account: Name,
    /// The browsers that codes may be typed in.
    pub browsers: Vec<BrowserAddress>,
    /// The format of answers.
    pub format: Format,
    /// The log filter, if one was given.
    pub log: Option<String>,
    /// The form of log lines: text for people, unless `--log-format` selects another.
    pub log_form: Form,
    /// When to use colour.
    pub color: ColorChoice,
    /// The flags by which a process that a host starts opens the same vault: it inherits no variable and no working directory.
    pub same_vault: Vec<String>,
    /// The folders that flags or variables name, with those names. A mistyped one must not be made with all that is above it.
    pub named_folders: Vec<(&'static str, PathBuf)>,
}

/// The settings of a sidecar.
#[derive(Debug, Clone, Default)]
pub struct StdioConfig {
    /// The seat of every call, by id, `auth_subject` or e-mail address.
    pub seat: Option<String>,
    /// The scopes of the host.
    pub scopes: Option<ScopeSet>,
    /// Whether the answer to a registration shows the seed.
    pub reveal: Reveal,
    /// The collector of traces and metrics.
    pub otlp: Option<String>,
}

/// Why the input is invalid. The error never quotes a value.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The system does not define a home directory.
    #[error("there is no home directory to keep the vault in; name one with --data-dir and --key-file")]
    NoHome,
    /// The path can't be made absolute.
    #[error("{flag} is no usable path: {source}")]
    Path {
        /// The flag.
        flag: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
    /// The key would be within the vault's data directory.
    #[error(
        "the key would lie in the folder of the vault, where every copy of the vault would carry it; \
         choose another place with --key-file, --key-source or --data-dir"
    )]
    KeyInData,
    /// The text names no source of a key.
    #[error("{name} {source}")]
    KeySource {
        /// The flag or the variable.
        name: &'static str,
        /// What is wrong with it.
        source: KeySourceError,
    },
    /// Two sources of the key that differ.
    #[error(
        "--key-source and --key-file (or COUNTERSIGN_KEY_SOURCE and COUNTERSIGN_KEY_FILE) name different keys; leave one out"
    )]
    TwoKeySources,
    /// The state file would be copied together with the vault, so an old copy would not be noticed.
    #[error(
        "the state would lie in the folder of the vault, where an old copy of the vault would bring an old state along; \
         choose another place with --state-dir"
    )]
    StateInData,
    /// The account's name is invalid.
    #[error("{name} {source}")]
    Account {
        /// The flag or the variable.
        name: &'static str,
        /// What is wrong with it.
        source: TextError,
    },
    /// An invalid setting.
    #[error("{name} {problem}")]
    Setting {
        /// The flag or the variable.
        name: &'static str,
        /// What is wrong, and what to do.
        problem: &'static str,
    },
    /// A folder and the one above it do not exist.
    #[error(
        "{0} names a place in a folder that is not there, and neither is the one above that; correct it, or make the folder above \
         it first"
    )]
    FarPlace(&'static str),
    /// An invalid flag of `serve`.
    #[error("{flag} {problem}")]
    Serve {
        /// The flag.
        flag: &'static str,
        /// What is wrong, and what to do.
        problem: &'static str,
    },
}

impl Config {
    /// Checks the flags, and takes missing settings from the environment and the platform.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn of(flags: Flags) -> Result<Self, ConfigError> {
        Self::with(flags, variable)
    }

    /// Whether the store is a server, which many machines share.
    pub fn is_on_a_server(&self) -> bool {
        self.store.starts_with("postgres:") || self.store.starts_with("postgresql:")
    }

    /// The settings for another place of the vault, as a flag names it.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn at(&self, store: &OsStr, flag: &'static str) -> Result<Self, ConfigError> {
        let base = BaseDirs::new();
        let typed = store.to_str().ok_or(ConfigError::Setting { name: flag, problem: "must be text in UTF-8" })?;
        let store = address(typed, Written::Flag(flag), base.as_ref().map(BaseDirs::home_dir))?;
        let named_folders = folder_of_store(&store).map(|folder| (flag, folder)).into_iter().collect();
        Ok(Self { store, named_folders, ..self.clone() })
    }

    fn with(flags: Flags, variable: fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let base = BaseDirs::new();
        let home = base.as_ref().map(BaseDirs::home_dir);
        let path = |typed, flag, name| {
            let set = setting::<PathBuf>(typed, flag, name, variable);
            set.map(|(path, written)| Ok((written.name(), absolute(&path, written, home)?))).transpose()
        };
        let data = path(flags.data_dir, "--data-dir", "COUNTERSIGN_DATA_DIR")?;
        let mut named_folders: Vec<_> = data.clone().into_iter().collect();
        let mut same_vault = SameVault::default();
        same_vault.folder("--data-dir", data.as_ref());
        let data_dir = match data {
            Some((_, dir)) => dir,
            None => base.as_ref().ok_or(ConfigError::NoHome)?.data_dir().join(FOLDER),
        };
        let typed = TypedKey { source: flags.key_source, file: flags.key_file };
        let key_source = keys::source(typed, variable, home)?;
        if let KeySource::File(Some(file)) = &key_source {
            named_folders.extend(file.parent().map(|folder| ("--key-file", folder.to_owned())));
        }
        same_vault.key(&key_source);
        let state = path(flags.state_dir, "--state-dir", "COUNTERSIGN_STATE_DIR")?;
        same_vault.folder("--state-dir", state.as_ref());
        named_folders.extend(state.clone());
        let state_dir = state.map(|(_, dir)| dir);
        if state_dir.as_ref().is_some_and(|folder| folder.starts_with(&data_dir)) {
            return Err(ConfigError::StateInData);
        }
        let store = match text(setting(flags.store, "--store", "COUNTERSIGN_STORE", variable))? {
            Some((store, written)) => {
                let store = address(&store, written, home)?;
                named_folders.extend(folder_of_store(&store).map(|folder| (written.name(), folder)));
                same_vault.say("--store", store.clone());
                store
            }
            None => DEFAULT_STORE.to_owned(),
        };
        let (account, written) = text(setting(flags.account, "--account", "COUNTERSIGN_ACCOUNT", variable))?
            .unwrap_or((DEFAULT_ACCOUNT.to_owned(), Written::Flag("--account")));
        same_vault.account(&account);
        let browsers = flags.browsers.addresses(variable, home, &mut same_vault)?;
        let log = text(setting(flags.log, "--log", "COUNTERSIGN_LOG", variable))?;
        let config = Self {
            data_dir,
            store,
            key_dir: base.as_ref().map(key_dir).unwrap_or_default(),
            key_source,
            credentials_dir: keys::credentials_dir(),
            state_dir: state_dir.or_else(|| base.as_ref().map(state_dir_of)),
            account: Name::parse(&account).map_err(|source| ConfigError::Account { name: written.name(), source })?,
            browsers,
            format: if flags.json { Format::Json } else { Format::Text },
            log: log.map(|(filter, _)| filter).filter(|filter| !filter.trim().is_empty()),
            log_form: Form::Text,
            color: color(flags.color),
            same_vault: same_vault.words,
            named_folders,
        };
        config.refuse_in_data(&config.key_source)?;
        Ok(config)
    }
}

impl StdioConfig {
    /// Checks the flags.
    ///
    /// # Errors
    /// [`ConfigError`] names the flag and what is wrong with its value.
    pub fn of(flags: StdioFlags) -> Result<Self, ConfigError> {
        let StdioFlags { seat, scope, reveal, otlp } = flags;
        Ok(Self { seat, scopes: scope, reveal, otlp: otlp.endpoint()? })
    }
}

/// The folder of the file that a store's address names.
fn folder_of_store(address: &str) -> Option<PathBuf> {
    let file = address.strip_prefix("sqlite:").filter(|file| !file.is_empty())?;
    Path::new(file).parent().map(Path::to_owned)
}

fn key_dir(base: &BaseDirs) -> PathBuf {
    apart_from_data(base).join(FOLDER).join(KEY_FOLDER)
}

/// Our folder inside the platform's folder for state, or else inside its folder for settings.
fn state_dir_of(base: &BaseDirs) -> PathBuf {
    base.state_dir().unwrap_or_else(|| apart_from_data(base)).join(FOLDER)
}

/// The platform's first folder for settings that is not the one for data: on macOS and Windows some are the same.
fn apart_from_data(base: &BaseDirs) -> &Path {
    let folders = [base.config_dir(), base.preference_dir(), base.config_local_dir()];
    folders.into_iter().find(|folder| *folder != base.data_dir()).unwrap_or(base.config_dir())
}

/// Reads a setting that is text.
fn text(set: Option<(OsString, Written)>) -> Result<Option<(String, Written)>, ConfigError> {
    let read = |(value, written): (OsString, Written)| match value.into_string() {
        Ok(value) => Ok((value, written)),
        Err(_) => Err(ConfigError::Setting { name: written.name(), problem: "must be text in UTF-8" }),
    };
    set.map(read).transpose()
}

/// Parses a list of scopes.
fn scopes(text: &str) -> Result<ScopeSet, String> {
    let known = || Scope::ALL.map(Scope::as_str).join(", ");
    match text.parse::<ScopeSet>() {
        Ok(set) if !set.is_empty() => Ok(set),
        _ => Err(format!("name one or more of {}", known())),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        flags: Flags,
    }

    fn config_of(arguments: &[&str]) -> Result<Config, ConfigError> {
        let all = ["countersign"].iter().chain(arguments);
        Config::with(Typed::try_parse_from(all).unwrap().flags, |_| None)
    }

    #[test]
    fn a_key_never_lies_within_the_data_directory() {
        for arguments in [
            ["--data-dir", "/vault", "--key-file", "/vault/my.key"],
            ["--data-dir", "/vault", "--key-file", "/vault/deeper/my.key"],
        ] {
            assert!(matches!(config_of(&arguments), Err(ConfigError::KeyInData)));
        }

        let apart = config_of(&["--data-dir", "/vault", "--key-file", "/vault-keys/my.key"]).unwrap();
        assert_eq!(apart.key_source, KeySource::File(Some(PathBuf::from("/vault-keys/my.key"))));
        for source in ["file:/vault/k.key", "passphrase:/vault/p", "recovery:/vault/deeper/words"] {
            let within = config_of(&["--data-dir", "/vault", "--key-source", source]);
            assert!(matches!(within, Err(ConfigError::KeyInData)), "{source}");
        }
    }

    #[test]
    fn the_state_is_kept_where_it_was_said_and_never_within_the_data_directory() {
        let said = config_of(&["--data-dir", "/vault", "--state-dir", "/state"]).unwrap();
        assert_eq!(said.state_dir, Some(PathBuf::from("/state")));
        let unsaid = config_of(&["--data-dir", "/vault"]).unwrap().state_dir.unwrap();
        assert!(unsaid.ends_with("countersign"), "{}", unsaid.display());
        let within = config_of(&["--data-dir", "/vault", "--state-dir", "/vault/state"]);
        assert!(matches!(within, Err(ConfigError::StateInData)));
    }

    #[test]
    fn a_data_directory_around_the_platforms_key_folder_is_refused() {
        assert!(matches!(config_of(&["--data-dir", "/"]), Err(ConfigError::KeyInData)));
    }

    #[test]
    fn an_account_name_is_checked_without_quoting_it() {
        let error = config_of(&["--account", "JBSWY3DP\u{7}"]).unwrap_err().to_string();

        assert!(error.starts_with("--account has a control"), "{error}");
        assert!(!error.contains("JBSWY3DP"));
    }

    #[test]
    fn an_empty_variable_is_unset_and_a_full_one_says_what_its_flag_would() {
        let config = |variables: fn(&str) -> Option<OsString>| {
            Config::with(Typed::try_parse_from(["countersign"]).unwrap().flags, variables)
        };
        assert_eq!(config(|_| None).unwrap().account.as_str(), "default");
        let said = config(|name| (name == "COUNTERSIGN_ACCOUNT").then(|| "acme".into())).unwrap();
        assert_eq!(said.account.as_str(), "acme");
        let refused = config(|name| (name == "COUNTERSIGN_ACCOUNT").then(|| " ".into())).unwrap_err().to_string();
        assert_eq!(refused, "COUNTERSIGN_ACCOUNT must not be empty");
    }

    #[test]
    fn the_colour_that_was_typed_is_known_before_the_rest_is_read() {
        let of = |words: &[&str]| color_of_words(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(of(&["x", "--color", "never", "nonsense"]), ColorChoice::Never);
        assert_eq!(of(&["x", "--color=always"]), ColorChoice::Always);
        assert_eq!(of(&["x", "--color=always", "--color", "never"]), ColorChoice::Never);
        for words in [["x", "--", "--color=always"], ["x", "y", "--color"], ["x", "--color", "loud"]] {
            assert_ne!(of(&words), ColorChoice::Always);
        }
    }

    #[test]
    fn scopes_are_read_or_the_known_ones_are_named() {
        assert_eq!(scopes("codes:read,audit:read").unwrap().to_string(), "codes:read,audit:read");
        assert!(scopes("codes:write").unwrap_err().contains("codes:verify"));
        assert!(scopes("").is_err());
    }
}
