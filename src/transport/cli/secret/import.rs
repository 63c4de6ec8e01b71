//! `countersign secret import`: many secrets at once. Everything is looked at before anything is stored, and an error
//! names the line, never what stands in it.

use std::{collections::HashSet, path::PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::view;
use crate::{
    domain::{
        limits::{IMPORT_BYTES_MAX, IMPORT_ENTRIES_MAX},
        secret::SecretMetadata,
    },
    service::{Refusal, Registration, SecretQuery},
    transport::{
        cli::{Ending, Failure, Session, output::Console},
        wire::{self, Input as _, Json, OK, RegisterInput, depth_within_limit},
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

/// An entry that was looked at, and where it stands: `line 3`, `entry 3`.
struct Entry {
    place: String,
    read: Result<Registration, Refusal>,
}

/// An entry that can be stored.
struct Good {
    place: String,
    registration: Registration,
    metadata: SecretMetadata,
}

/// What `secret export --json` prints.
#[derive(Deserialize)]
struct Exported {
    uris: Vec<Json>,
}

/// What was stored, for programs.
#[derive(Serialize)]
struct ImportAnswer {
    imported: usize,
    /// Entries that can be stored, whether or not they were.
    fit: usize,
    /// Entries with the issuer and label of a secret that was there before.
    same_name: usize,
    /// Entries that are wrong: where, and what is wrong.
    failed: Vec<Failed>,
    totp_secrets: Vec<wire::TotpSecret>,
    status: &'static str,
}

/// An entry that is wrong.
#[derive(Debug, Serialize)]
struct Failed {
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
    let (good, failed) = looked_at(entries, session);
    if !failed.is_empty() && !args.keep_going {
        let told: Vec<String> = failed.iter().map(|failed| format!("{}: {}", failed.place, failed.message)).collect();
        let message =
            format!("nothing was stored:\n  {}\n--keep-going stores the other {}", told.join("\n  "), good.len());
        return Err(Failure::invalid(message));
    }
    let same_name = same_name(&good, session).await?;
    if args.dry_run {
        let fit = good.len();
        let answer = ImportAnswer { imported: 0, fit, same_name, failed, totp_secrets: Vec::new(), status: OK };
        return tell(&answer, session);
    }
    let mut stored = Vec::with_capacity(good.len());
    for Good { place, registration, .. } in good {
        // What can fail here is the vault, and then it fails for the rest, too.
        let registered = session.service.register_secret(&session.caller, registration).await.map_err(|refusal| {
            Failure::invalid(format!("{place}: {refusal}; {} secrets before it were stored", stored.len()))
        })?;
        stored.push(registered.secret);
    }
    let totp_secrets = stored.iter().map(wire::TotpSecret::from).collect();
    let now = session.service.now();
    if !session.console.is_json() {
        view::table(&stored, now, &mut session.console)?;
    }
    let imported = stored.len();
    tell(&ImportAnswer { imported, fit: imported, same_name, failed, totp_secrets, status: OK }, session)
}

/// How many entries are called like a secret that is there already: most likely they were imported before. They are stored
/// all the same, since a person may have two; seeds are not compared.
async fn same_name(good: &[Good], session: &Session) -> Result<usize, Failure> {
    let there = session.service.list_secrets(&session.caller, &SecretQuery::default()).await?.secrets;
    let name = |metadata: &SecretMetadata| (metadata.issuer.clone(), metadata.label.clone());
    let names: HashSet<_> = there.iter().map(|secret| name(&secret.metadata)).collect();
    Ok(good.iter().filter(|entry| names.contains(&name(&entry.metadata))).count())
}

/// Says what was stored, and what was not.
fn tell(answer: &ImportAnswer, session: &mut Session) -> Result<Ending, Failure> {
    let ImportAnswer { imported, fit, same_name, failed, .. } = answer;
    let note = |console: &mut Console| {
        for Failed { place, message } in failed {
            console.note(&format!("{place}: {message}"));
        }
        if imported < fit {
            console.note(&format!("{fit} secrets could be stored, {} not; nothing was.", failed.len()));
        } else {
            console.note(&format!("{imported} secrets stored, {} left out.", failed.len()));
        }
        if *same_name > 0 {
            console.note(&format!("{same_name} of them have the issuer and label of a secret that was there before."));
        }
    };
    if session.console.is_json() {
        session.console.document(answer)?;
    } else {
        note(&mut session.console);
    }
    Ok(if failed.is_empty() { Ending::Done } else { Ending::No })
}

/// Parts the entries that can be stored from those that can't.
fn looked_at(entries: Vec<Entry>, session: &Session) -> (Vec<Good>, Vec<Failed>) {
    let (mut good, mut failed) = (Vec::new(), Vec::new());
    for Entry { place, read } in entries {
        let checked = read.and_then(|registration| {
            // The command line would store a seed that nobody has ever seen.
            if registration.uri.is_none() && registration.secret.is_none() {
                return Err(Refusal::invalid("secret", "is required in an import"));
            }
            session.service.check_registration(&registration).map(|checked| (registration, checked.metadata))
        });
        match checked {
            Ok((registration, metadata)) => good.push(Good { place, registration, metadata }),
            Err(refusal) => failed.push(Failed { place, message: refusal.to_string() }),
        }
    }
    (good, failed)
}

/// One URI a line; empty lines and lines that begin with `#` are left out.
fn from_lines(text: &str) -> Vec<Entry> {
    let lines = text.lines().map(str::trim).zip(1_usize..);
    let entries = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    entries
        .map(|(line, number)| Entry {
            place: format!("line {number}"),
            read: Ok(of_uri(Zeroizing::new(line.to_owned()))),
        })
        .collect()
}

/// An array of URIs, or of what a registration takes; or what our own export prints.
fn from_json(text: &str) -> Result<Vec<Entry>, Failure> {
    let exported = text.trim_start().starts_with('{');
    let values: serde_json::Result<Vec<Json>> = if exported {
        serde_json::from_str::<Exported>(text).map(|exported| exported.uris)
    } else {
        serde_json::from_str(text)
    };
    // serde's own text is not passed on: it may quote.
    let values = values.map_err(|cause| {
        let wanted = if exported { "what `secret export --json` prints" } else { "a JSON array" };
        Failure::invalid(format!("line {}: not {wanted}", cause.line()))
    })?;
    // Of a field that is named twice, what was read is the one or the other.
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

/// Names the field if it is one of ours: a name that is not may be anything.
fn named_twice(field: &str) -> Refusal {
    match RegisterInput::FIELDS.iter().find(|(known, _)| *known == field) {
        Some((known, _)) => Refusal::invalid(known, "is named twice"),
        None => Refusal::invalid("entry", "names a field twice"),
    }
}

fn of_value(value: Value) -> Result<Registration, Refusal> {
    match value {
        Value::String(uri) => Ok(of_uri(Zeroizing::new(uri))),
        Value::Object(fields) if depth_within_limit(&fields) => {
            wire::read::<RegisterInput>(fields).map(|input| input.into_registration(None))
        }
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            Err(Refusal::invalid("entry", "must be an otpauth:// URI or an object such as a registration takes"))
        }
    }
}

fn of_uri(uri: Zeroizing<String>) -> Registration {
    Registration { uri: Some(uri), ..Registration::default() }
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
