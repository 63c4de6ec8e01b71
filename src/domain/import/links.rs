//! Lists: one link a line or several, of one secret or of a whole export of Google Authenticator; and a text with one link in it,
//! as `pass` keeps it.

use super::{
    Format, Import, ends,
    entry::{Entry, Note, Place, Skip},
    google,
    item::Item,
    json::Json,
    pieces::{self, Piece, pieces},
    uri::{self, Beside},
};
use crate::domain::{limits::IMPORT_ENTRIES_MAX, otpauth::OtpAuthError};

/// The characters that end the cells of a table, and the number of cells before a link in its rows: a title, a user and
/// a password.
const CELL_ENDS: [char; 3] = [',', ';', '\t'];
const CELLS: usize = 3;

/// Whether a text holds a link, or what was meant as a link. A text with a page's address in it is not a list of links.
pub(super) fn are_in(text: &str) -> bool {
    text.lines().flat_map(pieces).any(|piece| piece.is_link)
}

/// Reads a list.
pub(super) fn read(text: &str) -> Import {
    let lines = text.lines().zip(1_usize..).filter(|(line, _)| !line.trim().is_empty());
    let pieces: Vec<_> =
        lines.flat_map(|(line, number)| entries_of(line).map(move |piece| (line, number, piece))).collect();
    // A text with one link in it is a note about one login, whose other lines are no entries unless they hold a key.
    let is_note = pieces.iter().filter(|(line, _, piece)| piece.is_link && !is_comment(line)).count() == 1;
    // The links of a table without a head stand behind the other cells of their rows.
    let is_in_row = |line: &str| line.find("otpauth").and_then(|at| line.get(..at)).is_some_and(is_row);
    let is_table = pieces.iter().filter(|(_, _, piece)| piece.is_link).all(|(line, ..)| is_in_row(line));
    let is_ente = text.contains(ends::ENTE);
    let mut import = Import::new(if is_ente { Format::Ente } else { Format::Links });
    let is_whole = text.ends_with(['\n', '\r']);
    let last = pieces.len().checked_sub(1).filter(|_| !is_whole);
    let all: Vec<&str> = text.lines().collect();
    let mut line_before = 0;
    for (nth, (line, number, piece)) in pieces.into_iter().enumerate() {
        if import.entries.len() > IMPORT_ENTRIES_MAX {
            break;
        }
        let place = Place::Line(number);
        let is_first = std::mem::replace(&mut line_before, number) != number;
        let mut keys = if is_first { pieces::keys_beside(line) } else { 0 };
        if is_comment(line) {
            import.entries.push(Entry::skipped(place, None, Skip::Comment));
            continue;
        }
        if google::is_link(piece.text) {
            google::read(piece.text, number, &mut import);
        } else if uri::is_link(piece.text) {
            let next = all.get(number).filter(|_| line.trim_end().ends_with(piece.text));
            let is_cut = next.is_some_and(|next| goes_on(piece.text, next.trim_start()));
            import.entries.append(&mut entries(piece, place, is_ente, (last == Some(nth), is_cut)));
        } else if piece.is_link
            || pieces::secret_in(line).is_some()
            || !is_note && keys == 0 && !(is_table && is_row_without_link(line))
        {
            import.entries.push(Entry::skipped(place, None, Skip::Link(OtpAuthError::NotOtpAuth)));
            // The key in what was meant as a link is reported with it.
            keys = keys.saturating_sub(1);
        }
        import.entries.extend((0..keys).map(|_| Entry::skipped(place, None, Skip::Bare)));
    }
    import
}

/// Whether a link seems to go on in the next line: with another parameter, or with the rest of its seed.
fn goes_on(link: &str, next: &str) -> bool {
    let is_base32 = |text: &str| !text.is_empty() && text.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'));
    let last = link.rsplit(['?', '&']).next().unwrap_or_default();
    let ends_in_seed = last.get(..7).is_some_and(|name| name.eq_ignore_ascii_case("secret="));
    let rest = next.split(['&', '=', ' ']).next().unwrap_or_default();
    next.starts_with('&') || ends_in_seed && is_base32(rest.trim_end())
}

/// Whether a text has several cells of a table.
fn is_row(text: &str) -> bool {
    text.matches(CELL_ENDS).count() >= CELLS
}

/// Whether a row of a table without a head has neither a link nor a key, nor what was meant as one.
fn is_row_without_link(line: &str) -> bool {
    let is_key = |cell: &str| ends::is_like_mistyped_seed(cell.trim_matches([' ', '"']));
    is_row(line) && !uri::has(line, "otpauth") && !uri::has(line, "secret=") && !line.split(CELL_ENDS).any(is_key)
}

/// Reads a link, which the file may end in, and those in the note that Ente keeps with it.
fn entries(piece: Piece<'_>, place: Place, is_ente: bool, (is_last, is_cut): (bool, bool)) -> Vec<Entry> {
    let display = ends::display_of(piece.text);
    let is_cut = is_cut || is_last && (ends::may_be_cut(piece.text) || is_ente && display.is_none());
    let display = display.unwrap_or(Json::Null);
    // Ente exports the entries in its trash, too, and marks them at the end of each link.
    let mut found = Item::new(Beside::default(), place, display.get("trashed").is_true().then_some(Skip::Trashed));
    found.add(true, uri::link(piece.text, Beside::default(), place), is_cut.then_some(Note::Ends));
    found.scan(display.get("note").text());
    found.entries()
}

/// The pieces of a line that are entries: not those of a comment, or of the title of a section of a file of settings.
fn entries_of(line: &str) -> impl Iterator<Item = Piece<'_>> {
    let is_title = line.trim().strip_prefix('[').is_some_and(|title| title.ends_with(']'));
    let is_comment = is_comment(line);
    // `has_key` is computed once for a line, however many links it has.
    let has_key = (is_comment || is_title) && pieces::keys_beside(line) > 0;
    let is_entry = move |piece: &Piece<'_>| {
        let holds_secret = || has_key || piece.is_link && pieces::holds_secret(piece.text);
        !is_comment && (piece.is_link || !is_title) || holds_secret()
    };
    pieces(line).into_iter().filter(is_entry)
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}
