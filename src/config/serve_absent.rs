//! Stands in for the settings of `countersign serve` in a build without the feature `serve`: the command is refused,
//! whatever its flags.

use std::{ffi::OsString, path::Path};

use clap::Args;

use super::ConfigError;
use crate::telemetry::Form;

/// What `countersign serve` takes, as typed.
#[derive(Debug, Args)]
pub struct ServeFlags {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    ignored: Vec<OsString>,
}

impl ServeFlags {
    /// The form of log lines.
    pub const fn log_form(&self) -> Form {
        Form::Text
    }
}

/// The settings of the server, which never exist.
#[derive(Debug, Clone)]
pub enum ServeConfig {}

impl ServeConfig {
    /// Refuses the command.
    ///
    /// # Errors
    /// Always.
    pub fn of(_: ServeFlags) -> Result<Self, ConfigError> {
        let problem = "is not in this build, which was made without the feature `serve`";
        Err(ConfigError::Setting { name: "countersign serve", problem })
    }

    /// The folder of its backups.
    pub const fn backup_dir(&self) -> Option<&Path> {
        match *self {}
    }
}
