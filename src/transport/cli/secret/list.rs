//! `countersign secret list`. A person may have a hundred thousand secrets, so they are read in parts, and a table, whose
//! columns are as wide as their widest cells, is read twice but for its first part.

use uuid::Uuid;

use super::view;
use crate::{
    domain::secret::TotpSecret,
    operations::{ApiOperation as _, ListSecrets, Part, answers},
    transport::cli::{
        Failure, Session,
        names::{Named as _, ShortIds},
        numbers::counted_len,
        output::Console,
    },
};

/// The number of secrets, and of those that match.
#[derive(Default)]
struct Counted {
    there: usize,
    matching: usize,
}

/// Lists the secrets that match the words of a query, or all secrets without one.
pub(super) async fn list(query: Option<&str>, session: &mut Session) -> Result<(), Failure> {
    let Counted { there, matching } =
        if session.console.is_json() { document(query, session).await? } else { table(query, session).await? };
    if matching == 0 {
        session.console.note(&match there {
            0 => "No secrets yet; `countersign secret add --label LABEL` stores one.".to_owned(),
            some => format!("None of {} matches.", counted_len(some, "secret")),
        });
    }
    Ok(())
}

async fn document(query: Option<&str>, session: &mut Session) -> Result<Counted, Failure> {
    let mut items = session.console.items("totp_secrets")?;
    let mut counted = Counted::default();
    let mut parts = ListParts::new();
    while let Some(secrets) = parts.next(session).await? {
        for secret in counted.matching(&secrets, query) {
            session.console.item(&mut items, &answers::TotpSecret::from(secret))?;
        }
    }
    session.console.end_items(&items)?;
    Ok(counted)
}

async fn table(query: Option<&str>, session: &mut Session) -> Result<Counted, Failure> {
    let now = session.service.now();
    // Programs get whole ids.
    let is_short = session.console.looks().out.terminal;
    let (mut columns, mut counted, mut ids) = (view::columns(), Counted::default(), Vec::new());
    let mut see = |secrets: &[TotpSecret], console: &Console| {
        if is_short {
            // Short ids must be unique among all secrets, not just those shown.
            ids.extend(secrets.iter().map(|secret| secret.id.uuid()));
        }
        for secret in counted.matching(secrets, query) {
            let id = if is_short { String::new() } else { secret.id.to_string() };
            columns.see(&view::row(secret, id, now, console));
        }
    };
    let mut parts = ListParts::new();
    let first = parts.next(session).await?.unwrap_or_default();
    let mut again = parts.clone();
    see(&first, &session.console);
    while let Some(secrets) = parts.next(session).await? {
        see(&secrets, &session.console);
    }
    if counted.matching == 0 {
        return Ok(counted);
    }
    let ids = is_short.then(|| ShortIds::of(&ids));
    // All short ids have the same length.
    columns.see(ids.as_ref().map(|ids| ids.short(Uuid::nil())).as_slice());
    let layout = columns.layout(session.console.out_width());
    session.console.head(&layout.head(&columns))?;
    let mut part = Some(first);
    while let Some(secrets) = part {
        for secret in Counted::default().matching(&secrets, query) {
            let id = ids.as_ref().map_or_else(|| secret.id.to_string(), |ids| ids.short(secret.id.uuid()));
            let line = layout.line(&view::row(secret, id, now, &session.console));
            session.console.line(&line)?;
        }
        part = again.next(session).await?;
    }
    Ok(counted)
}

impl Counted {
    /// Counts some secrets, and returns those that match the words.
    fn matching<'a>(&mut self, secrets: &'a [TotpSecret], query: Option<&str>) -> Vec<&'a TotpSecret> {
        let matching: Vec<_> =
            secrets.iter().filter(|secret| query.is_none_or(|query| secret.has_words(query))).collect();
        self.there += secrets.len();
        self.matching += matching.len();
        matching
    }
}

/// The secrets, part by part.
#[derive(Clone)]
struct ListParts(Option<ListSecrets>);

impl ListParts {
    fn new() -> Self {
        Self(Some(ListSecrets { part: Some(Part::First), ..ListSecrets::default() }))
    }

    async fn next(&mut self, session: &Session) -> Result<Option<Vec<TotpSecret>>, Failure> {
        let Some(asked) = self.0.take() else { return Ok(None) };
        let mut page = session.perform(asked).await?;
        self.0 = ListSecrets::rest(&mut page);
        Ok(Some(page.secrets))
    }
}
