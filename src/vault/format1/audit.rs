//! Migrates the audit log of format 1: its rows are checked against their chain and keep their MACs.

use subtle::ConstantTimeEq as _;

use super::{BATCH, Move, damaged};
use crate::{
    domain::{
        audit::{Action, Actor, AuditEntry, ChainHead, Outcome},
        ids::{AccountId, SeatId, SecretId},
        principal::Client,
        text::{Claim, Purpose},
        time::Timestamp,
        totp::Step,
    },
    store::{AuditPut, AuditRecord, Change, StoreError, Tail, format1 as old},
    vault::{
        audit_row::{self, Format},
        creation::put,
        ledger::{End, genesis, terms_of},
        records::{AuditBase, AuditHead},
    },
};

impl Move<'_> {
    fn end(&self, ends: &[old::TrailEnd], word: &str) -> Result<ChainHead, StoreError> {
        let end = ends.iter().find(|end| end.which == word);
        let end = end.ok_or_else(|| damaged("an end of its audit log is not there", ""))?;
        self.check("trail_end", "", &[word.as_bytes(), &end.seq.to_be_bytes(), &end.mac], &end.seal)?;
        let mac = end.mac.as_slice().try_into().map_err(|_| damaged("an end of its audit log can't be read", ""))?;
        Ok(ChainHead { chain: 0, seq: end.seq.cast_unsigned(), mac })
    }

    pub(super) fn audit_log(&mut self, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
        let mut ends = Vec::new();
        self.from.rows(|end: old::TrailEnd| -> Result<(), StoreError> {
            ends.push(end);
            Ok(())
        })?;
        let (base, head) = (self.end(&ends, "base")?, self.end(&ends, "head")?);
        let tail = Tail { chain: 0, seq: base.seq, mac: base.mac };
        let mut end = End { tail, at: Timestamp::from_micros(i64::MIN) };
        let (mut rows, mut from, mut head_found) = (Vec::new(), tail, head == base);
        self.from.rows(|row: old::TrailRow| {
            rows.push(self.row(&row, &mut end)?);
            head_found |= end.head() == head;
            if rows.len() >= BATCH {
                let audit = std::mem::take(&mut rows);
                self.commit(Change { audit, ..Change::default() }, Some(from))?;
                from = end.tail;
            }
            Ok::<_, StoreError>(())
        })?;
        if !head_found {
            return Err(damaged("the row that the head of its audit log names is gone", ""));
        }
        let entry = AuditEntry { account: Some(account), ..AuditEntry::by(Actor::System, Action::VaultMigrate, now) };
        rows.push(self.keyring.append(&mut end, &entry)?);
        self.commit(Change { audit: rows, ..Change::default() }, Some(from))?;
        if base != genesis(0) {
            self.put(put(self.keyring, &AuditBase(base)))?;
        }
        self.put(put(self.keyring, &AuditHead(end.head())))
    }

    /// The record of a row that follows the one before it.
    fn row(&self, row: &old::TrailRow, end: &mut End) -> Result<AuditPut, StoreError> {
        let seq = end.tail.seq.saturating_add(1);
        let broken = || damaged(&format!("its audit log is broken at row {seq}"), "");
        let entry = entry_of(row).ok_or_else(broken)?;
        let mac = self.keyring.audit_mac_v1(&end.tail.mac, &audit_row::canonical_v1(&entry, seq));
        let right: bool = mac.ct_eq(row.mac.as_slice()).into();
        if row.seq.cast_unsigned() != seq || !right {
            return Err(broken());
        }
        let at = entry.at.max(end.at);
        *end = End { tail: Tail { chain: 0, seq, mac }, at };
        let record = AuditRecord { chain: 0, seq, at, body: audit_row::encode(Format::One, &entry), mac };
        Ok(AuditPut { record, terms: terms_of(&entry) })
    }
}

fn entry_of(row: &old::TrailRow) -> Option<AuditEntry> {
    let key = |text: &Option<String>| text.as_ref().map(|text| text.parse()).transpose().ok();
    Some(AuditEntry {
        at: Timestamp::from_micros(row.at),
        account: row.account.as_deref().map(AccountId::from_slice).transpose().ok()?,
        actor: Actor::from_word(&row.actor, key(&row.actor_key)?)?,
        seat: row.seat.as_deref().map(SeatId::from_slice).transpose().ok()?,
        action: Action::from_word(&row.action)?,
        outcome: Outcome::from_word(&row.outcome)?,
        secret: row.secret.as_deref().map(SecretId::from_slice).transpose().ok()?,
        key: key(&row.key)?,
        step: row.step.map(|step| Step(step.cast_unsigned())),
        code_tag: row.code_tag.as_deref().map(TryInto::try_into).transpose().ok()?,
        purpose: row.purpose.clone().map(Purpose::kept),
        count: row.count.map(i64::cast_unsigned),
        client: Client {
            name: Claim::kept(row.client_name.clone()),
            version: Claim::kept(row.client_version.clone()),
            trace: None,
        },
        heads: Vec::new(),
    })
}
