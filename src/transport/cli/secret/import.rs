//! `countersign secret import`: many secrets at once. Everything is checked before anything is stored, and an error
//! names the line and never quotes it.

use std::{collections::HashSet, path::PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{add::meant, duplicate::name, view};
use crate::{
    domain::{
        limits::{IMPORT_BYTES_MAX, IMPORT_ENTRIES_MAX},
        otpauth::{Names, Repair},
    },
    operations::{
        self, Enrolment, ImportSecrets, Imported, ListSecrets, Operation as _, Refusal, RegisterSecret, Registration,
        answers::{OK, TotpSecret},
    },
    transport::{
        cli::{Ending, Failure, Session, numbers::counted_len, output::Console},
        json::Json,
    },
};

/// What an import takes.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file; `-` for standard input
    file: PathBuf,
    /// Look at the file and store nothing
    #[arg(long)]
    dry_run: bool,
    /// Store what is right although other entries are wrong
    #[arg(long)]
    keep_going: bool,
}

impl ImportArgs {
    /// Whether it stores anything.
    pub(super) const fn stores(&self) -> bool {
        !self.dry_run
    }
}

/// A checked entry with its position: `line 3`, `entry 3`.
struct Entry {
    place: String,
    read: Result<Meant, Refusal>,
}

/// An entry's registration, and its repairs.
struct Meant {
    registration: Registration,
    repaired: Vec<Repair>,
}

/// The output of `secret export --json`.
#[derive(Deserialize)]
struct Exported {
    uris: Vec<Json>,
}

/// The result, as JSON.
#[derive(Serialize)]
struct ImportAnswer {
    imported: usize,
    /// Entries that can be stored, whether or not they were.
    fit: usize,
    /// Entries with the seed and parameters of a stored secret: they are not stored again.
    skipped: usize,
    /// Other entries with the issuer and label of an existing secret.
    same_name: usize,
    /// Wrong entries: where, and what is wrong.
    failed: Vec<Remark>,
    /// Repaired entries: where, and what. Absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    repaired: Vec<Remark>,
    totp_secrets: Vec<TotpSecret>,
    status: &'static str,
}

/// A remark about an entry.
#[derive(Debug, Serialize)]
struct Remark {
    place: String,
    message: String,
}

/// Stores the secrets of a file.
pub(super) async fn import(args: &ImportArgs, session: &mut Session) -> Result<Ending, Failure> {
    let text = session.console.read_text("FILE", &args.file, IMPORT_BYTES_MAX)?;
    let entries = if text.trim_start().starts_with(['[', '{']) { from_json(&text)? } else { from_lines(&text) };
    if entries.is_empty() {
        return Err(Failure::invalid("the file has no entries"));
    }
    if entries.len() > IMPORT_ENTRIES_MAX {
        return Err(Failure::invalid(format!("an import takes {IMPORT_ENTRIES_MAX} secrets at most; split the file")));
    }
    let LookedAt { good, failed, repaired } = looked_at(entries, session);
    if !failed.is_empty() && !args.keep_going {
        let told: Vec<String> = failed.iter().map(|failed| format!("{}: {}", failed.place, failed.message)).collect();
        let message =
            format!("nothing was stored:\n  {}\n--keep-going stores the other {}", told.join("\n  "), good.len());
        return Err(Failure::invalid(message));
    }
    let there = session.perform(ListSecrets::default()).await?.secrets;
    let there: HashSet<_> = there.iter().map(|secret| name(&secret.metadata)).collect();
    let Imported { secrets, skipped } = session.perform(ImportSecrets { entries: good, dry_run: args.dry_run }).await?;
    // Secrets with an existing secret's name and another seed: a person may have two, so report them.
    let same_name = secrets.iter().filter(|secret| there.contains(&name(&secret.metadata))).count();
    let fit = secrets.len();
    let stored = if args.dry_run { Vec::new() } else { secrets };
    let now = session.service.now();
    if !session.console.is_json() {
        view::table(&stored, None, now, &mut session.console)?;
    }
    let totp_secrets = stored.iter().map(TotpSecret::from).collect();
    let answer =
        ImportAnswer { imported: stored.len(), fit, skipped, same_name, failed, repaired, totp_secrets, status: OK };
    tell(&answer, args.dry_run, session)
}

/// Reports what was stored and what was not.
fn tell(answer: &ImportAnswer, dry_run: bool, session: &mut Session) -> Result<Ending, Failure> {
    let ImportAnswer { imported, fit, skipped, same_name, failed, repaired, .. } = answer;
    let note = |console: &mut Console| {
        for Remark { place, message } in repaired.iter().chain(failed) {
            console.note(&format!("{place}: {message}"));
        }
        if dry_run {
            let fit = counted_len(*fit, "secret");
            console.note(&format!(
                "{fit} could be stored, {skipped} there already, {} wrong; nothing was stored.",
                failed.len()
            ));
        } else {
            let imported = counted_len(*imported, "secret");
            console.note(&format!("{imported} stored, {skipped} there already, {} wrong.", failed.len()));
        }
        match same_name {
            0 => {}
            1 => console.note("1 of them has the issuer and label of a secret that was there before."),
            many => {
                console.note(&format!("{many} of them have the issuer and label of a secret that was there before."));
            }
        }
    };
    if session.console.is_json() {
        session.console.document(answer)?;
    } else {
        note(&mut session.console);
    }
    Ok(if failed.is_empty() { Ending::Done } else { Ending::No })
}

/// Entries by result.
#[derive(Default)]
struct LookedAt {
    good: Vec<Enrolment>,
    failed: Vec<Remark>,
    repaired: Vec<Remark>,
}

/// Separates the entries that can be stored from those that can't.
fn looked_at(entries: Vec<Entry>, session: &Session) -> LookedAt {
    let mut all = LookedAt::default();
    for Entry { place, read } in entries {
        let checked = read.and_then(|Meant { registration, repaired }| {
            // Otherwise a seed would be generated that nobody has ever seen.
            if registration.uri.is_none() && registration.secret.is_none() {
                return Err(Refusal::invalid("secret", "is required in an import"));
            }
            let checked = session.service.check_registration(&registration);
            checked.map(|enrolment| (enrolment, repaired))
        });
        match checked {
            Ok((enrolment, repaired)) => {
                let told = |repair: Repair| Remark { place: place.clone(), message: repair.to_string() };
                all.repaired.extend(repaired.into_iter().map(told));
                all.good.push(enrolment);
            }
            Err(refusal) => all.failed.push(Remark { place, message: refusal.to_string() }),
        }
    }
    all
}

/// One URI per line; empty lines and lines that begin with `#` are ignored.
fn from_lines(text: &str) -> Vec<Entry> {
    let lines = text.lines().map(str::trim).zip(1_usize..);
    let entries = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    entries
        .map(|(line, number)| Entry { place: format!("line {number}"), read: of_uri(line, Registration::default()) })
        .collect()
}

/// An array of URIs or registrations, or the document of our own export.
fn from_json(text: &str) -> Result<Vec<Entry>, Failure> {
    let exported = text.trim_start().starts_with('{');
    let values: serde_json::Result<Vec<Json>> = if exported {
        serde_json::from_str::<Exported>(text).map(|exported| exported.uris)
    } else {
        serde_json::from_str(text)
    };
    // serde's text may quote the file, so it is not passed on.
    let values = values.map_err(|cause| {
        let wanted = if exported { "what `secret export --json` prints" } else { "a JSON array" };
        Failure::invalid(format!("line {}: not {wanted}", cause.line()))
    })?;
    // For a repeated field, either value may have been used.
    if exported && serde_json::from_str(text).is_ok_and(|Json { repeated, .. }| repeated.is_some()) {
        return Err(Failure::invalid("the document names a field twice"));
    }
    let entry = |(Json { value, repeated }, number): (Json, usize)| {
        let read = match repeated {
            Some(field) => Err(named_twice(&field)),
            None => of_value(value),
        };
        Entry { place: format!("entry {number}"), read }
    };
    Ok(values.into_iter().zip(1_usize..).map(entry).collect())
}

/// Names the field if it is one of ours: another name may hold anything.
fn named_twice(field: &str) -> Refusal {
    let ours = operations::Entry::named(RegisterSecret::SPEC.name);
    match ours.and_then(|ours| ours.route_fields().names().find(|name| *name == field)) {
        Some(known) => Refusal::invalid(known, "is named twice"),
        None => Refusal::invalid("entry", "names a field twice"),
    }
}

fn of_value(value: Value) -> Result<Meant, Refusal> {
    match value {
        Value::String(uri) => of_uri(&Zeroizing::new(uri), Registration::default()),
        Value::Object(fields) => {
            let mut registration = Registration::read("entry", fields)?;
            match registration.uri.take() {
                Some(uri) => of_uri(&uri, registration),
                None => Ok(Meant { registration, repaired: Vec::new() }),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            Err(Refusal::invalid("entry", "must be an otpauth:// URI or an object such as a registration takes"))
        }
    }
}

fn of_uri(uri: &str, beside: Registration) -> Result<Meant, Refusal> {
    let (uri, repaired) = meant(uri, Names::default())?;
    Ok(Meant { registration: Registration { uri: Some(uri), ..beside }, repaired })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lines_and_comments_are_left_out_and_lines_are_counted() {
        let entries = from_lines("# from my phone\n\n otpauth://totp/a?secret=AA \r\nnonsense\n");

        let places: Vec<_> = entries.iter().map(|entry| entry.place.as_str()).collect();
        assert_eq!(places, ["line 3", "line 4"]);
    }

    #[test]
    fn json_entries_are_uris_or_registrations() {
        let entries = from_json(
            r#"["otpauth://totp/a?secret=AA", {"label": "a", "secret": "JBSWY3DP"}, {"label": "a", "JBSWY3DP": 1}, 7]"#,
        )
        .unwrap();

        let read: Vec<_> = entries.iter().map(|entry| entry.read.is_ok()).collect();
        assert_eq!(read, [true, true, false, false]);
        let refused: Vec<_> = entries.iter().filter_map(|entry| entry.read.as_ref().err()).collect();
        assert!(refused.iter().all(|refusal| !refusal.to_string().contains("JBSWY3DP")));
        assert_eq!(entries.last().unwrap().place, "entry 4");
    }

    #[test]
    fn broken_json_is_refused_by_line_and_not_quoted() {
        for broken in ["[\n\"JBSWY3DP\", JBSWY3DP]", "{\"uris\":\n\"JBSWY3DP\"}", "{\n\"JBSWY3DP\": []}"] {
            let refused = from_json(broken).map(|_| ()).unwrap_err().to_string();
            assert!(refused.starts_with("line 2") && !refused.contains("JBSWY3DP"), "{refused}");
        }
    }
}
