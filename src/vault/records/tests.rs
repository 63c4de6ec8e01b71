//! The encoding of every kind, which never changes because vaults hold such bytes; and what the MAC covers.

use data_encoding::HEXLOWER;
use uuid::Uuid;

use super::*;
use crate::{
    domain::{
        account::Account,
        api_key::{ApiKey, HashedKey, KeyRights},
        audit::{Actor, ChainHead},
        code_use::{Holder, UseState},
        enrolment::{Asker, Enrolment, EnrolmentState, ProofWanted, Proposal},
        hourly::HourlyCount,
        ids::{EnrolmentId, ReservationId, SeatId, SecretId, TokenId},
        name_query::NameQuery,
        principal::Client,
        scope::Scope,
        seat::{Seat, SeatProfile},
        seat_pin::{PinCost, SeatPin},
        session::{Carried, Letter, Session, SessionOwner},
        steps::{Reservation, StepMarks},
        text::{AuthSubject, Claim, Email, Name, PhoneNumber, ShownText},
        time::Timestamp,
        token::AccessToken,
        totp::Step,
        verification::VerifyMarks,
    },
    vault::{audit_row, keyring::tests::vault},
};

const AT: Timestamp = Timestamp::from_micros(1_795_336_200_123_000);
const ONE: &str = "00000000-0000-0000-0000-000000000001";

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn account() -> AccountId {
    AccountId::new(id(1))
}

fn secret() -> SecretId {
    SecretId::new(id(2))
}

fn seat() -> Seat {
    Seat {
        id: SeatId::new(id(3)),
        account: account(),
        created_at: AT,
        profile: SeatProfile {
            email: Email::parse("Ada@example.com").unwrap(),
            first_name: Some(ShownText::parse("Ada").unwrap()),
            last_name: Some(ShownText::parse("山").unwrap()),
            forwarding_number: Some(PhoneNumber::parse("+14155550123").unwrap()),
            auth_subject: Some(AuthSubject::parse("google|1").unwrap()),
            codes_per_hour: Some(9),
        },
    }
}

fn key() -> KeptKey {
    let rights = KeyRights {
        account: account(),
        scopes: [Scope::CodesRead, Scope::SeatsRead].into_iter().collect(),
        seat: Some(SeatId::new(id(3))),
        secrets: Some(vec![secret()]),
        codes_per_hour: Some(5),
        expires_at: Some(AT),
    };
    let key = ApiKey {
        id: "0123456789AB".parse().unwrap(),
        name: Name::parse("robot").unwrap(),
        rights,
        created_at: AT,
        last_used_at: None,
        revoked_at: Some(AT),
        off_since: Some(AT),
    };
    KeptKey { key, hash: HashedKey([7; 32]) }
}

fn used() -> UseRecord {
    let waiting = vec![Reservation { step: Step(12), id: ReservationId::new(id(1)) }];
    let steps = StepMarks { given: Some(Step(10)), taken: Some(Step(11)), waiting };
    let verify = VerifyMarks { accepted: Some(Step(9)), wrong: 6, held_until: Some(AT) };
    let state = UseState { steps, verify, last_used_at: Some(AT), decoys: Vec::new() };
    UseRecord { secret: secret(), account: account(), state }
}

fn head() -> ChainHead {
    ChainHead { chain: 7, seq: 9, mac: [8; 32] }
}

fn pin() -> SeatPin {
    SeatPin {
        seat: SeatId::new(id(3)),
        account: account(),
        cost: PinCost::NEW,
        salt: [2; 16],
        hash: [1; 32],
        tries: VerifyMarks { accepted: None, wrong: 6, held_until: Some(AT) },
        set_at: AT,
    }
}

fn enrolment(state: EnrolmentState) -> Enrolment {
    Enrolment {
        id: EnrolmentId::new(id(5)),
        account: account(),
        asker: Asker {
            actor: Actor::Key("0123456789AB".parse().unwrap()),
            seat: Some(SeatId::new(id(3))),
            client: Client { name: Claim::of("robot"), version: Claim::of("1"), trace: None },
        },
        seat: Some(SeatId::new(id(3))),
        proposal: Proposal {
            label: Some(ShownText::parse("work").unwrap()),
            issuer: Some(ShownText::parse("Acme").unwrap()),
            origins: vec!["https://acme.example".parse().unwrap()],
        },
        proof: ProofWanted::Seat,
        tries: 2,
        opened: true,
        state,
        created_at: AT,
        expires_at: AT,
    }
}

fn token() -> AccessToken {
    AccessToken {
        id: TokenId::new(id(6)),
        account: account(),
        key: "0123456789AB".parse().unwrap(),
        scopes: std::iter::once(Scope::CodesRead).collect(),
        secrets: None,
        hash: [3; 32],
        created_at: AT,
        expires_at: AT,
    }
}

fn session(carried: Carried) -> Session {
    let actor = Actor::Key("0123456789AB".parse().unwrap());
    let owner = SessionOwner { account: account(), actor, seat: Some(SeatId::new(id(3))) };
    Session { tag: [1; 32], owner, carried, used_at: AT }
}

fn letter() -> Letter {
    Letter { session: [1; 32], nth: [2; 16], to: [4; 8], sealed: vec![9], sent_at: AT }
}

fn metadata() -> SealedMetadata {
    let (seed_hash, sealed) = (Some([4; 8]), vec![1, 2, 3]);
    SealedMetadata {
        id: secret(),
        account: account(),
        created_at: AT,
        deleted_at: Some(AT),
        writing: 2,
        seed_hash,
        sealed,
    }
}

fn counted() -> CountRecord {
    let holder = Holder::Key("0123456789AB".parse().unwrap());
    CountRecord { secret: secret(), account: account(), holder, count: HourlyCount::of(vec![(100, 2), (101, 1)]) }
}

fn header() -> VaultHeader {
    VaultHeader { keys: vault(1).1, created_at: AT, default_account: account() }
}

/// One record of every kind.
fn every_record() -> Vec<Record> {
    let keyring = vault(1).0;
    let repeat = Repeat { key: [5; 32], account: account(), request: [6; 32], secret: secret(), created_at: AT };
    let seed = SealedSeed { id: secret(), account: account(), created_at: AT, writing: 1, sealed: vec![9] };
    let key_use = KeyUseRecord { key: key().key.id, account: account(), last_used_at: AT };
    let name = Name::parse("default").unwrap();
    let records = vec![
        keyring.record(&header(), 3),
        keyring.record(&Account { id: account(), name, created_at: AT }, 3),
        keyring.record(&metadata(), 3),
        keyring.record(&seed, 3),
        keyring.record(&used(), 3),
        keyring.record(&counted(), 3),
        keyring.record(&seat(), 3),
        keyring.record(&key(), 3),
        keyring.record(&key_use, 3),
        keyring.record(&repeat, 3),
        keyring.record(&AuditHead(head()), 3),
        keyring.record(&AuditBase(head()), 3),
        keyring.record(&enrolment(EnrolmentState::Stored(secret())), 3),
        keyring.record(&token(), 3),
        keyring.record(&Floor { until: AT }, 3),
        keyring.record(&pin(), 3),
        keyring.record(&session(Carried::Anywhere(vec![9])), 3),
        keyring.record(&letter(), 3),
        keyring.record(&SealedAuthority { account: account(), made_at: AT, sealed: vec![9] }, 3),
    ];
    assert_eq!(records.iter().map(|record| record.key.kind).collect::<Vec<_>>(), Kind::ALL);
    records
}

#[track_caller]
fn check<T: Stored + PartialEq + std::fmt::Debug>(thing: &T, sort: i64, expected: &str) {
    let keyring = vault(1).0;
    let record = keyring.record(thing, 1);
    assert_eq!(std::str::from_utf8(&record.body).unwrap(), expected);
    assert_eq!(record.sort, sort);
    assert_eq!(keyring.open_record::<T>(&record).unwrap(), *thing);
    let mut more = record.clone();
    more.body = [&b"{\"colour\":1,"[..], record.body.strip_prefix(b"{").unwrap()].concat();
    more.mac = keyring.mac_of(&more);
    assert!(keyring.open_record::<T>(&more).is_err(), "unknown names are refused");
}

#[test]
fn bodies_never_change_their_form() {
    let at = AT.micros();
    let seven = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
    let eight = "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg";
    let ones = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
    let threes = "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM";
    let six = "BgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgY";
    check(
        &Account { id: account(), name: Name::parse("default").unwrap(), created_at: AT },
        at,
        r#"{"name":"default"}"#,
    );
    check(
        &seat(),
        at,
        r#"{"email":"Ada@example.com","first_name":"Ada","last_name":"山","forwarding_number":"+14155550123","auth_subject":"google|1","codes_per_hour":9}"#,
    );
    let bound = r#""seat":"00000000-0000-0000-0000-000000000003","secrets":["00000000-0000-0000-0000-000000000002"]"#;
    let expected = format!(
        r#"{{"name":"robot","scopes":"codes:read,seats:read",{bound},"codes_per_hour":5,"expires_at":{at},"revoked_at":{at},"off_since":{at},"hash":"{seven}"}}"#
    );
    check(&key(), at, &expected);
    let expected = format!(r#"{{"writing":2,"deleted_at":{at},"seed_hash":"BAQEBAQEBAQ","sealed":"AQID"}}"#);
    check(&metadata(), at, &expected);
    let seed = SealedSeed { id: secret(), account: account(), created_at: AT, writing: 1, sealed: vec![9] };
    check(&seed, at, r#"{"writing":1,"sealed":"CQ"}"#);
    let expected = format!(
        r#"{{"given":10,"taken":11,"waiting":[[12,"{ONE}"]],"accepted":9,"wrong":6,"held_until":{at},"last_used_at":{at}}}"#
    );
    check(&used(), 0, &expected);
    check(&SealedAuthority { account: account(), made_at: AT, sealed: vec![9] }, at, r#"{"sealed":"CQ"}"#);
    check(&counted(), 101 * 60_000_000, r#"{"minutes":[[100,2],[101,1]]}"#);
    check(&KeyUseRecord { key: key().key.id, account: account(), last_used_at: AT }, at, "{}");
    let repeat = Repeat { key: [5; 32], account: account(), request: [6; 32], secret: secret(), created_at: AT };
    let expected = format!(r#"{{"request":"{six}","secret":"00000000-0000-0000-0000-000000000002"}}"#);
    check(&repeat, at, &expected);
    check(&AuditHead(head()), 0, &format!(r#"{{"seq":9,"mac":"{eight}"}}"#));
    check(&AuditBase(head()), 0, &format!(r#"{{"seq":9,"mac":"{eight}"}}"#));
    check(&Floor { until: AT }, 0, &format!(r#"{{"until":{at}}}"#));
    let expected = format!(
        r#"{{"actor":"key","key":"0123456789AB","bound":"00000000-0000-0000-0000-000000000003","client":"robot","client_version":"1","seat":"00000000-0000-0000-0000-000000000003","label":"work","issuer":"Acme","origins":["https://acme.example"],"proof":"seat","tries":2,"opened":true,"state":"stored","secret":"00000000-0000-0000-0000-000000000002","created_at":{at}}}"#
    );
    check(&enrolment(EnrolmentState::Stored(secret())), at, &expected);
    for state in [EnrolmentState::Pending, EnrolmentState::Declined, EnrolmentState::Cancelled, EnrolmentState::Expired]
    {
        let record = vault(1).0.record(&enrolment(state), 1);
        assert_eq!(vault(1).0.open_record::<Enrolment>(&record).unwrap().state, state);
    }
    let expected = format!(r#"{{"key":"0123456789AB","scopes":"codes:read","hash":"{threes}","created_at":{at}}}"#);
    check(&token(), at, &expected);
    let expected = format!(
        r#"{{"hash":"{ones}","salt":"AgICAgICAgICAgICAgICAg","memory_kib":19456,"passes":2,"wrong":6,"held_until":{at}}}"#
    );
    check(&pin(), at, &expected);
    let owner = format!(
        r#"{{"account":"{ONE}","actor":"key","key":"0123456789AB","seat":"00000000-0000-0000-0000-000000000003","#
    );
    check(&session(Carried::Anywhere(vec![9])), at, &format!(r#"{owner}"greeting":"CQ"}}"#));
    check(&session(Carried::To([4; 8])), at, &format!(r#"{owner}"node":"BAQEBAQEBAQ"}}"#));
    check(&letter(), at, r#"{"to":"BAQEBAQEBAQ","sealed":"CQ"}"#);
}

#[test]
fn the_header_never_changes_its_form() {
    let mut header = header();
    header.keys.slots[0].check = [0; 16];
    header.keys.slots[0].wrapped = vec![1];
    header.keys.epochs[0].check = [0; 16];
    header.keys.epochs[0].wrapped = vec![2];
    header.keys.bundle = vec![3];
    let vault = header.keys.vault;
    let zeros = "AAAAAAAAAAAAAAAAAAAAAA";
    let slot =
        |more: &str| format!(r#"{{"number":0,"source":"file",{more}"root_epoch":1,"check":"{zeros}","wrapped":"AQ"}}"#);
    let rest = format!(
        r#""root_epoch":1,"epochs":[{{"epoch":1,"check":"{zeros}","wrapped":"Ag"}}],"active_epoch":1,"bundle":"Aw"}}"#
    );
    let begins = format!(r#"{{"vault":"{vault}","default_account":"{ONE}","slots":["#);
    check(&header, AT.micros(), &format!("{begins}{}],{rest}", slot("")));
    header.keys.slots[0].parameters.insert("cost".to_owned(), "19456,2,1".to_owned());
    let parameters = r#""parameters":{"cost":"19456,2,1"},"#;
    check(&header, AT.micros(), &format!("{begins}{}],{rest}", slot(parameters)));
    header.keys.slots[0].label = Some("safe".to_owned());
    header.keys.slots[0].created_at = Some(AT);
    let added = format!(r#""label":"safe","created_at":{},{parameters}"#, AT.micros());
    check(&header, AT.micros(), &format!("{begins}{}],{rest}", slot(&added)));
}

#[test]
fn the_mac_of_a_record_never_changes() {
    let keyring = vault(1).0;
    let record = keyring.record(&used(), 3);
    assert_eq!(HEXLOWER.encode(&record.mac), "37c1f685fd431b6ad863255ff014e008b66abedaf9d8c2e27c0d36783a82770d");
    let entry = crate::domain::audit::AuditEntry::by(Actor::System, crate::domain::audit::Action::VaultCreate, AT);
    let mac = keyring.audit_mac(&[9; 32], &audit_row::canonical(&entry, 7, 1), AT);
    assert_eq!(HEXLOWER.encode(&mac), "5c0579e885313204209effd1d70e40630693794a61d29e5d3d31d95e8fd9d9bf");
    let state = HEXLOWER.encode(&keyring.state_mac(b"{}"));
    assert_eq!(state, "c92f24c5ebbb125b54bc2fb3ff4af4a5662885f8c5f85185807712d86c4d3b80");
    let name = keyring.name_hash(crate::vault::names::Named::Account, "default");
    assert_eq!(HEXLOWER.encode(&name), "7e8af43e2566f48aae8db154717471a2f1825cc0a209e7c41ec5ad5dcbd7782a");
    let words = keyring.word_hashes(account(), "Acme: Ada");
    assert_eq!(
        words.iter().map(|word| HEXLOWER.encode(word)).collect::<Vec<_>>(),
        ["0a424abbd16f9a48", "50694f556e6e4d57"]
    );
}

#[test]
fn a_query_is_looked_up_by_the_longest_beginning_of_each_word() {
    let keyring = vault(1).0;
    let indexed = |name: &str| keyring.word_hashes(account(), name);
    let query = |text: &str| keyring.query_hashes(account(), &NameQuery::of(text));
    let [of_ada, longest] = [query("ada")[0], query("user12345")[0]];
    assert_eq!(query("ada user12345 xy"), [longest, of_ada]);
    assert!(indexed("Acme ada user12345@example.com").contains(&longest));
    assert!(!indexed("Acme ada user99999@example.com").contains(&longest));
    for start in ["use", "user1", "user123", "user12345"] {
        assert!(indexed("user12345").contains(&query(start)[0]), "{start}");
    }
    assert!(query("xy").is_empty());
}

#[test]
fn the_mac_covers_every_field_of_every_kind() {
    let keyring = vault(1).0;
    let other_vault = vault(2).0;
    for record in every_record() {
        assert!(keyring.check_record(&record).is_ok());
        assert!(other_vault.check_record(&record).is_err(), "another vault's");
        let other_kind = Kind::ALL.into_iter().filter(|kind| *kind != record.key.kind);
        let mut changed: Vec<Record> =
            other_kind.map(|kind| Record { key: RecordKey { kind, ..record.key.clone() }, ..record.clone() }).collect();
        let other_id = [&record.key.id[..], b"x"].concat();
        changed.push(Record { key: RecordKey { id: other_id, ..record.key.clone() }, ..record.clone() });
        let other_account = if record.account.is_some() { None } else { Some(account()) };
        changed.push(Record { account: other_account, ..record.clone() });
        changed.push(Record { account: Some(AccountId::new(id(99))), ..record.clone() });
        changed.push(Record { version: record.version + 1, ..record.clone() });
        changed.push(Record { sort: record.sort ^ 1, ..record.clone() });
        let other_life = if record.life == Life::Live { Life::Deleted } else { Life::Live };
        changed.push(Record { life: other_life, ..record.clone() });
        changed.extend((0..record.body.len()).map(|at| {
            let mut body = record.body.clone();
            body[at] ^= 1;
            Record { body, ..record.clone() }
        }));
        changed.push(Record { mac: [0; 32], ..record.clone() });
        for changed in changed {
            assert!(keyring.check_record(&changed).is_err(), "{changed:?}");
        }
    }
}

#[test]
fn a_damaged_record_is_named_without_what_is_in_it() {
    let (keyring, mut record) = (vault(1).0, every_record().remove(2));
    record.sort += 1;
    let told = keyring.check_record(&record).unwrap_err().to_string();
    let expected =
        "the vault is damaged: secret 00000000-0000-0000-0000-000000000002: it was changed without the vault's key";
    assert_eq!(told, expected);
    record.key = RecordKey::new(Kind::ApiKey, b"\x1b[2Jnot a key".as_slice());
    let told = keyring.check_record(&record).unwrap_err().to_string();
    assert_eq!(told, "the vault is damaged: key: it was changed without the vault's key");
}

/// A header is read before its MAC can be checked, and each slot may cost a derivation.
#[test]
fn a_header_with_more_slots_than_the_program_makes_is_not_read() {
    let (keyring, keys) = vault(1);
    let mut header = VaultHeader { keys, created_at: AT, default_account: account() };
    let slot = header.keys.slots[0].clone();
    for (slots, is_read) in [(32, true), (33, false)] {
        header.keys.slots = vec![slot.clone(); slots];
        assert_eq!(VaultHeader::read(&keyring.record(&header, 1)).is_some(), is_read, "{slots}");
    }
}
