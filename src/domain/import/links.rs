//! Lists: one link a line or several, of one secret or of a whole export of Google Authenticator; and a text with one link in it,
//! as `pass` keeps it.

use super::{
    Format, Import,
    entry::{Entry, Note, Place, Skip},
    google,
    pieces::{Piece, pieces},
    uri::{self, Beside},
};
use crate::domain::{limits::IMPORT_ENTRIES_MAX, otpauth::OtpAuthError};

/// The link's parameter in which Ente keeps what it knows of an entry, as JSON.
const ENTE: &str = "codeDisplay=";

/// Whether a text holds a link, or what was meant as a link. A text with a page's address in it is not a list of links.
pub(super) fn are_in(text: &str) -> bool {
    text.lines().flat_map(pieces).any(|piece| piece.is_link)
}

/// Reads a list.
pub(super) fn read(text: &str) -> Import {
    let lines = text.lines().zip(1_usize..).filter(|(line, _)| !line.trim().is_empty());
    let pieces = lines.flat_map(|(line, number)| pieces(line).into_iter().map(move |piece| (line, number, piece)));
    let pieces: Vec<_> = pieces.filter(|(line, _, piece)| !is_comment(line) || holds_secret(piece)).collect();
    // A text with one link in it is somebody's note of one login, whose other lines are no entries.
    let is_note = pieces.iter().filter(|(line, _, piece)| piece.is_link && !is_comment(line)).count() == 1;
    let mut import = Import::new(if text.contains(ENTE) { Format::Ente } else { Format::Links });
    let is_whole = text.ends_with(['\n', '\r']);
    let last = pieces.len().checked_sub(1).filter(|_| !is_whole);
    for (nth, (line, number, piece)) in pieces.into_iter().enumerate() {
        if import.entries.len() > IMPORT_ENTRIES_MAX {
            break;
        }
        let place = Place::Line(number);
        if is_comment(line) {
            import.entries.push(Entry::skipped(place, None, Skip::Comment));
        } else if google::is_link(piece.text) {
            google::read(piece.text, number, &mut import);
        } else if uri::is_link(piece.text) {
            import.entries.push(entry(piece, place, last == Some(nth)));
        } else if !is_note || piece.is_link {
            import.entries.push(Entry::skipped(place, None, Skip::Link(OtpAuthError::NotOtpAuth)));
        }
    }
    import
}

/// Reads a link; the file may end in it.
fn entry(piece: Piece<'_>, place: Place, ends: bool) -> Entry {
    let Piece { text: link, is_shortened, .. } = piece;
    let mut read = uri::link(link, Beside::default(), place);
    if is_trashed(link) {
        return Entry::skipped(place, read.title, Skip::Trashed);
    }
    if let Ok(found) = &mut read.read {
        found.notes.extend(is_shortened.then_some(Note::Around));
        found.notes.extend((ends && uri::may_be_cut(link)).then_some(Note::Ends));
    }
    read
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// Whether a link in a comment is more than the name of its scheme.
fn holds_secret(piece: &Piece<'_>) -> bool {
    piece.is_link && ["secret=", "data="].iter().any(|field| uri::has(piece.text, field))
}

/// Whether Ente had the entry in its trash, which it exports too.
fn is_trashed(link: &str) -> bool {
    let Some((_, display)) = link.split_once(ENTE) else { return false };
    let display = display.split(['&', '#']).next().unwrap_or_default();
    let display = percent_encoding::percent_decode_str(display).decode_utf8_lossy();
    super::json::Json::parse(&display.replace('+', " ")).is_ok_and(|display| display.get("trashed").is_true())
}
