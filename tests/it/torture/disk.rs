//! Disks that fail at one operation, or are full for some time.

use std::{
    ffi::OsString,
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{Row, Told, WORKER, check, folder, runtime};
use crate::sqlite::{Other, faults::shim};

/// The faults, by their numbers in `shim.c`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fault {
    None = 0,
    Error = 1,
    ShortWrite = 2,
    FullOnce = 3,
    FullFromNowOn = 4,
    Killed = 5,
}

/// The control file: the operation on a folder's files at which a process meets a fault.
pub(super) struct Control {
    file: File,
    path: PathBuf,
    _folder: TempDir,
}

impl Control {
    pub(super) fn new() -> Self {
        let (own, aside) = folder();
        let path = aside.join("control");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.write_all_at(&[0; 8], 0).unwrap();
        Self { file, path, _folder: own }
    }

    /// Starts a worker in a folder.
    pub(super) fn worker(&self, root: &Path) -> Other {
        let environment = [
            ("LD_PRELOAD", OsString::from(shim())),
            ("COUNTERSIGN_FAULT", self.path.clone().into()),
            ("COUNTERSIGN_DATA", root.into()),
        ];
        Other::start(WORKER, root, &environment)
    }

    /// Makes the operation with this number fail, counted from now on.
    pub(super) fn set(&self, fault: Fault, at: usize) {
        self.file.write_all_at(&0_i32.to_ne_bytes(), 0).unwrap();
        self.file.write_all_at(&i32::try_from(at).unwrap().to_ne_bytes(), 4).unwrap();
        self.file.write_all_at(&(fault as i32).to_ne_bytes(), 0).unwrap();
    }

    /// The number of operations until then; 0 after the fault.
    pub(super) fn left(&self) -> usize {
        let mut left = [0; 4];
        self.file.read_exact_at(&mut left, 4).unwrap();
        usize::try_from(i32::from_ne_bytes(left)).unwrap_or(0)
    }
}

/// The orders of a vault's life, from its creation to its closing; they are repeated.
const ORDERS: [&str; 12] =
    ["make", "add", "code", "code", "seat", "list", "add", "remove", "close", "open", "add", "close"];

/// A worker on a disk that fails at a chosen operation, and its acknowledgements.
struct Failing {
    root: PathBuf,
    control: Control,
    process: Other,
    vault: usize,
    orders: usize,
    told: Told,
    _folder: TempDir,
}

impl Failing {
    fn new() -> Self {
        let ((own, root), control) = (folder(), Control::new());
        let process = control.worker(&root);
        Self { root, control, process, vault: 0, orders: 0, told: Told::default(), _folder: own }
    }

    fn set(&self, fault: Fault, at: usize) {
        self.control.set(fault, at);
    }

    fn has_failed(&self) -> bool {
        self.control.left() == 0
    }

    /// The next order of a kind, for the worker.
    fn order(&mut self, what: &str) -> String {
        self.orders += 1;
        match what {
            "make" => {
                (self.vault, self.told) = (self.vault + 1, Told::default());
                format!("open {}", self.vault)
            }
            "open" => format!("open {}", self.vault),
            "add" => format!("add {}", self.orders),
            "seat" => format!("seat {}@example.com", self.orders),
            "remove" => match self.told.added.difference(&self.told.removed).next().cloned() {
                Some(id) => {
                    self.told.removed.insert(id.clone());
                    format!("remove {id}")
                }
                None => "list".to_owned(),
            },
            _ => what.to_owned(),
        }
    }

    /// Sends an order, and returns the answer.
    fn ask(&mut self, order: &str) -> String {
        self.process.tell(order);
        let answer = self.process.next().unwrap_or_else(|| "it has ended".to_owned());
        if let Some(id) = answer.strip_prefix("ok ").filter(|_| order.starts_with("add")) {
            self.told.added.insert(id.to_owned());
        }
        if let Some(id) = order.strip_prefix("remove ").filter(|_| answer == "ok") {
            self.told.gone.insert(id.to_owned());
        }
        answer
    }

    fn check(&self) -> Result<(), String> {
        runtime().block_on(check(&self.root.join(self.vault.to_string()), &self.told))
    }
}

fn at_each_operation(name: &'static str, fault: Fault) {
    let mut row = Row::new(name, 20);
    let mut failing = Failing::new();
    let mut left = row.times;
    for what in ORDERS.iter().cycle() {
        for at in 1.. {
            let order = failing.order(what);
            failing.set(fault, at);
            let answer = failing.ask(&order);
            let has_failed = failing.has_failed();
            failing.set(Fault::None, 0);
            // The worker is not restarted. A vault that was closed, as far as possible, is opened again.
            let again = match *what {
                "close" if has_failed => {
                    let open = failing.order("open");
                    failing.ask(&open)
                }
                _ if answer.starts_with("ok") => answer.clone(),
                _ => failing.ask(&order),
            };
            let is_told = answer.starts_with("ok") || answer.starts_with("no ");
            // SQLite reports a failed read as damage.
            let is_true = !answer.contains("damaged") && !answer.contains("malformed");
            if !is_told || !is_true || !again.starts_with("ok") {
                row.lose(format!("{fault:?} at operation {at} of \"{order}\": {answer:?}, then {again:?}"));
                failing = Failing::new();
                let make = failing.order("make");
                assert_eq!(failing.ask(&make), "ok");
            }
            left -= usize::from(has_failed);
            if !has_failed || left == 0 {
                break;
            }
        }
        if let Err(lost) = failing.check() {
            row.lose(format!("after \"{what}\": {lost}"));
        }
        if left == 0 {
            break;
        }
    }
    row.end();
}

#[test]
fn io_error_at_each_of_the_first_operations_of_a_workload() {
    at_each_operation("I/O error at each of the first operations of a workload", Fault::Error);
}

#[test]
fn short_write_at_each_of_the_first_operations_of_a_workload() {
    at_each_operation("short write at each of the first operations of a workload", Fault::ShortWrite);
}

#[test]
fn full_disk_at_each_of_the_first_operations_of_a_workload() {
    at_each_operation("full disk at each of the first operations of a workload", Fault::FullOnce);
}

#[test]
fn disk_full_and_freed() {
    let mut row = Row::new("disk full and freed", 5);
    let mut failing = Failing::new();
    for round in 0..row.times {
        if round % 50 == 0 {
            let make = failing.order("make");
            assert_eq!(failing.ask(&make), "ok");
            assert!(add(&mut failing).starts_with("ok"));
        }
        failing.set(Fault::FullFromNowOn, 1 + row.dice.below(40));
        // The disk becomes full at one of these operations.
        let first = (0..64).map(|_| add(&mut failing)).find(|answer| !answer.starts_with("ok")).unwrap_or_default();
        let second = add(&mut failing);
        let (listed, code) = (failing.ask("list"), failing.ask("code"));
        failing.set(Fault::None, 0);
        let freed = [add(&mut failing), failing.ask("code")];
        // A full disk may be reported at a write or at a sync.
        let names_it = |told: &str| told.contains("full") || told.contains("the disk did not confirm a write");
        // The change during which the disk becomes full may be durable already.
        let is_first = first.starts_with("no the vault can't be reached or written")
            || first.starts_with("no the vault did not confirm that this is durable");
        let is_told = is_first && names_it(&second) && names_it(&code);
        if !is_told || !listed.starts_with("ok") || freed.iter().any(|answer| !answer.starts_with("ok")) {
            row.lose(format!("{first:?}, {second:?}, list {listed:?}, code {code:?}, freed {freed:?}"));
        }
        if (round % 50 == 49 || round + 1 == row.times)
            && let Err(lost) = failing.check()
        {
            row.lose(lost);
        }
    }
    row.end();
}

fn add(failing: &mut Failing) -> String {
    let order = failing.order("add");
    failing.ask(&order)
}
