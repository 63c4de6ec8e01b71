//! Queries for records.

use std::{collections::HashMap, fmt::Write as _};

use tokio_postgres::Row;

use super::{
    flight::{COUNTED, keys},
    link::{Failure, Link, Step, Value},
    plan::CurrentState,
};
use crate::{
    domain::ids::AccountId,
    store::{
        Commit, Expect, Finders, Index, Kind, Life, List, Put, Record, RecordKey, Tail,
        places::{end, place, seq_of},
    },
};

const COLUMNS: &str = "record.id, record.version, record.account, record.sort, record.life, record.mac, record.body";

/// Records by their keys, as of one moment.
pub(super) async fn read(link: &Link, wanted: &[RecordKey]) -> Result<Vec<Option<Record>>, Failure> {
    let sql = "SELECT record.id, record.version, record.account, record.sort, record.life, record.mac, record.body, record.kind \
               FROM record JOIN unnest($1::smallint[], $2::bytea[]) AS wanted (kind, id) USING (kind, id)";
    let rows = link.query(&Step::new(sql, keys(wanted.iter()))).await?;
    let mut found: HashMap<(i16, Vec<u8>), Row> = HashMap::new();
    for row in rows {
        found.insert((column(&row, 7), column(&row, 0)), row);
    }
    let one = |key: &RecordKey| {
        let row = found.get(&(i16::from(key.kind.number()), key.id.clone()))?;
        Some(record(row, key.kind))
    };
    Ok(wanted.iter().map(one).collect())
}

/// The record with a name.
pub(super) async fn find(
    link: &Link,
    kind: Kind,
    account: Option<AccountId>,
    name: [u8; 32],
) -> Result<Option<Record>, Failure> {
    let sql = "SELECT record.id, record.version, record.account, record.sort, record.life, record.mac, record.body \
               FROM record_name JOIN record USING (kind, id) \
               WHERE record_name.kind = $1 AND record_name.account = $2 AND record_name.name = $3";
    let values = vec![
        Value::Small(i16::from(kind.number())),
        Value::Bytes(account_bytes(account.as_ref())),
        Value::Bytes(name.to_vec()),
    ];
    let rows = link.query(&Step::new(sql, values)).await?;
    Ok(rows.first().map(|row| record(row, kind)))
}

/// The index entries of records.
pub(super) async fn finders(link: &Link, wanted: &[RecordKey]) -> Result<Vec<Finders>, Failure> {
    let sql = "SELECT kind, id, name, NULL FROM record_name JOIN unnest($1::smallint[], $2::bytea[]) AS wanted (kind, id) \
               USING (kind, id) JOIN record USING (kind, id, account) \
               UNION ALL SELECT kind, id, NULL, word FROM record_word \
               JOIN unnest($1::smallint[], $2::bytea[]) AS wanted (kind, id) USING (kind, id) \
               JOIN record USING (kind, id, account)";
    let mut found: HashMap<(i16, Vec<u8>), Finders> = HashMap::new();
    for row in link.query(&Step::new(sql, keys(wanted.iter()))).await? {
        let entry = found.entry((column(&row, 0), column(&row, 1))).or_default();
        let (name, word): (Option<Vec<u8>>, Option<Vec<u8>>) = (column(&row, 2), column(&row, 3));
        if let Some(name) = name.and_then(|name| <[u8; 32]>::try_from(name).ok()) {
            entry.names.push(name);
        }
        if let Some(word) = word.and_then(|word| <[u8; 8]>::try_from(word).ok()) {
            entry.words.push(word);
        }
    }
    let one = |key: &RecordKey| {
        let mut finders = found.get(&(i16::from(key.kind.number()), key.id.clone())).cloned().unwrap_or_default();
        finders.names.sort_unstable();
        finders.words.sort_unstable();
        finders
    };
    Ok(wanted.iter().map(one).collect())
}

/// A page of records.
pub(super) async fn list(link: &Link, list: &List) -> Result<Vec<Record>, Failure> {
    let mut values = Values::default();
    let offset = i64::try_from(list.offset).unwrap_or(i64::MAX);
    let most = values.push(Value::Number(i64::from(list.limit).saturating_add(offset)));
    // Each part walks its own index, and no further than the page goes.
    let parts: Vec<String> = lives(list)
        .iter()
        .map(|life| {
            let selection = selection(list, *life, &mut values);
            format!("(SELECT {COLUMNS} {selection} ORDER BY record.sort, record.id LIMIT {most})")
        })
        .collect();
    let (limit, offset) = (values.push(Value::Number(i64::from(list.limit))), values.push(Value::Number(offset)));
    let sql = format!(
        "SELECT * FROM ({}) AS page ORDER BY sort, id LIMIT {limit} OFFSET {offset}",
        parts.join(" UNION ALL ")
    );
    let rows = link.query(&Step::new(sql, values.0)).await?;
    Ok(rows.iter().map(|row| record(row, list.kind)).collect())
}

/// The number of records in a list.
pub(super) async fn count(link: &Link, list: &List) -> Result<u64, Failure> {
    let whole = List { after: None, ..list.clone() };
    let counted = list.words.is_empty() && list.before_sort.is_none() && COUNTED.contains(&list.kind);
    let mut total = 0;
    for life in lives(list) {
        let mut values = Values::default();
        let sql = match list.account.as_ref().filter(|_| counted) {
            Some(account) => {
                values.push(Value::Small(i16::from(list.kind.number())));
                values.push(Value::Bytes(account.as_bytes().to_vec()));
                values.push(Value::Small(life_number(life)));
                "SELECT coalesce(sum(n), 0)::bigint FROM record_count WHERE kind = $1 AND account = $2 AND life = $3"
                    .to_owned()
            }
            None => format!("SELECT count(*) {}", selection(&whole, life, &mut values)),
        };
        let rows = link.query(&Step::new(sql, values.0)).await?;
        total += rows.first().map_or(0, |row| column::<i64>(row, 0)).max(0).cast_unsigned();
    }
    Ok(total)
}

fn lives(list: &List) -> Vec<Life> {
    list.life.map_or_else(|| vec![Life::Live, Life::Deleted], |life| vec![life])
}

/// The FROM and WHERE of a list.
fn selection(list: &List, life: Life, values: &mut Values) -> String {
    let kind = values.push(Value::Small(i16::from(list.kind.number())));
    let life = values.push(Value::Small(life_number(life)));
    let mut sql = format!("FROM record WHERE record.kind = {kind} AND record.life = {life}");
    // Writing to a string can't fail.
    if let Some(account) = &list.account {
        let account = values.push(Value::Bytes(account.as_bytes().to_vec()));
        let _ = write!(sql, " AND record.account = {account}");
    }
    for word in &list.words {
        let word = values.push(Value::Bytes(word.to_vec()));
        let _ = write!(
            sql,
            " AND EXISTS (SELECT 1 FROM record_word AS found WHERE found.kind = record.kind \
             AND found.account = record.account AND found.word = {word} AND found.id = record.id)"
        );
    }
    if let Some((sort, id)) = &list.after {
        let (sort, id) = (values.push(Value::Number(*sort)), values.push(Value::Bytes(id.clone())));
        let _ = write!(sql, " AND (record.sort, record.id) > ({sort}, {id})");
    }
    if let Some(sort) = list.before_sort {
        let sort = values.push(Value::Number(sort));
        let _ = write!(sql, " AND record.sort < {sort}");
    }
    sql
}

/// The values of a statement that is built at run time.
#[derive(Default)]
pub(super) struct Values(pub(super) Vec<Value>);

impl Values {
    /// Adds a value, and returns its placeholder in the statement.
    pub(super) fn push(&mut self, value: Value) -> String {
        self.0.push(value);
        format!("${}", self.0.len())
    }
}

/// Reads the stored state that a commit mentions.
pub(super) async fn known(link: &Link, commit: &Commit) -> Result<CurrentState, Failure> {
    let mut steps = questions(commit);
    if let Some(tail) = &commit.tail {
        steps.push(tail_step(tail.chain));
    }
    let mut found = link.together(&steps).await?.into_iter();
    let mut known = CurrentState::default();
    for row in found.next().unwrap_or_default() {
        if let Some(kind) = kind_of(column(&row, 0)) {
            let key = RecordKey::new(kind, column::<Vec<u8>>(&row, 1));
            known.versions.insert(key, column::<i64>(&row, 2).cast_unsigned());
        }
    }
    for row in found.next().unwrap_or_default() {
        let account = AccountId::from_slice(&column::<Vec<u8>>(&row, 1)).ok();
        if let (Some(kind), Ok(name)) = (kind_of(column(&row, 0)), column::<Vec<u8>>(&row, 2).try_into()) {
            known.names.insert((kind, account, name), column(&row, 3));
        }
    }
    for row in found.next().unwrap_or_default() {
        if let (Some(kind), Ok(account)) =
            (kind_of(column(&row, 0)), AccountId::from_slice(&column::<Vec<u8>>(&row, 1)))
        {
            known.occupied.insert((kind, account));
        }
    }
    known.tail =
        commit.tail.and_then(|tail| found.next().unwrap_or_default().first().map(|row| tail_of(row, tail.chain)));
    Ok(known)
}

/// The queries for the records, the names and the accounts of a commit.
fn questions(commit: &Commit) -> Vec<Step> {
    let mut mentioned: Vec<&RecordKey> = Vec::new();
    let (mut names, mut none_in) = (Vec::new(), Vec::new());
    for change in &commit.changes {
        for expect in &change.expect {
            match expect {
                Expect::Version(key, _) | Expect::Absent(key) | Expect::Exists(key) => mentioned.push(key),
                Expect::NoneIn(kind, account) => none_in.push((i16::from(kind.number()), account.as_bytes().to_vec())),
            }
        }
        for Put { record, index } in &change.put {
            mentioned.push(&record.key);
            if let Index::Replace(finders) = index {
                let owner = (i16::from(record.key.kind.number()), account_bytes(record.account.as_ref()));
                names.extend(finders.names.iter().map(|name| (owner.clone(), name.to_vec())));
            }
        }
    }
    mentioned.sort_unstable();
    mentioned.dedup();
    let (owners, names): (Vec<_>, Vec<_>) = names.into_iter().unzip();
    let (kinds, accounts) = owners.into_iter().unzip();
    let (empty_kinds, empty_accounts) = none_in.into_iter().unzip();
    vec![
        Step::new(
            "SELECT kind, id, version FROM record \
             JOIN unnest($1::smallint[], $2::bytea[]) AS wanted (kind, id) USING (kind, id)",
            keys(mentioned.iter().copied()),
        ),
        Step::new(
            "SELECT kind, account, name, id FROM record_name JOIN unnest($1::smallint[], $2::bytea[], $3::bytea[]) \
             AS wanted (kind, account, name) USING (kind, account, name)",
            vec![Value::Smalls(kinds), Value::Blobs(accounts), Value::Blobs(names)],
        ),
        Step::new(
            "SELECT DISTINCT kind, account FROM record JOIN unnest($1::smallint[], $2::bytea[]) \
             AS wanted (kind, account) USING (kind, account)",
            vec![Value::Smalls(empty_kinds), Value::Blobs(empty_accounts)],
        ),
    ]
}

/// The query for the last record of a chain.
pub(super) fn tail_step(chain: u32) -> Step {
    let places = [place(chain, 0), end(chain)].map(|place| Value::Number(place.unwrap_or(i64::MAX)));
    Step::new("SELECT place, mac FROM audit WHERE place BETWEEN $1 AND $2 ORDER BY place DESC LIMIT 1", places.into())
}

/// The tail in a row of [`tail_step`].
pub(super) fn tail_of(row: &Row, chain: u32) -> Tail {
    Tail { chain, seq: seq_of(column(row, 0)), mac: fixed(row, 1) }
}

fn kind_of(number: i16) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| i16::from(kind.number()) == number)
}

/// Reads a record.
fn record(row: &Row, kind: Kind) -> Record {
    Record {
        key: RecordKey { kind, id: column(row, 0) },
        version: column::<i64>(row, 1).cast_unsigned(),
        account: AccountId::from_slice(&column::<Vec<u8>>(row, 2)).ok(),
        sort: column(row, 3),
        life: if column::<i16>(row, 4) == 0 { Life::Live } else { Life::Deleted },
        mac: fixed(row, 5),
        body: column(row, 6),
    }
}

/// A column; empty or zero if it has another type than the migration gave it.
pub(super) fn column<'a, T: tokio_postgres::types::FromSql<'a> + Default>(row: &'a Row, number: usize) -> T {
    row.try_get(number).unwrap_or_default()
}

/// Bytes of a fixed length; zeros, which are a wrong MAC, if they have another.
pub(super) fn fixed(row: &Row, number: usize) -> [u8; 32] {
    column::<Vec<u8>>(row, number).try_into().unwrap_or_default()
}

pub(super) fn account_bytes(account: Option<&AccountId>) -> Vec<u8> {
    account.map_or_else(Vec::new, |account| account.as_bytes().to_vec())
}

pub(super) const fn life_number(life: Life) -> i16 {
    match life {
        Life::Live => 0,
        Life::Deleted => 1,
    }
}
