//! `countersign vault status`: what is known of the vault.

use serde::Serialize;

use super::{Ending, Failure, Session, numbers::counted};
use crate::operations::{Count, CountSeats, Health, ListSecrets, Rotation, answers::OK};

/// The facts, as JSON.
#[derive(Serialize)]
struct StatusAnswer<'a> {
    vault_id: &'a str,
    backend: &'a str,
    location: &'a str,
    /// The key file that opened the vault; null if another source did.
    key_file: Option<&'a str>,
    opened_by: &'static str,
    key_id: u8,
    format: u32,
    slots: &'a [String],
    epoch: u32,
    /// The number of records that still need an older data key, if a rotation is not finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_left: Option<u64>,
    created_at: String,
    account: String,
    secrets: u64,
    seats: u64,
    writable: bool,
    /// The chains of the audit log: one for each node that writes. Absent if the vault can't be written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    chains: Vec<u32>,
    status: &'static str,
}

pub(super) async fn status(session: &mut Session) -> Result<Ending, Failure> {
    let none = ListSecrets { limit: Count::new(0), ..ListSecrets::default() };
    let secrets = session.perform(none).await?.stored;
    let seats = session.perform(CountSeats::default()).await?;
    let (writable, now) = (session.service.health().await == Health::Ready, session.service.now());
    // The doctor reports problems with the audit log.
    let heads = if writable { session.service.audit_heads().await.unwrap_or_default() } else { Vec::new() };
    let rotation = unfinished(session).await;
    let epoch = match &rotation {
        Some(rotation) => format!("{}; {}", rotation.epoch, words(rotation)),
        None => session.vault.epoch.to_string(),
    };
    let facts = session.vault.clone();
    let answer = StatusAnswer {
        vault_id: &facts.vault,
        backend: &facts.backend,
        location: &facts.location,
        key_file: facts.key_file.as_deref(),
        opened_by: facts.opened_by.as_str(),
        key_id: facts.slot,
        format: facts.format,
        slots: &facts.slots,
        epoch: rotation.as_ref().map_or(facts.epoch, |rotation| rotation.epoch),
        rotation_left: rotation.as_ref().filter(|rotation| !rotation.finished).map(|rotation| rotation.left),
        created_at: facts.created_at.to_string(),
        account: session.account.name.to_string(),
        secrets,
        seats,
        writable,
        chains: heads.iter().map(|head| head.chain).collect(),
        status: OK,
    };
    session.console.answer(&answer, |console| {
        console.facts(&[
            ("vault", &facts.vault),
            ("kept by", &facts.backend),
            ("in", &facts.location),
            ("key file", facts.key_file.as_deref().unwrap_or("-")),
            ("opened by", &format!("{}, key {}", facts.opened_by.as_str(), facts.slot)),
            ("opens by", &facts.slots.join(", ")),
            ("format", &facts.format.to_string()),
            ("key epoch", &epoch),
            ("created", &console.date(facts.created_at, now)),
            ("account", &answer.account),
            ("secrets", &secrets.to_string()),
            ("seats", &seats.to_string()),
            ("chains", &heads.len().to_string()),
            ("writable", if writable { "yes" } else { "no" }),
        ])
    })?;
    if !writable {
        session.console.note("The vault can't be written; `countersign vault doctor` may say why.");
    }
    Ok(if writable { Ending::Done } else { Ending::No })
}

/// The rotation of the data key or of a key that opens the vault, if one is unfinished and can be read.
pub(super) async fn unfinished(session: &Session) -> Option<Rotation> {
    let is_unfinished = |rotation: &Rotation| !rotation.finished || !rotation.keys.is_empty();
    session.service.rotation().await.ok().filter(is_unfinished)
}

/// Describes what is left of a rotation, and the command that finishes it.
pub(super) fn words(rotation: &Rotation) -> String {
    let of = counted(rotation.records, "record");
    let data = format!("{} of {of} still need an older data key; `countersign vault rotate` goes on", rotation.left);
    let keys = rotation.keys.iter();
    let keys = keys.map(|id| format!("key {id} is getting a new key; `countersign vault rotate --key {id}` goes on"));
    (!rotation.finished).then_some(data).into_iter().chain(keys).collect::<Vec<_>>().join("; ")
}
