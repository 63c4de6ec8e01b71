//! `countersign secret import`: stores the secrets of other programs' files. A preview comes first, then a question,
//! then one change. Every entry of every file is accounted for: added, present or skipped. A child process parses the
//! files, never this one: whatever is in them, the child can be killed.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;

use super::{
    duplicate::name,
    import_file::File,
    import_report::{self, Columns, Counts, Kind, NO_ENTRIES, Present, Remark, Report},
    view,
};
use crate::{
    child::Children,
    domain::{
        import::{self, CheckedEntry, CheckedSecret, Contents, Format, Part, Place},
        limits::{IMPORT_ENTRIES_MAX, IMPORT_FILE_BYTES_MAX, IMPORT_KEY_FILE_BYTES_MAX},
        secret::{SecretMetadata, SecretUse, TotpSecret},
    },
    operations::{Enrolment, ImportSecrets, Imported, ListSecrets, PresentSecret, Progress},
    transport::cli::{
        Ending, Failure, Session,
        file_names::shown_path,
        first::{First, Input, Taken},
        numbers::counted_len,
        output::Console,
        prompt::Consent,
        working::{Stage, watched},
    },
};

/// What an import takes.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The files; `-` for standard input
    #[arg(value_name = "FILE", required = true)]
    pub(super) files: Vec<PathBuf>,
    /// Look at the files and store nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Don't ask; store what can be stored although other entries are skipped
    #[arg(long, short = 'y', alias = "keep-going")]
    pub(super) yes: bool,
    /// Read the passphrase of encrypted files from a file; it is asked for otherwise
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// The key file of a `KeePass` database; with an empty passphrase, it alone opens the database
    #[arg(long, value_name = "FILE")]
    pub(super) kdbx_key_file: Option<PathBuf>,
}

impl ImportArgs {
    /// Whether the import stores secrets.
    pub(super) const fn stores(&self) -> bool {
        !self.dry_run
    }

    /// Refuses a second `-`, which would be read as empty.
    fn have_one_standard_input(&self) -> Result<(), Failure> {
        let files = self.files.iter().chain(&self.passphrase_file).chain(&self.kdbx_key_file);
        if files.filter(|path| path.as_path() == Path::new("-")).count() > 1 {
            let problem = "only one of FILE, --passphrase-file and --kdbx-key-file can be `-`, standard input";
            return Err(Failure::Usage(problem.to_owned()));
        }
        Ok(())
    }
}

/// The contents of the files.
#[derive(Default)]
pub(in crate::transport::cli) struct All {
    /// The secrets, in order.
    secrets: Vec<Enrolment>,
    /// The position of each of them, with the file's name if there are several files.
    places: Vec<(Option<Arc<str>>, Place)>,
    /// Repaired, doubtful and skipped entries.
    remarks: Vec<Remark>,
    skipped: usize,
    /// Files without entries.
    empty: Vec<String>,
    formats: Vec<&'static str>,
    parts: Vec<Part>,
    /// The columns of tables.
    columns: Vec<Columns>,
    /// Whether the person has seen what would be added, and agreed.
    agreed: bool,
}

/// Stores the secrets of files.
pub(super) async fn import(args: &ImportArgs, session: &mut Session) -> Result<Ending, Failure> {
    let mut all = match session.input.take() {
        Some(Input(Taken::Secrets(all))) => all,
        _ => read_all(args, &mut session.console, &session.children).await?,
    };
    let secrets: Arc<[Enrolment]> = std::mem::take(&mut all.secrets).into();
    let looks_only = all.are_only_looked_at(args, &session.console);
    let mut imported = store(&secrets, looks_only, session).await?;
    let there = if args.dry_run || !imported.secrets.is_empty() {
        session.perform(ListSecrets::default()).await?.secrets
    } else {
        Vec::new()
    };
    let mut report = all.report(&secrets, &imported, args.dry_run, &there);
    if looks_only && !args.dry_run {
        if !is_agreed(&report, &imported, &mut session.console)? {
            return Ok(report.ending());
        }
        imported = store(&secrets, false, session).await?;
        // Another process may have added some of them meanwhile.
        report.counts = Counts::of(&imported, report.counts.skipped);
        report.were_shown();
    }
    // The reader of the output may delay it without limit, so the seeds are wiped before.
    drop(secrets);
    print_outcome(&report, &imported.secrets, session)
}

/// Reads the files where no vault exists yet, and shows what would be stored. No entry is present there.
pub(super) async fn first(args: &ImportArgs, console: &mut Console, children: &Children) -> Result<First, Failure> {
    let mut all = read_all(args, console, children).await?;
    let imported = Imported::into_nothing(&all.secrets);
    let secrets = std::mem::take(&mut all.secrets);
    if args.dry_run || imported.secrets.is_empty() {
        let report = all.report(&secrets, &imported, args.dry_run, &[]);
        return print_report(&report, &imported.secrets, console).map(First::Ended);
    }
    if all.are_only_looked_at(args, console) {
        let report = all.report(&secrets, &imported, false, &[]);
        is_agreed(&report, &imported, console)?;
        all.agreed = true;
    }
    all.secrets = secrets;
    Ok(First::Read(Input(Taken::Secrets(all))))
}

/// Shows what would be added, and asks for confirmation. Returns `false` if there is nothing to add, and an error if no
/// person can be asked.
fn is_agreed(report: &Report, imported: &Imported, console: &mut Console) -> Result<bool, Failure> {
    if !console.can_ask() {
        return Err(import_report::refusal(report));
    }
    import_report::preview(report, &imported.secrets, console);
    if imported.secrets.is_empty() {
        return Ok(false);
    }
    console.confirm(&format!("Add {}?", counted_len(imported.secrets.len(), "secret")), Consent::NotYet)?;
    Ok(true)
}

/// Stores secrets, or only determines which would be stored.
async fn store(secrets: &Arc<[Enrolment]>, dry_run: bool, session: &mut Session) -> Result<Imported, Failure> {
    let (progress, of) = (Arc::new(Progress::default()), secrets.len());
    let import = ImportSecrets { entries: secrets.clone(), dry_run, progress: progress.clone() };
    let (service, caller) = (session.service.clone(), session.caller.clone());
    let what = if dry_run { "looking at the secrets" } else { "storing the secrets" };
    let work = Box::pin(service.perform(&caller, import));
    let stored = watched(&mut session.console, what, || Stage::Done(progress.done(), of), work).await?;
    Ok(stored?)
}

/// Reads the files.
async fn read_all(args: &ImportArgs, console: &mut Console, children: &Children) -> Result<All, Failure> {
    let (mut all, mut is_key_file_used) = (All::default(), false);
    args.have_one_standard_input()?;
    let several = args.files.len() > 1;
    let key_file = match &args.kdbx_key_file {
        Some(path) => Some(console.read("--kdbx-key-file", path, IMPORT_KEY_FILE_BYTES_MAX)?),
        None => None,
    };
    for (path, nth) in args.files.iter().zip(1..) {
        let flag = if several { format!("FILE {nth}") } else { "FILE".to_owned() };
        let bytes = console.read(&flag, path, IMPORT_FILE_BYTES_MAX)?;
        let key = key_file.as_ref().map(|bytes| bytes.as_slice());
        let mut file = File { name: shown_path(path), bytes, args, key, children };
        file.of_picture().await?;
        let contents = file.contents(console).await?;
        is_key_file_used |= contents.format == Format::KeePass;
        if contents.entries.is_empty() && contents.parts.is_empty() {
            all.empty.push(file.name);
            continue;
        }
        all.take(contents, several.then_some(file.name.as_str()));
    }
    if key_file.is_some() && !is_key_file_used {
        return Err(Failure::Usage("--kdbx-key-file opens a KeePass database, and no file is one".to_owned()));
    }
    let entries = all.secrets.len() + all.skipped;
    if entries == 0 && all.parts.is_empty() {
        let what = if several { "the files have no entries" } else { NO_ENTRIES };
        let files = all.empty.join(", ");
        return Err(Failure::invalid(format!("{files}: {what} (0 added, 0 present, 0 skipped)")));
    }
    if entries > IMPORT_ENTRIES_MAX {
        return Err(Failure::invalid(format!("an import takes {IMPORT_ENTRIES_MAX} secrets at most; split the file")));
    }
    Ok(all)
}

/// Shows what was stored and what was not.
fn print_outcome(report: &Report, secrets: &[TotpSecret], session: &mut Session) -> Result<Ending, Failure> {
    if !session.console.is_json() && !report.dry_run {
        let now = session.service.now();
        view::table(secrets, now, &mut session.console)?;
    }
    print_report(report, secrets, &mut session.console)
}

/// Shows the result without a table of the secrets.
fn print_report(report: &Report, secrets: &[TotpSecret], console: &mut Console) -> Result<Ending, Failure> {
    if console.is_json() {
        console.document(&report.answer(secrets))?;
    } else if report.dry_run {
        import_report::preview(report, secrets, console);
    } else {
        import_report::remarks(report, console);
        import_report::sum(report, console);
    }
    Ok(report.ending())
}

impl All {
    /// Adds the entries of a file.
    fn take(&mut self, contents: Contents, file: Option<&str>) {
        if !self.formats.contains(&contents.format.name()) {
            self.formats.push(contents.format.name());
        }
        self.parts.extend(contents.parts);
        self.columns.extend(Columns::of(&contents.columns, file));
        let file: Option<Arc<str>> = file.map(Arc::from);
        for CheckedEntry { place, title, read } in contents.entries {
            let remark = |kind, message: String| Remark {
                place: stands(file.as_deref(), place),
                name: title.as_ref().map(ToString::to_string),
                kind,
                message,
            };
            match read {
                Ok(CheckedSecret { label, issuer, totp, seed, single_use, notes }) => {
                    let kind = |doubt| if doubt { Kind::Doubtful } else { Kind::Repaired };
                    self.remarks.extend(notes.iter().map(|note| remark(kind(note.is_doubt), note.text.to_string())));
                    let usage = SecretUse::of_single_use(single_use);
                    let metadata = SecretMetadata { label, issuer, totp, usage, origins: Vec::new() };
                    self.places.push((file.clone(), place));
                    self.secrets.push(Enrolment { metadata, seed });
                }
                Err(why) => {
                    self.skipped += 1;
                    self.remarks.push(remark(Kind::Skipped, why.to_string()));
                }
            }
        }
    }

    /// Whether nothing is stored before a person agrees.
    fn are_only_looked_at(&self, args: &ImportArgs, console: &Console) -> bool {
        let lacks_consent = console.can_ask() || (self.skipped > 0 && !console.is_json());
        args.dry_run || (!args.yes && !self.agreed && lacks_consent)
    }

    /// Reports what was or would be done with the secrets. One with the issuer and label of another is doubtful: a
    /// person may have two.
    fn report(&mut self, secrets: &[Enrolment], imported: &Imported, dry_run: bool, there: &[TotpSecret]) -> Report {
        let added: HashSet<_> = imported.secrets.iter().map(|secret| secret.id).collect();
        let others = there.iter().filter(|secret| !added.contains(&secret.id));
        let mut names: HashSet<_> = others.map(|secret| name(&secret.metadata)).collect();
        let present: HashSet<usize> = imported.present.iter().map(|present| present.index).collect();
        let places = self.places.iter().enumerate().filter(|(index, _)| !present.contains(index));
        for (secret, (_, (file, place))) in imported.secrets.iter().zip(places) {
            if !names.insert(name(&secret.metadata)) {
                self.remarks.push(Remark {
                    place: stands(file.as_deref(), *place),
                    name: Some(full_name(&secret.metadata)),
                    kind: Kind::Doubtful,
                    message: SAME_NAME.to_owned(),
                });
            }
        }
        let present = imported.present.iter().filter_map(|PresentSecret { index, there }| {
            let ((file, place), metadata) = (self.places.get(*index)?, &secrets.get(*index)?.metadata);
            let place = stands(file.as_deref(), *place);
            let (listed, there_listed) = (import_report::listed(metadata), import_report::listed(there));
            let listed = if listed == there_listed { listed } else { format!("{listed}, as {there_listed}") };
            Some(Present { place, name: full_name(metadata), stored_as: full_name(there), listed })
        });
        let present = present.collect();
        let missing = import::missing_parts(&self.parts).into_iter();
        let missing =
            missing.map(|(part, of)| format!("part {part} of {of} of Google Authenticator's export")).collect();
        Report {
            counts: Counts::of(imported, self.skipped),
            formats: self.formats.clone(),
            remarks: std::mem::take(&mut self.remarks),
            present,
            empty: std::mem::take(&mut self.empty),
            missing,
            columns: std::mem::take(&mut self.columns),
            dry_run,
        }
    }
}

/// The position of an entry, in words for a person.
fn stands(file: Option<&str>, place: Place) -> String {
    file.map_or_else(|| place.to_string(), |file| format!("{file}, {place}"))
}

/// The issuer and the label of a secret.
fn full_name(SecretMetadata { label, issuer, .. }: &SecretMetadata) -> String {
    issuer.as_ref().map_or_else(|| label.to_string(), |issuer| format!("{issuer}: {label}"))
}

/// The remark that an issuer and label are not unique.
const SAME_NAME: &str =
    "another secret has this issuer and label, with another seed or other parameters; both are kept";
