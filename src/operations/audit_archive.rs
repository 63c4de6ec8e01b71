//! Files of pruned audit rows: a line for each row, as an export has it, with the stored bytes that its MAC covers. A
//! line that is an anchor gives the place where the rows after it begin.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Read as _, Write as _},
    path::{Path, PathBuf},
};

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AuditRow, Call, Effect, Failed, Operation, Refusal, Spec};
use crate::{
    domain::audit::{self, Action, ChainHead},
    vault::{ArchiveCheck, ArchiveReport, Archived, Finding, StoredRow},
};

/// The longest line: several times the length of a row.
const LINE_BYTES_MAX: u64 = 16 * 1024;

/// A file to which pruned rows are appended.
pub(super) struct ArchiveFile(BufWriter<File>);

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

/// An anchor or a row, as it is read.
#[derive(Deserialize)]
struct Line {
    chain: u32,
    seq: u64,
    mac: String,
    stored_at: Option<i64>,
    stored: Option<String>,
}

impl ArchiveFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        // Rows name people and secrets, as those in the vault do.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Self(BufWriter::new(options.open(path)?)))
    }

    pub(super) fn write(&mut self, what: Archived<'_>) -> io::Result<()> {
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
                self.0.flush()?;
                self.0.get_ref().sync_all()
            }
        }
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, line)?;
        self.0.write_all(b"\n")
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
            if let Err((chain, finding)) = verify(path, &mut check)? {
                return Ok(check.found(chain, finding));
            }
        }
        Ok(check.end().await?)
    }
}

/// Verifies a file, line by line.
fn verify(path: &Path, check: &mut ArchiveCheck<'_>) -> Result<Result<(), (u32, Finding)>, Refusal> {
    let refused = |problem: String| Refusal::invalid("archive", format!("{}: {problem}", path.display()));
    let unread = |cause: io::Error| refused(format!("can't be read: {cause}"));
    let mut file = BufReader::new(File::open(path).map_err(unread)?);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(unread)?;
        if line.is_empty() {
            break;
        }
        let strange = || refused(format!("line {number} is no line of an archive"));
        let Line { chain, seq, mac, stored_at, stored } = serde_json::from_slice(&line).map_err(|_| strange())?;
        let mac = HEXLOWER.decode(mac.as_bytes()).ok().and_then(|mac| mac.try_into().ok()).ok_or_else(strange)?;
        let checked = match stored_at.zip(stored) {
            None => check.from(ChainHead { chain, seq, mac }),
            Some((at, stored)) => {
                let body = BASE64.decode(stored.as_bytes()).map_err(|_| strange())?;
                let read = check.row(StoredRow { chain, seq, at, body, mac });
                read.and_then(|row| if is_as_written(&line, &row) { Ok(()) } else { Err(Finding::Changed(seq)) })
            }
        };
        if let Err(finding) = checked {
            return Ok(Err((chain, finding)));
        }
    }
    Ok(Ok(()))
}

/// Whether the readable fields of a line, which no MAC covers, are those of its verified row. Another version may write
/// other fields.
fn is_as_written(line: &[u8], row: &audit::AuditRow) -> bool {
    let (Ok(written), Ok(right)) = (serde_json::from_slice::<Value>(line), serde_json::to_value(AuditRow::from(row)))
    else {
        return false;
    };
    // A line is longer than its fields if it names one twice. Readers differ in which of the two they take.
    let is_whole = written.to_string().len() == line.trim_ascii_end().len();
    let mut fields = right.as_object().into_iter().flatten();
    is_whole && fields.all(|(name, value)| written.get(name).is_none_or(|written| written == value))
}
