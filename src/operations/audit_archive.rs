//! Files of pruned audit rows: a line for each row, as an export has it, with the stored bytes that its MAC covers. A
//! line that is an anchor gives the place where the rows after it begin.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _},
    path::{Path, PathBuf},
};

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;

use super::{AuditRow, Call, Effect, Failed, Operation, Refusal, Spec};
use crate::{
    domain::audit::{self, Action, ChainHead},
    vault::{ArchiveCheck, ArchiveReport, Archived, Finding, StoredRow, Vault},
};

/// The longest line: several times the length of a row.
const LINE_BYTES_MAX: u64 = 16 * 1024;

/// A file to which pruned rows are appended. It is locked while it is open.
pub(super) struct ArchiveFile {
    file: BufWriter<File>,
    path: PathBuf,
    /// Why the file could not be written.
    failed: Option<String>,
}

/// An anchor: the place where the rows after it begin.
#[derive(Serialize)]
struct Begin {
    chain: u32,
    seq: u64,
    mac: String,
}

/// A row.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    readable: AuditRow,
    /// The time under which it was stored, in microseconds.
    stored_at: i64,
    /// The stored bytes, in base64.
    stored: String,
}

/// An anchor, as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BeginLine {
    chain: u32,
    seq: u64,
    mac: String,
}

/// What a row's line has beside its readable fields.
#[derive(Deserialize)]
struct RowLine {
    chain: u32,
    seq: u64,
    mac: String,
    stored_at: i64,
    stored: String,
}

/// The end of a file that was read.
#[derive(Default)]
struct Read {
    has_rows: bool,
    /// Whether the file ends within a line.
    is_open: bool,
}

impl ArchiveFile {
    /// Opens a file to append to; nothing in it is changed. Rows that are in it already must be those before the first
    /// one of the vault's log, so that nothing is appended to a file of another kind, or to one that could not be verified
    /// afterwards.
    pub(super) async fn open(path: PathBuf, vault: &Vault) -> Result<Self, Failed> {
        let refused =
            |problem: String| Failed::from(Refusal::invalid("archive", format!("{}: {problem}", path.display())));
        let unwritten = |cause: io::Error| refused(format!("can't be written: {cause}"));
        if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(refused("is no file".to_owned()));
        }
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        // Rows name people and secrets, as those in the vault do.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(unwritten)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(refused("another process is appending to it".to_owned())),
            // Some network file systems have no locks.
            Err(TryLockError::Error(cause)) if cause.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(cause)) => return Err(unwritten(cause)),
        }
        let mut check = vault.check_archive();
        let read = match verify(&path, &file, &mut check)? {
            Ok(read) => read,
            Err((_, finding)) => return Err(refused(format!("{finding}; name a new file"))),
        };
        // Without rows, a pruning was interrupted before it had written one.
        if read.has_rows
            && let Some((_, finding)) = check.end_of_chains().await?.finding
        {
            return Err(refused(format!("{finding}; name a new file")));
        }
        if read.is_open {
            file.write_all(b"\n").map_err(unwritten)?;
        }
        Ok(Self { file: BufWriter::new(file), path, failed: None })
    }

    pub(super) fn write(&mut self, what: Archived<'_>) -> io::Result<()> {
        let written = self.written(what);
        self.failed = written.as_ref().err().map(ToString::to_string);
        written
    }

    /// The error of a pruning that ended because the archive could not be written.
    pub(super) fn failure(&self) -> Option<Refusal> {
        let failed = self.failed.as_ref()?;
        let kept = "the vault still has the rows that are not in it";
        Some(Refusal::invalid("archive", format!("{}: can't be written: {failed}; {kept}", self.path.display())))
    }

    fn written(&mut self, what: Archived<'_>) -> io::Result<()> {
        match what {
            Archived::From(ChainHead { chain, seq, mac }) => {
                self.line(&Begin { chain, seq, mac: HEXLOWER.encode(&mac) })
            }
            Archived::Row(row, stored) => self.line(&Row {
                readable: AuditRow::from(&*row),
                stored_at: stored.at,
                stored: BASE64.encode(&stored.body),
            }),
            Archived::Whole => {
                self.file.flush()?;
                self.file.get_ref().sync_all()?;
                sync_folder_of(&self.path)
            }
        }
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.file, line)?;
        self.file.write_all(b"\n")
    }
}

/// Verifies archives of pruned rows, and that this vault's log goes on from there.
#[derive(Debug, Clone)]
pub struct VerifyArchive {
    /// The files, the oldest first.
    pub files: Vec<PathBuf>,
}

impl Operation for VerifyArchive {
    const SPEC: Spec = Spec::person("verify_archive", Action::Call, Effect::Read);
    type Output = ArchiveReport;

    async fn run(self, call: &mut Call<'_>) -> Result<ArchiveReport, Failed> {
        let mut check = call.service.vault().check_archive();
        for path in &self.files {
            let file = File::open(path).map_err(|cause| unread(path, &cause))?;
            if let Err((chain, finding)) = verify(path, file, &mut check)? {
                return Ok(check.found(chain, finding));
            }
        }
        Ok(check.end().await?)
    }
}

fn unread(path: &Path, cause: &io::Error) -> Refusal {
    Refusal::invalid("archive", format!("{}: can't be read: {cause}", path.display()))
}

/// Verifies a file, line by line. A line that was cut off while it was written is passed over, at the end or before the
/// run that repeats it: the rows of its own run were not removed from the vault.
fn verify(
    path: &Path,
    file: impl io::Read,
    check: &mut ArchiveCheck<'_>,
) -> Result<Result<Read, (u32, Finding)>, Refusal> {
    let mut file = BufReader::new(file);
    let (mut read, mut line, mut is_cut) = (Read::default(), Vec::new(), false);
    for number in 1_u64.. {
        line.clear();
        let limited = file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let bytes = limited.map_err(|cause| unread(path, &cause))?;
        if line.is_empty() {
            break;
        }
        read.is_open = !line.ends_with(b"\n");
        if (bytes as u64) < LINE_BYTES_MAX && is_cut_off(&line) {
            is_cut = true;
            continue;
        }
        let entry = Entry::of(&line).filter(|entry| !is_cut || matches!(entry, Entry::Begin(_)));
        let Some(entry) = entry else {
            let problem = format!("{}: line {number} is no line of an archive", path.display());
            return Err(Refusal::invalid("archive", problem));
        };
        is_cut = false;
        read.has_rows |= matches!(entry, Entry::Row(_));
        let chain = entry.chain();
        if let Err(finding) = entry.check(&line, check) {
            return Ok(Err((chain, finding)));
        }
    }
    Ok(Ok(read))
}

/// Whether it is the beginning of a line of an archive.
fn is_cut_off(line: &[u8]) -> bool {
    const BEGINS: &[u8] = b"{\"chain\":";
    let line = line.trim_ascii_end();
    let is_cut = || serde_json::from_slice::<IgnoredAny>(line).is_err_and(|cause| cause.is_eof());
    !line.is_empty() && (line.starts_with(BEGINS) || BEGINS.starts_with(line)) && is_cut()
}

/// What a line of an archive holds.
enum Entry {
    Begin(ChainHead),
    Row(StoredRow),
}

impl Entry {
    fn of(line: &[u8]) -> Option<Self> {
        let mac_of = |mac: &str| HEXLOWER.decode(mac.as_bytes()).ok()?.try_into().ok();
        if let Ok(RowLine { chain, seq, mac, stored_at: at, stored }) = serde_json::from_slice(line) {
            let body = BASE64.decode(stored.as_bytes()).ok()?;
            return Some(Self::Row(StoredRow { chain, seq, at, body, mac: mac_of(&mac)? }));
        }
        let BeginLine { chain, seq, mac } = serde_json::from_slice(line).ok()?;
        Some(Self::Begin(ChainHead { chain, seq, mac: mac_of(&mac)? }))
    }

    const fn chain(&self) -> u32 {
        match self {
            Self::Begin(head) => head.chain,
            Self::Row(row) => row.chain,
        }
    }

    fn check(self, line: &[u8], check: &mut ArchiveCheck<'_>) -> Result<(), Finding> {
        match self {
            Self::Begin(head) => check.from(head),
            Self::Row(stored) => {
                let seq = stored.seq;
                let row = check.row(stored)?;
                if is_as_written(line, &row) { Ok(()) } else { Err(Finding::Changed(seq)) }
            }
        }
    }
}

/// Whether the readable fields of a line, which no MAC covers, are those of its verified row, and no others.
fn is_as_written(line: &[u8], row: &audit::AuditRow) -> bool {
    let (Ok(Value::Object(mut written)), Ok(Value::Object(right))) =
        (serde_json::from_slice(line), serde_json::to_value(AuditRow::from(row)))
    else {
        return false;
    };
    // A line is longer than its fields if it names one twice. Readers differ in which of the two they take.
    let is_whole = Value::Object(written.clone()).to_string().len() == line.trim_ascii_end().len();
    for name in ["stored", "stored_at"] {
        written.remove(name);
    }
    is_whole && written == right
}

/// A power cut must not remove the name of a file whose rows the vault no longer has. A folder that can't be read can't
/// be synced.
#[cfg(unix)]
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let path = path.canonicalize()?;
    match path.parent().map(|folder| File::open(folder).and_then(|folder| folder.sync_all())) {
        Some(Err(cause)) if cause.kind() == io::ErrorKind::PermissionDenied => {
            tracing::warn!("the folder of the archive can't be synced ({cause}): keep the machine on for a minute");
            Ok(())
        }
        synced => synced.unwrap_or(Ok(())),
    }
}

/// On other systems, a folder can't be opened.
#[cfg(not(unix))]
fn sync_folder_of(_path: &Path) -> io::Result<()> {
    Ok(())
}
