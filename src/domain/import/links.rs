//! Lists: one link a line or several, of one secret or of a whole export of Google Authenticator; and a text with one link in it,
//! as `pass` keeps it.

use super::{
    Format, Import, ends,
    entry::{Entry, Note, Place, Skip},
    google,
    pieces::{self, Piece, pieces},
    uri::{self, Beside},
};
use crate::domain::{limits::IMPORT_ENTRIES_MAX, otpauth::OtpAuthError};

/// Whether a text holds a link, or what was meant as a link. A text with a page's address in it is not a list of links.
pub(super) fn are_in(text: &str) -> bool {
    text.lines().flat_map(pieces).any(|piece| piece.is_link)
}

/// Reads a list.
pub(super) fn read(text: &str) -> Import {
    let lines = text.lines().zip(1_usize..).filter(|(line, _)| !line.trim().is_empty());
    let pieces: Vec<_> =
        lines.flat_map(|(line, number)| entries_of(line).map(move |piece| (line, number, piece))).collect();
    // A text with one link in it is somebody's note of one login, whose other lines are no entries.
    let is_note = pieces.iter().filter(|(line, _, piece)| piece.is_link && !is_comment(line)).count() == 1;
    let is_ente = text.contains(ends::ENTE);
    let mut import = Import::new(if is_ente { Format::Ente } else { Format::Links });
    let is_whole = text.ends_with(['\n', '\r']);
    let last = pieces.len().checked_sub(1).filter(|_| !is_whole);
    let mut line_before = 0;
    for (nth, (line, number, piece)) in pieces.into_iter().enumerate() {
        if import.entries.len() > IMPORT_ENTRIES_MAX {
            break;
        }
        let place = Place::Line(number);
        let is_first = std::mem::replace(&mut line_before, number) != number;
        let has_key = is_first && pieces::has_key_beside(line);
        if is_comment(line) {
            import.entries.push(Entry::skipped(place, None, Skip::Comment));
            continue;
        }
        if google::is_link(piece.text) {
            google::read(piece.text, number, &mut import);
        } else if uri::is_link(piece.text) {
            import.entries.push(entry(piece, place, is_ente, last == Some(nth)));
        } else if piece.is_link || !is_note && !has_key {
            import.entries.push(Entry::skipped(place, None, Skip::Link(OtpAuthError::NotOtpAuth)));
        }
        if has_key {
            import.entries.push(Entry::skipped(place, None, Skip::Bare));
        }
    }
    import
}

/// Reads a link; the file may end in it.
fn entry(piece: Piece<'_>, place: Place, is_ente: bool, is_last: bool) -> Entry {
    let mut read = uri::link(piece.text, Beside::default(), place);
    // Ente exports what is in its trash, too, and says so at the end of each link.
    let display = ends::display_of(piece.text);
    if display.as_ref().is_some_and(|display| display.get("trashed").is_true()) {
        return Entry::skipped(place, read.title, Skip::Trashed);
    }
    let is_cut = is_last && (ends::may_be_cut(piece.text) || is_ente && display.is_none());
    if let Ok(found) = &mut read.read {
        found.notes.extend(is_cut.then_some(Note::Ends));
    }
    read
}

/// The pieces of a line that are entries: not those of a comment, or of the title of a section of a file of settings.
fn entries_of(line: &str) -> impl Iterator<Item = Piece<'_>> {
    let is_title = line.trim().strip_prefix('[').is_some_and(|title| title.ends_with(']'));
    let is_comment = is_comment(line);
    // Once for a line, however many links it has.
    let has_key = (is_comment || is_title) && pieces::has_key_beside(line);
    let is_entry = move |piece: &Piece<'_>| {
        let holds_secret = || has_key || piece.is_link && pieces::holds_secret(piece.text);
        !is_comment && (piece.is_link || !is_title) || holds_secret()
    };
    pieces(line).into_iter().filter(is_entry)
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}
