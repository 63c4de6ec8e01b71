//! Opens a vault from an address and a key, or returns an error without having changed anything.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::sync::Mutex;

use super::{
    Core, Outcome, Vault,
    creation::create,
    format1,
    keyring::Keyring,
    ledger::{head_of, is_kept},
    open_error::{OpenError, at, no_key},
    records::{AuditHead, Floor, Stored as _, VaultHeader},
    root::{Header, UnlockError},
    slots::Ways,
    sources::{KeyError, Source, Spot},
    state::StateFile,
    writer::Writer,
};
use crate::{
    domain::{
        api_key::KeyId,
        audit::{Action, Actor, AuditEntry, ChainHead},
        ids::{AccountId, VaultId},
        key_source::SourceKind,
        time::Timestamp,
    },
    random::SharedRandom,
    store::{self, Facts, Kind, OpenRequest, Record, RecordKey, SharedStore, Store, StoreError, format1::Format1},
};

/// How far ahead steps count as used after an accepted loss: the longest time for which a caller may have reserved one.
pub(super) const FLOOR: Duration = Duration::from_mins(2);

/// Where a vault is and how to open it.
#[derive(Debug, Clone)]
pub struct VaultRequest {
    /// The store.
    pub store: OpenRequest,
    /// The source of the key. No other is tried.
    pub source: Arc<Source>,
    /// The folder for state files, which remember the last state of this machine's vaults; `None`: none are kept.
    pub state_dir: Option<PathBuf>,
    /// The current time, used as the time of creation.
    pub now: Timestamp,
}

/// Facts about a vault.
#[derive(Debug, Clone)]
pub struct VaultStatus {
    /// The vault's id.
    pub vault: VaultId,
    /// The account that exists from the start.
    pub default_account: AccountId,
    /// When it was made.
    pub created_at: Timestamp,
    /// The store's backend, format and location.
    pub store: Facts,
    /// The kind of source whose key opened it.
    pub opened_by: SourceKind,
    /// The slot of that key.
    pub slot: u8,
    /// The key file that opened it, if one did.
    pub key_file: Option<PathBuf>,
    /// The sources of the keys that can open it, one for each slot.
    pub slots: Vec<String>,
    /// The epoch that new seals use.
    pub epoch: u32,
    /// Whether it was created just now.
    pub made: bool,
    /// The path of the copy, if it was migrated from an older format just now.
    pub moved: Option<PathBuf>,
}

/// Opens a vault, and creates it first if it does not exist and the request allows that. Several processes may do so at
/// the same time.
///
/// # Errors
/// [`OpenError`]; nothing was changed then.
pub async fn open(request: &VaultRequest, random: SharedRandom) -> Result<Vault, OpenError> {
    Opening::of(request, random, Old::Moved).await?.checked().await
}

/// Opens a vault although it is older than the one that was last open here: all steps of the next two minutes count as
/// used, API keys are off until a person enables them, and an audit row records it.
///
/// # Errors
/// [`OpenError`].
pub async fn accept_loss(request: &VaultRequest, random: SharedRandom) -> Result<Vault, OpenError> {
    let store = OpenRequest { make: false, ..request.store.clone() };
    let request = &VaultRequest { store, ..request.clone() };
    Opening::of(request, random, Old::Moved).await?.accepted(request).await
}

/// Opens a vault that a person put in the place of another one. Its state is the known one from now on.
pub(super) async fn open_as_known(request: &VaultRequest, random: SharedRandom) -> Result<Vault, OpenError> {
    let store = OpenRequest { make: false, ..request.store.clone() };
    let request = &VaultRequest { store, ..request.clone() };
    let vault = Opening::of(request, random, Old::Moved).await?.open().await?;
    know(&vault, request).await?;
    Ok(vault)
}

/// Records the state of a vault as the known one, though it may be older than the one known before.
async fn know(vault: &Vault, request: &VaultRequest) -> Result<(), OpenError> {
    let ends = vault.anchor().await.map_err(at(&vault.status().store.location))?;
    set_known(vault, request, &ends)
}

/// Discards the known state of a vault, until the vault is opened again.
pub(super) fn forget_known(vault: &Vault, request: &VaultRequest) -> Result<(), OpenError> {
    set_known(vault, request, &[])
}

fn set_known(vault: &Vault, request: &VaultRequest, ends: &[ChainHead]) -> Result<(), OpenError> {
    let Some(folder) = &request.state_dir else { return Ok(()) };
    let state = StateFile::new(Some(folder), Arc::clone(&vault.core.keyring));
    state.replace(ends).map_err(|source| store::OpenError::Io { path: folder.clone(), source })?;
    Ok(())
}

/// Has all steps of the next two minutes of an older vault count as used, revokes the API keys that are known to have
/// been revoked since, and turns the others off.
pub(super) async fn close_steps(
    vault: &Vault,
    now: Timestamp,
    revoked: &[(KeyId, Timestamp)],
) -> Result<(), OpenError> {
    let path = &vault.status().store.location;
    let floor = Floor { until: now.plus(FLOOR) };
    // A row without an account would be in no account's list.
    let account = Some(vault.status().default_account);
    let entry = AuditEntry::by(Actor::Person, Action::VaultAcceptLoss, now);
    let mut draft = vault.draft(AuditEntry { account, ..entry });
    // Tokens may have been revoked after this copy was made.
    vault.remove_before(Kind::Token, Timestamp::from_micros(i64::MAX)).await.map_err(at(path))?;
    for kept in vault.every_key().await.map_err(at(path))? {
        let again = revoked.iter().find(|(id, _)| *id == kept.key.id).map(|(_, at)| *at);
        if kept.key.revoked_at.is_none() && (again.is_some() || kept.key.off_since.is_none()) {
            let mut off = kept.value.clone();
            off.key.revoked_at = again;
            off.key.off_since = off.key.off_since.or(Some(now));
            draft = draft.replace(&kept, &off);
        }
    }
    let draft = match vault.one::<Floor>(Vec::new()).await.map_err(at(path))? {
        Some(kept) => draft.replace(&kept, &floor),
        None => draft.add(&floor),
    };
    if draft.commit().await.map_err(at(path))? != Outcome::Done {
        let what = "another process accepted a loss in this moment".to_owned();
        return Err(at(path)(StoreError::Unavailable(what)));
    }
    Ok(())
}

/// Opens a copy of a vault to examine it. It may be older than the vault.
pub(super) async fn open_copy(request: &VaultRequest, random: SharedRandom) -> Result<Vault, OpenError> {
    Opening::of(request, random, Old::Moved).await?.open().await
}

/// Like [`open_copy`], for a vault that must not change, not even in its format.
pub(super) async fn open_as_it_is(request: &VaultRequest, random: SharedRandom) -> Result<Vault, OpenError> {
    Opening::of(request, random, Old::Refused).await?.open().await
}

/// Opens a store that nothing opens by its address yet, with the source of the request.
pub(super) async fn open_unnamed(
    request: &VaultRequest,
    (store, facts): (SharedStore, Facts),
    random: SharedRandom,
) -> Result<Vault, OpenError> {
    unlock(&VaultRequest { state_dir: None, ..request.clone() }, store, facts, random).await?.open().await
}

/// Opens a copy of an open vault with the keys of that vault.
pub(super) async fn open_own_copy(vault: &Vault, place: OpenRequest) -> Result<Vault, OpenError> {
    let store::Opened::Store(store, facts) = store::open(&place).await? else {
        let what = "it has another format than the vault".to_owned();
        return Err(store::OpenError::Damaged { path: place.data_dir, what }.into());
    };
    over_own_copy(vault, place, (store, facts)).await
}

/// Opens a vault over a store that reads a copy of it, with its keys.
pub(super) async fn over_own_copy(
    vault: &Vault,
    place: OpenRequest,
    (store, facts): (SharedStore, Facts),
) -> Result<Vault, OpenError> {
    let (record, header) = read_header(store.as_ref(), &facts.location).await?;
    // The copy may have keys that the vault got meanwhile, and others that the vault no longer has.
    vault.header().await.map_err(at(&facts.location))?;
    vault.keyring().check_record(&record).map_err(at(&facts.location))?;
    let keyring = vault.keyring().of_copy(&header.keys, record.version).map_err(|cause| match cause {
        UnlockError::WrongKey => {
            StoreError::Unavailable("the root key was replaced in this moment; try again".to_owned())
        }
        UnlockError::Damaged => StoreError::Damaged { what: cause.to_string() },
    });
    let keyring = Arc::new(keyring.map_err(at(&facts.location))?);
    let state = StateFile::new(None, Arc::clone(&keyring));
    let status = VaultStatus { store: facts, ..vault.status().clone() };
    Opening { place, store, keyring, random: Arc::clone(&vault.core.random), state, status, source: None }.open().await
}

/// How a vault of an older format is handled.
#[derive(Clone, Copy)]
enum Old {
    Moved,
    Refused,
}

/// A vault whose key is verified. Whether it is an older copy is not checked yet.
struct Opening {
    place: OpenRequest,
    store: SharedStore,
    keyring: Arc<Keyring>,
    random: SharedRandom,
    state: StateFile,
    status: VaultStatus,
    source: Option<Source>,
}

impl Opening {
    async fn of(request: &VaultRequest, random: SharedRandom, of_old: Old) -> Result<Self, OpenError> {
        let (mut made, mut moved) = (false, None);
        loop {
            match store::open(&request.store).await? {
                store::Opened::Absent(absent) => {
                    create(request, absent, &random).await?;
                    made = true;
                }
                store::Opened::Format1(old) => match of_old {
                    Old::Moved => moved = Some(move_format1(request, *old).await?),
                    Old::Refused => return Err(old.refusal().into()),
                },
                store::Opened::Store(store, facts) => {
                    let mut opening = unlock(request, store, facts, random).await?;
                    (opening.status.made, opening.status.moved) = (made, moved);
                    return Ok(opening);
                }
            }
        }
    }

    async fn checked(self) -> Result<Vault, OpenError> {
        let path = self.status.store.location.clone();
        if let Some(older) = self.state.check(self.store.as_ref()).await.map_err(at(&path))? {
            return Err(older.at(path));
        }
        let vault = self.open().await?;
        vault.core.writer.record_open().await;
        Ok(vault)
    }

    async fn accepted(self, request: &VaultRequest) -> Result<Vault, OpenError> {
        // The state that the machine knows is given up.
        let state = StateFile::new(None, Arc::clone(&self.keyring));
        let vault = Self { state, ..self }.open().await?;
        close_steps(&vault, request.now, &[]).await?;
        // The state is recorded only now: until the steps are closed, the loss is not accepted.
        know(&vault, request).await?;
        Ok(vault)
    }

    async fn open(self) -> Result<Vault, OpenError> {
        let Self { place, store, keyring, random, state, status, source } = self;
        // A head names a durable row; rows after it may not be durable.
        let head = durable_head(store.as_ref(), &keyring).await.map_err(at(&status.store.location))?;
        let writer = Arc::new(Writer::new(Arc::clone(&store), Arc::clone(&keyring), Arc::clone(&random), state, head));
        let (strict, renewal) = (AtomicBool::new(false), Mutex::default());
        Ok(Vault { core: Arc::new(Core { store, keyring, random, writer, status, place, source, renewal, strict }) })
    }
}

/// The last row that is known to be durable; `None` if it is missing or changed. The head then stays as evidence.
async fn durable_head(store: &dyn Store, keyring: &Keyring) -> Result<Option<ChainHead>, StoreError> {
    match head_of(store, keyring, 0).await? {
        Some((AuditHead(head), _)) => Ok(is_kept(store, keyring, &head).await?.then_some(head)),
        None => Ok(None),
    }
}

/// Reads the header. No part of it is trusted yet.
pub(super) async fn read_header(store: &dyn Store, path: &Path) -> Result<(Record, VaultHeader), OpenError> {
    let damaged = |what: &str| store::OpenError::Damaged { path: path.to_owned(), what: what.to_owned() };
    let key = RecordKey::new(Kind::Header, []);
    let record = store.read_one(&key).await.map_err(at(path))?;
    let record = record.ok_or_else(|| damaged("its header is not there"))?;
    let header = VaultHeader::read(&record).ok_or_else(|| damaged("its header can't be read"))?;
    Ok((record, header))
}

/// Verifies the key by the header's slots. Nothing is written before that.
async fn unlock(
    request: &VaultRequest,
    store: SharedStore,
    facts: Facts,
    random: SharedRandom,
) -> Result<Opening, OpenError> {
    let path = facts.location.clone();
    let (record, header) = read_header(store.as_ref(), &path).await?;
    let (keyring, slot) = unlocked(request, &path, &header.keys, record.version).await?;
    keyring.check_record(&record).map_err(at(&path))?;
    let keyring = Arc::new(keyring);
    keyring.lock_in_memory();
    let state = StateFile::new(request.state_dir.as_deref(), Arc::clone(&keyring));
    let status = VaultStatus {
        vault: header.keys.vault,
        default_account: header.default_account,
        created_at: header.created_at,
        store: facts,
        opened_by: request.source.kind(),
        slot,
        key_file: request.source.file_of(header.keys.vault),
        slots: header.keys.slots.into_iter().map(|slot| slot.source).collect(),
        epoch: header.keys.active_epoch,
        made: false,
        moved: None,
    };
    let source = request.source.again();
    Ok(Opening { place: request.store.clone(), store, keyring, random, state, status, source })
}

/// The keys of a vault, and the slot by which the source's key opened them.
async fn unlocked(
    request: &VaultRequest,
    path: &Path,
    header: &Header,
    version: u64,
) -> Result<(Keyring, u8), OpenError> {
    let source = request.source.as_ref();
    let ways = || Ways::of(header);
    let wrong =
        || OpenError::WrongKey { tried: source.shown(header.vault), source: UnlockError::WrongKey, ways: ways() };
    let place = Spot { vault: header.vault, location: path, data_dir: &request.store.data_dir };
    let kek = source.key(place, &header.slots).await;
    let kek = kek.map_err(|cause| if matches!(cause, KeyError::Wrong) { wrong() } else { no_key(cause, ways()) })?;
    let slot = header.slot_of(&kek).ok_or_else(wrong)?.number;
    let keyring = Keyring::unlock(header, version, &kek).map_err(|cause| match cause {
        UnlockError::WrongKey => wrong(),
        UnlockError::Damaged => store::OpenError::Damaged { path: path.to_owned(), what: cause.to_string() }.into(),
    })?;
    Ok((keyring, slot))
}

/// Migrates a vault of format 1, and returns the path of its copy.
async fn move_format1(request: &VaultRequest, old: Format1) -> Result<PathBuf, OpenError> {
    let path = old.facts().location.clone();
    let header = old.header().map_err(at(&path))?;
    let keys = format1::keys_of(&header).ok_or_else(|| {
        let what = "its header can't be read".to_owned();
        store::OpenError::Damaged { path: path.clone(), what }
    })?;
    let (keyring, _) = unlocked(request, &path, &keys, 1).await?;
    let now = request.now;
    let moving = tokio::task::spawn_blocking(move || format1::move_vault(old, &keyring, now));
    let moved = moving.await.map_err(|_| StoreError::Unavailable("moving it was given up".to_owned()));
    Ok(moved.map_err(at(&path))??)
}
