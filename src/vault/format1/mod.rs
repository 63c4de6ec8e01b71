//! Migrates a vault of format 1 to the current format. Every row's MAC is checked, sealed blobs are copied byte for
//! byte, and audit rows keep their MACs. It is one transaction of the store; a damaged row stops it.

mod audit;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use subtle::ConstantTimeEq as _;

use super::{
    creation::put,
    keyring::Keyring,
    records::{CountRecord, KeptKey, KeyUseRecord, Repeat, SealedMetadata, SealedSeed, UseRecord, VaultHeader},
    root::{Header, Slot, WrappedEpoch},
};
use crate::{
    domain::{
        account::Account,
        api_key::{ApiKey, HashedKey, KeyRights},
        code_use::{Holder, UseState},
        hourly::HourlyCount,
        ids::{AccountId, ReservationId, SeatId, SecretId, VaultId},
        seat::{Seat, SeatProfile},
        steps::{Reservation, StepMarks},
        text::{AuthSubject, Email, Name, PhoneNumber, ShownText},
        time::Timestamp,
        totp::Step,
        verification::VerifyMarks,
    },
    store::{
        Change, Commit, Committed, Durable, OpenError, Put, StoreError, Tail,
        format1::{self as old, Format1, Upgrade},
    },
};

/// Records stored at a time.
const BATCH: usize = 500;
/// The size of a reservation in format 1: its step and its id.
const RESERVATION_BYTES: usize = 24;

/// The wrapped keys of a vault of format 1. None of them is trusted yet.
pub(super) fn keys_of(header: &old::Header) -> Option<Header> {
    let slot = |slot: &old::Slot| {
        Some(Slot {
            number: slot.number,
            source: slot.kind.clone(),
            label: None,
            created_at: None,
            parameters: BTreeMap::new(),
            root_epoch: 1,
            check: slot.check.as_slice().try_into().ok()?,
            wrapped: slot.wrapped.clone(),
        })
    };
    let epoch = |kept: &old::DataKey| {
        let check = kept.check.as_slice().try_into().ok()?;
        Some(WrappedEpoch { epoch: kept.epoch, check, wrapped: kept.wrapped.clone() })
    };
    Some(Header {
        vault: VaultId::from_slice(&header.vault_id).ok()?,
        slots: header.slots.iter().map(slot).collect::<Option<_>>()?,
        root_epoch: 1,
        epochs: header.data_keys.iter().map(epoch).collect::<Option<_>>()?,
        active_epoch: header.active_epoch,
        bundle: header.bundle.clone(),
    })
}

/// Migrates a vault, and returns the path of its copy.
pub(super) fn move_vault(vault: Format1, keyring: &Keyring, now: Timestamp) -> Result<PathBuf, OpenError> {
    let path = vault.facts().location.clone();
    let upgrade = vault.begin(&suffix_beside(&path, now))?;
    let snapshot = upgrade.snapshot().to_owned();
    let moving = Move { from: &upgrade, keyring, accounts: BTreeMap::new(), batch: Vec::new() };
    if let Err(error) = moving.everything(now) {
        // The vault is unchanged, and its copy is removed when `upgrade` is dropped.
        return Err(match error {
            StoreError::Damaged { what } => {
                let what = format!("{what}; nothing was changed. Remove it with the version that made the vault");
                OpenError::Damaged { path, what }
            }
            StoreError::Unavailable(what) => OpenError::Unusable { path, what },
            StoreError::Unknown(_) => error.into(),
        });
    }
    upgrade.finish()?;
    Ok(snapshot)
}

/// The suffix of the copy's name: the time without colons, and a number if an earlier migration was killed at that
/// moment.
fn suffix_beside(path: &Path, now: Timestamp) -> String {
    let plain = format!(".format-1-{}", now.to_string().replace([':', '.'], "-"));
    let taken = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        Path::new(&name).exists()
    };
    let mut suffix = plain.clone();
    let mut number = 1;
    while taken(&suffix) {
        number += 1;
        suffix = format!("{plain}-{number}");
    }
    suffix
}

struct Move<'a> {
    from: &'a Upgrade,
    keyring: &'a Keyring,
    /// The account of each secret.
    accounts: BTreeMap<SecretId, AccountId>,
    batch: Vec<Put>,
}

impl Move<'_> {
    fn everything(mut self, now: Timestamp) -> Result<(), StoreError> {
        let header = self.header()?;
        self.put(put(self.keyring, &header))?;
        let from = self.from;
        from.rows(|row: old::Account| self.account(&row))?;
        from.rows(|row: old::Secret| self.secret(&row))?;
        from.rows(|row: old::Seat| self.seat(&row))?;
        from.rows(|row: old::ApiKey| self.api_key(&row))?;
        from.rows(|row: old::Idempotency| self.idempotency(&row))?;
        self.counts()?;
        self.audit_log(header.default_account, now)?;
        self.flush()
    }

    fn put(&mut self, put: Put) -> Result<(), StoreError> {
        self.batch.push(put);
        if self.batch.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let change = Change { put: std::mem::take(&mut self.batch), ..Change::default() };
        self.commit(change, None)
    }

    fn commit(&self, change: Change, tail: Option<Tail>) -> Result<(), StoreError> {
        match self.from.put(&Commit { changes: vec![change], tail, durable: Durable::Now })? {
            Committed::Done => Ok(()),
            Committed::Stale { .. } | Committed::Taken { .. } | Committed::Moved { .. } => {
                Err(damaged("two of its rows have one name", ""))
            }
        }
    }

    fn check(&self, table: &str, id: &str, fields: &[&[u8]], mac: &[u8]) -> Result<(), StoreError> {
        let right: bool = self.keyring.row_mac_v1(table, fields).ct_eq(mac).into();
        if right { Ok(()) } else { Err(damaged(&format!("a row of {table} was changed without the vault's key"), id)) }
    }

    fn header(&self) -> Result<VaultHeader, StoreError> {
        let old = self.from.header()?;
        let slots = u32::try_from(old.slots.len()).unwrap_or(u32::MAX);
        let numbers = [1, slots, old.active_epoch].map(u32::to_be_bytes);
        let created_at = old.created_at.to_be_bytes();
        let epochs: Vec<_> = old.data_keys.iter().map(|kept| kept.epoch.to_be_bytes()).collect();
        let mut fields: Vec<&[u8]> = numbers.iter().map(<[u8; 4]>::as_slice).collect();
        fields.extend([&old.vault_id[..], &created_at, &old.default_account, &old.bundle]);
        for slot in &old.slots {
            fields.extend([std::slice::from_ref(&slot.number), slot.kind.as_bytes(), &slot.check, &slot.wrapped]);
        }
        for (kept, number) in old.data_keys.iter().zip(&epochs) {
            fields.extend([&number[..], &kept.check, &kept.wrapped]);
        }
        self.check("vault", "", &fields, &old.mac)?;
        let unread = || damaged("its header can't be read", "");
        let created_at = Timestamp::from_micros(old.created_at);
        let default_account = AccountId::from_slice(&old.default_account).map_err(|_| unread())?;
        Ok(VaultHeader { keys: keys_of(&old).ok_or_else(unread)?, created_at, default_account })
    }

    fn account(&mut self, row: &old::Account) -> Result<(), StoreError> {
        let fields: [&[u8]; 3] = [&row.id, row.name.as_bytes(), &row.created_at.to_be_bytes()];
        self.check("account", &shown(&row.id), &fields, &row.mac)?;
        let id = AccountId::from_slice(&row.id).map_err(|_| damaged("an account's id can't be read", ""))?;
        let created_at = Timestamp::from_micros(row.created_at);
        self.put(put(self.keyring, &Account { id, name: Name::kept(row.name.clone()), created_at }))
    }

    fn secret(&mut self, row: &old::Secret) -> Result<(), StoreError> {
        let fields: [&[u8]; 12] = [
            &row.id,
            &row.account,
            &row.version.to_be_bytes(),
            &row.created_at.to_be_bytes(),
            &number(row.deleted_at),
            &number(row.last_used_at),
            &number(row.given),
            &number(row.taken),
            &row.waiting,
            &number(row.accepted),
            &row.wrong.to_be_bytes(),
            &number(row.held_until),
        ];
        self.check("secret", &shown(&row.id), &fields, &row.mac)?;
        let unread = || damaged("a secret can't be read", &shown(&row.id));
        let id = SecretId::from_slice(&row.id).map_err(|_| unread())?;
        let account = AccountId::from_slice(&row.account).map_err(|_| unread())?;
        let step = |step: Option<i64>| step.map(|step| Step(step.cast_unsigned()));
        let time = |at: Option<i64>| at.map(Timestamp::from_micros);
        let waiting = reservations(&row.waiting).ok_or_else(unread)?;
        let steps = StepMarks { given: step(row.given), taken: step(row.taken), waiting };
        let verify = VerifyMarks { accepted: step(row.accepted), wrong: row.wrong, held_until: time(row.held_until) };
        let state = UseState { steps, verify, last_used_at: time(row.last_used_at), decoys: Vec::new() };
        let created_at = Timestamp::from_micros(row.created_at);
        let seed = SealedSeed { id, account, created_at, writing: row.version, sealed: row.seed.clone() };
        let seed_hash = match self.keyring.open_seed(&seed.sealed, &seed.place()) {
            Ok(seed) => Some(self.keyring.seed_hash(account, &seed)),
            // Not readable in the old format either; `vault doctor` reports it.
            Err(_) => None,
        };
        let (deleted_at, sealed) = (time(row.deleted_at), row.metadata.clone());
        let metadata = SealedMetadata { id, account, created_at, deleted_at, writing: row.version, seed_hash, sealed };
        self.accounts.insert(id, account);
        self.put(put(self.keyring, &metadata))?;
        self.put(put(self.keyring, &seed))?;
        self.put(put(self.keyring, &UseRecord { secret: id, account, state }))
    }

    fn seat(&mut self, row: &old::Seat) -> Result<(), StoreError> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default().into_bytes();
        let fields: [&[u8]; 9] = [
            &row.id,
            &row.account,
            &row.created_at.to_be_bytes(),
            row.email.as_bytes(),
            &text(&row.first_name),
            &text(&row.last_name),
            &text(&row.forwarding_number),
            &text(&row.auth_subject),
            &number(row.codes_per_hour.map(i64::from)),
        ];
        self.check("seat", &shown(&row.id), &fields, &row.mac)?;
        let unread = |_| damaged("a seat can't be read", &shown(&row.id));
        let seat = Seat {
            id: SeatId::from_slice(&row.id).map_err(unread)?,
            account: AccountId::from_slice(&row.account).map_err(unread)?,
            created_at: Timestamp::from_micros(row.created_at),
            profile: SeatProfile {
                email: Email::kept(row.email.clone()),
                first_name: row.first_name.clone().map(ShownText::kept),
                last_name: row.last_name.clone().map(ShownText::kept),
                forwarding_number: row.forwarding_number.clone().map(PhoneNumber::kept),
                auth_subject: row.auth_subject.clone().map(AuthSubject::kept),
                codes_per_hour: row.codes_per_hour,
            },
        };
        self.put(put(self.keyring, &seat))
    }

    fn api_key(&mut self, row: &old::ApiKey) -> Result<(), StoreError> {
        let limited = [u8::from(row.secrets.is_some())];
        let fields: [&[u8]; 12] = [
            row.id.as_bytes(),
            &row.account,
            row.name.as_bytes(),
            row.scopes.as_bytes(),
            row.seat.as_deref().unwrap_or_default(),
            &limited,
            row.secrets.as_deref().unwrap_or_default(),
            &number(row.codes_per_hour.map(i64::from)),
            &number(row.expires_at),
            &row.created_at.to_be_bytes(),
            &number(row.revoked_at),
            &row.hash,
        ];
        let unread = || damaged("a key can't be read", "");
        let id = row.id.parse().map_err(|_| unread())?;
        self.check("api_key", &row.id, &fields, &row.mac)?;
        let account = AccountId::from_slice(&row.account).map_err(|_| unread())?;
        let secrets =
            row.secrets.as_ref().map(|ids| ids.chunks(16).map(SecretId::from_slice).collect::<Result<_, _>>());
        let time = |at: Option<i64>| at.map(Timestamp::from_micros);
        let key = ApiKey {
            id,
            name: Name::kept(row.name.clone()),
            rights: KeyRights {
                account,
                scopes: if row.scopes.is_empty() {
                    <_>::default()
                } else {
                    row.scopes.parse().map_err(|_| unread())?
                },
                seat: row.seat.as_deref().map(SeatId::from_slice).transpose().map_err(|_| unread())?,
                secrets: secrets.transpose().map_err(|_| unread())?,
                codes_per_hour: row.codes_per_hour,
                expires_at: time(row.expires_at),
            },
            created_at: Timestamp::from_micros(row.created_at),
            last_used_at: None,
            revoked_at: time(row.revoked_at),
            off_since: None,
        };
        let hash = HashedKey(row.hash.as_slice().try_into().map_err(|_| unread())?);
        self.put(put(self.keyring, &KeptKey { key, hash }))?;
        match time(row.last_used_at) {
            Some(last_used_at) => self.put(put(self.keyring, &KeyUseRecord { key: id, account, last_used_at })),
            None => Ok(()),
        }
    }

    fn idempotency(&mut self, row: &old::Idempotency) -> Result<(), StoreError> {
        let fields: [&[u8]; 4] = [&row.key, &row.request, &row.secret, &row.created_at.to_be_bytes()];
        self.check("idempotency", &shown(&row.secret), &fields, &row.mac)?;
        let unread = || damaged("a registration that may be repeated can't be read", &shown(&row.secret));
        let secret = SecretId::from_slice(&row.secret).map_err(|_| unread())?;
        // The account of an erased secret is unknown; a repeat within the day is then a new registration.
        let Some(account) = self.accounts.get(&secret).copied() else { return Ok(()) };
        let repeat = Repeat {
            key: row.key.as_slice().try_into().map_err(|_| unread())?,
            account,
            request: row.request.as_slice().try_into().map_err(|_| unread())?,
            secret,
            created_at: Timestamp::from_micros(row.created_at),
        };
        self.put(put(self.keyring, &repeat))
    }

    /// Counts have no MAC in format 1; unreadable ones are skipped.
    fn counts(&mut self) -> Result<(), StoreError> {
        let mut counts = BTreeMap::<_, Vec<(i64, u32)>>::new();
        self.from.rows(|row: old::CodeCount| -> Result<(), StoreError> {
            counts.entry((row.secret, row.holder)).or_default().push((row.minute, row.n));
            Ok(())
        })?;
        for ((secret, holder), minutes) in counts {
            let holder = match holder.split_first() {
                Some((b'k', key)) => std::str::from_utf8(key).ok().and_then(|key| key.parse().ok()).map(Holder::Key),
                Some((b's', seat)) => SeatId::from_slice(seat).ok().map(Holder::Seat),
                _ => None,
            };
            let secret = SecretId::from_slice(&secret).ok();
            let account = secret.and_then(|secret| self.accounts.get(&secret).copied());
            if let (Some(secret), Some(account), Some(holder)) = (secret, account, holder) {
                let count = HourlyCount::of(minutes);
                self.put(put(self.keyring, &CountRecord { secret, account, holder, count }))?;
            }
        }
        Ok(())
    }
}

fn reservations(bytes: &[u8]) -> Option<Vec<Reservation>> {
    let one = |bytes: &[u8]| {
        let (step, id) = bytes.split_at_checked(8)?;
        let step = Step(u64::from_be_bytes(step.try_into().ok()?));
        Some(Reservation { step, id: ReservationId::from_slice(id).ok()? })
    };
    bytes.chunks(RESERVATION_BYTES).map(one).collect()
}

/// The bytes of an optional number, for a MAC; empty for `None`.
fn number(number: Option<i64>) -> Vec<u8> {
    number.map(|number| number.to_be_bytes().to_vec()).unwrap_or_default()
}

/// An id as text, if it is valid.
fn shown(id: &[u8]) -> String {
    uuid::Uuid::from_slice(id).map(|id| id.to_string()).unwrap_or_default()
}

fn damaged(what: &str, id: &str) -> StoreError {
    StoreError::Damaged { what: if id.is_empty() { what.to_owned() } else { format!("{what} ({id})") } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reservation_of_format_1_is_read() {
        let bytes = [(7_u64, 1_u8), (8, 2)].map(|(step, id)| [&step.to_be_bytes()[..], &[id; 16]].concat()).concat();
        let of = |step, id| Reservation { step: Step(step), id: ReservationId::from_slice(&[id; 16]).unwrap() };
        assert_eq!(reservations(&bytes), Some(vec![of(7, 1), of(8, 2)]));
        assert_eq!(reservations(&[]), Some(Vec::new()));
        assert_eq!(reservations(&bytes[..30]), None, "the second one is cut off");
    }
}
