//! The keyring: it holds a vault's keys and computes with them.
//!
//! ```text
//! a source's key (a slot each) ──wraps──> root key
//! root key ──wraps──> data key of each epoch, and the bundle (pepper, audit key, record key)
//! data key ──HKDF-SHA256(32 random bytes of salt, purpose)──> one-use key and nonce ──AES-256-GCM──> sealed blob
//! ```
//!
//! A blob is bound to its vault, account, record, column, version and epoch: copied anywhere else it does not open.
//! GCM does not commit to its key, so every key is known by a keyed check value that is compared before it is used.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use zeroize::Zeroizing;

use super::{
    key::{Kek, Key, MacKey, lock_in_memory},
    metadata,
    root::{FIRST_EPOCH, Header, Root, Slot, UnlockError},
    seal::{self, Bound, Column, OpenSealError, Place},
    sources::NewKey,
};
use crate::{
    domain::{
        api_key::{HashedKey, PlainKey},
        ids::{SecretId, VaultId},
        secret::SecretMetadata,
        seed::Seed,
        time::Timestamp,
        totp::Step,
    },
    random::{NoRandomness, Random},
    store::AuditRecord,
};

/// An unlocked vault's keys.
pub struct Keyring {
    vault: VaultId,
    macs: Arc<Macs>,
    /// The keys of the current header, with its version. A rotation elsewhere replaces them.
    opened: RwLock<Opened>,
    /// Whether the system keeps the keys out of swap.
    locked: AtomicBool,
}

/// The keys of the bundle. A vault keeps them for life.
struct Macs {
    pepper: MacKey,
    audit: MacKey,
    records: MacKey,
}

/// The keys that the root key opens in a header.
struct Opened {
    /// The version of the header's record.
    version: u64,
    root: Root,
    active_epoch: u32,
    epochs: BTreeMap<u32, Key>,
    /// The keys that the header before had and this one has not: a read that began before an epoch ended still opens what it
    /// has read.
    ended: BTreeMap<u32, Key>,
}

/// A message authentication code. Compare it with `subtle::ConstantTimeEq`, not with `==`.
pub type Mac = [u8; 32];

impl Opened {
    fn of(header: &Header, version: u64, root: Root) -> Result<Self, UnlockError> {
        let epochs = header.data_keys(&root)?;
        Ok(Self { version, root, active_epoch: header.active_epoch, epochs, ended: BTreeMap::new() })
    }

    fn key_of(&self, epoch: u32) -> Option<&Key> {
        self.epochs.get(&epoch).or_else(|| self.ended.get(&epoch))
    }
}

impl Keyring {
    /// Generates the keys of a new vault and its header.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn create(vault: VaultId, key: &NewKey, random: &dyn Random) -> Result<(Self, Header), NoRandomness> {
        const FIRST_SLOT: u8 = 0;
        let (root, data) = (Root::generate(FIRST_EPOCH, random)?, Key::generate(random)?);
        let (pepper, audit, records) = (Key::generate(random)?, Key::generate(random)?, Key::generate(random)?);
        let mut bundle = Zeroizing::new(Vec::with_capacity(96));
        for key in [&pepper, &audit, &records] {
            bundle.extend_from_slice(key.expose());
        }
        let slot = Slot {
            number: FIRST_SLOT,
            source: key.source.as_str().to_owned(),
            label: None,
            created_at: None,
            parameters: key.parameters.clone(),
            root_epoch: FIRST_EPOCH,
            check: [0; 16],
            wrapped: Vec::new(),
        };
        let header = Header {
            vault,
            slots: vec![root.in_slot(vault, slot, &key.kek, random)?],
            root_epoch: FIRST_EPOCH,
            epochs: vec![root.wrap_data(vault, (FIRST_EPOCH, &data), random)?],
            active_epoch: FIRST_EPOCH,
            bundle: root.wrap_bundle(vault, &bundle, random)?,
        };
        let (epochs, ended) = (BTreeMap::from([(FIRST_EPOCH, data)]), BTreeMap::new());
        let opened = Opened { version: 1, root, active_epoch: FIRST_EPOCH, epochs, ended };
        let macs = Macs { pepper: pepper.for_macs(), audit: audit.for_macs(), records: records.for_macs() };
        Ok((Self { vault, macs: Arc::new(macs), opened: RwLock::new(opened), locked: AtomicBool::default() }, header))
    }

    /// Unlocks the header, whose record has this version, with a key.
    ///
    /// # Errors
    /// [`UnlockError::WrongKey`] if no slot belongs to it, [`UnlockError::Damaged`] if the rest does not open.
    pub fn unlock(header: &Header, version: u64, kek: &Kek) -> Result<Self, UnlockError> {
        let root = header.root(kek)?;
        let bundle = header.opened_bundle(&root)?;
        let mut keys = bundle.chunks_exact(32).map(Key::from_slice);
        let mut next = || Ok(keys.next().flatten().ok_or(UnlockError::Damaged)?.for_macs());
        let macs = Macs { pepper: next()?, audit: next()?, records: next()? };
        let opened = RwLock::new(Opened::of(header, version, root)?);
        Ok(Self { vault: header.vault, macs: Arc::new(macs), opened, locked: AtomicBool::default() })
    }

    /// The keys of a copy of the vault, from the copy's header.
    ///
    /// # Errors
    /// [`UnlockError::WrongKey`] if it has another root key, [`UnlockError::Damaged`] if it does not open.
    pub(super) fn of_copy(&self, header: &Header, version: u64) -> Result<Self, UnlockError> {
        let opened = Opened::of(header, version, self.root_of(header)?)?;
        let opened = RwLock::new(opened);
        Ok(Self { vault: self.vault, macs: Arc::clone(&self.macs), opened, locked: AtomicBool::default() })
    }

    /// Takes the keys of a newer header: with the root key that is held, or with that of a source's key.
    ///
    /// # Errors
    /// [`UnlockError::WrongKey`] if the root key is another one, [`UnlockError::Damaged`] if the header does not open.
    pub(super) fn renew(&self, header: &Header, version: u64, kek: Option<&Kek>) -> Result<(), UnlockError> {
        let root = kek.map_or_else(|| self.root_of(header), |kek| header.root(kek))?;
        let mut new = Opened::of(header, version, root)?;
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        new.ended = std::mem::take(&mut opened.epochs);
        new.ended.retain(|epoch, _| !new.epochs.contains_key(epoch));
        *opened = new;
        drop(opened);
        self.lock_in_memory();
        Ok(())
    }

    /// Keeps the keys out of swap as far as the system allows. Call it where the keyring stays.
    pub(super) fn lock_in_memory(&self) {
        let opened = self.opened();
        let data = opened.epochs.values().all(lock_in_memory);
        let locked = lock_in_memory(self) && lock_in_memory(self.macs.as_ref()) && data;
        self.locked.store(locked, Ordering::Relaxed);
    }

    /// Whether the system keeps the keys out of swap.
    pub(super) fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Relaxed)
    }

    fn root_of(&self, header: &Header) -> Result<Root, UnlockError> {
        let root = self.opened().root.copy();
        if root.epoch == header.root_epoch { Ok(root) } else { Err(UnlockError::WrongKey) }
    }

    /// A copy of the root key.
    pub(super) fn root(&self) -> Root {
        self.opened().root.copy()
    }

    /// The version of the header whose keys these are.
    pub(super) fn version(&self) -> u64 {
        self.opened().version
    }

    /// Whether a seal's epoch is known. A damaged seal counts as known: opening it returns the error.
    pub(super) fn knows(&self, sealed: &[u8]) -> bool {
        let opened = self.opened();
        seal::epoch_of(sealed).map_or(true, |epoch| opened.key_of(epoch).is_some())
    }

    /// Whether a seal is of another epoch than new seals.
    pub(super) fn is_outdated(&self, sealed: &[u8]) -> bool {
        seal::epoch_of(sealed) != Ok(self.opened().active_epoch)
    }

    fn opened(&self) -> RwLockReadGuard<'_, Opened> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The vault's id.
    pub const fn vault(&self) -> VaultId {
        self.vault
    }

    /// Seals a seed for its place.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn seal_seed(&self, seed: &Seed, place: &Place, random: &dyn Random) -> Result<Vec<u8>, NoRandomness> {
        self.seal(Column::Seed, place, seed.expose(), random)
    }

    /// Opens a seed. Every seed that leaves the vault goes through here.
    ///
    /// # Errors
    /// [`OpenSealError`]: damaged, moved, or sealed under an unknown epoch.
    pub fn open_seed(&self, sealed: &[u8], place: &Place) -> Result<Seed, OpenSealError> {
        Seed::from_bytes(self.open(Column::Seed, place, sealed)?).map_err(|_| OpenSealError::Damaged)
    }

    /// Seals a secret's metadata.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn seal_metadata(
        &self,
        data: &SecretMetadata,
        place: &Place,
        random: &dyn Random,
    ) -> Result<Vec<u8>, NoRandomness> {
        self.seal(Column::Metadata, place, &metadata::encode(data), random)
    }

    /// Opens a secret's metadata.
    ///
    /// # Errors
    /// [`OpenSealError`]: damaged, moved, or sealed under an unknown epoch.
    pub fn open_metadata(&self, sealed: &[u8], place: &Place) -> Result<SecretMetadata, OpenSealError> {
        metadata::decode(&self.open(Column::Metadata, place, sealed)?).ok_or(OpenSealError::Damaged)
    }

    /// The stored hash of an API key.
    pub fn hash_key(&self, key: &PlainKey) -> HashedKey {
        HashedKey(self.macs.pepper.mac(&[b"countersign/v1/api-key", key.expose_token().as_bytes()]))
    }

    /// A keyed hash of caller input, to recognise it again without storing it.
    pub fn fingerprint(&self, purpose: &'static str, fields: &[&[u8]]) -> Mac {
        let mut all: Vec<&[u8]> = vec![b"countersign/v1/fingerprint", purpose.as_bytes()];
        all.extend_from_slice(fields);
        self.macs.pepper.mac(&all)
    }

    /// A keyed hash of a code, to answer later whether the code came from this vault.
    pub fn code_tag(&self, secret: SecretId, step: Step, digits: &str) -> [u8; 16] {
        let fields: [&[u8]; 4] = [b"countersign/v1/code", secret.as_bytes(), &step.0.to_be_bytes(), digits.as_bytes()];
        let mac = self.macs.pepper.mac(&fields);
        std::array::from_fn(|nth| mac.get(nth).copied().unwrap_or_default())
    }

    /// The MAC of an audit row: over the MAC of the row before it, its canonical bytes, and the time under which it is
    /// stored.
    pub(super) fn audit_mac(&self, before: &Mac, canonical: &[u8], logged_at: Timestamp) -> Mac {
        self.macs.audit.mac(&[before, canonical, &logged_at.micros().to_be_bytes()])
    }

    /// The MAC of a row that a vault of format 1 wrote.
    pub(super) fn audit_mac_v1(&self, before: &Mac, canonical: &[u8]) -> Mac {
        self.macs.audit.mac(&[before, canonical])
    }

    /// The MAC of a fence: a row that stands for rows from a number on, up to its own. It covers everything in it but its body.
    pub(super) fn fence_mac(&self, before: &Mac, row: &AuditRecord, from: u64, entry: &[u8]) -> Mac {
        let numbers = [from.to_be_bytes(), row.seq.to_be_bytes(), row.at.micros().to_be_bytes()].concat();
        let fields: [&[u8]; 6] =
            [b"countersign/v2/audit-fence", before, &row.chain.to_be_bytes(), &numbers, &row.mac, entry];
        self.macs.audit.mac(&fields)
    }

    /// The MAC of a record's length-prefixed fields.
    pub(super) fn record_mac(&self, fields: &[&[u8]]) -> Mac {
        let mut all: Vec<&[u8]> = vec![b"countersign/v2/record", self.vault.as_bytes()];
        all.extend_from_slice(fields);
        self.macs.records.mac(&all)
    }

    /// The MAC of a vault's state file.
    pub(super) fn state_mac(&self, body: &[u8]) -> Mac {
        self.macs.records.mac(&[b"countersign/v2/state", self.vault.as_bytes(), body])
    }

    /// The MAC of a table's row in a vault of format 1.
    pub(super) fn row_mac_v1(&self, table: &str, fields: &[&[u8]]) -> Mac {
        let mut all: Vec<&[u8]> = vec![b"countersign/v1/row", self.vault.as_bytes(), table.as_bytes()];
        all.extend_from_slice(fields);
        self.macs.records.mac(&all)
    }

    /// A keyed hash under which a value is indexed without being stored in clear.
    pub(super) fn find_mac(&self, fields: &[&[u8]]) -> Mac {
        self.macs.pepper.mac(fields)
    }

    pub(super) fn seal(
        &self,
        column: Column,
        place: &Place,
        plain: &[u8],
        random: &dyn Random,
    ) -> Result<Vec<u8>, NoRandomness> {
        let opened = self.opened();
        // No header is opened whose active epoch has no key.
        let key = opened.epochs.get(&opened.active_epoch).ok_or(NoRandomness)?;
        seal::seal(key, opened.active_epoch, &Bound::to_place(self.vault, column, place), plain, random)
    }

    pub(super) fn open(
        &self,
        column: Column,
        place: &Place,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenSealError> {
        let opened = self.opened();
        let key = opened.key_of(seal::epoch_of(sealed)?).ok_or(OpenSealError::UnknownEpoch)?;
        seal::open(key, &Bound::to_place(self.vault, column, place), sealed)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    };

    use aws_lc_rs::{aead, hkdf, hmac};
    use data_encoding::HEXLOWER;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        ids::AccountId,
        key_source::SourceKind,
        secret::SecretUse,
        text::ShownText,
        totp::{Algorithm, Digits, Period, TotpParameters},
    };
    use crate::vault::root::WrappedEpoch;

    /// Fills with counted instead of random bytes: 0, 1, 2 … 255, 0 …
    struct Counting(AtomicU8);

    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
            bytes.fill_with(|| self.0.fetch_add(1, Ordering::Relaxed));
            Ok(())
        }
    }

    /// A machine without randomness.
    struct Empty;

    impl Random for Empty {
        fn fill(&self, _bytes: &mut [u8]) -> Result<(), NoRandomness> {
            Err(NoRandomness)
        }
    }

    fn counting(from: u8) -> Counting {
        Counting(AtomicU8::new(from))
    }

    fn uuid(number: u128) -> Uuid {
        Uuid::from_u128(0x0123_4567_89ab_7cde_8000_0000_0000_0000 | number)
    }

    fn kek() -> Kek {
        Kek::generate(&counting(100)).unwrap()
    }

    fn new_key() -> NewKey {
        NewKey { source: SourceKind::File, parameters: BTreeMap::new(), kek: Arc::new(kek()) }
    }

    /// The keys of another vault.
    pub(in crate::vault) fn another_vault() -> Keyring {
        Keyring::create(VaultId::new(uuid(9)), &new_key(), &counting(1)).unwrap().0
    }

    /// The keys of a vault, the same each time but for the vault's id.
    pub(in crate::vault) fn vault(number: u128) -> (Keyring, Header) {
        Keyring::create(VaultId::new(uuid(number)), &new_key(), &counting(0)).unwrap()
    }

    fn place() -> Place {
        Place {
            account: AccountId::new(uuid(2)),
            secret: SecretId::new(uuid(3)),
            version: 1,
            created_at: Timestamp::from_millis(1_795_336_200_123),
        }
    }

    fn seed() -> Seed {
        Seed::from_base32("JBSWY3DPEHPK3PXP").unwrap()
    }

    fn metadata() -> SecretMetadata {
        SecretMetadata {
            label: ShownText::parse("ada").unwrap(),
            issuer: Some(ShownText::parse("Acme").unwrap()),
            totp: TotpParameters {
                algorithm: Algorithm::Sha256,
                digits: Digits::Eight,
                period: Period::try_from(60).unwrap(),
            },
            usage: SecretUse::Plain,
            origins: Vec::new(),
        }
    }

    fn sealed_seed() -> Vec<u8> {
        vault(1).0.seal_seed(&seed(), &place(), &counting(7)).unwrap()
    }

    fn sealed_metadata() -> Vec<u8> {
        vault(1).0.seal_metadata(&metadata(), &place(), &counting(7)).unwrap()
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        assert_eq!(HEXLOWER.encode(bytes), expected);
    }

    /// Whether a key opens a header.
    fn unlocked(header: &Header, kek: &Kek) -> Result<(), UnlockError> {
        Keyring::unlock(header, 1, kek).map(|_| ())
    }

    // ── the kept bytes: these vectors never change, since vaults hold such bytes ─────────────────────────────────────

    const KEK_CHECK: &str = "bc5d1243f260e82553124533f2016e15";
    const ROOT_KEY: &str = "\
         0100000000a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf1f5ac6b896bf651914b6e5\
         bd62be71d194795a91d38c7420bfede9b677ed414df003debb2b412f6db734039e2c87cf76";
    const DATA_KEY_CHECK: &str = "4c0cddc4b9ba1aa6f95c52446c52549f";
    const DATA_KEY: &str = "\
         0100000001c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf0c6b26f7f7316d21a71d6d\
         29f8fba6f5eab11f0c821fde14f3c7e3fc30bbd6ad943e6d3a40d1243529652617c79c9ce5";
    const BUNDLE: &str = "\
         0100000000e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff70a540f147cc47e6a13fda\
         2856001e2bc4c0c234017938f58907f79575c78677b55a178e5338cf909019db61c764c1acff1bc8a848bad33728ecb2\
         f7624fdb5122fe357931add30bcf18c6cb4cce0cae359480861f7a26474c89dc2f32f260411694a3f00a15c5adadc133\
         50f3d56fba";
    const SEED: &str = "\
         01000000010708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223242526996e92c19720bbe3399f33\
         9b80a59458e5d37fa49f7ef2a11270";
    const METADATA: &str = "\
         01000000010708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252633d9f426a8d2e4f0b9489a\
         491ed42278078e1c4a83c4004a8383acf52a93af9e407a8779356417e0c50693728cf9987d54d1f798c0340ac60fefcc\
         07f56d0ef92bc110125129a5a1f39cfc853c809811e608815fd46f8c387b31dc";

    fn from_hex(text: &str) -> Vec<u8> {
        HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    fn kept_header() -> Header {
        let check = |text| from_hex(text).try_into().unwrap();
        Header {
            vault: VaultId::new(uuid(1)),
            slots: vec![Slot {
                number: 0,
                source: "file".to_owned(),
                label: None,
                created_at: None,
                parameters: BTreeMap::new(),
                root_epoch: 1,
                check: check(KEK_CHECK),
                wrapped: from_hex(ROOT_KEY),
            }],
            epochs: vec![WrappedEpoch { epoch: 1, check: check(DATA_KEY_CHECK), wrapped: from_hex(DATA_KEY) }],
            root_epoch: 1,
            active_epoch: 1,
            bundle: from_hex(BUNDLE),
        }
    }

    #[test]
    fn the_header_of_a_new_vault_never_changes_its_form() {
        assert_eq!(vault(1).1, kept_header());
    }

    #[test]
    fn seals_never_change_their_form() {
        check(&sealed_seed(), SEED);
        check(&sealed_metadata(), METADATA);
    }

    #[test]
    fn a_vault_that_was_kept_opens() {
        let keyring = Keyring::unlock(&kept_header(), 1, &kek()).unwrap();

        assert_eq!(keyring.vault(), VaultId::new(uuid(1)));
        assert_eq!(keyring.open_seed(&from_hex(SEED), &place()).unwrap().expose(), seed().expose());
        assert_eq!(keyring.open_metadata(&from_hex(METADATA), &place()), Ok(metadata()));
    }

    #[test]
    fn keyed_hashes_never_change() {
        let keyring = vault(1).0;
        let key = PlainKey::from_random(&[1; 12], &Zeroizing::new([2; 32]));
        let step = Step(59_844_540);
        let code = TotpParameters::default().code_at(&seed(), step);
        let secret = SecretId::new(uuid(3));

        check(
            &keyring.row_mac_v1("seats", &[b"a", b"", b"bc"]),
            "eedac656b38216123a5867ef4aaf8ecd73e7d82412dd16c5b5f6ec31387cc489",
        );
        check(
            &keyring.audit_mac_v1(&[9; 32], b"row"),
            "efd9b74cd0b9f99153e798060fc746782ff2a98f92f5f7a8a55ff3b85d45b9b7",
        );
        check(&keyring.hash_key(&key).0, "f475246487e1bcd903d8315848a64e787180d2a64750dc92c5317a36e1c1c5c3");
        check(&keyring.code_tag(secret, step, code.digits()), "d91584e0213f75ac53ed180d28c0b978");
        check(
            &keyring.fingerprint("idempotency", &[b"a", b"b"]),
            "cd8ed58204b265a255e02f449ba16531c67e865686a66050d65726839dbc2903",
        );
    }

    #[test]
    fn a_keyed_hash_tells_fields_tables_vaults_and_purposes_apart() {
        let (keyring, other) = (vault(1).0, vault(2).0);
        let hashes = [
            keyring.row_mac_v1("seats", &[b"ab", b"c"]),
            keyring.row_mac_v1("seats", &[b"a", b"bc"]),
            keyring.row_mac_v1("seats", &[b"abc"]),
            keyring.row_mac_v1("seats", &[b"ab", b"c", b""]),
            keyring.row_mac_v1("keys", &[b"ab", b"c"]),
            other.row_mac_v1("seats", &[b"ab", b"c"]),
            keyring.fingerprint("seats", &[b"ab", b"c"]),
            keyring.fingerprint("keys", &[b"ab", b"c"]),
            keyring.audit_mac_v1(&[0; 32], b"abc"),
            keyring.audit_mac_v1(&[1; 32], b"abc"),
        ];
        for (nth, hash) in hashes.iter().enumerate() {
            assert_eq!(hashes.iter().position(|other| other == hash), Some(nth));
        }
    }

    // ── the same bytes by another library, from the drawing in `seal` and the formulas in `key` ──────────────────────

    fn prefixed(fields: &[&[u8]]) -> Vec<u8> {
        fields
            .iter()
            .flat_map(|field| [&u32::try_from(field.len()).unwrap().to_be_bytes()[..], field].concat())
            .collect()
    }

    struct Length(usize);

    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }

    /// Opens a blob with aws-lc-rs alone.
    fn opened_by_another(key: &[u8; 32], info: &[u8], bound: &[&[u8]], sealed: &[u8]) -> Vec<u8> {
        let mut derived = [0; 44];
        let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, &sealed[5..37]).extract(key);
        pseudorandom.expand(&[info], Length(44)).unwrap().fill(&mut derived).unwrap();
        let cipher = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, &derived[..32]).unwrap());
        let nonce = aead::Nonce::try_assume_unique_for_key(&derived[32..]).unwrap();
        let aad = [&sealed[..5], &prefixed(&[info]), &prefixed(bound)].concat();
        let mut body = sealed[37..].to_vec();
        cipher.open_in_place(nonce, aead::Aad::from(aad), &mut body).unwrap().to_vec()
    }

    #[test]
    fn another_library_opens_what_we_seal_from_the_key_down() {
        let (header, vault) = (kept_header(), uuid(1).into_bytes());
        let key = |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).unwrap();

        let kek: [u8; 32] = std::array::from_fn(|nth| u8::try_from(100 + nth).unwrap());
        let root = &header.slots[0].wrapped;
        let root = key(opened_by_another(&kek, b"countersign/v1/root-key", &[&vault, &[0; 4]], root));
        let data = &header.epochs[0].wrapped;
        let data = key(opened_by_another(&root, b"countersign/v1/data-key", &[&vault, &[0, 0, 0, 1]], data));
        let (version, made) = (1_u32.to_be_bytes(), 1_795_336_200_123_u64.to_be_bytes());
        let (account, secret) = (uuid(2).into_bytes(), uuid(3).into_bytes());
        let bound: [&[u8]; 5] = [&vault, &account, &secret, &version, &made];

        assert_eq!(opened_by_another(&data, b"countersign/v1/seed", &bound, &from_hex(SEED)), seed().expose());
        let metadata = opened_by_another(&data, b"countersign/v1/metadata", &bound, &from_hex(METADATA));
        assert_eq!(metadata, br#"{"label":"ada","issuer":"Acme","algorithm":"SHA256","digits":8,"period":60}"#);

        let bundle = opened_by_another(&root, b"countersign/v1/bundle", &[&vault, &[0; 4]], &header.bundle);
        let mac = |key: &[u8], fields: &[&[u8]]| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &prefixed(fields)).as_ref().to_vec()
        };
        let keyring = Keyring::unlock(&header, 1, &self::kek()).unwrap();
        let api_key = PlainKey::from_random(&[1; 12], &Zeroizing::new([2; 32]));
        let (pepper, trail, rows) = (&bundle[..32], &bundle[32..64], &bundle[64..]);
        let token = api_key.expose_token();
        assert_eq!(mac(pepper, &[b"countersign/v1/api-key", token.as_bytes()]), keyring.hash_key(&api_key).0);
        assert_eq!(mac(trail, &[&[9; 32], b"row"]), keyring.audit_mac_v1(&[9; 32], b"row"));
        assert_eq!(mac(rows, &[b"countersign/v1/row", &vault, b"seats", b"x"]), keyring.row_mac_v1("seats", &[b"x"]));
        assert_eq!(mac(&kek, &[b"countersign/v1/key-check"])[..16], header.slots[0].check);
    }

    // ── rotations ────────────────────────────────────────────────────────────────────────────────────────────────────

    #[test]
    fn a_new_root_key_is_wrapped_as_the_first_one_and_bound_to_its_number() {
        let (keyring, header) = vault(1);
        let header = header.with_new_root(&keyring.root(), &[Arc::new(kek())], &counting(50)).unwrap().unwrap();
        let (vault, key) = (uuid(1).into_bytes(), |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).unwrap());

        let root = &header.slots[0].wrapped;
        let root = key(opened_by_another(kek().0.expose(), b"countersign/v1/root-key", &[&vault, &[0, 0, 1, 0]], root));
        for (nth, epoch) in [[0, 0, 0, 1], [0, 0, 0, 2]].iter().enumerate() {
            let data = &header.epochs[nth].wrapped;
            let data = key(opened_by_another(&root, b"countersign/v1/data-key", &[&vault, epoch], data));
            assert!(Key::of(&data).is_checked_by(&header.epochs[nth].check));
        }
        assert_eq!((header.root_epoch, header.slots[0].root_epoch, header.active_epoch), (2, 2, 2));
    }

    #[test]
    fn an_older_root_key_opens_nothing_of_a_rotated_header() {
        let (keyring, old) = vault(1);
        let removed = Arc::new(Kek::generate(&counting(101)).unwrap());
        let mut both = old.clone();
        let slot = Slot { number: 1, ..old.slots[0].clone() };
        both.slots.push(keyring.root().in_slot(old.vault, slot, &removed, &counting(9)).unwrap());
        let keys = [Arc::new(kek())];
        assert_eq!(both.with_new_root(&keyring.root(), &keys, &counting(50)).unwrap(), None, "a key is missing");
        let new = old.with_new_root(&keyring.root(), &keys, &counting(50)).unwrap().unwrap();

        assert_eq!(unlocked(&both, &removed), Ok(()));
        assert_eq!(unlocked(&new, &removed), Err(UnlockError::WrongKey));
        let old_root = both.root(&removed).unwrap();
        assert_eq!(new.data_keys(&old_root).map(|_| ()), Err(UnlockError::Damaged));
        assert_eq!(new.opened_bundle(&old_root).map(|_| ()), Err(UnlockError::Damaged));
        assert_eq!(keyring.renew(&new, 2, None), Err(UnlockError::WrongKey), "nor does a process that holds it");
        assert_eq!(keyring.version(), 1);
        keyring.renew(&new, 2, Some(&kek())).unwrap();
        assert_eq!((keyring.version(), keyring.root().epoch), (2, 2));
    }

    #[test]
    fn a_seal_opens_until_the_second_change_after_its_key_was_removed() {
        let (keyring, first) = vault(1);
        let sealed = keyring.seal_seed(&seed(), &place(), &counting(7)).unwrap();
        let second = first.with_new_epoch(&keyring.root(), &counting(50)).unwrap().unwrap();
        keyring.renew(&second, 2, None).unwrap();
        let new = keyring.seal_seed(&seed(), &place(), &counting(7)).unwrap();
        assert!(keyring.is_outdated(&sealed) && !keyring.is_outdated(&new));
        let alone = second.with_active_epoch_alone();
        keyring.renew(&alone, 3, None).unwrap();
        assert!(keyring.open_seed(&sealed, &place()).is_ok() && keyring.knows(&sealed));
        keyring.renew(&alone, 4, None).unwrap();
        assert_eq!(keyring.open_seed(&sealed, &place()).map(|_| ()), Err(OpenSealError::UnknownEpoch));
        assert!(
            !keyring.knows(&sealed)
                && keyring.knows(&new)
                && keyring.knows(b"")
                && keyring.open_seed(&new, &place()).is_ok()
        );
    }

    // ── keys and blobs that do not open ──────────────────────────────────────────────────────────────────────────────

    #[test]
    fn another_key_does_not_unlock_and_damage_is_told_from_it() {
        let header = vault(1).1;
        assert_eq!(unlocked(&header, &kek()), Ok(()));
        assert_eq!(unlocked(&header, &Kek::generate(&counting(101)).unwrap()), Err(UnlockError::WrongKey));

        let changes: [(Change, UnlockError); 12] = [
            (|header| header.slots.clear(), UnlockError::WrongKey),
            (|header| header.slots[0].check[15] ^= 1, UnlockError::WrongKey),
            (|header| header.vault = VaultId::new(uuid(2)), UnlockError::Damaged),
            (|header| header.slots[0].number = 1, UnlockError::Damaged),
            (|header| header.root_epoch = 2, UnlockError::WrongKey),
            (
                |header| {
                    header.root_epoch = 2;
                    header.slots[0].root_epoch = 2;
                },
                UnlockError::Damaged,
            ),
            (|header| header.epochs[0].epoch = 2, UnlockError::Damaged),
            (|header| header.epochs[0].check[0] ^= 1, UnlockError::Damaged),
            (|header| header.epochs.clear(), UnlockError::Damaged),
            (|header| header.active_epoch = 2, UnlockError::Damaged),
            (|header| header.epochs[0].wrapped = header.slots[0].wrapped.clone(), UnlockError::Damaged),
            (|header| header.bundle = header.epochs[0].wrapped.clone(), UnlockError::Damaged),
        ];
        for (nth, (change, expected)) in changes.into_iter().enumerate() {
            let mut altered = header.clone();
            change(&mut altered);
            assert_eq!(unlocked(&altered, &kek()), Err(expected), "change {nth}");
        }
    }

    /// A change of a header that is made without its key.
    type Change = fn(&mut Header);

    /// Every way to flip one bit of some bytes, and every way to cut them short or add a byte.
    fn damaged(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let flips = (0..bytes.len() * 8).map(|bit| {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped
        });
        let cuts = (0..bytes.len()).flat_map(|end| [bytes[..end].to_vec(), bytes[bytes.len() - end..].to_vec()]);
        flips.chain(cuts).chain([[bytes, &[0]].concat(), [&[0], bytes].concat()])
    }

    #[test]
    fn a_wrapped_key_with_one_bit_flipped_or_cut_short_does_not_open() {
        let header = vault(1).1;
        for wrapped in damaged(&header.slots[0].wrapped) {
            let mut changed = header.clone();
            changed.slots[0].wrapped = wrapped;
            assert_eq!(unlocked(&changed, &kek()), Err(UnlockError::Damaged));
        }
        for wrapped in damaged(&header.epochs[0].wrapped) {
            let mut changed = header.clone();
            changed.epochs[0].wrapped = wrapped;
            assert_eq!(unlocked(&changed, &kek()), Err(UnlockError::Damaged));
        }
        for bundle in damaged(&header.bundle) {
            assert_eq!(unlocked(&Header { bundle, ..header.clone() }, &kek()), Err(UnlockError::Damaged));
        }
    }

    #[test]
    fn a_blob_with_one_bit_flipped_or_cut_short_does_not_open() {
        let keyring = vault(1).0;
        for sealed in damaged(&sealed_seed()) {
            assert!(keyring.open_seed(&sealed, &place()).is_err());
        }
        for sealed in damaged(&sealed_metadata()) {
            assert!(keyring.open_metadata(&sealed, &place()).is_err());
        }
    }

    #[test]
    fn a_refusal_says_what_kind_of_damage_it_is() {
        let keyring = vault(1).0;
        let opened = |sealed: &[u8]| keyring.open_seed(sealed, &place()).map(|_| ());
        let with = |at: usize, byte: u8| {
            let mut sealed = sealed_seed();
            sealed[at] = byte;
            sealed
        };
        assert_eq!(opened(&sealed_seed()), Ok(()));
        assert_eq!(opened(&with(0, 2)), Err(OpenSealError::UnknownFormat));
        assert_eq!(opened(&with(4, 2)), Err(OpenSealError::UnknownEpoch));
        assert_eq!(opened(&with(5, 255)), Err(OpenSealError::Damaged));
        assert_eq!(opened(&[]), Err(OpenSealError::Damaged));
        assert_eq!(opened(&[1, 0, 0, 0]), Err(OpenSealError::Damaged));
    }

    #[test]
    fn a_blob_opens_in_its_place_alone() {
        let keyring = vault(1).0;
        let (seed_blob, metadata_blob) = (sealed_seed(), sealed_metadata());
        let elsewhere = [
            Place { account: AccountId::new(uuid(9)), ..place() },
            Place { secret: SecretId::new(uuid(9)), ..place() },
            Place { version: 2, ..place() },
            Place { created_at: Timestamp::from_millis(1_795_336_200_124), ..place() },
            // The same numbers, each in the other's field.
            Place { account: AccountId::new(uuid(3)), secret: SecretId::new(uuid(2)), ..place() },
        ];
        for elsewhere in elsewhere {
            let seed = keyring.open_seed(&seed_blob, &elsewhere).map(|_| ());
            assert_eq!(seed, Err(OpenSealError::Damaged), "{elsewhere:?}");
            assert_eq!(keyring.open_metadata(&metadata_blob, &elsewhere), Err(OpenSealError::Damaged), "{elsewhere:?}");
        }
        assert_eq!(keyring.open_seed(&metadata_blob, &place()).map(|_| ()), Err(OpenSealError::Damaged));
        assert_eq!(keyring.open_metadata(&seed_blob, &place()), Err(OpenSealError::Damaged));

        // Another vault that has the same keys by some mistake, and one that has others.
        assert!(vault(2).0.open_seed(&seed_blob, &place()).is_err());
        let other = Keyring::create(VaultId::new(uuid(1)), &new_key(), &counting(1)).unwrap().0;
        assert!(other.open_seed(&seed_blob, &place()).is_err());
    }

    #[test]
    fn the_precision_that_records_keep_is_enough_to_open_them() {
        let fine = Place { created_at: Timestamp::from_micros(1_795_336_200_123_999), ..place() };
        let sealed = vault(1).0.seal_seed(&seed(), &fine, &counting(7)).unwrap();
        assert!(vault(1).0.open_seed(&sealed, &place()).is_ok());
    }

    #[test]
    fn the_longest_seed_is_kept_whole_and_equal_seeds_look_different() {
        let keyring = vault(1).0;
        let seed = Seed::from_bytes(Zeroizing::new(vec![0xab; 128])).unwrap();
        let random = counting(0);
        let (one, other) = (keyring.seal_seed(&seed, &place(), &random), keyring.seal_seed(&seed, &place(), &random));
        let (one, other) = (one.unwrap(), other.unwrap());

        assert_eq!(keyring.open_seed(&one, &place()).unwrap().expose(), seed.expose());
        assert!(one.iter().zip(&other).skip(37).filter(|(one, other)| one == other).count() < 16);
    }

    #[test]
    fn nothing_is_made_without_randomness() {
        assert!(matches!(Kek::generate(&Empty).map(|_| ()), Err(NoRandomness)));
        assert!(Keyring::create(VaultId::new(uuid(1)), &new_key(), &Empty).is_err());
        assert_eq!(vault(1).0.seal_seed(&seed(), &place(), &Empty), Err(NoRandomness));
        assert_eq!(vault(1).0.seal_metadata(&metadata(), &place(), &Empty), Err(NoRandomness));
    }
}
