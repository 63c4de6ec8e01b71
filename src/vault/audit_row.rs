//! The bytes of an audit row: those that are stored, a byte for the format, then every field with its length before it;
//! and those under its MAC. The order of the fields never changes.

use crate::domain::{
    api_key::KeyId,
    audit::{Action, Actor, AuditEntry, ChainHead, Outcome},
    ids::{AccountId, SeatId, SecretId},
    principal::Client,
    text::{Claim, Purpose},
    time::Timestamp,
    totp::Step,
    trace::TraceParent,
};

/// The canonical bytes that a row's MAC covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// A row from a vault of format 1.
    One = 1,
    /// A row with a chain.
    Two = 2,
    /// A fence: it stands in the place of rows that were damaged. Its entry is encoded like a row of format 2.
    Fence = 3,
    /// A knot: a row of format 2 with the heads of other chains as its last field.
    Knot = 4,
    /// A row of format 2 with the call's place in a trace as its last field.
    Traced = 5,
}

/// The bytes of a head: its chain, its number and its MAC.
const HEAD_BYTES: usize = 4 + 8 + 32;

/// The parts of a fence's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fence<'a> {
    /// The number of the first row that the fence stands for. The last one has the fence's own number.
    pub(super) from: u64,
    /// The MAC over the fence. The MAC of its row is that of the last row that it stands for, which the next row's MAC
    /// covers.
    pub(super) seal: [u8; 32],
    /// The bytes of its entry.
    pub(super) entry: &'a [u8],
}

/// The body of a fence.
pub(super) fn encode_fence(from: u64, seal: &[u8; 32], entry: &[u8]) -> Vec<u8> {
    [&[Format::Fence as u8], &from.to_be_bytes()[..], seal, entry].concat()
}

/// The fence in the body of a row, if the row is one. No part of it is authenticated yet.
pub(super) fn fence_of(body: &[u8]) -> Option<Fence<'_>> {
    let rest = body.strip_prefix(&[Format::Fence as u8])?;
    let (from, rest) = rest.split_first_chunk::<8>()?;
    let (seal, entry) = rest.split_first_chunk::<32>()?;
    Some(Fence { from: u64::from_be_bytes(*from), seal: *seal, entry })
}

/// The format of a new row.
pub(super) const fn format_of(entry: &AuditEntry) -> Format {
    match (entry.heads.is_empty(), entry.client.trace) {
        (false, _) => Format::Knot,
        (true, Some(_)) => Format::Traced,
        (true, None) => Format::Two,
    }
}

pub(super) fn encode(format: Format, entry: &AuditEntry) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    out.push(format as u8);
    fields(entry, |bytes| {
        // No field is longer than a purpose of 128 characters or the heads of 1,024 chains; 255 announces a length of two
        // bytes.
        match u8::try_from(bytes.len()) {
            Ok(length) if length < u8::MAX => out.push(length),
            _ => {
                out.push(u8::MAX);
                out.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
            }
        }
        out.extend_from_slice(bytes);
    });
    out
}

pub(super) fn decode(body: &[u8]) -> Option<(Format, AuditEntry)> {
    if let Some(fence) = fence_of(body) {
        let (format, entry) = decode(fence.entry)?;
        return (format == Format::Two).then_some((Format::Fence, entry));
    }
    let (format, mut rest) = body.split_first()?;
    let format = match format {
        1 => Format::One,
        2 => Format::Two,
        4 => Format::Knot,
        5 => Format::Traced,
        _ => return None,
    };
    let mut next = || -> Option<&[u8]> {
        let (length, after) = rest.split_first()?;
        let (length, after) = match *length {
            u8::MAX => {
                let (length, after) = after.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(*length)), after)
            }
            length => (usize::from(length), after),
        };
        let (field, after) = after.split_at_checked(length)?;
        rest = after;
        Some(field)
    };
    let at = Timestamp::from_micros(i64::from_be_bytes(next()?.try_into().ok()?));
    let account = optional(next()?, |id| AccountId::from_slice(id).ok()).ok()?;
    let (word, actor_key) = (next()?, next()?);
    let entry = AuditEntry {
        at,
        account,
        actor: Actor::from_word(text(word)?, optional(actor_key, key).ok()?)?,
        seat: optional(next()?, |id| SeatId::from_slice(id).ok()).ok()?,
        action: Action::from_word(text(next()?)?)?,
        outcome: Outcome::from_word(text(next()?)?)?,
        secret: optional(next()?, |id| SecretId::from_slice(id).ok()).ok()?,
        key: optional(next()?, key).ok()?,
        step: optional(next()?, number).ok()?.map(Step),
        code_tag: optional(next()?, |tag| tag.try_into().ok()).ok()?,
        purpose: optional(next()?, text).ok()?.map(|text| Purpose::kept(text.to_owned())),
        count: optional(next()?, number).ok()?,
        client: Client {
            name: Claim::kept(text(next()?)?.to_owned()),
            version: Claim::kept(text(next()?)?.to_owned()),
            trace: if format == Format::Traced { Some(TraceParent::from_bytes(next()?)?) } else { None },
        },
        heads: if format == Format::Knot { heads(next()?)? } else { Vec::new() },
    };
    (encode(format, &entry) == body).then_some((format, entry))
}

/// The bytes under the MAC of a row in a chain (format 2): as [`canonical_v1`], but with the chain and under another
/// name.
pub(super) fn canonical(entry: &AuditEntry, chain: u32, seq: u64) -> Vec<u8> {
    under_mac(entry, b"countersign/v2/audit", Some(chain), seq)
}

/// The bytes under the MAC of a row that a vault of format 1 wrote.
pub(super) fn canonical_v1(entry: &AuditEntry, seq: u64) -> Vec<u8> {
    under_mac(entry, b"countersign/v1/trail", None, seq)
}

/// Every field, length-prefixed.
fn under_mac(entry: &AuditEntry, name: &[u8], chain: Option<u32>, seq: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut field = |bytes: &[u8]| {
        out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(bytes);
    };
    field(name);
    if let Some(chain) = chain {
        field(&chain.to_be_bytes());
    }
    field(&seq.to_be_bytes());
    fields(entry, field);
    out
}

/// Passes on the bytes of every field, in an order that never changes: that of the MAC and of the stored row. Only a
/// knot and a traced row have one more field at the end.
fn fields(entry: &AuditEntry, mut field: impl FnMut(&[u8])) {
    let AuditEntry {
        at,
        account,
        actor,
        seat,
        action,
        outcome,
        secret,
        key,
        step,
        code_tag,
        purpose,
        count,
        client,
        heads,
    } = entry;
    field(&at.micros().to_be_bytes());
    field(account.as_ref().map_or(&[], |id| id.as_bytes()));
    field(actor.kind().as_bytes());
    field(actor.key().as_ref().map_or("", KeyId::as_str).as_bytes());
    field(seat.as_ref().map_or(&[], |id| id.as_bytes()));
    field(action.as_str().as_bytes());
    field(outcome.as_str().as_bytes());
    field(secret.as_ref().map_or(&[], |id| id.as_bytes()));
    field(key.as_ref().map_or("", KeyId::as_str).as_bytes());
    field(step.map(|step| step.0.to_be_bytes()).as_ref().map_or(&[], |bytes| bytes));
    field(code_tag.as_ref().map_or(&[], |tag| tag));
    field(purpose.as_ref().map_or("", Purpose::as_str).as_bytes());
    field(count.map(u64::to_be_bytes).as_ref().map_or(&[], |bytes| bytes));
    field(client.name.as_str().as_bytes());
    field(client.version.as_str().as_bytes());
    if let Some(trace) = client.trace.filter(|_| heads.is_empty()) {
        field(trace.as_bytes());
    }
    if !heads.is_empty() {
        let bytes = |head: &ChainHead| [&head.chain.to_be_bytes()[..], &head.seq.to_be_bytes(), &head.mac].concat();
        field(&heads.iter().flat_map(bytes).collect::<Vec<u8>>());
    }
}

/// A field with bytes that this program never writes.
struct Unread;

/// Reads a field that may be empty.
fn optional<'a, T>(field: &'a [u8], read: impl FnOnce(&'a [u8]) -> Option<T>) -> Result<Option<T>, Unread> {
    if field.is_empty() { Ok(None) } else { read(field).map(Some).ok_or(Unread) }
}

fn text(field: &[u8]) -> Option<&str> {
    std::str::from_utf8(field).ok()
}

fn key(field: &[u8]) -> Option<KeyId> {
    text(field)?.parse().ok()
}

/// The heads of a knot, of which there is one at least.
fn heads(field: &[u8]) -> Option<Vec<ChainHead>> {
    let (heads, []) = field.as_chunks::<HEAD_BYTES>() else { return None };
    let head = |bytes: &[u8; HEAD_BYTES]| {
        let (chain, rest) = bytes.split_first_chunk()?;
        let (seq, mac) = rest.split_first_chunk()?;
        let (chain, seq) = (u32::from_be_bytes(*chain), u64::from_be_bytes(*seq));
        Some(ChainHead { chain, seq, mac: mac.try_into().ok()? })
    };
    heads.iter().map(head).collect::<Option<Vec<_>>>().filter(|heads| !heads.is_empty())
}

fn number(field: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(field.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use data_encoding::HEXLOWER;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn full() -> AuditEntry {
        AuditEntry {
            at: Timestamp::from_micros(1_795_336_200_123_456),
            account: Some(AccountId::new(Uuid::from_u128(1))),
            actor: Actor::Key("0123456789AB".parse().unwrap()),
            seat: Some(SeatId::new(Uuid::from_u128(2))),
            action: Action::CodeGet,
            outcome: Outcome::Ok,
            secret: Some(SecretId::new(Uuid::from_u128(3))),
            key: Some("0123456789AC".parse().unwrap()),
            step: Some(Step(4)),
            code_tag: Some([5; 16]),
            purpose: Some(Purpose::kept("é".repeat(128))),
            count: Some(6),
            client: Client { name: Claim::of("agent"), version: Claim::of("1.0"), trace: None },
            heads: Vec::new(),
        }
    }

    fn knot() -> AuditEntry {
        let head = |chain, seq| ChainHead { chain, seq, mac: [7; 32] };
        AuditEntry { heads: vec![head(1, 2), head(3, 4)], ..bare() }
    }

    fn traced() -> AuditEntry {
        let trace = TraceParent::from_bytes(&[&[8; 16][..], &[9; 8], &[1]].concat());
        AuditEntry { client: Client { trace, ..Client::default() }, ..bare() }
    }

    fn bare() -> AuditEntry {
        AuditEntry::by(Actor::Unknown, Action::Call, Timestamp::from_micros(1))
    }

    /// Fields with their lengths before them.
    fn prefixed(fields: &[&[u8]]) -> Vec<u8> {
        fields.iter().flat_map(|field| [&u32::try_from(field.len()).unwrap().to_be_bytes(), *field].concat()).collect()
    }

    #[test]
    fn the_bytes_that_are_hashed_never_change() {
        let id = |last: u8| [&[0; 15][..], &[last]].concat();
        let number = |last: u8| [&[0; 7][..], &[last]].concat();
        let at = 1_795_336_200_123_456_i64.to_be_bytes();
        let (trail, audit): (&[u8], &[u8]) = (b"countersign/v1/trail", b"countersign/v2/audit");
        let (one, two, three, four, six, nine) = (id(1), id(2), id(3), number(4), number(6), number(9));
        let purpose = "é".repeat(128);
        let rest: [&[u8]; 15] = [
            &at,
            &one,
            b"key",
            b"0123456789AB",
            &two,
            b"code.get",
            b"ok",
            &three,
            b"0123456789AC",
            &four,
            &[5; 16],
            purpose.as_bytes(),
            &six,
            b"agent",
            b"1.0",
        ];
        assert_eq!(canonical_v1(&full(), 9), prefixed(&[&[trail, &nine], &rest[..]].concat()));
        assert_eq!(canonical(&full(), 7, 9), prefixed(&[&[audit, &[0, 0, 0, 7], &nine], &rest[..]].concat()));

        let (first, early) = (number(1), 1_i64.to_be_bytes());
        let expected = prefixed(&[
            trail, &first, &early, b"", b"unknown", b"", b"", b"call", b"ok", b"", b"", b"", b"", b"", b"", b"", b"",
        ]);
        assert_eq!(canonical_v1(&bare(), 1), expected);
    }

    #[test]
    fn every_field_changes_the_bytes() {
        let bare = bare();
        let full = full();
        let client = |client: Client| AuditEntry { client, ..bare.clone() };
        let rows = [
            bare.clone(),
            AuditEntry { at: full.at, ..bare.clone() },
            AuditEntry { account: full.account, ..bare.clone() },
            AuditEntry { actor: Actor::Person, ..bare.clone() },
            AuditEntry { actor: full.actor, ..bare.clone() },
            AuditEntry { seat: full.seat, ..bare.clone() },
            AuditEntry { action: full.action, ..bare.clone() },
            AuditEntry { outcome: Outcome::Wrong, ..bare.clone() },
            AuditEntry { secret: full.secret, ..bare.clone() },
            AuditEntry { key: full.key, ..bare.clone() },
            AuditEntry { step: full.step, ..bare.clone() },
            AuditEntry { code_tag: full.code_tag, ..bare.clone() },
            AuditEntry { purpose: full.purpose.clone(), ..bare.clone() },
            AuditEntry { count: Some(4), ..bare.clone() },
            client(Client { name: Claim::of("x"), ..Client::default() }),
            client(Client { version: Claim::of("x"), ..Client::default() }),
            traced(),
            knot(),
            AuditEntry { heads: knot().heads[..1].to_vec(), ..bare.clone() },
            AuditEntry { heads: vec![ChainHead { seq: 5, ..knot().heads[0] }], ..bare.clone() },
            full,
        ];
        let bytes: BTreeSet<Vec<u8>> = rows.iter().map(|row| canonical(row, 0, 1)).collect();
        assert_eq!(bytes.len(), rows.len());
        assert_ne!(canonical(&bare, 0, 1), canonical(&bare, 0, 2));
        assert_ne!(canonical(&bare, 0, 1), canonical(&bare, 1, 1));
    }

    #[test]
    fn rows_never_change_their_form() {
        let bare = bare();
        let expected = [
            "02",
            "080000000000000001",
            "00",
            "07756e6b6e6f776e",
            "00",
            "00",
            "0463616c6c",
            "026f6b",
            "00",
            "00",
            "00",
            "00",
            "00",
            "00",
            "00",
            "00",
        ]
        .concat();
        assert_eq!(HEXLOWER.encode(&encode(Format::Two, &bare)), expected);
        let purpose = ["ff0100", &"c3a9".repeat(128)].concat();
        let expected = [
            "01",
            "080006 60d1 a2 ec 7b 40",
            "1000000000000000000000000000000001",
            "036b6579",
            "0c303132333435363738394142",
            "1000000000000000000000000000000002",
            "08636f64652e676574",
            "026f6b",
            "1000000000000000000000000000000003",
            "0c303132333435363738394143",
            "080000000000000004",
            "1005050505050505050505050505050505",
            &purpose,
            "080000000000000006",
            "056167656e74",
            "03312e30",
        ];
        let at = HEXLOWER.encode(&1_795_336_200_123_456_i64.to_be_bytes());
        let expected =
            expected.map(|part| if part.contains(' ') { format!("08{at}") } else { part.to_owned() }).concat();
        assert_eq!(HEXLOWER.encode(&encode(Format::One, &full())), expected);
    }

    #[test]
    fn rows_are_read_back_and_nothing_else_is() {
        for (format, entry) in [
            (Format::One, full()),
            (Format::Two, full()),
            (Format::Traced, traced()),
            (Format::Traced, AuditEntry { client: Client { trace: traced().client.trace, ..full().client }, ..full() }),
            (Format::Knot, knot()),
            (Format::Knot, AuditEntry { heads: knot().heads, ..full() }),
            (Format::Two, AuditEntry::by(Actor::System, Action::VaultCreate, Timestamp::from_micros(-1))),
        ] {
            let body = encode(format, &entry);
            assert_eq!(decode(&body), Some((format, entry)));
            for end in 0..body.len() {
                assert_eq!(decode(&body[..end]), None);
            }
            assert_eq!(decode(&[&body[..], &[0]].concat()), None);
        }
        assert_eq!(decode(&[3]), None);
    }

    #[test]
    fn a_knot_has_its_heads_as_its_last_field_and_never_none() {
        assert_eq!((format_of(&bare()), format_of(&knot())), (Format::Two, Format::Knot));
        let heads =
            format!("0000000100000000 00000002{0}0000000300000000 00000004{0}", "07".repeat(32)).replace(' ', "");
        let rest = HEXLOWER.encode(&encode(Format::Two, &bare())[1..]);
        assert_eq!(HEXLOWER.encode(&encode(Format::Knot, &knot())), format!("04{rest}58{heads}"));
        let without = [&encode(Format::Knot, &bare())[..], &[0]].concat();
        assert_eq!(decode(&without), None);
        let under_mac = canonical(&knot(), 7, 9);
        let last = [&88_u32.to_be_bytes()[..], &HEXLOWER.decode(heads.as_bytes()).unwrap()].concat();
        assert_eq!(under_mac, [canonical(&bare(), 7, 9), last].concat());
    }

    #[test]
    fn a_traced_row_has_its_trace_as_its_last_field_and_never_none() {
        assert_eq!(format_of(&traced()), Format::Traced);
        let rest = HEXLOWER.encode(&encode(Format::Two, &bare())[1..]);
        let trace = format!("19{}{}01", "08".repeat(16), "09".repeat(8));
        assert_eq!(HEXLOWER.encode(&encode(Format::Traced, &traced())), format!("05{rest}{trace}"));
        assert_eq!(decode(&[&encode(Format::Traced, &bare())[..], &[0]].concat()), None);
        let zeros = [&encode(Format::Traced, &bare())[..], &[25], &[0; 25]].concat();
        assert_eq!(decode(&zeros), None);
    }

    #[test]
    fn a_field_of_255_bytes_has_the_long_form_and_a_shorter_one_has_not() {
        let row = |purpose: String| AuditEntry { purpose: Some(Purpose::kept(purpose)), ..bare() };
        let long = row(format!("{}x", "é".repeat(127)));
        assert_eq!(decode(&encode(Format::Two, &long)), Some((Format::Two, long)));

        let short = encode(Format::Two, &row("job".to_owned()));
        let at = short.windows(4).position(|bytes| bytes == b"\x03job").unwrap();
        let other_form = [&short[..at], &[u8::MAX, 0, 3], &short[at + 1..]].concat();
        assert_eq!(decode(&other_form), None);
    }

    #[test]
    fn a_fence_is_read_back_and_holds_a_row_of_format_2_alone() {
        let entry = full();
        let body = encode_fence(7, &[9; 32], &encode(Format::Two, &entry));
        assert_eq!(HEXLOWER.encode(&body[..41]), format!("030000000000000007{}", "09".repeat(32)));
        let fence = fence_of(&body).unwrap();
        assert_eq!((fence.from, fence.seal), (7, [9; 32]));
        assert_eq!(decode(&body), Some((Format::Fence, entry.clone())));
        for end in 0..body.len() {
            assert_eq!(decode(&body[..end]), None);
        }
        assert_eq!(decode(&encode_fence(7, &[9; 32], &encode(Format::One, &entry))), None);
        assert_eq!(decode(&encode_fence(7, &[9; 32], &body)), None, "no fence holds a fence");
        assert_eq!(fence_of(&encode(Format::Two, &entry)), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_what_is_read_has_one_form(bytes: Vec<u8>) {
            match decode(&bytes) {
                // Of a fence, only the entry is read back.
                Some((Format::Fence, entry)) => {
                    prop_assert_eq!(fence_of(&bytes).map(|fence| fence.entry.to_vec()), Some(encode(Format::Two, &entry)));
                }
                Some((format, entry)) => prop_assert_eq!(encode(format, &entry), bytes),
                None => {}
            }
        }
    }
}
