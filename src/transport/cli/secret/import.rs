//! `countersign secret import`: the secrets of other programs' files. A preview comes first, then a question, then one
//! change. Every entry of every file is accounted for: added, present or skipped.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use zeroize::Zeroizing;

use super::{
    duplicate::name,
    import_report::{self, Counts, Kind, Remark, Report},
    qr, view,
};
use crate::{
    domain::{
        characters::is_unshowable,
        import::{self, Entry, Format, Found, Import, ImportError, Locked, Opened, Part},
        limits::{IMPORT_ENTRIES_MAX, IMPORT_FILE_BYTES_MAX, IMPORT_MEMORY_ASKED, PASSPHRASE_BYTES_MAX},
        secret::{SecretMetadata, SecretUse, TotpSecret},
    },
    operations::{Enrolment, ImportSecrets, Imported, ListSecrets},
    transport::cli::{Ending, Failure, Session, numbers::counted_len, output::Console, prompt::Consent},
};

/// Secrets beyond which an import takes long enough for a person to wonder.
const NOTED_MIN: usize = 1000;
/// Passphrases that a person may try at a prompt.
const TRIES: u32 = 3;

/// What an import takes.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The files; `-` for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Look at the files and store nothing
    #[arg(long)]
    dry_run: bool,
    /// Don't ask; store what can be stored although other entries are skipped
    #[arg(long, short = 'y', alias = "keep-going")]
    yes: bool,
    /// Read the passphrase of encrypted files from a file; it is asked for otherwise
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl ImportArgs {
    /// Whether it stores anything.
    pub(super) const fn stores(&self) -> bool {
        !self.dry_run
    }
}

/// What the files hold.
#[derive(Default)]
struct Contents {
    /// The secrets, in order.
    secrets: Vec<Enrolment>,
    /// Where each of them stands.
    places: Vec<Remark>,
    /// Repaired, doubtful and skipped entries.
    remarks: Vec<Remark>,
    skipped: usize,
    formats: Vec<&'static str>,
    parts: Vec<Part>,
}

/// Stores the secrets of files.
pub(super) async fn import(args: &ImportArgs, session: &mut Session) -> Result<Ending, Failure> {
    let mut all = Contents::default();
    let several = args.files.len() > 1;
    for (path, nth) in args.files.iter().zip(1..) {
        let flag = if several { format!("FILE {nth}") } else { "FILE".to_owned() };
        let import = match read(path, &flag, session).await? {
            Opened::Read(import) => import,
            Opened::Locked(locked) => unlock(locked, &shown(path), args, &mut session.console).await?,
        };
        all.take(import, several.then(|| shown(path)).as_deref());
    }
    let entries = all.secrets.len() + all.skipped;
    if entries == 0 && all.parts.is_empty() {
        return Err(Failure::invalid("the file has no entries"));
    }
    if entries > IMPORT_ENTRIES_MAX {
        return Err(Failure::invalid(format!("an import takes {IMPORT_ENTRIES_MAX} secrets at most; split the file")));
    }
    let secrets: Arc<[Enrolment]> = std::mem::take(&mut all.secrets).into();
    let asks = !args.yes && !args.dry_run && session.console.can_ask();
    let looks_only = args.dry_run || asks || (!args.yes && all.skipped > 0 && !session.console.is_json());
    if secrets.len() > NOTED_MIN && session.console.looks().notes.terminal {
        session.console.note(&format!("Looking at {}.", counted_len(secrets.len(), "secret")));
    }
    let mut imported = session.perform(ImportSecrets { entries: secrets.clone(), dry_run: looks_only }).await?;
    let mut report = all.report(&imported, args.dry_run, session).await?;
    if looks_only && !args.dry_run {
        if !asks {
            return Err(import_report::refusal(&report));
        }
        import_report::preview(&report, &imported.secrets, &mut session.console);
        if imported.secrets.is_empty() {
            return Ok(Ending::Done);
        }
        let question = format!("Add {}?", counted_len(imported.secrets.len(), "secret"));
        session.console.confirm(&question, Consent::Asked)?;
        imported = session.perform(ImportSecrets { entries: secrets, dry_run: false }).await?;
        // Another process may have added some of them meanwhile.
        report.counts = Counts::of(&imported, report.counts.skipped);
        report.remarks.clear();
    }
    tell(&report, &imported.secrets, session)
}

/// Shows what was stored and what was not.
fn tell(report: &Report, secrets: &[TotpSecret], session: &mut Session) -> Result<Ending, Failure> {
    let ending = if report.counts.skipped == 0 { Ending::Done } else { Ending::No };
    if session.console.is_json() {
        session.console.document(&report.answer(secrets))?;
    } else if report.dry_run {
        import_report::preview(report, secrets, &mut session.console);
    } else {
        let now = session.service.now();
        view::table(secrets, None, now, &mut session.console)?;
        import_report::remarks(report, &mut session.console);
        import_report::sum(report, &mut session.console);
    }
    Ok(ending)
}

/// Reads one file: a document, or a picture of QR codes.
async fn read(path: &Path, flag: &str, session: &mut Session) -> Result<Opened, Failure> {
    let bytes = session.console.read(flag, path, IMPORT_FILE_BYTES_MAX)?;
    let named = |problem: String| Failure::invalid(format!("{}: {problem}", shown(path)));
    let bytes = if import::is_picture(&bytes) {
        let texts = qr::read(&bytes, &session.children).await.map_err(|failure| named(failure.to_string()))?;
        // As a list has them: a link a line.
        let lines: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
        Zeroizing::new(lines.join(&b'\n'))
    } else {
        bytes
    };
    import::open(&bytes).map_err(|problem| named(problem.to_string()))
}

/// Opens an encrypted file. At a prompt, a person may mistype twice.
async fn unlock(locked: Locked, file: &str, args: &ImportArgs, console: &mut Console) -> Result<Import, Failure> {
    let memory = locked.memory();
    if memory > IMPORT_MEMORY_ASKED {
        let question = format!("Opening {file} takes {} MiB of memory. Go on?", memory >> 20);
        console.confirm(&question, args.yes.into())?;
    }
    let locked = Arc::new(locked);
    for tries_left in (0..TRIES).rev() {
        let passphrase = passphrase(file, locked.format(), args, console).await?;
        let work = locked.clone();
        if console.looks().notes.terminal {
            console.note("Opening it; this may take some seconds.");
        }
        // On a thread of its own, so that the person can interrupt it.
        let opened = tokio::task::spawn_blocking(move || work.open(&passphrase)).await;
        let opened = opened.map_err(|_| Failure::invalid(format!("{file}: the reader failed at this file")))?;
        match opened {
            Err(ImportError::WrongPassphrase | ImportError::WrongPassphraseOrDamaged)
                if tries_left > 0 && args.passphrase_file.is_none() =>
            {
                console.note("That did not open it.");
            }
            Err(problem) => return Err(Failure::invalid(format!("{file}: {problem}"))),
            Ok(import) => return Ok(import),
        }
    }
    Err(Failure::invalid(format!("{file}: {}", ImportError::WrongPassphrase)))
}

/// The passphrase: the contents of a file without the end of the line, or what is typed.
async fn passphrase(
    file: &str,
    format: Format,
    args: &ImportArgs,
    console: &mut Console,
) -> Result<Zeroizing<String>, Failure> {
    let Some(path) = &args.passphrase_file else {
        let prompt = format!("Passphrase of {file}, an encrypted export of {} (hidden): ", format.name());
        return console.ask_hidden(&prompt, "use --passphrase-file").await;
    };
    console.read_secret("--passphrase-file", path, PASSPHRASE_BYTES_MAX)
}

/// A file's name as it can be shown. The file was opened, so nobody typed a seed in its place.
fn shown(path: &Path) -> String {
    if path == Path::new("-") {
        return "standard input".to_owned();
    }
    path.display().to_string().chars().filter(|c| !is_unshowable(*c)).collect()
}

impl Contents {
    /// Takes the entries of a file.
    fn take(&mut self, import: Import, file: Option<&str>) {
        if !self.formats.contains(&import.format.name()) {
            self.formats.push(import.format.name());
        }
        self.parts.extend(import.parts);
        for Entry { place, title, read } in import.entries {
            let place = file.map_or_else(|| place.to_string(), |file| format!("{file}, {place}"));
            let remark = |kind, message| Remark {
                place: place.clone(),
                name: title.as_ref().map(ToString::to_string),
                kind,
                message,
            };
            match read {
                Ok(Found { label, issuer, totp, seed, single_use, notes }) => {
                    let kind = |doubt| if doubt { Kind::Doubtful } else { Kind::Repaired };
                    self.remarks.extend(notes.iter().map(|note| remark(kind(note.is_doubt()), note.to_string())));
                    let usage = SecretUse::of_single_use(single_use);
                    let metadata = SecretMetadata { label, issuer, totp, usage, origins: Vec::new() };
                    self.places.push(remark(Kind::Doubtful, SAME_NAME.to_owned()));
                    self.secrets.push(Enrolment { metadata, seed });
                }
                Err(why) => {
                    self.skipped += 1;
                    self.remarks.push(remark(Kind::Skipped, why.to_string()));
                }
            }
        }
    }

    /// What is or would be done. Secrets with the name of another and another seed are doubtful: a person may have two.
    async fn report(mut self, imported: &Imported, dry_run: bool, session: &mut Session) -> Result<Report, Failure> {
        let mut names: HashSet<_> = if dry_run || !imported.secrets.is_empty() {
            let there = session.perform(ListSecrets::default()).await?.secrets;
            let added: HashSet<_> = imported.secrets.iter().map(|secret| secret.id).collect();
            there.iter().filter(|secret| !added.contains(&secret.id)).map(|secret| name(&secret.metadata)).collect()
        } else {
            HashSet::new()
        };
        let present: HashSet<usize> = imported.present.iter().copied().collect();
        let places = self.places.into_iter().enumerate().filter(|(index, _)| !present.contains(index));
        for (secret, (_, place)) in imported.secrets.iter().zip(places) {
            if !names.insert(name(&secret.metadata)) {
                self.remarks.push(place);
            }
        }
        let missing = import::missing_parts(&self.parts).into_iter();
        let missing =
            missing.map(|(part, of)| format!("part {part} of {of} of Google Authenticator's export")).collect();
        Ok(Report {
            counts: Counts::of(imported, self.skipped),
            formats: self.formats,
            remarks: self.remarks,
            missing,
            dry_run,
        })
    }
}

/// Says that a name is not unique.
const SAME_NAME: &str = "another secret has this issuer and label, with another seed; both are kept";
