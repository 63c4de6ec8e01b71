//! Anchors: the ends of the audit log's chains at some time, kept outside the vault, so that cutting off rows at the
//! end is detected.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Ending, Failure, Session, output::Console, times};
use crate::domain::{audit::ChainHead, time::Timestamp};

/// The largest file of anchors, in bytes: one anchor a minute for two months.
const ANCHORS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How much of the end of such a file is looked at: more than two anchors.
const END_BYTES: u64 = 4096;
/// The shortest interval at which anchors are appended.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// What a check takes.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// File of anchors, as `audit head --append` writes it; `-` for standard input
    #[arg(long, value_name = "FILE")]
    anchors: Option<PathBuf>,
    /// Verify this archive of pruned rows instead, and that the audit log goes on from there; may be
    /// repeated, the oldest file first
    #[arg(long, value_name = "FILE", conflicts_with = "anchors")]
    pub(super) archive: Vec<PathBuf>,
}

/// What an anchor takes.
#[derive(Debug, Args)]
pub struct HeadArgs {
    /// Append the anchors to this file instead of printing them
    #[arg(long, value_name = "FILE")]
    append: Option<PathBuf>,
    /// Go on, with an anchor every so often (such as 60s) whenever the audit log has grown
    #[arg(long, value_name = "SPAN")]
    every: Option<String>,
}

/// A line of a file of anchors: the end of one chain. Its field names never change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Anchor {
    /// The chain. Anchors from before there were several chains belong to the first.
    #[serde(default)]
    chain: u32,
    /// Number of the last row.
    seq: u64,
    /// Its keyed hash, in hexadecimal.
    mac: String,
    /// When the anchor was made.
    at: String,
}

impl Anchor {
    pub(super) fn of(head: ChainHead, at: Timestamp) -> Self {
        Self { chain: head.chain, seq: head.seq, mac: data_encoding::HEXLOWER.encode(&head.mac), at: at.to_string() }
    }

    fn head(&self) -> Option<ChainHead> {
        let mac = data_encoding::HEXLOWER_PERMISSIVE.decode(self.mac.as_bytes()).ok()?;
        Some(ChainHead { chain: self.chain, seq: self.seq, mac: mac.try_into().ok()? })
    }
}

/// Reads the anchors to compare.
pub(super) fn read(args: &VerifyArgs, console: &mut Console) -> Result<Vec<ChainHead>, Failure> {
    let Some(path) = &args.anchors else { return Ok(Vec::new()) };
    let text = console.read_text("--anchors", path, ANCHORS_BYTES_MAX)?;
    let lines = text.lines().zip(1_u64..).filter(|(line, _)| !line.trim().is_empty() && !is_cut_off(line.as_bytes()));
    lines
        .map(|(line, number)| {
            let anchor = serde_json::from_str::<Anchor>(line).ok().and_then(|anchor| anchor.head());
            anchor.ok_or_else(|| Failure::invalid(format!("line {number} of the anchors is no anchor")))
        })
        .collect()
}

/// Prints or appends the end of each chain.
pub(super) async fn head(args: &HeadArgs, session: &mut Session) -> Result<Ending, Failure> {
    let every = args.every.as_deref().map(|text| times::span("--every", text)).transpose()?;
    if every.is_some_and(|every| every < EVERY_MIN) {
        return Err(Failure::Usage("--every must be 1s at least".to_owned()));
    }
    let mut written = Vec::new();
    loop {
        let heads = session.service.audit_heads().await?;
        let now = session.service.now();
        let anchors = heads.iter().filter(|head| !written.contains(*head)).map(|head| Anchor::of(*head, now));
        for anchor in anchors {
            if let Some(path) = &args.append {
                append(path, &anchor).map_err(|cause| Failure::unwritten("--append", &cause))?;
            } else {
                session.console.json_line(&anchor)?;
                session.console.flush()?;
            }
        }
        written = heads;
        match every {
            Some(every) => tokio::time::sleep(every).await,
            None => return Ok(Ending::Done),
        }
    }
}

/// Appends a line with one write, durably: an anchor that a power cut removes proves nothing.
fn append(path: &Path, anchor: &Anchor) -> io::Result<()> {
    let mut line = serde_json::to_vec(anchor)?;
    line.push(b'\n');
    // A file that can only be appended to is a good place for anchors.
    if fs::metadata(path).is_ok_and(|found| found.is_file())
        && let Ok(file) = File::open(path)
        && ends_within_a_line(file)?
    {
        line.insert(0, b'\n');
    }
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(&line)?;
    match file.sync_data() {
        // A pipe or a terminal.
        Err(cause) if cause.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

/// Whether a file of anchors ends within a line.
///
/// # Errors
/// It is no file of anchors.
fn ends_within_a_line(mut file: File) -> io::Result<bool> {
    let bytes = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(bytes.saturating_sub(END_BYTES)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let mut lines = end.rsplit(|byte| *byte == b'\n');
    let open = lines.next().unwrap_or_default();
    let is_anchor = |line: &[u8]| is_cut_off(line) || serde_json::from_slice::<Anchor>(line).is_ok();
    let whole = lines.next().filter(|line| !line.is_empty());
    if !open.is_empty() && !is_anchor(open) || whole.is_some_and(|line| !is_anchor(line)) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not end with an anchor"));
    }
    Ok(!open.is_empty())
}

/// Whether it is the beginning of an anchor, of which the rest was not written.
fn is_cut_off(line: &[u8]) -> bool {
    const BEGINS: &[u8] = b"{\"chain\":";
    let is_cut = || serde_json::from_slice::<Anchor>(line).is_err_and(|cause| cause.is_eof());
    !line.is_empty() && (line.starts_with(BEGINS) || BEGINS.starts_with(line)) && is_cut()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_reads_back_as_the_head_it_was_made_of() {
        let head = ChainHead { chain: 3, seq: 7, mac: [0xAB; 32] };
        let line = serde_json::to_string(&Anchor::of(head, Timestamp::from_seconds(0))).unwrap();

        assert!(line.starts_with(r#"{"chain":3,"seq":7,"mac":"abab"#), "{line}");
        assert_eq!(serde_json::from_str::<Anchor>(&line).unwrap().head(), Some(head));
    }

    #[test]
    fn an_anchor_from_before_there_were_chains_is_one_of_the_first() {
        let line = format!(r#"{{"seq":7,"mac":"{}","at":"2026-11-22T08:30:00.000Z"}}"#, "ab".repeat(32));

        let read = serde_json::from_str::<Anchor>(&line).unwrap().head();

        assert_eq!(read, Some(ChainHead { chain: 0, seq: 7, mac: [0xAB; 32] }));
    }

    #[test]
    fn nothing_in_a_file_of_anchors_is_changed_and_what_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("anchors");
        let anchor = |seq| Anchor::of(ChainHead { chain: 0, seq, mac: [0xAB; 32] }, Timestamp::from_seconds(0));
        let line = |seq| serde_json::to_string(&anchor(seq)).unwrap() + "\n";
        for (was, between) in [
            (String::new(), ""),
            (line(1), ""),
            (line(1).trim_end().to_owned(), "\n"),
            (format!("{}{}", line(1), &line(2)[..40]), "\n"),
            (line(1)[..40].to_owned(), "\n"),
            (format!("{}\n{}", &line(1)[..40], line(2)), ""),
        ] {
            fs::write(&file, &was).unwrap();
            append(&file, &anchor(9)).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), format!("{was}{between}{}", line(9)));
        }
        let row = line(1).replace("\"at\"", "\"stored\":\"AAAA\",\"at\"");
        for was in ["c2VjcmV0", "{\"half\": 1", "\"text", "  ", &format!("{}c2VjcmV0", line(1)), &row, &line(1)[3..]] {
            fs::write(&file, was).unwrap();
            append(&file, &anchor(9)).unwrap_err();
            assert_eq!(fs::read_to_string(&file).unwrap(), *was);
        }
    }

    #[test]
    fn a_short_or_foreign_hash_is_no_anchor() {
        for mac in ["", "abab", "zz", &"ab".repeat(33)] {
            assert_eq!(Anchor { chain: 0, seq: 1, mac: mac.to_owned(), at: String::new() }.head(), None);
        }
    }
}
