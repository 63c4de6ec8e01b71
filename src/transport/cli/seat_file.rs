//! Imports seats from a file: CSV with a head line, or a JSON array. Every entry is checked before any is added, all are added
//! at once, and an error names the line and never quotes it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    Ending, Failure, Session,
    file_names::shown_path,
    first::{Input, Taken},
    numbers::counted_len,
    output::Console,
    seat::SeatView,
};
use crate::{
    domain::limits::{IMPORT_BYTES_MAX, IMPORT_SEATS_MAX},
    operations::{ImportSeats, ImportedSeats, PresentSeat, SeatChanges, SortedSeats, answers::OK},
    transport::json::Json,
};

/// An entry of a file. An empty text counts as missing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    email: String,
    #[serde(default)]
    first_name: Option<String>,
    #[serde(default)]
    last_name: Option<String>,
    #[serde(default)]
    forwarding_number: Option<String>,
    #[serde(default)]
    auth_subject: Option<String>,
    #[serde(default)]
    codes_per_hour: Option<u32>,
}

/// The fields of an entry, for errors.
const FIELDS: &str = "email, first_name, last_name, forwarding_number, auth_subject, codes_per_hour";

/// The result, as JSON.
#[derive(Serialize)]
struct ImportAnswer {
    /// The sum of `imported` and `present`.
    entries: usize,
    imported: usize,
    present: usize,
    already_present: Vec<Present>,
    seats: Vec<SeatView>,
    status: &'static str,
}

/// An entry whose seat is there already.
#[derive(Serialize)]
struct Present {
    place: String,
    email: String,
    /// Whether the seat has other fields than the entry; an import changes none.
    differs: bool,
}

/// The most seats that are named as present. A longer list would only scroll away.
const LISTED_MAX: usize = 100;

/// An entry with its position: `line 3`, `entry 3`.
pub(super) type Placed = (String, SeatChanges);

/// Adds the seats of a file.
pub(super) async fn import(path: &Path, session: &mut Session) -> Result<Ending, Failure> {
    let entries = match session.input.take() {
        Some(Input(Taken::Seats(entries))) => entries,
        _ => read(path, &mut session.console)?,
    };
    let (places, entries): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
    let count = entries.len();
    let ImportedSeats { seats, sorted } = session.perform(ImportSeats { entries }).await?;
    no_problems(&sorted, &places)?;
    let seats: Vec<_> = seats.iter().map(|seat| SeatView::of(seat, &session.account)).collect();
    let already_present: Vec<_> = sorted.present.into_iter().map(|present| present_at(&places, present)).collect();
    let answer = ImportAnswer {
        entries: count,
        imported: seats.len(),
        present: already_present.len(),
        already_present,
        seats,
        status: OK,
    };
    if !session.console.is_json() {
        list(&answer.already_present, &mut session.console);
    }
    session.console.answer(&answer, |console| {
        console.line(&format!("{} added, {} present", counted_len(answer.imported, "seat"), answer.present))
    })?;
    Ok(Ending::Done)
}

/// Lists the seats that are already there, up to [`LISTED_MAX`].
fn list(present: &[Present], console: &mut Console) {
    for Present { place, email, differs } in present.iter().take(LISTED_MAX) {
        let other = if *differs { ", with other fields; `countersign seat update` changes them" } else { "" };
        console.note(&format!("present: {place}, {email}{other}"));
    }
    if present.len() > LISTED_MAX {
        console.note(&format!("and {} more present", present.len() - LISTED_MAX));
    }
}

fn present_at(places: &[String], PresentSeat { index, email, differs }: PresentSeat) -> Present {
    Present { place: places.get(index).cloned().unwrap_or_default(), email, differs }
}

/// Reads and checks the file where no vault exists yet.
pub(super) fn first(path: &Path, console: &mut Console) -> Result<Vec<Placed>, Failure> {
    let entries = read(path, console)?;
    let (places, changes): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
    no_problems(&SortedSeats::of(&changes, &[]), &places)?;
    Ok(places.into_iter().zip(changes).collect())
}

fn read(path: &Path, console: &mut Console) -> Result<Vec<Placed>, Failure> {
    let text = console.read_text("FILE", path, IMPORT_BYTES_MAX)?;
    let json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
        || text.trim_start().starts_with('[');
    let entries = if json { from_json(&text)? } else { from_csv(&text)? };
    if entries.is_empty() {
        return Err(Failure::invalid(format!("{}: the file has no entries", shown_path(path))));
    }
    if entries.len() > IMPORT_SEATS_MAX {
        return Err(Failure::invalid(format!("an import takes {IMPORT_SEATS_MAX} seats at most; split the file")));
    }
    Ok(entries)
}

/// Refuses a file with wrong entries, and names their positions.
fn no_problems(sorted: &SortedSeats, places: &[String]) -> Result<(), Failure> {
    if sorted.problems.is_empty() {
        return Ok(());
    }
    let lines = sorted.problems.iter().map(|(index, problem)| {
        let place = places.get(*index).map(String::as_str).unwrap_or_default();
        format!("{place}: {problem}")
    });
    Err(Failure::invalid(format!("nothing was added:\n  {}", lines.collect::<Vec<_>>().join("\n  "))))
}

fn from_csv(text: &str) -> Result<Vec<Placed>, Failure> {
    refuse_open_quote(text)?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let head = reader.headers().map_err(|cause| unreadable(&cause))?.clone();
    if !head.iter().any(|name| name == "email") || !head.iter().all(is_field) {
        return Err(Failure::invalid(format!(
            "line 1 must name the columns, `email` among them; the known ones are {FIELDS}"
        )));
    }
    let mut entries = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|cause| unreadable(&cause))?;
        let place = format!("line {}", record.position().map_or(0, csv::Position::line));
        let entry: Entry = record.deserialize(Some(&head)).map_err(|_| malformed(&place))?;
        entries.push((place, entry.changes()));
    }
    Ok(entries)
}

/// Refuses a file with an unclosed quotation mark. The csv crate would take the end of the file as the missing mark, so
/// half a file would pass as a whole one. If all are closed, their number is even.
fn refuse_open_quote(text: &str) -> Result<(), Failure> {
    let quoted = text.lines().zip(1_usize..).filter(|(line, _)| line.contains('"'));
    match quoted.last() {
        Some((_, number)) if text.matches('"').count() % 2 == 1 => {
            Err(Failure::invalid(format!("line {number}: a quotation mark is not closed")))
        }
        _ => Ok(()),
    }
}

fn from_json(text: &str) -> Result<Vec<Placed>, Failure> {
    let values: Vec<Json> = serde_json::from_str(text)
        .map_err(|cause| Failure::invalid(format!("line {}: not a JSON array of seats", cause.line())))?;
    let placed = values.into_iter().zip(1_usize..).map(|(Json { value, repeated }, number)| {
        let place = format!("entry {number}");
        // For a repeated field, either value may have been used. An unknown name may contain anything, so it is not
        // quoted.
        match repeated {
            Some(field) if is_field(&field) => {
                return Err(Failure::invalid(format!("{place}: `{field}` is named twice")));
            }
            Some(_) => return Err(malformed(&place)),
            None => {}
        }
        let entry: Entry = serde_json::from_value(value).map_err(|_| malformed(&place))?;
        Ok((place, entry.changes()))
    });
    placed.collect()
}

fn is_field(name: &str) -> bool {
    FIELDS.split(", ").any(|known| known == name)
}

fn malformed(place: &str) -> Failure {
    Failure::invalid(format!("{place}: not a seat; the fields are {FIELDS}, and codes_per_hour is a number"))
}

/// The error for an invalid file. The csv crate's own text may quote the file.
fn unreadable(cause: &csv::Error) -> Failure {
    let line = cause.position().map_or_else(|| "the file".to_owned(), |at| format!("line {}", at.line()));
    Failure::invalid(format!("{line}: not CSV, or with another number of columns than line 1"))
}

impl Entry {
    fn changes(self) -> SeatChanges {
        SeatChanges {
            email: Some(self.email),
            first_name: self.first_name,
            last_name: self.last_name,
            forwarding_number: self.forwarding_number,
            auth_subject: self.auth_subject,
            codes_per_hour: self.codes_per_hour,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_columns_stand_in_any_order_and_empty_cells_are_none() {
        let entries =
            from_csv("first_name,email,codes_per_hour\nAda, ada@example.com ,\n,bob@example.com,5\n").unwrap();

        let [(first, ada), (second, bob)] = entries.as_slice() else { panic!("two entries") };
        assert_eq!((first.as_str(), second.as_str()), ("line 2", "line 3"));
        assert_eq!((ada.email.as_deref(), ada.first_name.as_deref()), (Some("ada@example.com"), Some("Ada")));
        assert_eq!((bob.first_name.as_deref(), bob.codes_per_hour), (None, Some(5)));
    }

    #[test]
    fn quoted_cells_may_hold_commas_quotation_marks_and_lines() {
        let entries = from_csv("email,first_name\na@b.c,\"Ada, \"\"A\"\"\"\n\"b@b.c\",\"B\nC\"\n").unwrap();

        let names: Vec<_> = entries.iter().filter_map(|(_, seat)| seat.first_name.as_deref()).collect();
        assert_eq!(names, ["Ada, \"A\"", "B\nC"]);
    }

    #[test]
    fn a_file_that_is_wrong_is_refused_by_line_and_not_quoted() {
        for (text, start) in [
            ("name\nJBSWY3DP\n", "line 1 must name the columns"),
            ("email,JBSWY3DP\na@b.c,\n", "line 1 must name the columns"),
            ("email\na@b.c,JBSWY3DP\n", "line 2: not CSV"),
            ("email,codes_per_hour\na@b.c,JBSWY3DP\n", "line 2: not a seat"),
            ("email,first_name\na@b.c,\"Ada\"\nb@b.c,\"JBSWY3DP\n", "line 3: a quotation mark is not closed"),
            ("email,first_name\na@b.c,\"JBSWY3DP", "line 2: a quotation mark is not closed"),
        ] {
            let refused = from_csv(text).unwrap_err().to_string();
            assert!(refused.starts_with(start) && !refused.contains("JBSWY3DP"), "{refused}");
        }
        let refused = from_json("[{\"email\": \"a@b.c\", \"JBSWY3DP\": 1}]").unwrap_err().to_string();
        assert!(refused.starts_with("entry 1: not a seat") && !refused.contains("JBSWY3DP"), "{refused}");
        assert!(from_json("[\n{]").unwrap_err().to_string().starts_with("line 2"));
    }
}
