//! Anchors: the ends of the audit log's chains at some time, kept outside the vault, so that cutting off rows at the
//! end is detected.

use std::{
    fs::OpenOptions,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Ending, Failure, Session, output::Console, times};
use crate::domain::{audit::ChainHead, time::Timestamp};

/// The largest file of anchors, in bytes: one anchor a minute for two months.
const ANCHORS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The longest line of such a file.
const LINE_BYTES_MAX: u64 = 4096;
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
    let lines = text.split_inclusive('\n').zip(1_u64..).filter(|(line, _)| !line.trim().is_empty());
    lines
        .filter_map(|(line, number)| {
            let anchor = serde_json::from_str::<Anchor>(line);
            // The last line was cut off while it was written.
            if !line.ends_with('\n') && anchor.as_ref().is_err_and(serde_json::Error::is_eof) {
                return None;
            }
            let anchor = anchor.ok().and_then(|anchor| anchor.head());
            Some(anchor.ok_or_else(|| Failure::invalid(format!("line {number} of the anchors is no anchor"))))
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

/// Appends a line with one write, durably: an anchor that a power cut removes proves nothing. A line that was cut off
/// while it was written is overwritten.
fn append(path: &std::path::Path, anchor: &Anchor) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(anchor)?;
    line.push(b'\n');
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    file.lock()?;
    let bytes = file.seek(SeekFrom::End(0))?;
    let from = bytes.saturating_sub(LINE_BYTES_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let last = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    match serde_json::from_slice::<Anchor>(end.get(last..).unwrap_or_default()) {
        Err(_) if last == end.len() => {}
        Err(cause) if cause.is_eof() && (last > 0 || from == 0) => file.set_len(from.saturating_add(last as u64))?,
        Err(_) => return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "it does not end with an anchor")),
        Ok(_) => line.insert(0, b'\n'),
    }
    file.seek(SeekFrom::End(0))?;
    file.write_all(&line)?;
    file.sync_data()
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
    fn an_anchor_that_was_cut_off_is_overwritten_and_what_is_no_anchor_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("anchors");
        let anchor = |seq| Anchor::of(ChainHead { chain: 0, seq, mac: [0xAB; 32] }, Timestamp::from_seconds(0));
        let line = |seq| serde_json::to_string(&anchor(seq)).unwrap() + "\n";
        let cases = [
            (String::new(), Some(String::new())),
            (line(1), Some(line(1))),
            (line(1).trim_end().to_owned(), Some(line(1))),
            (format!("{}{}", line(1), &line(2)[..40]), Some(line(1))),
            (line(1)[..40].to_owned(), Some(String::new())),
            (format!("{}{{\"seq\":", line(1)), Some(line(1))),
            ("c2VjcmV0".to_owned(), None),
            (format!("{}c2VjcmV0", line(1)), None),
        ];
        for (was, kept) in cases {
            std::fs::write(&file, &was).unwrap();
            let appended = append(&file, &anchor(9));
            let now = std::fs::read_to_string(&file).unwrap();
            match kept {
                Some(kept) => assert_eq!((appended.is_ok(), now), (true, kept + &line(9)), "{was}"),
                None => assert_eq!((appended.is_ok(), now), (false, was)),
            }
        }
    }

    #[test]
    fn a_short_or_foreign_hash_is_no_anchor() {
        for mac in ["", "abab", "zz", &"ab".repeat(33)] {
            assert_eq!(Anchor { chain: 0, seq: 1, mac: mac.to_owned(), at: String::new() }.head(), None);
        }
    }
}
