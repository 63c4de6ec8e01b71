//! The report of an import: the preview, the remarks about entries, and the sum, which always accounts for every entry.

use serde::Serialize;

use crate::{
    domain::{
        import::CheckedColumn,
        secret::{SecretMetadata, TotpSecret},
        text::ShownText,
    },
    operations::{
        Imported,
        answers::{self, OK},
    },
    transport::cli::{Ending, Failure, output::Console},
};

/// The most secrets that a preview lists by name. A longer list would only scroll away.
const LISTED_MAX: usize = 100;

/// The message about a file without entries.
pub(super) const NO_ENTRIES: &str = "the file has no entries";

/// What an import did or would do.
pub(super) struct Report {
    pub(super) counts: Counts,
    /// The programs that wrote the files.
    pub(super) formats: Vec<&'static str>,
    pub(super) remarks: Vec<Remark>,
    /// The entries that are present.
    pub(super) present: Vec<Present>,
    /// Files that were read and have no entries.
    pub(super) empty: Vec<String>,
    /// Files that belong to the given ones and are missing.
    pub(super) missing: Vec<String>,
    /// The columns of tables that no known program wrote.
    pub(super) columns: Vec<Columns>,
    pub(super) dry_run: bool,
}

/// The columns of a table.
#[derive(Debug, Serialize)]
pub(super) struct Columns {
    /// The file, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    columns: Vec<Column>,
}

/// A column, and what it is read as.
#[derive(Debug, Serialize)]
struct Column {
    name: String,
    read_as: Option<String>,
}

/// The numbers of entries, by outcome. Their sum is the number of entries in the files.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Counts {
    pub(super) entries: usize,
    pub(super) added: usize,
    pub(super) present: usize,
    pub(super) skipped: usize,
}

/// An entry whose secret is there already.
#[derive(Debug, Serialize)]
pub(super) struct Present {
    pub(super) place: String,
    /// Its issuer and label in one text.
    pub(super) name: String,
    /// The issuer and label of the stored secret in one text.
    pub(super) stored_as: String,
    /// Both names as a line of the preview.
    #[serde(skip)]
    pub(super) listed: String,
}

/// A remark about an entry.
#[derive(Debug, Serialize)]
pub(super) struct Remark {
    pub(super) place: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    pub(super) kind: Kind,
    pub(super) message: String,
}

/// What a remark is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// The entry was read as it was meant.
    Repaired,
    /// The entry may be wrong.
    Doubtful,
    /// The entry is not stored.
    Skipped,
}

/// The result, as JSON.
#[derive(Serialize)]
pub(super) struct ImportAnswer<'a> {
    status: &'static str,
    /// Whether nothing was stored because of `--dry-run`.
    dry_run: bool,
    #[serde(flatten)]
    counts: Counts,
    formats: &'a [&'static str],
    remarks: &'a [Remark],
    already_present: &'a [Present],
    without_entries: &'a [String],
    missing: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tables: &'a [Columns],
    totp_secrets: Vec<answers::TotpSecret>,
    /// What `--dry-run` found to add.
    #[serde(skip_serializing_if = "Option::is_none")]
    would_add: Option<Vec<WouldAdd<'a>>>,
}

/// A secret that is not stored yet, and so has no id.
#[derive(Serialize)]
struct WouldAdd<'a> {
    label: &'a str,
    issuer: Option<&'a str>,
    algorithm: &'static str,
    digits: u8,
    period: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    single_use: bool,
}

impl<'a> From<&'a TotpSecret> for WouldAdd<'a> {
    fn from(secret: &'a TotpSecret) -> Self {
        let SecretMetadata { label, issuer, totp, usage, .. } = &secret.metadata;
        Self {
            label: label.as_str(),
            issuer: issuer.as_ref().map(ShownText::as_str),
            algorithm: totp.algorithm.as_str(),
            digits: totp.digits.get(),
            period: totp.period.seconds(),
            single_use: usage.single_use(),
        }
    }
}

impl Counts {
    pub(super) const fn of(imported: &Imported, skipped: usize) -> Self {
        let (added, present) = (imported.secrets.len(), imported.present.len());
        Self { entries: added + present + skipped, added, present, skipped }
    }
}

impl Report {
    /// How the command ends after this report.
    pub(super) const fn ending(&self) -> Ending {
        if self.counts.skipped == 0 && self.missing.is_empty() { Ending::Done } else { Ending::No }
    }

    /// Removes what a preview has shown about the entries, so that it is not shown again.
    pub(super) fn were_shown(&mut self) {
        self.remarks.clear();
        self.present.clear();
        self.empty.clear();
        self.columns.clear();
    }

    pub(super) fn answer<'a>(&'a self, secrets: &'a [TotpSecret]) -> ImportAnswer<'a> {
        let (stored, would_add) = if self.dry_run { (&[][..], Some(secrets)) } else { (secrets, None) };
        ImportAnswer {
            status: OK,
            dry_run: self.dry_run,
            counts: self.counts,
            formats: &self.formats,
            remarks: &self.remarks,
            already_present: &self.present,
            without_entries: &self.empty,
            missing: &self.missing,
            tables: &self.columns,
            totp_secrets: stored.iter().map(answers::TotpSecret::from).collect(),
            would_add: would_add.map(|secrets| secrets.iter().map(WouldAdd::from).collect()),
        }
    }
}

impl Columns {
    /// `None`: the file is no table, or a known program wrote it.
    pub(super) fn of(columns: &[CheckedColumn], file: Option<&str>) -> Option<Self> {
        let column = |column: &CheckedColumn| Column {
            name: column.name.to_string(),
            read_as: column.read_as.as_ref().map(ToString::to_string),
        };
        let columns: Vec<Column> = columns.iter().map(column).collect();
        (!columns.is_empty()).then(|| Self { file: file.map(str::to_owned), columns })
    }

    /// Lists the columns that are read and those that are not, so that a person notices one that is left out.
    fn line(&self) -> String {
        let named = |column: &Column| match &column.read_as {
            Some(word) if word.eq_ignore_ascii_case(&column.name) => format!("`{}`", column.name),
            Some(word) => format!("`{}` as {word}", column.name),
            None => format!("`{}`", column.name),
        };
        let list = |is_read: bool| {
            let columns = self.columns.iter().filter(|column| column.read_as.is_some() == is_read);
            columns.map(named).collect::<Vec<_>>().join(", ")
        };
        let file = self.file.as_ref().map(|file| format!("{file}: ")).unwrap_or_default();
        let (read, unread) = (list(true), list(false));
        let unread = if unread.is_empty() { unread } else { format!("; not read: {unread}") };
        let read = if read.is_empty() { "none".to_owned() } else { read };
        format!("{file}columns: {read}{unread}.")
    }
}

impl Remark {
    fn line(&self) -> String {
        let name = self.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let skipped = if self.kind == Kind::Skipped { "skipped: " } else { "" };
        format!("{}{name}: {skipped}{}", self.place, self.message)
    }
}

/// Shows what an import would do.
pub(super) fn preview(report: &Report, secrets: &[TotpSecret], console: &mut Console) {
    list("add", secrets.iter().map(|secret| listed(&secret.metadata)), console);
    remarks(report, console);
    let Counts { entries, added, present, skipped } = report.counts;
    let end = if report.dry_run { "; nothing was stored" } else { "" };
    // The answer to the next question may change how the command ends.
    let status = if report.dry_run || added == 0 { status_of(report) } else { "" };
    console.note(&format!(
        "{added} would be added, {present} present, {skipped} skipped: {} ({}){end}.{status}",
        entries_of(entries),
        report.formats.join(", ")
    ));
}

/// A secret's name in a list.
pub(super) fn listed(metadata: &SecretMetadata) -> String {
    let SecretMetadata { label, issuer, .. } = metadata;
    issuer.as_ref().map_or_else(|| label.to_string(), |issuer| format!("{label} ({issuer})"))
}

/// Lists names, up to [`LISTED_MAX`].
fn list(what: &str, names: impl ExactSizeIterator<Item = String>, console: &mut Console) {
    let count = names.len();
    for name in names.take(LISTED_MAX) {
        console.note(&format!("{what}: {name}"));
    }
    if count > LISTED_MAX {
        console.note(&format!("and {} more", count - LISTED_MAX));
    }
}

/// Shows what is present, and the remarks about entries and files.
pub(super) fn remarks(report: &Report, console: &mut Console) {
    for columns in &report.columns {
        console.note(&columns.line());
    }
    list("present", report.present.iter().map(|present| present.listed.clone()), console);
    for remark in &report.remarks {
        console.note(&remark.line());
    }
    for empty in &report.empty {
        console.note(&format!("{empty}: {NO_ENTRIES}."));
    }
    for missing in &report.missing {
        console.note(&format!("{missing} is missing; import it too."));
    }
}

/// Shows the sum.
pub(super) fn sum(report: &Report, console: &mut Console) {
    let Counts { entries, added, present, skipped } = report.counts;
    console.note(&format!(
        "{added} added, {present} present, {skipped} skipped: {} ({}).{}",
        entries_of(entries),
        report.formats.join(", "),
        status_of(report)
    ));
}

/// The error if entries would be skipped and no person can be asked.
pub(super) fn refusal(report: &Report) -> Failure {
    let Counts { entries, added, present, skipped } = report.counts;
    let lines: Vec<String> =
        report.remarks.iter().filter(|remark| remark.kind == Kind::Skipped).map(Remark::line).collect();
    Failure::invalid(format!(
        "nothing was stored:\n  {}\n{added} would be added, {present} present, {skipped} skipped: {}; --yes stores what would be added",
        lines.join("\n  "),
        entries_of(entries),
    ))
}

/// Explains an exit status other than 0 of a command that did what it could.
const fn status_of(report: &Report) -> &'static str {
    match (report.counts.skipped > 0, report.missing.is_empty()) {
        (false, true) => "",
        (true, true) => " The exit status is 1, because entries were skipped.",
        (false, false) => " The exit status is 1, because a part of an export is missing.",
        (true, false) => " The exit status is 1, because entries were skipped and a part of an export is missing.",
    }
}

fn entries_of(count: usize) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}
