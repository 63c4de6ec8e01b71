//! The sources of the keys that open a vault, one file each. Only the source that was chosen is used.
//!
//! `file` and `keyring` keep one key for each vault and make it if they have none; `passphrase` derives another key for
//! each slot; `recovery`, `credential`, `env` and `command` have one key, whatever the vault.

mod command;
mod credential;
mod env;
mod file;
mod keyring;
mod passphrase;
mod recovery;

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

pub use self::{
    env::{hand_over, handed},
    file::{KeyFileError, read_private},
    passphrase::Passphrase,
    recovery::{RecoveryError, RecoveryWords},
};

use super::{
    key::{Kek, Key},
    root::Slot,
};
use crate::{
    domain::{ids::VaultId, key_source::SourceKind, sensitive::without_seeds},
    random::{NoRandomness, Random},
    store,
};

/// The longest text or output in which a key is looked for: 64 characters and some white space.
const KEY_BYTES_MAX: usize = 128;

/// A source, with the values that a person or the environment gave for it.
pub struct Source {
    from: From,
    /// The key of a source that has only one, once it was read: a command that asks a person runs once.
    read: OnceCell<Arc<Kek>>,
}

enum From {
    File { named: Option<PathBuf>, folder: PathBuf },
    Keyring { may_ask: bool },
    Passphrase(Passphrase),
    Recovery(RecoveryWords),
    Credential { folder: Option<PathBuf>, name: String },
    Env { name: String, value: Option<Zeroizing<Vec<u8>>> },
    Command(Vec<String>),
}

/// The vault to which a key belongs, and where that is.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a> {
    pub(super) vault: VaultId,
    /// The store's location: its file, or its place on a server.
    pub(super) location: &'a Path,
    pub(super) data_dir: &'a Path,
}

/// A key for a new slot.
pub struct NewKey {
    pub(super) source: SourceKind,
    /// The parameters that the slot keeps so that the key can be derived again.
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) kek: Arc<Kek>,
}

/// Why a source gives no key. The error holds nothing of a key, nor of a command's arguments.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// An error of the key file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The key is inside the vault's folder, so a copy of that folder would include the key.
    #[error("{} lies in the folder of the vault; a copy of that must not open itself: keep the key elsewhere", without_seeds(.0))]
    BesideVault(PathBuf),
    /// The folder of keys is not private.
    #[error(transparent)]
    Folder(store::OpenError),
    /// An error of the session's keyring.
    #[error("the keyring of this session {0}")]
    Keyring(String),
    /// An error of a credential of systemd.
    #[error("the credential of systemd {0}")]
    Credential(&'static str),
    /// An error of a variable of the environment.
    #[error("the variable that --key-source names {0}")]
    Env(&'static str),
    /// An error of a command.
    #[error("the command of the key, {}, {what}", without_seeds(Path::new(.program)))]
    Command {
        /// The program, without its arguments.
        program: String,
        /// The failure, in words.
        what: String,
    },
    /// The file with a passphrase or with words does not exist.
    #[error("there is no file {}, which the source names", without_seeds(.0))]
    NoFile(PathBuf),
    /// A passphrase that is too short for a new slot, for example.
    #[error("the passphrase {0}")]
    Passphrase(&'static str),
    /// An error of the words of a recovery key.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// A slot requires more work than a passphrase may cost, or can't be read.
    #[error("a slot of the vault asks for work beyond the limits, or can't be read: its header was changed")]
    Slot,
    /// No slot belongs to the key.
    #[error("this key is not the vault's")]
    Wrong,
    /// There is no person to ask.
    #[error(
        "a sidecar can't ask a person for it; sources that work without one are file:PATH, keyring, credential:NAME, env:NAME, \
         command:[…], passphrase:FILE and recovery:FILE"
    )]
    NoPerson,
    /// The operating system gave no random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl Source {
    const fn of(from: From) -> Self {
        Self { from, read: OnceCell::const_new() }
    }

    /// A key file: the one at a path, or the one in a folder that has the vault's id as its name.
    pub const fn file(named: Option<PathBuf>, folder: PathBuf) -> Self {
        Self::of(From::File { named, folder })
    }

    /// The keyring of the session, which may ask a person to unlock it.
    pub const fn keyring(may_ask: bool) -> Self {
        Self::of(From::Keyring { may_ask })
    }

    /// A passphrase.
    pub const fn passphrase(passphrase: Passphrase) -> Self {
        Self::of(From::Passphrase(passphrase))
    }

    /// The words of a recovery key.
    pub const fn recovery(words: RecoveryWords) -> Self {
        Self::of(From::Recovery(words))
    }

    /// A credential in the folder that systemd names.
    pub const fn credential(folder: Option<PathBuf>, name: String) -> Self {
        Self::of(From::Credential { folder, name })
    }

    /// The value of a variable; `None`: it is not set.
    pub const fn env(name: String, value: Option<Zeroizing<Vec<u8>>>) -> Self {
        Self::of(From::Env { name, value })
    }

    /// The output of a command.
    pub const fn command(words: Vec<String>) -> Self {
        Self::of(From::Command(words))
    }

    /// The same source, if it can give a key again without a person and without anything that must be kept secret: it
    /// may have another key by then. A key that was read is not taken along.
    pub(super) fn again(&self) -> Option<Self> {
        match &self.from {
            From::File { named, folder } => Some(Self::file(named.clone(), folder.clone())),
            From::Keyring { .. } => Some(Self::keyring(false)),
            From::Credential { folder, name } => Some(Self::credential(folder.clone(), name.clone())),
            From::Command(words) => Some(Self::command(words.clone())),
            From::Passphrase(_) | From::Recovery(_) | From::Env { .. } => None,
        }
    }

    /// Its kind.
    pub const fn kind(&self) -> SourceKind {
        match self.from {
            From::File { .. } => SourceKind::File,
            From::Keyring { .. } => SourceKind::Keyring,
            From::Passphrase(_) => SourceKind::Passphrase,
            From::Recovery(_) => SourceKind::Recovery,
            From::Credential { .. } => SourceKind::Credential,
            From::Env { .. } => SourceKind::Env,
            From::Command(_) => SourceKind::Command,
        }
    }

    /// The key file of a vault, if the source is one.
    pub(super) fn file_of(&self, vault: VaultId) -> Option<PathBuf> {
        match &self.from {
            From::File { named, folder } => Some(file::place(named.as_deref(), folder, vault)),
            From::Keyring { .. }
            | From::Passphrase(_)
            | From::Recovery(_)
            | From::Credential { .. }
            | From::Env { .. }
            | From::Command(_) => None,
        }
    }

    /// A description of the key that was tried, for people.
    pub(super) fn shown(&self, vault: VaultId) -> String {
        match &self.from {
            From::File { .. } => {
                let file = self.file_of(vault).unwrap_or_default();
                format!("key file: {}", without_seeds(&file))
            }
            From::Keyring { .. } => "key of the session's keyring".to_owned(),
            From::Passphrase(_) => "key of the passphrase".to_owned(),
            From::Recovery(_) => "recovery key".to_owned(),
            From::Credential { name, .. } => format!("credential of systemd: {}", without_seeds(Path::new(name))),
            From::Env { name, .. } => format!("variable: {}", without_seeds(Path::new(name))),
            From::Command(words) => {
                format!("key of the command {}", without_seeds(Path::new(words.first().map_or("", String::as_str))))
            }
        }
    }

    /// The key that belongs to one of the slots, as far as the source can tell: all but a passphrase have one key.
    pub(super) async fn key(&self, spot: Spot<'_>, slots: &[Slot]) -> Result<Arc<Kek>, KeyError> {
        match &self.from {
            From::Passphrase(passphrase) => passphrase.key(slots).await.map(Arc::new),
            From::File { named, folder } => {
                let path = file::checked_place(named.as_deref(), folder, spot)?;
                Ok(Arc::new(file::read_key_file(&path)?))
            }
            From::Keyring { may_ask } => {
                let found = keyring::find(spot.vault, *may_ask).await?;
                found.map(Arc::new).ok_or_else(|| KeyError::Keyring("has no key of this vault".to_owned()))
            }
            From::Recovery(words) => Ok(Arc::new(words.key())),
            From::Credential { folder, name } => {
                let key = || async { credential::key(folder.as_deref(), name).map(Arc::new) };
                self.read.get_or_try_init(key).await.cloned()
            }
            From::Env { value, .. } => {
                let key = || async { env::key(value.as_ref().map(|value| value.as_slice())).map(Arc::new) };
                self.read.get_or_try_init(key).await.cloned()
            }
            From::Command(words) => {
                let key = || async { command::key(words).await.map(Arc::new) };
                self.read.get_or_try_init(key).await.cloned()
            }
        }
    }

    /// Whether it is a file or a keyring, which hold the key that opens the vault now.
    pub(super) const fn keeps_its_own(&self) -> bool {
        matches!(self.from, From::File { .. } | From::Keyring { .. })
    }

    /// The key that a file or a keyring has for the vault, whether or not it opens the vault. `None`: there is none, or
    /// the source is of another kind.
    pub(super) async fn own_key(&self, spot: Spot<'_>) -> Result<Option<Arc<Kek>>, KeyError> {
        match &self.from {
            From::File { named, folder } => {
                match file::read_key_file(&file::checked_place(named.as_deref(), folder, spot)?) {
                    Err(KeyFileError::Missing(_)) => Ok(None),
                    read => Ok(Some(Arc::new(read?))),
                }
            }
            From::Keyring { may_ask } => Ok(keyring::find(spot.vault, *may_ask).await?.map(Arc::new)),
            From::Passphrase(_) | From::Recovery(_) | From::Credential { .. } | From::Env { .. } | From::Command(_) => {
                Ok(None)
            }
        }
    }

    /// Makes a key beside the one that the source has, or finds one that was made there before. `own` is the source's
    /// current key.
    pub(super) async fn stage(&self, spot: Spot<'_>, own: &Kek, random: &dyn Random) -> Result<Arc<Kek>, KeyError> {
        match &self.from {
            From::File { named, folder } => {
                let path = file::checked_place(named.as_deref(), folder, spot)?;
                Ok(Arc::new(file::find_or_make(&file::next_to(&path)?, random)?))
            }
            From::Keyring { may_ask } => {
                let may_ask = *may_ask;
                if let Some(staged) = keyring::find_next(spot.vault, may_ask).await?
                    && !staged.0.is_checked_by(&own.0.check())
                {
                    return Ok(Arc::new(staged));
                }
                Ok(Arc::new(keyring::make_next(spot.vault, may_ask, random).await?))
            }
            From::Passphrase(_) | From::Recovery(_) | From::Credential { .. } | From::Env { .. } | From::Command(_) => {
                Err(KeyError::Wrong)
            }
        }
    }

    /// Puts the key that was made beside the source's key in its place.
    pub(super) async fn take_staged(&self, spot: Spot<'_>) -> Result<(), KeyError> {
        match &self.from {
            From::File { named, folder } => Ok(file::take_next(&file::checked_place(named.as_deref(), folder, spot)?)?),
            From::Keyring { may_ask } => keyring::take_next(spot.vault, *may_ask).await,
            From::Passphrase(_) | From::Recovery(_) | From::Credential { .. } | From::Env { .. } | From::Command(_) => {
                Ok(())
            }
        }
    }

    /// Removes what [`Self::stage`] left beside the source's key.
    pub(super) async fn forget_staged(&self, spot: Spot<'_>) -> Result<(), KeyError> {
        match &self.from {
            From::File { named, folder } => {
                Ok(file::forget_next(&file::checked_place(named.as_deref(), folder, spot)?)?)
            }
            From::Keyring { may_ask } => keyring::forget_next(spot.vault, *may_ask).await,
            From::Passphrase(_) | From::Recovery(_) | From::Credential { .. } | From::Env { .. } | From::Command(_) => {
                Ok(())
            }
        }
    }

    /// Removes the key that was made for a vault whose creation failed. No other process has seen the vault's id, so no
    /// other vault has the key. A key file with a name of its own stays: another process may have made a vault with it
    /// by now.
    pub(super) async fn forget_unused(&self, vault: VaultId) {
        // A key that can't be removed opens nothing.
        match &self.from {
            From::File { named: None, folder } => drop(fs::remove_file(file::place(None, folder, vault))),
            From::Keyring { may_ask } => drop(keyring::forget(vault, *may_ask).await),
            From::File { named: Some(_), .. }
            | From::Passphrase(_)
            | From::Recovery(_)
            | From::Credential { .. }
            | From::Env { .. }
            | From::Command(_) => {}
        }
    }

    /// The key for a new slot. A file or keyring without a key of this vault gets one.
    pub(super) async fn new_key(&self, spot: Spot<'_>, random: &dyn Random) -> Result<NewKey, KeyError> {
        let (kek, parameters) = match &self.from {
            From::Passphrase(passphrase) => {
                let (kek, parameters) = passphrase.new_key(random).await?;
                (Arc::new(kek), parameters)
            }
            From::File { named, folder } => {
                let path = file::checked_place(named.as_deref(), folder, spot)?;
                (Arc::new(file::find_or_make(&path, random)?), BTreeMap::new())
            }
            From::Keyring { may_ask } => {
                (Arc::new(keyring::find_or_make(spot.vault, *may_ask, random).await?), BTreeMap::new())
            }
            From::Recovery(_) | From::Credential { .. } | From::Env { .. } | From::Command(_) => {
                (self.key(spot, &[]).await?, BTreeMap::new())
            }
        };
        Ok(NewKey { source: self.kind(), parameters, kek })
    }
}

/// Shows the kind alone.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().as_str())
    }
}

/// A key as other programs give it: 32 bytes as they are, or one line of base64 or hexadecimal. 32 bytes that are text are
/// a password or half a key in hexadecimal, not random bytes.
fn key_of(given: &[u8]) -> Option<Kek> {
    let is_text = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t'));
    if given.len() == 32 && !is_text(given) {
        return Key::from_slice(given).map(Kek);
    }
    let text = given.trim_ascii();
    let mut bytes = Zeroizing::new([0_u8; 48]);
    let encoding = match text.len() {
        44 => BASE64,
        64 => HEXLOWER_PERMISSIVE,
        _ => return None,
    };
    let room = bytes.get_mut(..encoding.decode_len(text.len()).ok()?)?;
    let length = encoding.decode_mut(text, room).ok()?;
    bytes.get(..length).and_then(Key::from_slice).map(Kek)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_raw_base64_or_hexadecimal_and_nothing_else() {
        let bytes: [u8; 32] = std::array::from_fn(|nth| u8::try_from(nth * 7).unwrap());
        let (base64, hex) = (BASE64.encode(&bytes), HEXLOWER_PERMISSIVE.encode(&bytes));
        let upper = hex.to_uppercase();
        for good in
            [&bytes[..], base64.as_bytes(), hex.as_bytes(), upper.as_bytes(), format!("{base64}\r\n").as_bytes()]
        {
            assert_eq!(key_of(good).map(|kek| *kek.0.expose()), Some(bytes));
        }
        let text = b"correct horse battery staple 123";
        assert_eq!(text.len(), 32, "as long as a key");
        for bad in [
            &b""[..],
            b"\n",
            &bytes[..31],
            &[&bytes[..], b"\n"].concat(),
            text,
            &hex.as_bytes()[..32],
            &base64.as_bytes()[..43],
            format!("{base64}\n{base64}").as_bytes(),
            base64.replace('A', "*").as_bytes(),
            hex.replace('0', "g").as_bytes(),
        ] {
            assert!(key_of(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn debug_output_shows_the_kind_alone() {
        let source = Source::env("NAME".to_owned(), Some(Zeroizing::new(b"geheim".to_vec())));
        assert_eq!(format!("{source:?}"), "env");
    }
}
