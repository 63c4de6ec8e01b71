//! The source of the vault's key, from `--key-source`, `--key-file` and their variables.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use directories::BaseDirs;
use zeroize::Zeroizing;

use super::{
    Config, ConfigError,
    places::{Written, absolute, setting, variable},
    text,
};
use crate::domain::key_source::KeySource;

/// The variable by which systemd names the folder of a service's credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// The variable by which a process that replaced itself finds the keys that it handed over. Set by the program alone.
pub const HANDED: &str = "COUNTERSIGN_HANDED_KEYS";

/// The flags about the key, as typed.
pub(super) struct TypedKey {
    pub(super) source: Option<OsString>,
    pub(super) file: Option<PathBuf>,
}

/// The source that was chosen. Flags take precedence over variables; two flags, or two variables, must agree.
pub(super) fn source(
    typed: TypedKey,
    variable: fn(&str) -> Option<OsString>,
    home: Option<&Path>,
) -> Result<KeySource, ConfigError> {
    let only_typed = |_: &str| None;
    let known = if typed.source.is_some() || typed.file.is_some() { only_typed } else { variable };
    let file = setting::<PathBuf>(typed.file, "--key-file", "COUNTERSIGN_KEY_FILE", known);
    let file = file.map(|(path, written)| absolute(&path, written, home)).transpose()?;
    let named = match text(setting(typed.source, "--key-source", "COUNTERSIGN_KEY_SOURCE", known))? {
        None => None,
        Some((source, written)) => {
            let read = source.parse::<KeySource>();
            let read = read.map_err(|source| ConfigError::KeySource { name: written.name(), source })?;
            Some(with_whole_path(read, written, home)?)
        }
    };
    match (named, file) {
        (Some(KeySource::File(Some(named))), Some(file)) if named == file => Ok(KeySource::File(Some(file))),
        (Some(_), Some(_)) => Err(ConfigError::TwoKeySources),
        (Some(named), None) => Ok(named),
        (None, file) => Ok(KeySource::File(file)),
    }
}

fn with_whole_path(source: KeySource, written: Written, home: Option<&Path>) -> Result<KeySource, ConfigError> {
    let whole = |path: Option<PathBuf>| {
        path.map(|path| if path == Path::new("-") { Ok(path) } else { absolute(&path, written, home) }).transpose()
    };
    Ok(match source {
        KeySource::File(path) => KeySource::File(whole(path)?),
        KeySource::Passphrase(path) => KeySource::Passphrase(whole(path)?),
        KeySource::Recovery(path) => KeySource::Recovery(whole(path)?),
        other @ (KeySource::Keyring | KeySource::Credential(_) | KeySource::Env(_) | KeySource::Command(_)) => other,
    })
}

impl Config {
    /// A source that a command takes beside the one that opens the vault, with its path made absolute.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn source(&self, typed: &KeySource) -> Result<KeySource, ConfigError> {
        let base = BaseDirs::new();
        let home = base.as_ref().map(BaseDirs::home_dir);
        let source = with_whole_path(typed.clone(), Written::Flag("SOURCE"), home)?;
        self.refuse_in_data(&source)?;
        Ok(source)
    }

    /// Refuses a source that every copy of the vault would contain.
    pub(super) fn refuse_in_data(&self, source: &KeySource) -> Result<(), ConfigError> {
        let is_default = *source == KeySource::File(None);
        if is_default && self.key_dir.as_os_str().is_empty() {
            return Err(ConfigError::NoHome);
        }
        let named = source.path().and_then(|path| path.parent());
        let holds_the_key = if is_default { Some(self.key_dir.as_path()) } else { named };
        if holds_the_key.is_some_and(|folder| folder.starts_with(&self.data_dir)) {
            return Err(ConfigError::KeyInData);
        }
        Ok(())
    }
}

/// The folder of systemd's credentials.
pub(super) fn credentials_dir() -> Option<PathBuf> {
    variable(CREDENTIALS).map(PathBuf::from)
}

/// The value of a variable that holds a key.
pub fn key_variable(name: &str) -> Option<Zeroizing<Vec<u8>>> {
    variable(name).map(|value| Zeroizing::new(value.into_encoded_bytes()))
}

/// The list of the keys that a process handed over when it replaced itself.
pub fn handed_keys() -> String {
    variable(HANDED).and_then(|list| list.into_string().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<OsString> {
        None
    }

    fn both(name: &str) -> Option<OsString> {
        match name {
            "COUNTERSIGN_KEY_FILE" => Some("/k/a.key".into()),
            "COUNTERSIGN_KEY_SOURCE" => Some("keyring".into()),
            _ => None,
        }
    }

    fn of(
        source: Option<&str>,
        file: Option<&str>,
        variable: fn(&str) -> Option<OsString>,
    ) -> Result<KeySource, String> {
        let typed = TypedKey { source: source.map(OsString::from), file: file.map(PathBuf::from) };
        super::source(typed, variable, Some(Path::new("/home/ada"))).map_err(|error| error.to_string())
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_is_short_for_its_source_and_two_that_differ_are_refused() {
        let file = |path: &str| Ok(KeySource::File(Some(PathBuf::from(path))));
        assert_eq!(of(None, None, none), Ok(KeySource::File(None)));
        assert_eq!(of(None, Some("/k/a.key"), none), file("/k/a.key"));
        assert_eq!(of(Some("file:~/a.key"), Some("/home/ada/a.key"), none), file("/home/ada/a.key"));
        for other in ["file:/k/b.key", "file", "keyring", "passphrase"] {
            let refused = of(Some(other), Some("/k/a.key"), none).unwrap_err();
            assert!(refused.contains("--key-source") && refused.contains("--key-file"), "{refused}");
        }
        assert!(of(None, None, both).is_err(), "two variables that differ");
        assert_eq!(of(Some("passphrase"), None, both), Ok(KeySource::Passphrase(None)), "a flag goes first");
        assert_eq!(of(None, Some("/k/c.key"), both), file("/k/c.key"));
        assert_eq!(of(Some("passphrase:-"), None, none), Ok(KeySource::Passphrase(Some(PathBuf::from("-")))));
        let refused = of(Some("env:AAEC+w=="), None, none).unwrap_err();
        assert!(refused.starts_with("--key-source must name a variable") && !refused.contains("AAEC"), "{refused}");
    }
}
