//! The source of the key that opens a vault, as a person names it.

use std::{fmt, path::PathBuf, str::FromStr};

/// The most words of a command: the program and its arguments.
const ARGUMENTS_MAX: usize = 64;

/// The kinds of sources. Slots of a vault store the word for the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A file for its owner alone.
    File,
    /// The keyring of the person's session.
    Keyring,
    /// A passphrase.
    Passphrase,
    /// The words of a recovery key.
    Recovery,
    /// A credential of systemd.
    Credential,
    /// A variable of the environment.
    Env,
    /// The output of a command.
    Command,
}

impl SourceKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::File, Self::Keyring, Self::Passphrase, Self::Recovery, Self::Credential, Self::Env, Self::Command];

    /// The word for it. It never changes, because vaults hold it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Keyring => "keyring",
            Self::Passphrase => "passphrase",
            Self::Recovery => "recovery",
            Self::Credential => "credential",
            Self::Env => "env",
            Self::Command => "command",
        }
    }

    /// Reads the word back.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A source, as `--key-source` names it. It may hold a secret by mistake, so it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum KeySource {
    /// `file:PATH`; or `file`, the file in our folder for keys that has the vault's id.
    File(Option<PathBuf>),
    /// `keyring`.
    Keyring,
    /// `passphrase`, which prompts for it; or `passphrase:FILE`, `-` for standard input.
    Passphrase(Option<PathBuf>),
    /// `recovery`, which prompts for the words; or `recovery:FILE`, `-` for standard input.
    Recovery(Option<PathBuf>),
    /// `credential:NAME`.
    Credential(String),
    /// `env:NAME`.
    Env(String),
    /// `command:["PROGRAM","ARGUMENT",…]`.
    Command(Vec<String>),
}

/// Why a text names no source. The error does not hold the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySourceError {
    /// Not a known word.
    #[error(
        "must be file:PATH, keyring, passphrase, passphrase:FILE, recovery, recovery:FILE, credential:NAME, env:NAME, or \
         command:[\"PROGRAM\",\"ARGUMENT\"]"
    )]
    Unknown,
    /// `file:` without a path, for example.
    #[error("names a source without what belongs after its colon")]
    Empty,
    /// A credential's name that could lead elsewhere.
    #[error("must name a credential of systemd, without `/` and `:`")]
    Credential,
    /// Not a variable's name.
    #[error("must name a variable of the environment after `env:`, not hold its value: letters, digits and `_`")]
    Env,
    /// Not a list of texts.
    #[error(
        "must give the command as a list in JSON, such as command:[\"/usr/bin/op\",\"read\",\"op://vault/key\"]; no shell runs \
         it"
    )]
    Command,
    /// A program by a path that depends on the working directory.
    #[error("must name the program by a whole path, or by a bare name that is looked up in PATH")]
    Program,
}

impl KeySource {
    /// Its kind.
    pub const fn kind(&self) -> SourceKind {
        match self {
            Self::File(_) => SourceKind::File,
            Self::Keyring => SourceKind::Keyring,
            Self::Passphrase(_) => SourceKind::Passphrase,
            Self::Recovery(_) => SourceKind::Recovery,
            Self::Credential(_) => SourceKind::Credential,
            Self::Env(_) => SourceKind::Env,
            Self::Command(_) => SourceKind::Command,
        }
    }

    /// Whether it prompts a person.
    pub const fn asks(&self) -> bool {
        matches!(self, Self::Passphrase(None) | Self::Recovery(None))
    }

    /// The text that a person types for it, for a file of their own. It may hold a secret by mistake, so it must not be
    /// shown.
    pub fn typed(&self) -> String {
        let word = self.kind().as_str();
        match self {
            Self::File(Some(path)) | Self::Passphrase(Some(path)) | Self::Recovery(Some(path)) => {
                format!("{word}:{}", path.display())
            }
            Self::Credential(name) | Self::Env(name) => format!("{word}:{name}"),
            Self::Command(words) => format!("{word}:{}", serde_json::Value::from(words.as_slice())),
            Self::Keyring | Self::File(None) | Self::Passphrase(None) | Self::Recovery(None) => word.to_owned(),
        }
    }

    /// Its path, if it has one.
    pub const fn path(&self) -> Option<&PathBuf> {
        match self {
            Self::File(path) | Self::Passphrase(path) | Self::Recovery(path) => path.as_ref(),
            Self::Keyring | Self::Credential(_) | Self::Env(_) | Self::Command(_) => None,
        }
    }
}

impl FromStr for KeySource {
    type Err = KeySourceError;

    fn from_str(text: &str) -> Result<Self, KeySourceError> {
        let (word, rest) = text.split_once(':').map_or((text, None), |(word, rest)| (word, Some(rest)));
        let kind = SourceKind::from_word(word).ok_or(KeySourceError::Unknown)?;
        if rest.is_some_and(|rest| rest.trim().is_empty()) {
            return Err(KeySourceError::Empty);
        }
        match (kind, rest) {
            (SourceKind::File, path) => Ok(Self::File(path.map(PathBuf::from))),
            (SourceKind::Keyring, None) => Ok(Self::Keyring),
            (SourceKind::Passphrase, path) => Ok(Self::Passphrase(path.map(PathBuf::from))),
            (SourceKind::Recovery, path) => Ok(Self::Recovery(path.map(PathBuf::from))),
            (SourceKind::Credential, Some(name)) => credential(name),
            (SourceKind::Env, Some(name)) => variable(name),
            (SourceKind::Command, Some(list)) => command(list),
            (SourceKind::Keyring, Some(_)) => Err(KeySourceError::Unknown),
            (SourceKind::Credential | SourceKind::Env | SourceKind::Command, None) => Err(KeySourceError::Empty),
        }
    }
}

/// The names that systemd accepts, as far as they are one part of a path.
fn credential(name: &str) -> Result<KeySource, KeySourceError> {
    let fits = name.len() <= 255 && !matches!(name, "." | "..");
    let plain = name.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b'\\' | b':'));
    if fits && plain { Ok(KeySource::Credential(name.to_owned())) } else { Err(KeySourceError::Credential) }
}

fn variable(name: &str) -> Result<KeySource, KeySourceError> {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let fits = name.len() <= 128 && !name.starts_with(|first: char| first.is_ascii_digit());
    if plain && fits { Ok(KeySource::Env(name.to_owned())) } else { Err(KeySourceError::Env) }
}

fn command(list: &str) -> Result<KeySource, KeySourceError> {
    let words: Vec<String> = serde_json::from_str(list).map_err(|_| KeySourceError::Command)?;
    let program = words.first().filter(|_| words.len() <= ARGUMENTS_MAX).ok_or(KeySourceError::Command)?;
    if words.iter().any(|word| word.contains('\0')) {
        return Err(KeySourceError::Command);
    }
    let path = std::path::Path::new(program);
    let bare = path.components().count() == 1 && !matches!(program.as_str(), "." | "..");
    if path.is_absolute() || bare && !program.contains(['/', '\\']) {
        Ok(KeySource::Command(words))
    } else {
        Err(KeySourceError::Program)
    }
}

/// Writes the kind alone: a secret may have been typed in the place of a name.
impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_as_it_is_written_in_the_help() {
        let path = |text: &str| Some(PathBuf::from(text));
        let words = |all: &[&str]| all.iter().map(|word| (*word).to_owned()).collect();
        for (text, source) in [
            ("file", KeySource::File(None)),
            ("file:/k/my.key", KeySource::File(path("/k/my.key"))),
            ("file:C:\\k.key", KeySource::File(path("C:\\k.key"))),
            ("keyring", KeySource::Keyring),
            ("passphrase", KeySource::Passphrase(None)),
            ("passphrase:-", KeySource::Passphrase(path("-"))),
            ("recovery", KeySource::Recovery(None)),
            ("recovery:words.txt", KeySource::Recovery(path("words.txt"))),
            ("credential:vault.key", KeySource::Credential("vault.key".to_owned())),
            ("env:VAULT_KEY", KeySource::Env("VAULT_KEY".to_owned())),
            (r#"command:["op","read","op://a/b c"]"#, KeySource::Command(words(&["op", "read", "op://a/b c"]))),
            (r#"command:["/usr/bin/kms"]"#, KeySource::Command(words(&["/usr/bin/kms"]))),
        ] {
            assert_eq!(text.parse(), Ok(source), "{text}");
        }
    }

    #[test]
    fn what_names_no_source_is_refused_without_quoting_it() {
        use KeySourceError as Why;
        for (text, why) in [
            ("", Why::Unknown),
            ("GEZDGNBVGY3TQOJQ", Why::Unknown),
            ("FILE:/k", Why::Unknown),
            ("keyring:x", Why::Unknown),
            ("keyring:", Why::Empty),
            ("file:", Why::Empty),
            ("env:", Why::Empty),
            ("env", Why::Empty),
            ("env:1A", Why::Env),
            ("env:AAECAwQFBgc=", Why::Env),
            ("credential:../etc/shadow", Why::Credential),
            ("credential:..", Why::Credential),
            ("command:op read x", Why::Command),
            ("command:[]", Why::Command),
            (r#"command:["a",1]"#, Why::Command),
            (r#"command:"a""#, Why::Command),
            (r#"command:["a\u0000b"]"#, Why::Command),
            (r#"command:[""]"#, Why::Program),
            (r#"command:["./kms"]"#, Why::Program),
            (r#"command:["bin/kms"]"#, Why::Program),
            (r#"command:[".."]"#, Why::Program),
        ] {
            let refused = text.parse::<KeySource>().unwrap_err();
            assert_eq!(refused, why, "{text}");
            let rest = text.split_once(':').map_or("", |(_, rest)| rest);
            assert!(rest.len() < 4 || !refused.to_string().contains(rest), "{refused}");
        }
    }

    #[test]
    fn debug_output_shows_the_kind_alone() {
        let source: KeySource = r#"command:["op","geheim"]"#.parse().unwrap();
        assert_eq!(format!("{source:?}"), "command");
    }
}
