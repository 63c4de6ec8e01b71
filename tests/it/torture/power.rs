//! The power is cut at any moment of a workload. `shim.c` logs the writes, syncs and names of two processes; a test
//! replays that log up to some moment, keeps what was synced, drops or tears the rest, and opens what the disk then
//! has: the vault, its key and its state, folders included.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::{Row, Told, WORKER, WRITES, check, folder, is_outrun, runtime};
use crate::{
    fleet::Dice,
    sqlite::{Other, faults::shim, private_dir, set_mode},
};

/// The number of cuts for one recording.
const CUTS: usize = 250;
/// The number of calls of each of the two processes in a recording.
const CALLS: usize = 30;
/// The number of bytes that a disk writes at least in one piece.
const SECTOR: usize = 512;

/// An event in the log.
enum Event {
    /// A new file gets this number.
    New(u64),
    Write(u64, usize, Vec<u8>),
    Cut(u64, usize),
    Synced(u64),
    /// The names in a folder, as processes see them; `true` if they are on the disk.
    Names(bool, PathBuf, Vec<(String, Option<u64>)>),
    /// An acknowledgement to a process.
    Told(String),
}

/// Runs the workload on a new vault, and returns the events.
fn record(root: &Path, dice: &mut Dice) -> Vec<Event> {
    let load = |dice: &mut Dice| format!("load {} {CALLS}", dice.below(1 << 30));
    let orders = [load(dice), "rotate key".to_owned(), "rotate data".to_owned(), load(dice), "rotate root".to_owned()];
    // The first process also gives the vault new keys.
    recorded(root, &[&orders, &[load(dice)]])
}

/// Runs a process for each list of orders on a new vault, and returns the events.
fn recorded(root: &Path, work: &[&[String]]) -> Vec<Event> {
    let (_own, aside) = folder();
    let log = aside.join("writes");
    File::create_new(&log).unwrap();
    let environment =
        [("LD_PRELOAD", OsString::from(shim())), (WRITES, log.clone().into()), ("COUNTERSIGN_DATA", root.into())];
    let mut processes: Vec<_> = work.iter().map(|_| Other::start(WORKER, root, &environment)).collect();
    for (process, orders) in processes.iter_mut().zip(work) {
        process.tell("open");
        for order in *orders {
            process.tell(order);
        }
        process.tell("close");
        assert_eq!(process.next().as_deref(), Some("ok"), "it is open");
    }
    for (process, orders) in processes.iter_mut().zip(work) {
        let mut done = 0;
        while done < orders.len() {
            let said = process.next().expect("it ended by itself");
            assert!(!said.starts_with("no ") || is_outrun(&said), "{said}");
            done += usize::from(said == "ended" || said == "ok rotated" || said.starts_with("no "));
        }
        assert_eq!(process.next().as_deref(), Some("ok"), "it is closed");
    }
    read(&fs::read(log).unwrap())
}

fn read(log: &[u8]) -> Vec<Event> {
    let (mut events, mut rest) = (Vec::new(), log);
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = std::str::from_utf8(&rest[..end]).unwrap();
        rest = &rest[end + 1..];
        if let Some(told) = line.strip_prefix("A ") {
            events.push(Event::Told(told.to_owned()));
            continue;
        }
        let mut words = line.splitn(5, ' ');
        let what = words.next().unwrap();
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        let (file, at, count) = (number(), usize::try_from(number()).unwrap(), usize::try_from(number()).unwrap());
        let bytes;
        (bytes, rest) = rest.split_at(count);
        events.push(match what {
            "N" => Event::New(file),
            "W" => Event::Write(file, at, bytes.to_vec()),
            "T" => Event::Cut(file, at),
            "S" => Event::Synced(file),
            _ => Event::Names(what == "D", words.next().unwrap().into(), names(std::str::from_utf8(bytes).unwrap())),
        });
    }
    events
}

fn names(lines: &str) -> Vec<(String, Option<u64>)> {
    let name = |line: &str| {
        let (kind, rest) = line.split_once(' ').unwrap();
        let (file, name) = rest.split_once(' ').unwrap();
        (name.to_owned(), (kind == "f").then(|| file.parse().unwrap()))
    };
    lines.lines().map(name).collect()
}

/// The names in a folder, each with the file's index in `Disk::files`, or `None` for a folder.
type View = Vec<(String, Option<usize>)>;

/// A file: its bytes on the disk, and the later changes; `None` truncates the file.
#[derive(Default)]
struct Kept {
    synced: Vec<u8>,
    since: Vec<(usize, Option<Vec<u8>>)>,
}

/// The state of a disk: what is synced, and what may have reached it.
#[derive(Default)]
struct Disk {
    files: Vec<Kept>,
    /// The index of the file that has a number now.
    numbers: BTreeMap<u64, usize>,
    /// The names on the disk, and later ones that may have reached it.
    folders: BTreeMap<PathBuf, (View, Vec<View>)>,
    told: Told,
}

impl Disk {
    fn file(&mut self, number: u64) -> usize {
        *self.numbers.entry(number).or_insert_with(|| {
            self.files.push(Kept::default());
            self.files.len() - 1
        })
    }

    fn play(&mut self, event: &Event) {
        match event {
            Event::New(number) => {
                self.numbers.remove(number);
                self.file(*number);
            }
            Event::Write(number, at, bytes) => {
                let file = self.file(*number);
                self.files[file].since.push((*at, Some(bytes.clone())));
            }
            Event::Cut(number, at) => {
                let file = self.file(*number);
                self.files[file].since.push((*at, None));
            }
            Event::Synced(number) => {
                let file = self.file(*number);
                let Kept { synced, since } = &mut self.files[file];
                since.drain(..).for_each(|(at, bytes)| apply(synced, at, bytes.as_deref()));
            }
            Event::Names(on_disk, folder, names) => {
                let view = names.iter().map(|(name, number)| (name.clone(), number.map(|number| self.file(number))));
                let view: View = view.collect();
                let (synced, since) = self.folders.entry(folder.clone()).or_default();
                if *on_disk {
                    (*synced, *since) = (view, Vec::new());
                } else {
                    since.push(view);
                }
            }
            Event::Told(line) => self.told.take(line),
        }
    }

    /// Writes a state that a power cut may leave, into a folder that stands for the logged one.
    fn cut(&self, from: &Path, to: &Path, how: How, dice: &mut Dice) {
        private_dir(to);
        let Some((synced, since)) = self.folders.get(from) else { return };
        // A file system keeps the order in which names change.
        let kept = match how {
            How::Nothing => 0,
            How::Everything => since.len(),
            How::Some | How::Torn => dice.below(since.len() + 1),
        };
        for (name, file) in kept.checked_sub(1).map_or(synced, |nth| &since[nth]) {
            let (from, to) = (from.join(name), to.join(name));
            match file {
                None => self.cut(&from, &to, how, dice),
                Some(_) if name.ends_with("-shm") => {}
                Some(file) => {
                    fs::write(&to, self.files[*file].left(how, dice)).unwrap();
                    set_mode(&to, 0o600);
                }
            }
        }
    }
}

/// The part of the unsynced changes that a power cut leaves.
#[derive(Debug, Clone, Copy)]
enum How {
    Nothing,
    Some,
    Torn,
    Everything,
}

impl Kept {
    fn left(&self, how: How, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for (at, written) in &self.since {
            let is_kept = match how {
                How::Nothing => false,
                How::Everything => true,
                How::Some | How::Torn => dice.one_in(2),
            };
            match written {
                Some(written) if matches!(how, How::Torn) => {
                    for (nth, sector) in written.chunks(SECTOR).enumerate().filter(|_| dice.one_in(2)) {
                        apply(&mut bytes, at + nth * SECTOR, Some(sector));
                    }
                }
                written if is_kept => apply(&mut bytes, *at, written.as_deref()),
                _ => {}
            }
        }
        bytes
    }
}

fn apply(file: &mut Vec<u8>, at: usize, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else { return file.resize(at, 0) };
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

#[test]
fn power_cut() {
    let mut row = Row::new("power cut", 25);
    let mut left = row.times;
    while left > 0 {
        let (_own, root) = folder();
        let events = record(&root, &mut row.dice);
        let mut cuts: Vec<usize> = (0..left.min(CUTS)).map(|_| row.dice.below(events.len() + 1)).collect();
        cuts.sort_unstable();
        left -= cuts.len();
        let (mut disk, mut played) = (Disk::default(), 0);
        for cut in cuts {
            for event in &events[played..cut] {
                disk.play(event);
            }
            played = cut;
            let how = [How::Nothing, How::Some, How::Torn, How::Everything][row.dice.below(4)];
            let (_own, after) = folder();
            disk.cut(&root, &after, how, &mut row.dice);
            if let Err(lost) = runtime().block_on(check(&after, &disk.told)) {
                row.lose(format!("{how:?} of what was not synced at {cut} of {}: {lost}", events.len()));
            }
        }
    }
    row.end();
}

/// Beside a reader, SQLite copies a part of the log and does not sync the copy. The log grows meanwhile.
#[test]
fn what_was_copied_beside_a_reader_may_be_taken_back_by_a_power_cut() {
    let (_own, root) = folder();
    let events = recorded(&root, &[&["partly".to_owned()]]);
    let mut disk = Disk::default();
    for (at, event) in events.iter().enumerate() {
        disk.play(event);
        let (_own, after) = folder();
        disk.cut(&root, &after, How::Nothing, &mut Dice(1));
        let checked = runtime().block_on(check(&after, &disk.told));
        assert_eq!(checked, Ok(()), "after {} of {}", at + 1, events.len());
    }
    assert_eq!(disk.told.added.len(), 6);
}

#[test]
fn the_recorder_of_writes_tells_a_complete_story() {
    let (_own, root) = folder();
    let events = record(&root, &mut Dice(1));
    let mut disk = Disk::default();
    for event in &events {
        disk.play(event);
    }
    let (_own, after) = folder();
    disk.cut(&root, &after, How::Everything, &mut Dice(1));
    for name in ["data/vault.db", "data/init.lock"] {
        assert!(fs::read(root.join(name)).unwrap() == fs::read(after.join(name)).unwrap(), "{name}");
    }
    assert!(!disk.told.added.is_empty());
}
