//! Lists: one link a line, of one secret or of a whole export of Google Authenticator; and a text with one link in it,
//! as `pass` keeps it.

use super::{
    Format, Import,
    entry::{Entry, Place, Skip},
    google,
    uri::{self, Beside},
};
use crate::domain::{limits::IMPORT_ENTRIES_MAX, otpauth::OtpAuthError};

/// The link's parameter in which Ente keeps what it knows of an entry, as JSON.
const ENTE: &str = "codeDisplay=";

/// Whether a text holds a link, or what was meant as a link. A text with a page's address in it is not a list of links.
pub(super) fn are_in(text: &str) -> bool {
    text.lines().flat_map(pieces).any(is_meant)
}

/// Whether a piece is a link, or was one before it was cut or mistyped.
fn is_meant(piece: &str) -> bool {
    uri::is_link(piece) || uri::starts(piece, "otpauth")
}

/// Reads a list.
pub(super) fn read(text: &str) -> Import {
    let lines = text.lines().zip(1_usize..);
    let pieces = lines.flat_map(|(line, number)| pieces(line).map(move |piece| (piece.trim(), number)));
    let pieces: Vec<_> = pieces.filter(|(piece, _)| !piece.is_empty() && !is_comment(piece)).collect();
    // A text with one link in it is somebody's note of one login, whose other lines are no entries.
    let is_note = pieces.iter().filter(|(piece, _)| is_meant(piece)).count() == 1;
    let mut import = Import::new(if text.contains(ENTE) { Format::Ente } else { Format::Links });
    for (piece, number) in pieces {
        if import.entries.len() > IMPORT_ENTRIES_MAX {
            break;
        }
        let place = Place::Line(number);
        if google::is_link(piece) {
            google::read(piece, number, &mut import);
        } else if uri::is_link(piece) {
            import.entries.push(entry(piece, place));
        } else if !is_note || is_meant(piece) {
            import.entries.push(Entry::skipped(place, None, Skip::Link(OtpAuthError::NotOtpAuth)));
        }
    }
    import
}

fn entry(link: &str, place: Place) -> Entry {
    let read = uri::link(link, Beside::default(), place);
    if is_trashed(link) { Entry::skipped(place, read.title, Skip::Trashed) } else { read }
}

/// The links of a line: old files of Ente have commas between them.
fn pieces(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let cut = line.match_indices(',').find_map(|(at, _)| {
            let after = line.get(at + 1..)?;
            uri::is_link(after).then_some((line.get(..at)?, after))
        });
        rest = cut.map(|(_, after)| after);
        Some(cut.map_or(line, |(before, _)| before))
    })
}

fn is_comment(line: &str) -> bool {
    line.starts_with('#')
}

/// Whether Ente had the entry in its trash, which it exports too.
fn is_trashed(link: &str) -> bool {
    let Some((_, display)) = link.split_once(ENTE) else { return false };
    let display = display.split(['&', '#']).next().unwrap_or_default();
    let display = percent_encoding::percent_decode_str(display).decode_utf8_lossy();
    super::json::Json::parse(&display.replace('+', " ")).is_ok_and(|display| display.get("trashed").is_true())
}
