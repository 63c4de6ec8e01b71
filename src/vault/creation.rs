//! Creates a vault, or leaves nothing behind.

use super::{
    keyring::Keyring,
    ledger::{End, genesis},
    open::VaultRequest,
    open_error::{OpenError, at, no_key},
    records::{AuditHead, Stored, VaultHeader},
    slots::Ways,
    sources::Spot,
};
use crate::{
    domain::{
        account::{Account, DEFAULT_ACCOUNT},
        audit::{Action, Actor, AuditEntry},
        ids::{AccountId, VaultId},
        text::Name,
        time::Timestamp,
    },
    random::SharedRandom,
    store::{
        self, Absent, Change, Commit, Durable, Expect, Index, Kind, OpenRequest, Put, RecordKey, StoreError, Tail,
    },
};

/// Creates a vault. If that fails, the key that was made for it is removed.
pub(super) async fn create(request: &VaultRequest, absent: Absent, random: &SharedRandom) -> Result<(), OpenError> {
    let vault = VaultId::new(random.random_id()?);
    let created = create_as(vault, request, absent, random).await;
    // It may be unknown whether a server has the vault.
    let is_unknown = matches!(&created, Err(OpenError::Store(store::OpenError::Store(StoreError::Unknown(_)))));
    if created.is_err() && !is_unknown {
        // An error after the vault got its name does not undo it.
        let place = OpenRequest { make: false, ..request.store.clone() };
        if let Err(store::OpenError::NoVault(_) | store::OpenError::NoServerVault(_)) = store::open(&place).await {
            request.source.forget_unused(vault).await;
        }
    }
    created
}

/// Creates a vault of this id. Its key is durable before anything is sealed with it: a crash in between leaves a key that
/// opens nothing.
async fn create_as(
    vault: VaultId,
    request: &VaultRequest,
    absent: Absent,
    random: &SharedRandom,
) -> Result<(), OpenError> {
    let spot = Spot { vault, location: absent.location(), data_dir: &request.store.data_dir };
    let key = request.source.new_key(spot, random.as_ref()).await;
    let key = key.map_err(|cause| no_key(cause, Ways::default()))?;
    let (keyring, keys) = Keyring::create(vault, &key, random.as_ref())?;
    let default_account = AccountId::new(random.random_id()?);
    let created_at = request.now;
    let account = Account { id: default_account, name: Name::kept(DEFAULT_ACCOUNT.to_owned()), created_at };
    let header = VaultHeader { keys, created_at, default_account };
    let tail = Tail { chain: 0, seq: 0, mac: genesis(0).mac };
    let mut end = End { tail, at: Timestamp::from_micros(i64::MIN) };
    let entry =
        AuditEntry { account: Some(default_account), ..AuditEntry::by(Actor::System, Action::VaultCreate, created_at) };
    let row = keyring.append(&mut end, &entry).map_err(at(absent.location()))?;
    let first = Change {
        expect: vec![Expect::Absent(RecordKey::new(Kind::Header, []))],
        put: vec![put(&keyring, &header), put(&keyring, &account), put(&keyring, &AuditHead(end.head()))],
        audit: vec![row],
        ..Change::default()
    };
    Ok(absent.create(Commit { changes: vec![first], tail: Some(tail), durable: Durable::Now }).await?)
}

/// A new record, with its index entries.
pub(super) fn put<T: Stored>(keyring: &Keyring, thing: &T) -> Put {
    Put { record: keyring.record(thing, 1), index: Index::Replace(thing.finders(keyring)) }
}
