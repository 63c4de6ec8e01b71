//! Tables of text: columns that are as wide as they need to be, and no wider than the terminal.

/// The gap between two columns.
pub(super) const GAP: &str = "  ";
/// The contents of an empty cell, so that columns can be counted.
pub(super) const EMPTY: &str = "-";
/// The mark of cut text.
const CUT: &str = "…";
/// The narrowest width to which a cell is cut.
const CELL_MIN: usize = 8;

/// Rows under a head.
pub(super) struct Table {
    columns: Columns,
    rows: Vec<Vec<String>>,
}

/// The widths that the cells of a table need, without the cells: a table that is too long for the memory is read twice.
pub(super) struct Columns {
    head: &'static [&'static str],
    /// The width of each column, and whether a cell of it has contents.
    needed: Vec<(usize, bool)>,
    /// Whether the last column is shown only if a cell of it has contents.
    is_last_optional: bool,
}

/// How a table's lines are laid out.
pub(super) struct Layout {
    /// The columns that are shown, by index and width.
    columns: Vec<(usize, usize)>,
    /// Whether cells are cut to the width of their column.
    cuts: bool,
}

impl Table {
    pub(super) fn new(head: &'static [&'static str]) -> Self {
        Self::of(Columns::new(head))
    }

    pub(super) const fn of(columns: Columns) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.columns.see(&cells);
        self.rows.push(cells);
    }

    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The head and the rows, within a width if there is one.
    pub(super) fn lines(&self, within: Option<usize>) -> Vec<String> {
        let layout = self.columns.layout(within);
        std::iter::once(layout.head(&self.columns)).chain(self.rows.iter().map(|row| layout.line(row))).collect()
    }
}

impl Columns {
    pub(super) fn new(head: &'static [&'static str]) -> Self {
        Self { head, needed: head.iter().map(|cell| (width(cell), false)).collect(), is_last_optional: false }
    }

    /// Shows the last column only if a cell of it has contents, also where there is room.
    pub(super) fn with_last_optional(self) -> Self {
        Self { is_last_optional: true, ..self }
    }

    /// Records the widths that a row needs.
    pub(super) fn see(&mut self, cells: &[String]) {
        for ((wide, filled), cell) in self.needed.iter_mut().zip(cells) {
            *wide = (*wide).max(width(cell));
            *filled |= !cell.is_empty();
        }
    }

    /// The layout within a width, if there is one: empty columns are dropped first, then the widest cells are cut, then
    /// the last columns are dropped. The first column, which names the row, stays whole.
    pub(super) fn layout(&self, within: Option<usize>) -> Layout {
        let mut columns: Vec<_> = self.needed.iter().map(|(wide, _)| *wide).enumerate().collect();
        if self.is_last_optional && self.needed.last().is_some_and(|(_, filled)| !filled) {
            columns.pop();
        }
        if let Some(within) = within.filter(|within| *within < taken(&columns)) {
            let is_filled = |nth: usize| self.needed.get(nth).is_some_and(|(_, filled)| *filled);
            columns.retain(|(nth, _)| *nth == 0 || is_filled(*nth));
            fit(&mut columns, within);
        }
        Layout { columns, cuts: within.is_some() }
    }
}

impl Layout {
    /// The line of a table's head.
    pub(super) fn head(&self, columns: &Columns) -> String {
        self.line(columns.head)
    }

    /// The line of a row.
    pub(super) fn line(&self, row: &[impl AsRef<str>]) -> String {
        let cells = self.columns.iter().filter_map(|(nth, wide)| {
            let cell = row.get(*nth)?.as_ref();
            let shown = if cell.is_empty() { EMPTY } else { cell };
            Some(if self.cuts { padded(&cut(shown, *wide), *wide) } else { padded(shown, *wide) })
        });
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    }
}

/// The width of some columns in a line.
fn taken(columns: &[(usize, usize)]) -> usize {
    columns.iter().map(|(_, wide)| wide).sum::<usize>() + GAP.len() * columns.len().saturating_sub(1)
}

/// Makes columns, given by index and width, fit: keeps as many as fit with their widest cells cut.
fn fit(columns: &mut Vec<(usize, usize)>, within: usize) {
    let least = |columns: &[(usize, usize)]| {
        let cut = columns.iter().enumerate().map(|(nth, (place, wide))| match nth {
            0 => (*place, *wide),
            _ => (*place, (*wide).min(CELL_MIN)),
        });
        taken(&cut.collect::<Vec<_>>())
    };
    while columns.len() > 1 && least(columns) > within {
        columns.pop();
    }
    while taken(columns) > within {
        match columns.iter_mut().skip(1).map(|(_, wide)| wide).max() {
            Some(widest) if *widest > CELL_MIN => *widest -= 1,
            _ => return,
        }
    }
}

/// A text cut to a number of columns.
pub(super) fn cut(text: &str, wide: usize) -> String {
    if width(text) <= wide {
        return text.to_owned();
    }
    let mut room = wide.saturating_sub(width(CUT));
    let mut shown: String = text
        .chars()
        .take_while(|c| {
            let needed = columns(*c);
            let fits = needed <= room;
            room = room.saturating_sub(needed);
            fits
        })
        .collect();
    shown.truncate(shown.trim_end().len());
    shown.push_str(CUT);
    shown
}

/// A text padded with spaces to a width.
pub(super) fn padded(text: &str, wide: usize) -> String {
    format!("{text}{}", " ".repeat(wide.saturating_sub(width(text))))
}

/// The columns that a text takes on a terminal, estimated: marks and joiners take none, East Asian characters and emoji
/// two.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

fn columns(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036F | 0x200C..=0x200D | 0x20D0..=0x20FF | 0xFE00..=0xFE0F => 0,
        0x1100..=0x115F
        | 0x2E80..=0xA4CF
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60
        | 0xFFE0..=0xFFE6
        | 0x1F300..=0x1FAFF
        | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_with_spaces_and_empty_cells_are_marked() {
        let mut table = Table::new(&["ID", "LABEL", "LAST"]);
        table.row(vec!["1".to_owned(), "東京".to_owned(), String::new()]);
        table.row(vec!["22".to_owned(), "alice".to_owned(), "now".to_owned()]);

        assert_eq!(table.lines(None), ["ID  LABEL  LAST", "1   東京   -", "22  alice  now"]);
    }

    #[test]
    fn a_narrow_terminal_gets_a_table_that_is_cut_inside_its_cells() {
        let mut table = Table::new(&["ID", "LABEL", "ISSUER", "CREATED"]);
        table.row(vec!["a1b2".into(), "ada.lovelace@example.com".into(), "GitHub".into(), "2 minutes ago".into()]);
        table.row(vec!["c3d4".into(), "東京東京東京東京東京東京".into(), "Acme".into(), "just now".into()]);

        assert_eq!(table.lines(Some(80)), table.lines(None));
        for within in 20..80 {
            let lines = table.lines(Some(within));
            assert!(lines.iter().all(|line| width(line) <= within), "{within}: {lines:?}");
            assert!(lines.iter().skip(1).all(|line| line.starts_with(['a', 'c'])), "{within}: {lines:?}");
        }
        assert_eq!(
            table.lines(Some(40)),
            [
                "ID    LABEL         ISSUER  CREATED",
                "a1b2  ada.lovelac…  GitHub  2 minutes a…",
                "c3d4  東京東京東…   Acme    just now"
            ]
        );
        assert_eq!(table.lines(Some(20)), ["ID    LABEL", "a1b2  ada.lovelace@…", "c3d4  東京東京東京…"]);
    }
}
