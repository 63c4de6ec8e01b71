//! A new key for one slot. The root key stays, so a process that has the vault open notices nothing.
//!
//! A key that is kept outside Countersign is replaced in one commit. A key file and the keyring of a session hold the
//! key that opens the vault now, and can't be changed in the same moment as the vault; so that a crash at any point
//! leaves a vault that opens, the new key is first written beside the old one:
//!
//! ```text
//! stage     the new key is made beside the old one     the old one opens
//! commit    the header gets a slot for it              both open
//! take      it takes the place of the old one          the new one opens
//! commit    the old slot gets the new key              the new one opens, and no other
//! ```

use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    slice,
    sync::Arc,
};

use super::{
    Outcome, Vault, Versioned,
    key::Kek,
    records::VaultHeader,
    root::{Header, Slot},
    slots::{SlotError, VaultKey, about},
    sources::{NewKey, Source, Spot},
    state::lock_of,
};
use crate::{
    domain::{audit::AuditEntry, key_source::SourceKind},
    store::StoreError,
};

/// The parameter of a slot whose key is to take the place of another slot's.
const REPLACES: &str = "replaces";

impl Slot {
    /// The slot whose key this one's is to replace.
    pub(super) fn replaces(&self) -> Option<u8> {
        self.parameters.get(REPLACES)?.parse().ok()
    }
}

impl Header {
    /// The slots that are getting a new key, by their numbers.
    pub(super) fn replaced_slots(&self) -> impl Iterator<Item = u8> {
        self.slots.iter().filter_map(Slot::replaces)
    }

    fn slot(&self, number: u8) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.number == number)
    }
}

/// The request for a new key of a source for a slot.
#[derive(Clone, Copy)]
struct Ask<'a> {
    id: u8,
    source: &'a Source,
    entry: &'a AuditEntry,
}

impl Vault {
    /// Gives a slot the new key of a source. A file or a keyring whose key the slot has gets a new key. A replacement
    /// that was begun before is continued.
    ///
    /// # Errors
    /// [`SlotError`]. After `Stale`, call it again.
    pub async fn rotate_slot(&self, id: u8, source: &Source, entry: &AuditEntry) -> Result<VaultKey, SlotError> {
        let _held = source.keeps_its_own().then(|| self.one_at_a_time()).transpose()?;
        let header = self.header().await?;
        let slot = header.keys.slot(id).ok_or(SlotError::NotFound)?;
        if let Some(replaced) = slot.replaces() {
            return Err(SlotError::Begun(replaced));
        }
        let Some(own) = source.own_key(self.spot()).await? else {
            // Another derivation of the same passphrase is another key, but keeps nobody out.
            if source.key(self.spot(), slice::from_ref(slot)).await.is_ok_and(|key| key.0.is_checked_by(&slot.check)) {
                return Err(SlotError::Same(id));
            }
            let new = source.new_key(self.spot(), self.core.random.as_ref()).await?;
            return self.swap(&header, id, &new, entry).await;
        };
        let ask = Ask { id, source, entry };
        match header.keys.slot_of(&own) {
            Some(slot) if slot.replaces() == Some(id) => self.finish(&header, ask, &own).await,
            Some(slot) if slot.number == id => self.replace_own(&header, ask, &own).await,
            Some(slot) => Err(SlotError::There(slot.number)),
            // The file or keyring has a key, but not one of this vault.
            None => {
                let new = source.new_key(self.spot(), self.core.random.as_ref()).await?;
                self.swap(&header, id, &new, entry).await
            }
        }
    }

    /// Keeps other processes from changing the same key file or keyring until the result is dropped or the process
    /// ends.
    fn one_at_a_time(&self) -> Result<File, SlotError> {
        let Spot { location, data_dir, .. } = self.spot();
        // A vault on a server has no folder, but the key is on this machine.
        let folder = location.parent().filter(|_| location.is_file()).unwrap_or(data_dir);
        let unlocked = |cause: std::io::Error| StoreError::Unavailable(format!("its folder can't be locked: {cause}"));
        let lock = lock_of(folder, "rotate.lock").map_err(unlocked)?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => Err(SlotError::Busy),
            Err(TryLockError::Error(cause)) => Err(unlocked(cause).into()),
        }
    }

    /// Puts a key in the place of a slot's key in one commit.
    async fn swap(
        &self,
        header: &Versioned<VaultHeader>,
        id: u8,
        new: &NewKey,
        entry: &AuditEntry,
    ) -> Result<VaultKey, SlotError> {
        match header.keys.slot_of(&new.kek) {
            Some(slot) if slot.number == id => return Err(SlotError::Same(id)),
            Some(slot) => return Err(SlotError::There(slot.number)),
            None => {}
        }
        if header.keys.replaced_slots().any(|replaced| replaced == id) {
            return Err(SlotError::Begun(id));
        }
        self.put_in_slot(header, id, new, entry).await
    }

    /// Replaces the key that a file or a keyring holds.
    async fn replace_own(
        &self,
        header: &Versioned<VaultHeader>,
        ask: Ask<'_>,
        own: &Kek,
    ) -> Result<VaultKey, SlotError> {
        let staged = self.admit(header, ask, own).await?;
        ask.source.take_staged(self.spot()).await?;
        self.finish(&self.header().await?, ask, &staged).await
    }

    /// Makes a key beside the source's, or finds the one that is there, and gives it a slot.
    async fn admit(
        &self,
        header: &Versioned<VaultHeader>,
        Ask { id, source, entry }: Ask<'_>,
        own: &Kek,
    ) -> Result<Arc<Kek>, SlotError> {
        let random = self.core.random.as_ref();
        let staged = source.stage(self.spot(), own, random).await?;
        if header.keys.slot_of(&staged).is_some() {
            return Ok(staged);
        }
        let mut changed = header.value.clone();
        // Remove a slot whose key was lost before it was used.
        changed.keys.slots.retain(|slot| slot.replaces() != Some(id));
        let taken = |number: &u8| changed.keys.slots.iter().any(|slot| slot.number == *number);
        let number = (0..=u8::MAX).find(|number| !taken(number)).ok_or(SlotError::Full)?;
        let old = header.keys.slot(id).ok_or(SlotError::NotFound)?;
        let parameters = [(REPLACES.to_owned(), id.to_string())].into();
        let slot = Slot { number, parameters, created_at: Some(entry.at), ..old.clone() };
        let slot = self.keyring().root().in_slot(header.keys.vault, slot, &staged, random)?;
        let entry = about(entry.clone(), number, &slot.source);
        changed.keys.slots.push(slot);
        let outcome = self.draft(entry).replace(header, &changed).scrub().patient().commit().await?;
        if outcome == Outcome::Done { Ok(staged) } else { Err(SlotError::Stale) }
    }

    /// Gives the slot the key that its source has now, and removes the one beside it.
    async fn finish(
        &self,
        header: &Versioned<VaultHeader>,
        Ask { id, source, entry }: Ask<'_>,
        own: &Arc<Kek>,
    ) -> Result<VaultKey, SlotError> {
        let new = NewKey { source: source.kind(), parameters: BTreeMap::new(), kek: Arc::clone(own) };
        let done = self.put_in_slot(header, id, &new, entry).await?;
        // The vault has the new key. The next rotation replaces or removes a key that is left beside it.
        if let Err(cause) = source.forget_staged(self.spot()).await {
            tracing::warn!(%cause, "what is left of the key's replacement can't be removed");
        }
        Ok(done)
    }

    async fn put_in_slot(
        &self,
        header: &Versioned<VaultHeader>,
        id: u8,
        new: &NewKey,
        entry: &AuditEntry,
    ) -> Result<VaultKey, SlotError> {
        let mut changed = header.value.clone();
        changed.keys.slots.retain(|slot| slot.replaces() != Some(id));
        let old = changed.keys.slots.iter_mut().find(|slot| slot.number == id).ok_or(SlotError::NotFound)?;
        let slot = Slot {
            source: new.source.as_str().to_owned(),
            created_at: Some(entry.at),
            parameters: new.parameters.clone(),
            ..old.clone()
        };
        *old = self.keyring().root().in_slot(header.keys.vault, slot, &new.kek, self.core.random.as_ref())?;
        let shown = VaultKey {
            id,
            source: Some(new.source),
            label: old.label.clone(),
            created_at: entry.at,
            in_use: id == self.status().slot,
        };
        // The old wrapped root key is removed from the file, too.
        let draft = self.draft(about(entry.clone(), id, SourceKind::as_str(new.source)));
        let outcome = draft.replace(header, &changed).scrub().patient().commit().await?;
        if outcome == Outcome::Done { Ok(shown) } else { Err(SlotError::Stale) }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use tempfile::TempDir;
    use zeroize::Zeroizing;

    use super::*;
    use crate::{
        domain::{
            audit::{Action, Actor},
            time::Timestamp,
        },
        random::SystemRandom,
        vault::{self, OpenRequest, Passphrase, VaultRequest, Writes},
    };

    /// A vault with a key file, and the file.
    struct World {
        root: TempDir,
    }

    impl World {
        fn source(&self) -> Source {
            Source::file(None, self.root.path().join("keys"))
        }

        async fn open(&self) -> Vault {
            let store = OpenRequest {
                url: "sqlite:".to_owned(),
                data_dir: self.root.path().join("data"),
                writes: Writes::Inline,
                make: true,
            };
            let now = Timestamp::from_seconds(1_795_336_200);
            let request = VaultRequest { store, source: Arc::new(self.source()), state_dir: None, now };
            vault::open(&request, Arc::new(SystemRandom)).await.unwrap()
        }

        fn files(&self) -> usize {
            fs::read_dir(self.root.path().join("keys")).unwrap().count()
        }
    }

    fn file_of(vault: &Vault) -> PathBuf {
        vault.status().key_file.clone().unwrap()
    }

    fn world() -> World {
        World { root: tempfile::tempdir().unwrap() }
    }

    /// An open vault, and the contents of its key file.
    async fn opened() -> (World, Vault, String) {
        let world = world();
        let vault = world.open().await;
        let first = fs::read_to_string(file_of(&vault)).unwrap();
        (world, vault, first)
    }

    /// A source that keeps no key of its own.
    fn variable() -> Source {
        Source::env("KEY".to_owned(), Some(Zeroizing::new(b"ab".repeat(32))))
    }

    fn entry() -> AuditEntry {
        AuditEntry::by(Actor::Person, Action::VaultKeyRotate, Timestamp::from_seconds(1_795_336_201))
    }

    /// Gives the new key a slot, and stops there.
    async fn admitted(world: &World, vault: &Vault) -> Arc<Kek> {
        let (header, source) = (vault.header().await.unwrap(), world.source());
        let own = source.own_key(vault.spot()).await.unwrap().unwrap();
        vault.admit(&header, Ask { id: 0, source: &source, entry: &entry() }, &own).await.unwrap()
    }

    /// Checks that the vault opens by the file, continues the rotation, and then has one slot, one file and another key
    /// than at first.
    async fn goes_on(world: &World, first: &str) {
        let vault = world.open().await;
        let rotated = vault.rotate_slot(0, &world.source(), &entry()).await.unwrap();
        assert_eq!((rotated.id, rotated.source), (0, Some(SourceKind::File)));
        assert_eq!((vault.vault_keys().await.unwrap().len(), world.files()), (1, 1));
        assert_eq!(vault.rotation().await.unwrap().keys, Vec::<u8>::new());
        assert_ne!(fs::read_to_string(file_of(&vault)).unwrap(), first);
        vault.close().await.unwrap();
        let vault = world.open().await;
        assert!(
            vault.examine().await.unwrap().problems.is_empty() && vault.verify(&[]).await.unwrap().finding.is_none()
        );
        vault.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_crash_after_the_new_key_file_was_made_leaves_a_vault_that_opens_and_goes_on() {
        let (world, vault, first) = opened().await;
        let own = world.source().own_key(vault.spot()).await.unwrap().unwrap();
        world.source().stage(vault.spot(), &own, &SystemRandom).await.unwrap();
        // Another process was killed before its new key had its name.
        let draft = file_of(&vault).with_extension("key.next.00ff.new");
        fs::write(&draft, "AAAA").unwrap();
        vault.close().await.unwrap();
        assert_eq!(world.files(), 3);
        goes_on(&world, &first).await;
    }

    #[tokio::test]
    async fn a_crash_after_the_new_key_got_its_slot_leaves_a_vault_that_opens_and_goes_on() {
        let (world, vault, first) = opened().await;
        admitted(&world, &vault).await;
        assert_eq!(vault.rotation().await.unwrap().keys, [0]);
        let made: Vec<_> = vault.vault_keys().await.unwrap().iter().map(|key| (key.id, key.created_at)).collect();
        assert_eq!(made, [(0, vault.status().created_at), (1, entry().at)]);
        for id in [0, 1] {
            let refused = vault.remove_slot(id, true, entry()).await.unwrap_err();
            assert!(matches!(refused, SlotError::Begun(0)), "{refused}");
        }
        let refused = vault.replace_root(&[Arc::new(world.source())], entry()).await.unwrap_err();
        assert!(refused.to_string().contains("`countersign vault rotate --key 0`"), "{refused}");
        vault.close().await.unwrap();
        goes_on(&world, &first).await;
    }

    /// Such a slot would lose the mark of the slot that it is to replace, and both keys would open the vault from then
    /// on.
    #[tokio::test]
    async fn a_slot_that_waits_to_replace_another_gets_no_new_key_and_neither_does_the_other() {
        let (world, vault, first) = opened().await;
        admitted(&world, &vault).await;
        let other = Source::file(Some(world.root.path().join("other.key")), world.root.path().join("keys"));
        for (id, source) in [(1, world.source()), (1, other), (0, variable())] {
            let refused = vault.rotate_slot(id, &source, &entry()).await.unwrap_err();
            assert!(matches!(refused, SlotError::Begun(0)), "{refused}");
        }
        assert!(!world.root.path().join("other.key").exists(), "no key was made in vain");
        vault.close().await.unwrap();
        goes_on(&world, &first).await;
    }

    #[tokio::test]
    async fn a_crash_after_the_key_file_was_replaced_leaves_a_vault_that_opens_and_goes_on() {
        let (world, vault, first) = opened().await;
        let staged = admitted(&world, &vault).await;
        world.source().take_staged(vault.spot()).await.unwrap();
        vault.close().await.unwrap();
        let vault = world.open().await;
        let own = world.source().own_key(vault.spot()).await.unwrap().unwrap();
        assert!(own.0.is_checked_by(&staged.0.check()) && vault.status().slot == 1);
        vault.close().await.unwrap();
        goes_on(&world, &first).await;
    }

    #[tokio::test]
    async fn a_slot_does_not_get_the_key_of_another() {
        let (world, vault, first) = opened().await;
        let other = Source::file(Some(world.root.path().join("other.key")), world.root.path().join("keys"));
        let new = vault.new_key(&other).await.unwrap();
        vault.add_slot(&new, None, entry()).await.unwrap();
        let keys = vault.vault_keys().await.unwrap();
        for (id, source) in [(0, &other), (1, &world.source())] {
            let refused = vault.rotate_slot(id, source, &entry()).await.unwrap_err();
            assert!(matches!(refused, SlotError::There(there) if there == 1 - id), "{refused}");
        }
        assert_eq!((vault.vault_keys().await.unwrap(), world.files()), (keys, 1));
        let new = vault.new_key(&variable()).await.unwrap();
        vault.add_slot(&new, None, entry()).await.unwrap();
        let refused = vault.rotate_slot(0, &variable(), &entry()).await.unwrap_err();
        assert!(matches!(refused, SlotError::There(2)), "{refused}");
        let refused = vault.rotate_slot(2, &variable(), &entry()).await.unwrap_err();
        assert!(matches!(refused, SlotError::Same(2)), "{refused}");
        assert_eq!(fs::read_to_string(file_of(&vault)).unwrap(), first);
    }

    #[tokio::test]
    async fn a_passphrase_is_not_replaced_by_the_same_one() {
        let (world, vault, _) = opened().await;
        let source = |passphrase| Source::passphrase(Passphrase::new(passphrase));
        let (old, new) = ("correct horse battery staple", "staple battery horse correct");
        let key = vault.new_key(&source(old)).await.unwrap();
        vault.add_slot(&key, None, entry()).await.unwrap();
        let refused = vault.rotate_slot(1, &source(old), &entry()).await.unwrap_err();
        assert!(matches!(refused, SlotError::Same(1)), "{refused}");
        let rotated = vault.rotate_slot(1, &source(new), &entry()).await.unwrap();
        assert_eq!((rotated.source, world.files()), (Some(SourceKind::Passphrase), 1));
        let slots = vault.header().await.unwrap().keys.slots.clone();
        assert!(source(old).key(vault.spot(), &slots).await.is_err());
    }

    #[tokio::test]
    async fn a_key_from_elsewhere_waits_for_no_process_that_replaces_a_key_file() {
        let world = world();
        let (vault, other) = (world.open().await, world.open().await);
        let _held = vault.one_at_a_time().unwrap();
        let rotated = other.rotate_slot(0, &variable(), &entry()).await.unwrap();
        assert_eq!((rotated.source, rotated.created_at), (Some(SourceKind::Env), entry().at));
        assert_eq!(other.vault_keys().await.unwrap(), [rotated]);
    }

    #[tokio::test]
    async fn a_draft_that_can_not_be_removed_makes_no_failure_of_a_rotation_that_is_done() {
        let (world, vault, first) = opened().await;
        let draft = file_of(&vault).with_extension("key.next.00ff.new");
        fs::create_dir(&draft).unwrap();
        vault.rotate_slot(0, &world.source(), &entry()).await.unwrap();
        assert_ne!(fs::read_to_string(file_of(&vault)).unwrap(), first);
    }

    #[tokio::test]
    async fn a_staged_key_that_was_lost_is_made_again() {
        let (world, vault, first) = opened().await;
        admitted(&world, &vault).await;
        fs::remove_file(file_of(&vault).with_extension("key.next")).unwrap();
        vault.close().await.unwrap();
        goes_on(&world, &first).await;
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn one_process_at_a_time_replaces_a_key_and_a_link_is_left_alone() {
        let world = world();
        let (vault, other) = (world.open().await, world.open().await);
        let held = vault.one_at_a_time().unwrap();
        let refused = other.rotate_slot(0, &world.source(), &entry()).await.unwrap_err();
        assert!(matches!(refused, SlotError::Busy), "{refused}");
        drop(held);
        let file = file_of(&vault);
        let elsewhere = world.root.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::rename(&file, elsewhere.join("the.key")).unwrap();
        std::os::unix::fs::symlink(elsewhere.join("the.key"), &file).unwrap();
        let refused = other.rotate_slot(0, &world.source(), &entry()).await.unwrap_err();
        assert!(
            refused.to_string().contains("is a link") && refused.to_string().contains("--to file:PATH"),
            "{refused}"
        );
        assert_eq!((vault.vault_keys().await.unwrap().len(), world.files()), (1, 1));
    }
}
