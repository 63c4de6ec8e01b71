//! Output of secrets: tables and facts for people, documents for programs.

use serde::Serialize;

use crate::{
    domain::{
        limits::RESTORE_DAYS,
        otpauth,
        secret::{SecretMetadata, SecretUse, TotpSecret},
        seed::Seed,
        time::Timestamp,
    },
    operations::{
        Export, SecretCreateResponse,
        answers::{self, OK, Revealed},
    },
    transport::cli::{
        Failure, Session,
        names::ShortIds,
        output::Console,
        table::{Columns, Table},
    },
};

/// The head of a table of secrets. Many vaults have no secret with an origin.
const HEAD: [&str; 7] = ["ID", "LABEL", "ISSUER", "SINGLE-USE", "CREATED", "LAST USED", "ORIGINS"];
/// The status of an incomplete export.
const NOT_WHOLE: &str = "ERROR";

/// A secret with a generated seed: shown once, with the URI for an authenticator app.
#[derive(Serialize)]
struct GeneratedAnswer<'a> {
    #[serde(flatten)]
    created: SecretCreateResponse,
    uri: &'a str,
}

/// Deleted secrets, as JSON.
#[derive(Serialize)]
pub(super) struct DeletedAnswer {
    status: &'static str,
    totp_secrets: Vec<DeletedSecret>,
}

/// A deleted secret.
#[derive(Serialize)]
struct DeletedSecret {
    #[serde(flatten)]
    secret: answers::TotpSecret,
    deleted_at: Option<String>,
    /// After this time it can't be restored.
    restorable_until: Option<String>,
}

/// Exported secrets, as JSON.
#[derive(Serialize)]
pub(super) struct ExportAnswer<'a> {
    status: &'static str,
    uris: Vec<&'a str>,
    /// Ids of damaged secrets, which were left out; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<Option<String>>,
}

/// Shows a secret; with its seed if the seed was generated just now.
pub(super) fn show(secret: &TotpSecret, generated: Option<&Seed>, session: &mut Session) -> Result<(), Failure> {
    let mut shown = answers::TotpSecret::from(secret);
    let (metadata, now) = (&secret.metadata, session.service.now());
    shown.secret = generated.map(Revealed::from);
    let created = SecretCreateResponse { status: OK, totp_secret: shown };
    let Some(seed) = generated else {
        return session.console.answer(&created, |console| {
            let facts = facts(secret, now, console);
            console.facts(&facts.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
        });
    };
    let uri = otpauth::uri_of(&metadata.label, metadata.issuer.as_ref(), &metadata.totp, seed);
    let answer = GeneratedAnswer { created, uri: &uri };
    session.console.answer(&answer, |console| {
        let facts = facts(secret, now, console);
        let base32 = seed.to_base32();
        let mut all: Vec<(&str, &str)> = facts.iter().map(|(name, value)| (*name, value.as_str())).collect();
        all.extend([("secret", base32.as_str()), ("uri", uri.as_str())]);
        console.facts(&all)
    })
}

fn facts(secret: &TotpSecret, now: Timestamp, console: &Console) -> Vec<(&'static str, String)> {
    // The patterns name every field, so that a new one does not compile until it is shown or left out here.
    let TotpSecret { id, metadata, created_at, last_used_at, deleted_at: _ } = secret;
    let SecretMetadata { label, issuer, totp, usage, origins } = metadata;
    let mut facts = vec![
        ("id", id.to_string()),
        ("label", label.to_string()),
        ("issuer", issuer.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("algorithm", totp.algorithm.to_string()),
        ("digits", totp.digits.get().to_string()),
        ("period", format!("{} s", totp.period.seconds())),
        ("single-use", if usage.single_use() { "yes" } else { "no" }.to_owned()),
        ("created", console.date(*created_at, now)),
        ("last used", console.date_or_none(*last_used_at, now)),
    ];
    if *usage == SecretUse::FillOnly {
        facts.push(("fill-only", "yes".to_owned()));
    }
    if !origins.is_empty() {
        facts.push(("origins", origins.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")));
    }
    facts
}

/// Short ids for a person at a terminal; programs get whole ids.
pub(super) fn shown_ids(secrets: &[TotpSecret], console: &Console) -> Option<ShortIds> {
    let all = || secrets.iter().map(|secret| secret.id.uuid()).collect::<Vec<_>>();
    console.looks().out.terminal.then(|| ShortIds::of(&all()))
}

fn id(secret: &TotpSecret, ids: Option<&ShortIds>) -> String {
    ids.map_or_else(|| secret.id.to_string(), |ids| ids.short(secret.id.uuid()))
}

/// The columns of a table of secrets.
pub(super) fn columns() -> Columns {
    Columns::new(&HEAD).with_last_optional()
}

/// Writes a table of secrets with their whole ids.
pub(super) fn table(secrets: &[TotpSecret], now: Timestamp, console: &mut Console) -> Result<(), Failure> {
    let mut table = Table::of(columns());
    for secret in secrets {
        table.row(row(secret, secret.id.to_string(), now, console));
    }
    if secrets.is_empty() { Ok(()) } else { console.table(&table) }
}

/// The row of a secret, with `id` as its first cell.
pub(super) fn row(secret: &TotpSecret, id: String, now: Timestamp, console: &Console) -> Vec<String> {
    vec![
        id,
        secret.metadata.label.to_string(),
        issuer(secret),
        if secret.metadata.single_use() { "yes" } else { "" }.to_owned(),
        console.date(secret.created_at, now),
        console.date_or_none(secret.last_used_at, now),
        secret.metadata.origins.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    ]
}

/// Writes a table of deleted secrets.
pub(super) fn deleted(
    secrets: &[TotpSecret],
    ids: Option<&ShortIds>,
    now: Timestamp,
    console: &mut Console,
) -> Result<(), Failure> {
    let mut table = Table::new(&["ID", "LABEL", "ISSUER", "DELETED", "RESTORABLE UNTIL"]);
    for secret in secrets {
        table.row(vec![
            id(secret, ids),
            secret.metadata.label.to_string(),
            issuer(secret),
            console.date_or_none(secret.deleted_at, now),
            console.date_or_none(restorable_until(secret), now),
        ]);
    }
    if secrets.is_empty() { Ok(()) } else { console.table(&table) }
}

/// The name of a secret in a question.
pub(super) fn name(secret: &TotpSecret) -> String {
    match &secret.metadata.issuer {
        Some(issuer) => format!("\"{}\" of {issuer} ({})", secret.metadata.label, secret.id),
        None => format!("\"{}\" ({})", secret.metadata.label, secret.id),
    }
}

fn issuer(secret: &TotpSecret) -> String {
    secret.metadata.issuer.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn restorable_until(secret: &TotpSecret) -> Option<Timestamp> {
    let days = std::time::Duration::from_secs(RESTORE_DAYS.unsigned_abs() * 86_400);
    secret.deleted_at.map(|at| at.plus(days))
}

impl DeletedAnswer {
    pub(super) fn of(secrets: &[TotpSecret]) -> Self {
        let each = secrets.iter().map(|secret| DeletedSecret {
            secret: answers::TotpSecret::from(secret),
            deleted_at: secret.deleted_at.map(|at| at.to_string()),
            restorable_until: restorable_until(secret).map(|at| at.to_string()),
        });
        Self { status: OK, totp_secrets: each.collect() }
    }
}

/// The report of an encrypted export, as JSON.
#[derive(Serialize)]
pub(super) struct SealedExport {
    status: &'static str,
    exported: usize,
    /// Ids of damaged secrets, which were left out; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<Option<String>>,
}

impl SealedExport {
    pub(super) fn of(export: &Export) -> Self {
        let ExportAnswer { status, uris, damaged } = ExportAnswer::of(export);
        Self { status, exported: uris.len(), damaged }
    }
}

impl<'a> ExportAnswer<'a> {
    pub(super) fn of(export: &'a Export) -> Self {
        Self {
            status: if export.damaged.is_empty() { OK } else { NOT_WHOLE },
            uris: export.uris.iter().map(|uri| uri.as_str()).collect(),
            damaged: export.damaged.iter().map(|id| id.as_ref().map(ToString::to_string)).collect(),
        }
    }
}
