//! The generation of the database file, which reveals an older copy that was put over it.
//!
//! It stands in the first page, beside the format. The first commit after a copy of the log into the database raises
//! it, so the next such copy raises it in the file itself. Read without the log, it never falls in a file that is not
//! replaced. And a log's content is at most one generation above the file that it belongs to, also after a power cut.

use std::{fs::File, io};

use rusqlite::Connection;

use super::{
    open_file::{OpenFile, unread},
    schema,
};
use crate::store::{OpenError, StoreError};

/// The bits of the number beside the format's. The number starts over after the highest.
const BITS: u32 = (1 << 23) - 1;
/// The bits of the format.
const FORMAT_BITS: u32 = 8;
/// The offset of the number in the first page.
const PLACE: usize = 60;

/// A generation of the database file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Generation(u32);

impl Generation {
    /// Splits the number in the first page into the format and the generation.
    pub(super) const fn split(number: u32) -> (u32, Self) {
        (number & ((1 << FORMAT_BITS) - 1), Self((number >> FORMAT_BITS) & BITS))
    }

    /// The generation in the file itself, without its log. A file without a first page has the lowest.
    pub(super) fn in_file(file: &File) -> io::Result<Self> {
        let mut number = [0; 4];
        read_if_there(file, &mut number, PLACE as u64)?;
        Ok(Self::split(u32::from_be_bytes(number)).1)
    }

    const fn next(self) -> Self {
        Self((self.0 + 1) & BITS)
    }

    /// Whether another is later. Since the numbers start over, the shorter distance decides.
    pub(super) const fn is_before(self, other: Self) -> bool {
        let ahead = other.0.wrapping_sub(self.0) & BITS;
        ahead != 0 && ahead <= BITS / 2
    }
}

/// Raises the generation within a transaction, if the file already has the present one.
pub(super) fn raise(conn: &Connection, open: &OpenFile) -> Result<(), StoreError> {
    let (format, present) = committed(conn)?;
    let in_file = open.generation()?;
    if in_file.next().is_before(present) {
        return Err(open.lose());
    }
    if present != in_file {
        return Ok(());
    }
    // Beside a reader, SQLite copies a part of the log and does not sync the copy. A power cut would undo it.
    open.sync()?;
    Ok(set(conn, format, present.next())?)
}

/// Refuses to read a file that is older than its log.
pub(super) fn refuse_mixed(conn: &Connection, open: &OpenFile) -> Result<(), StoreError> {
    // In this order, since the file's generation may rise meanwhile.
    let (_, present) = committed(conn)?;
    if open.generation()?.next().is_before(present) { Err(open.lose()) } else { Ok(()) }
}

/// Gives new content the generation after that of the content that it replaces.
pub(super) fn go_on(new: &Connection, old: &Connection) -> Result<(), rusqlite::Error> {
    set(new, schema::FORMAT, committed(old)?.1.next())
}

/// The format and the generation.
fn committed(conn: &Connection) -> Result<(u32, Generation), rusqlite::Error> {
    conn.prepare_cached("PRAGMA user_version")?.query_row([], |row| row.get(0)).map(Generation::split)
}

fn set(conn: &Connection, format: u32, generation: Generation) -> Result<(), rusqlite::Error> {
    let number = format | generation.0 << FORMAT_BITS;
    conn.execute_batch(&format!("PRAGMA user_version = {number}"))
}

/// Refuses a file that is older than the log beside it: together they would make a mix of two vaults.
///
/// The view of a connection can't show this: after a power cut, the file may lack pages that the log still has intact.
pub(super) fn refuse_older(open: &OpenFile) -> Result<(), OpenError> {
    let spot = open.spot();
    let first = match File::open(spot.log()).and_then(|log| first_in_log(&log)) {
        Ok(Some(first)) => first,
        Ok(None) => return Ok(()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(unread(&cause).at(&spot.log())),
    };
    // In this order, since the log may be copied meanwhile, which raises the file's generation.
    let in_file = open.generation().map_err(|cause| cause.at(spot.file()))?;
    if in_file.next().is_before(first) {
        return Err(OpenError::UnderNewerLog { path: spot.file().to_owned(), log: spot.log() });
    }
    Ok(())
}

/// The generation in the first copy of the first page in a log. `None`: its intact part has no such copy.
fn first_in_log(log: &File) -> io::Result<Option<Generation>> {
    let mut head = [0; 32];
    if !read_if_there(log, &mut head, 0)? {
        return Ok(None);
    }
    let [magic, _, page_bytes, _, salt, other_salt, sum, other_sum] = words(&head);
    // Its lowest bit gives the byte order of the words in the sums.
    let is_big = match magic {
        0x377F_0682 => false,
        0x377F_0683 => true,
        _ => return Ok(None),
    };
    let mut sums = sum_of([0, 0], head.get(..24).unwrap_or_default(), is_big);
    if sums != [sum, other_sum] || !(512..=65_536).contains(&page_bytes) {
        return Ok(None);
    }
    let (mut at, mut page) = (32, vec![0; page_bytes as usize]);
    let mut head = [0; 24];
    while read_if_there(log, &mut head, at)? && read_if_there(log, &mut page, at + 24)? {
        let [number, _, frame_salt, other_frame_salt, sum, other_sum] = words(&head);
        sums = sum_of(sum_of(sums, head.get(..8).unwrap_or_default(), is_big), &page, is_big);
        if [frame_salt, other_frame_salt, sum, other_sum] != [salt, other_salt, sums[0], sums[1]] {
            return Ok(None);
        }
        if number == 1 {
            let number = page.get(PLACE..).and_then(<[u8]>::first_chunk);
            return Ok(number.map(|number| Generation::split(u32::from_be_bytes(*number)).1));
        }
        at += 24 + u64::from(page_bytes);
    }
    Ok(None)
}

/// The big-endian words of a header.
fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let mut words = bytes.chunks_exact(4).map(|word| word.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)));
    std::array::from_fn(|_| words.next().unwrap_or_default())
}

/// Continues a log's checksums. Frames that were written partly or left from an earlier log do not match them.
fn sum_of([mut one, mut other]: [u32; 2], bytes: &[u8], is_big: bool) -> [u32; 2] {
    let word = |bytes: &[u8]| {
        let bytes = bytes.first_chunk().copied().unwrap_or_default();
        if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    for pair in bytes.chunks_exact(8) {
        let (first, second) = pair.split_at(4);
        one = one.wrapping_add(word(first)).wrapping_add(other);
        other = other.wrapping_add(word(second)).wrapping_add(one);
    }
    [one, other]
}

/// Fills a buffer from a place of a file; `false`: the file ends before.
fn read_if_there(file: &File, buffer: &mut [u8], at: u64) -> io::Result<bool> {
    match read_exact_at(file, buffer, at) {
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

/// Reads at an offset, independent of other threads' positions.
#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_read(file, buffer, at)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = buffer.get_mut(count..).unwrap_or_default();
        at += count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{super::files::Spot, *};

    #[test]
    fn generations_go_on_after_the_highest() {
        let [first, last] = [Generation(0), Generation(BITS)];
        assert_eq!(last.next(), first);
        assert!(last.is_before(first) && !first.is_before(last) && !first.is_before(first));
        assert!(first.is_before(Generation(7)) && !Generation(7).is_before(first));
        assert_eq!(Generation::split(2 | 7 << 8), (2, Generation(7)));
    }

    /// The generations in the log and in the file after each step.
    #[test]
    fn the_log_begins_one_above_the_file_and_what_is_not_whole_in_it_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        crate::store::create_private_dir(&data).unwrap();
        let path = data.join("a.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch(
            "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t (x)",
        )
        .unwrap();
        conn.execute_batch("PRAGMA user_version=2; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        let file = File::open(&path).unwrap();
        let spot = Spot::find(&data, path.to_str().unwrap()).unwrap();
        let open = OpenFile::at(spot).unwrap();
        let log = || File::open(data.join("a.db-wal")).unwrap();
        let state = || (first_in_log(&log()).unwrap().map(|log| log.0), Generation::in_file(&file).unwrap().0);
        let write = || {
            conn.execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (1)").unwrap();
            raise(&conn, &open).unwrap();
            conn.execute_batch("COMMIT").unwrap();
        };
        assert_eq!(state(), (None, 0));
        write();
        write();
        assert_eq!(state(), (Some(1), 0));
        conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
        assert_eq!(state(), (Some(1), 1));
        write();
        assert_eq!(state(), (Some(2), 1), "the log has started over");
        let whole = std::fs::read(data.join("a.db-wal")).unwrap();
        for place in (0..12).chain(16..24).chain(32..36).chain(40..48).chain([56, 200, 4_151]) {
            let mut other = whole.clone();
            other[place] ^= 1;
            let mut changed = tempfile::tempfile().unwrap();
            changed.write_all(&other).unwrap();
            assert_eq!(first_in_log(&changed).unwrap(), None, "byte {place}");
        }
        for length in [0, 31, 32, 55, 56, 4_151] {
            let mut cut = tempfile::tempfile().unwrap();
            cut.write_all(&whole[..length]).unwrap();
            assert_eq!(first_in_log(&cut).unwrap(), None, "{length} bytes");
        }
    }
}
