//! Paths and variables as people and hosts write them. No shell processes a host's JSON, so `~/` is expanded here, and
//! paths that only a shell would expand are refused rather than created.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::ConfigError;

/// The value of a variable. An empty one is unset.
pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The source of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// `--flag`, relative to the working directory.
    Flag(&'static str),
    /// A variable, which may be inherited in any working directory.
    Variable(&'static str),
}

impl Written {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Flag(name) | Self::Variable(name) => name,
        }
    }

    fn refused(self, problem: &'static str) -> ConfigError {
        ConfigError::Setting { name: self.name(), problem }
    }
}

/// The value of a flag, or else of its variable; and its source.
pub(super) fn setting<T: From<OsString>>(
    typed: Option<T>,
    flag: &'static str,
    name: &'static str,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Option<(T, Written)> {
    let typed = typed.map(|value| (value, Written::Flag(flag)));
    typed.or_else(|| variable(name).map(|value| (value.into(), Written::Variable(name))))
}

/// Makes a path absolute.
pub(super) fn absolute(path: &Path, written: Written, home: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let text = path.to_string_lossy();
    if text.contains('$') {
        return Err(written.refused(
            "holds a `$`, which no shell expands here; write the whole path, or begin it with ~/ for your home",
        ));
    }
    let path = match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) if rest.as_os_str().is_empty() => home.to_owned(),
        (Ok(rest), Some(home)) => home.join(rest),
        (Ok(_), None) => return Err(written.refused("begins with ~/, and there is no home directory")),
        (Err(_), _) => path.to_owned(),
    };
    if matches!(written, Written::Variable(_)) && path.is_relative() {
        return Err(written.refused(
            "is a relative path, which would mean another place in each folder that this runs in; write the whole path, or \
             begin it with ~/ for your home",
        ));
    }
    std::path::absolute(path).map_err(|source| ConfigError::Path { flag: written.name(), source })
}

/// Makes the path in a store's address absolute. The store checks the address's kind.
pub(super) fn address(text: &str, written: Written, home: Option<&Path>) -> Result<String, ConfigError> {
    // Other programs write `sqlite:/var/x` as `sqlite:///var/x`.
    let named = text.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
    let Some(path) = named.filter(|path| !path.is_empty()) else { return Ok(text.to_owned()) };
    let path = absolute(Path::new(path), written, home)?;
    let path = path.to_str().ok_or_else(|| written.refused("must be a path in UTF-8"))?;
    Ok(format!("sqlite:{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "/home/ada";

    fn read(path: &str, written: Written) -> Result<String, String> {
        let read = absolute(Path::new(path), written, Some(Path::new(HOME)));
        read.map(|path| path.display().to_string()).map_err(|error| error.to_string())
    }

    #[cfg(unix)]
    #[test]
    fn a_tilde_is_the_home_wherever_it_is_written() {
        for written in [Written::Flag("--data-dir"), Written::Variable("COUNTERSIGN_DATA_DIR")] {
            assert_eq!(read("~/vault", written).unwrap(), "/home/ada/vault");
            assert_eq!(read("~", written).unwrap(), "/home/ada");
            assert_eq!(read("/a/~/b", written).unwrap(), "/a/~/b");
        }
        assert!(absolute(Path::new("~/x"), Written::Flag("--data-dir"), None).is_err());
    }

    #[test]
    fn what_only_a_shell_expands_is_refused_and_not_quoted() {
        for path in ["${HOME}/vault", "$HOME/vault", "/a/$USER", "${workspaceFolder}/JBSWY3DP"] {
            let refused = read(path, Written::Variable("COUNTERSIGN_DATA_DIR")).unwrap_err();
            assert!(refused.starts_with("COUNTERSIGN_DATA_DIR holds a `$`") && !refused.contains("JBSW"), "{refused}");
            assert!(read(path, Written::Flag("--data-dir")).is_err());
        }
    }

    #[test]
    fn a_relative_path_is_a_flags_alone() {
        assert!(read("vault", Written::Flag("--data-dir")).unwrap().ends_with("vault"));
        for path in ["vault", "./vault", "../vault", "~ada/vault", "%APPDATA%\\vault"] {
            let refused = read(path, Written::Variable("COUNTERSIGN_KEY_FILE")).unwrap_err();
            assert!(refused.starts_with("COUNTERSIGN_KEY_FILE is a relative path"), "{refused}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_path_in_a_stores_address_obeys_the_same_rules() {
        let read = |text| address(text, Written::Variable("COUNTERSIGN_STORE"), Some(Path::new(HOME)));
        assert_eq!(read("sqlite:").unwrap(), "sqlite:");
        assert_eq!(read("sqlite:~/v.db").unwrap(), "sqlite:/home/ada/v.db");
        assert_eq!(read("sqlite:///var/v.db").unwrap(), "sqlite:/var/v.db");
        assert_eq!(read("postgres://u:$ecret@db/x").unwrap(), "postgres://u:$ecret@db/x");
        assert!(read("sqlite:v.db").is_err() && read("sqlite:$HOME/v.db").is_err());
    }
}
