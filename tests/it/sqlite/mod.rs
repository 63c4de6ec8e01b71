//! Guarantees of the SQLite backend alone: which files it accepts, how it handles locks, disk faults and killed
//! processes, and how it migrates format 1.

pub(crate) mod faults;
mod files;
mod format1;
mod locks;
pub(crate) mod processes;
mod tamper;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
};

use countersign::store::{Kind, OpenError, OpenRequest, Writes, open};
use sha2::{Digest as _, Sha256};

use crate::store::{World, check, done, put, putting, record, runtime};

/// Another process on the same store: this test binary, started again for the one test that is its `main`.
pub(crate) struct Other {
    pub(crate) process: Child,
    said: BufReader<ChildStderr>,
}

impl Other {
    pub(crate) fn start(task: &str, root: &Path, more: &[(&str, OsString)]) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([processes::MAIN, "--exact", "--nocapture", "--test-threads=1"])
            .env(processes::TASK, task)
            .env(processes::ROOT, root)
            .envs(more.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stderr.take().unwrap());
        Self { process, said }
    }

    /// Sends an order, and returns the answer.
    pub(crate) fn ask(&mut self, what: &str) -> String {
        self.tell(what);
        self.next().expect("it must answer")
    }

    /// Sends an order, without waiting for the answer.
    pub(crate) fn tell(&mut self, what: &str) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{what}").unwrap();
    }

    /// The next line of the process; `None` if the process has ended.
    pub(crate) fn next(&mut self) -> Option<String> {
        for line in self.said.by_ref().lines() {
            if let Some(said) = line.unwrap().strip_prefix("> ") {
                return Some(said.to_owned());
            }
        }
        None
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A closed store with one secret in it.
fn with_a_secret() -> World {
    let world = World::new(Writes::Inline);
    runtime(Writes::Inline).block_on(async {
        let store = world.store().await;
        done(&store, putting([put(record(Kind::Secret, b"kept"))])).await;
        store.close().await.unwrap();
    });
    world
}

fn refusal(request: &OpenRequest) -> OpenError {
    runtime(Writes::Inline).block_on(open(request)).err().expect("it must be refused")
}

pub(crate) fn private_dir(path: &Path) {
    fs::create_dir_all(path).unwrap();
    set_mode(path, 0o700);
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Every file under a folder with the hash of its bytes. The content of the log's index is left out: readers write to
/// it, and it is rebuilt from the log.
pub(crate) fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let is_index = |path: &Path| path.to_string_lossy().ends_with("-shm");
    let bytes = |path: &Path| if is_index(path) { Vec::new() } else { fs::read(path).unwrap() };
    files_in(folder).into_iter().map(|path| (path.clone(), Sha256::digest(bytes(&path)).to_vec())).collect()
}

pub(crate) fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// Whether bytes are in any of a store's files.
fn is_anywhere(folder: &Path, needle: &[u8]) -> bool {
    files_in(folder).iter().any(|path| fs::read(path).unwrap().windows(needle.len()).any(|bytes| bytes == needle))
}
