//! The keyring of a person's session: the Secret Service on the session's bus (GNOME, KDE, `KeePassXC`), the keychain of
//! macOS, or the credentials of Windows. Never the kernel's keyring, which forgets when the machine restarts.
//!
//! An entry holds the key as the line that a key file has, so that a person can copy it from one to the other.

use std::time::Duration;

use data_encoding::BASE64;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{KEY_BYTES_MAX, KeyError, key_of};
use crate::{
    domain::ids::VaultId,
    random::Random,
    vault::key::{Kek, Key},
};

/// How long the keyring may take, and how long with a person who is asked to unlock it.
const TIME: Duration = Duration::from_secs(10);
const TIME_WITH_PERSON: Duration = Duration::from_mins(1);

/// The key of a vault, if there is one.
pub(super) async fn find(vault: VaultId, may_ask: bool) -> Result<Option<Kek>, KeyError> {
    find_under(&vault.to_string(), may_ask).await
}

/// The key of a vault, which is made if there is none.
pub(super) async fn find_or_make(vault: VaultId, may_ask: bool, random: &dyn Random) -> Result<Kek, KeyError> {
    if let Some(kek) = find(vault, may_ask).await? {
        return Ok(kek);
    }
    make_under(&vault.to_string(), may_ask, random).await
}

/// The vault's next key, if there is one.
pub(super) async fn find_next(vault: VaultId, may_ask: bool) -> Result<Option<Kek>, KeyError> {
    find_under(&next(vault), may_ask).await
}

/// Makes the vault's next key, in the place of one that was there.
pub(super) async fn make_next(vault: VaultId, may_ask: bool, random: &dyn Random) -> Result<Kek, KeyError> {
    make_under(&next(vault), may_ask, random).await
}

/// Puts the next key in the place of the vault's key.
pub(super) async fn take_next(vault: VaultId, may_ask: bool) -> Result<(), KeyError> {
    let Some(kek) = find_next(vault, may_ask).await? else { return Ok(()) };
    write_under(&vault.to_string(), &kek.0, may_ask).await
}

/// Removes the entry of a vault whose creation failed.
pub(super) async fn forget(vault: VaultId, may_ask: bool) -> Result<(), KeyError> {
    within(may_ask, system::remove(&vault.to_string(), may_ask)).await
}

/// Removes the entry of the next key.
pub(super) async fn forget_next(vault: VaultId, may_ask: bool) -> Result<(), KeyError> {
    within(may_ask, system::remove(&next(vault), may_ask)).await
}

/// The name of the entry for the vault's next key.
fn next(vault: VaultId) -> String {
    format!("{vault}.next")
}

async fn find_under(name: &str, may_ask: bool) -> Result<Option<Kek>, KeyError> {
    let found = within(may_ask, system::read(name, may_ask)).await?;
    let kek = |line: Zeroizing<Vec<u8>>| {
        key_of(&line).ok_or_else(|| KeyError::Keyring("has an entry for this vault that holds no key".to_owned()))
    };
    found.map(kek).transpose()
}

async fn make_under(name: &str, may_ask: bool, random: &dyn Random) -> Result<Kek, KeyError> {
    write_under(name, &Key::generate(random)?, may_ask).await?;
    // Read it back: a keyring that lost it must be noticed now, not when the vault can't be opened any more. If another process
    // was faster, this is its key.
    find_under(name, may_ask).await?.ok_or_else(|| KeyError::Keyring("did not keep the new key".to_owned()))
}

async fn write_under(name: &str, key: &Key, may_ask: bool) -> Result<(), KeyError> {
    let mut line = Zeroizing::new(String::with_capacity(KEY_BYTES_MAX));
    BASE64.encode_append(key.expose(), &mut line);
    within(may_ask, system::write(name, line.as_bytes(), may_ask)).await
}

async fn within<T>(may_ask: bool, answer: impl Future<Output = Result<T, String>>) -> Result<T, KeyError> {
    let time = if may_ask { TIME_WITH_PERSON } else { TIME };
    let answered = timeout(time, answer).await;
    let late = || Err(format!("gave no answer within {} seconds", time.as_secs()));
    answered.unwrap_or_else(|_| late()).map_err(KeyError::Keyring)
}

/// The Secret Service.
#[cfg(all(feature = "keyring", unix, not(target_vendor = "apple")))]
mod system {
    use std::collections::HashMap;

    use secret_service::{EncryptionType, Error, SecretService};
    use zeroize::Zeroizing;

    /// The entry of a vault; `None`: there is none.
    pub(super) async fn read(vault: &str, may_ask: bool) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        let service = service().await?;
        let found = service.search_items(attributes(vault)).await.map_err(|cause| in_words(&cause))?;
        let Some(item) = found.unlocked.first().or(found.locked.first()) else { return Ok(None) };
        if found.unlocked.is_empty() {
            if !may_ask {
                return Err(LOCKED.to_owned());
            }
            item.unlock().await.map_err(|cause| in_words(&cause))?;
        }
        item.get_secret().await.map(|secret| Some(Zeroizing::new(secret))).map_err(|cause| in_words(&cause))
    }

    /// Makes the entry of a vault.
    pub(super) async fn write(vault: &str, key: &[u8], may_ask: bool) -> Result<(), String> {
        let service = service().await?;
        let keyring = service.get_default_collection().await.map_err(|cause| in_words(&cause))?;
        if keyring.is_locked().await.map_err(|cause| in_words(&cause))? {
            if !may_ask {
                return Err(LOCKED.to_owned());
            }
            keyring.unlock().await.map_err(|cause| in_words(&cause))?;
        }
        let label = format!("Countersign vault {vault}");
        let made = keyring.create_item(&label, attributes(vault), key, true, "text/plain").await;
        made.map(|_| ()).map_err(|cause| in_words(&cause))
    }

    /// Removes the entry of a vault, if there is one.
    pub(super) async fn remove(vault: &str, _: bool) -> Result<(), String> {
        let service = service().await?;
        let found = service.search_items(attributes(vault)).await.map_err(|cause| in_words(&cause))?;
        for item in found.unlocked.iter().chain(&found.locked) {
            item.delete().await.map_err(|cause| in_words(&cause))?;
        }
        Ok(())
    }

    const LOCKED: &str = "is locked, and was not unlocked";

    async fn service() -> Result<SecretService<'static>, String> {
        let service = SecretService::connect(EncryptionType::Dh).await;
        service.map_err(|cause| format!("can't be reached: no Secret Service answers on the session's bus ({cause})"))
    }

    fn attributes(vault: &str) -> HashMap<&str, &str> {
        HashMap::from([("application", "countersign"), ("vault", vault)])
    }

    fn in_words(cause: &Error) -> String {
        if matches!(cause, Error::Prompt | Error::PromptDisconnected | Error::Locked) {
            return LOCKED.to_owned();
        }
        if matches!(cause, Error::NoResult) {
            return "has no default collection to keep a key in; create one in its program".to_owned();
        }
        format!("gave an error: {cause}")
    }
}

/// The keychain, or the credentials of Windows.
#[cfg(all(feature = "keyring", any(windows, target_vendor = "apple")))]
mod system {
    #[cfg(target_vendor = "apple")]
    use apple_native_keyring_store::keychain::Store;
    use keyring_core::{Entry, Error, api::CredentialStoreApi as _};
    #[cfg(windows)]
    use windows_native_keyring_store::Store;
    use zeroize::Zeroizing;

    /// The entry of a vault; `None`: there is none.
    pub(super) async fn read(vault: &str, _: bool) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        let vault = vault.to_owned();
        on_a_thread(move || read_now(&vault)).await
    }

    /// Makes the entry of a vault.
    pub(super) async fn write(vault: &str, key: &[u8], _: bool) -> Result<(), String> {
        let (vault, key) = (vault.to_owned(), Zeroizing::new(key.to_vec()));
        on_a_thread(move || entry(&vault)?.set_secret(&key).map_err(|cause| in_words(&cause))).await
    }

    /// Removes the entry of a vault, if there is one.
    pub(super) async fn remove(vault: &str, _: bool) -> Result<(), String> {
        let vault = vault.to_owned();
        on_a_thread(move || match entry(&vault)?.delete_credential() {
            Err(Error::NoEntry) => Ok(()),
            removed => removed.map_err(|cause| in_words(&cause)),
        })
        .await
    }

    /// Runs `act` on a thread of its own, because the system may ask the person before it answers.
    async fn on_a_thread<T: Send + 'static>(
        act: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        tokio::task::spawn_blocking(act).await.unwrap_or_else(|_| Err("could not be asked".to_owned()))
    }

    fn read_now(vault: &str) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        match entry(vault)?.get_secret() {
            Ok(secret) => Ok(Some(Zeroizing::new(secret))),
            Err(Error::NoEntry) => Ok(None),
            Err(cause) => Err(in_words(&cause)),
        }
    }

    fn entry(vault: &str) -> Result<Entry, String> {
        let store = Store::new().map_err(|cause| in_words(&cause))?;
        store.build("countersign", vault, None).map_err(|cause| in_words(&cause))
    }

    /// Some errors hold the entry's bytes, so only known ones are shown.
    fn in_words(cause: &Error) -> String {
        if let Error::NoStorageAccess(cause) | Error::PlatformFailure(cause) = cause {
            return format!("gave an error: {cause}");
        }
        "gave an error".to_owned()
    }
}

/// No keyring, in a build without the feature.
#[cfg(not(feature = "keyring"))]
mod system {
    use std::future::{Ready, ready};

    use zeroize::Zeroizing;

    pub(super) fn read(_: &str, _: bool) -> Ready<Result<Option<Zeroizing<Vec<u8>>>, String>> {
        ready(Err(ABSENT.to_owned()))
    }

    pub(super) fn write(_: &str, _: &[u8], _: bool) -> Ready<Result<(), String>> {
        ready(Err(ABSENT.to_owned()))
    }

    pub(super) fn remove(_: &str, _: bool) -> Ready<Result<(), String>> {
        ready(Err(ABSENT.to_owned()))
    }

    const ABSENT: &str = "can't be used by this build, which was made without the feature `keyring`";
}
