//! `countersign secret import`: the secrets of other programs' files. A preview comes first, then a question, then one
//! change. Every entry of every file is accounted for: added, present or skipped. Files are read by a child process, and
//! never here: whatever is in them, it can be killed.

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
    child::{ChildError, Children, Job},
    domain::{
        characters::is_unshowable,
        import::{self, Answer, CheckedEntry, CheckedSecret, Contents, Format, Keys, Part, Place},
        limits::{
            IMPORT_ENTRIES_MAX, IMPORT_FILE_BYTES_MAX, IMPORT_KEY_FILE_BYTES_MAX, IMPORT_MEMORY_ASKED,
            PASSPHRASE_BYTES_MAX,
        },
        secret::{SecretMetadata, SecretUse, TotpSecret},
    },
    operations::{Enrolment, ImportSecrets, Imported, ListSecrets, Progress},
    transport::cli::{
        Ending, Failure, Session,
        first::{First, Input, Taken},
        numbers::counted_len,
        output::Console,
        prompt::Consent,
        working::{Stage, watched},
    },
};

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
    /// The key file of a `KeePass` database; with an empty passphrase, it alone opens the database
    #[arg(long, value_name = "FILE")]
    kdbx_key_file: Option<PathBuf>,
}

impl ImportArgs {
    /// Whether it stores anything.
    pub(super) const fn stores(&self) -> bool {
        !self.dry_run
    }
}

/// What the files hold.
#[derive(Default)]
pub(in crate::transport::cli) struct All {
    /// The secrets, in order.
    secrets: Vec<Enrolment>,
    /// Where each of them stands, with the file's name if there are several.
    places: Vec<(Option<Arc<str>>, Place)>,
    /// Repaired, doubtful and skipped entries.
    remarks: Vec<Remark>,
    skipped: usize,
    formats: Vec<&'static str>,
    parts: Vec<Part>,
    /// Whether the person has seen what they would add, and agreed.
    agreed: bool,
}

/// A file, and how its contents are got.
struct File<'a> {
    /// As it can be shown.
    name: String,
    bytes: Zeroizing<Vec<u8>>,
    args: &'a ImportArgs,
    /// The contents of its key file.
    key: Option<&'a [u8]>,
    children: &'a Children,
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
    let mut report = all.report(&imported, args.dry_run, &there);
    if looks_only && !args.dry_run {
        if !is_agreed(&report, &imported, &mut session.console)? {
            return Ok(Ending::Done);
        }
        imported = store(&secrets, false, session).await?;
        // Another process may have added some of them meanwhile.
        report.counts = Counts::of(&imported, report.counts.skipped);
        report.remarks.clear();
    }
    // Showing the answer may take as long as its reader wants; the seeds are wiped before.
    drop(secrets);
    tell(&report, &imported.secrets, session)
}

/// Reads the files where no vault is yet, and shows what would be stored. Nothing is present there.
pub(super) async fn first(args: &ImportArgs, console: &mut Console, children: &Children) -> Result<First, Failure> {
    let mut all = read_all(args, console, children).await?;
    let imported = Imported::into_nothing(&all.secrets);
    if args.dry_run || imported.secrets.is_empty() {
        let report = all.report(&imported, args.dry_run, &[]);
        return print_report(&report, &imported.secrets, console).map(First::Ended);
    }
    if all.are_only_looked_at(args, console) {
        let report = all.report(&imported, false, &[]);
        is_agreed(&report, &imported, console)?;
        all.agreed = true;
    }
    Ok(First::Read(Input(Taken::Secrets(all))))
}

/// Shows what would be added and asks. `false`: there is nothing to add. An error if nobody can be asked.
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

/// Stores secrets, or only looks which would be stored.
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
    let several = args.files.len() > 1;
    let key_file = match &args.kdbx_key_file {
        Some(path) => Some(console.read("--kdbx-key-file", path, IMPORT_KEY_FILE_BYTES_MAX)?),
        None => None,
    };
    for (path, nth) in args.files.iter().zip(1..) {
        let flag = if several { format!("FILE {nth}") } else { "FILE".to_owned() };
        let bytes = console.read(&flag, path, IMPORT_FILE_BYTES_MAX)?;
        let key = key_file.as_ref().map(|bytes| bytes.as_slice());
        let mut file = File { name: shown(path), bytes, args, key, children };
        file.of_picture().await?;
        let contents = file.contents(console).await?;
        is_key_file_used |= contents.format == Format::KeePass;
        all.take(contents, several.then_some(file.name.as_str()));
    }
    if key_file.is_some() && !is_key_file_used {
        return Err(Failure::Usage("--kdbx-key-file opens a KeePass database, and no file is one".to_owned()));
    }
    let entries = all.secrets.len() + all.skipped;
    if entries == 0 && all.parts.is_empty() {
        return Err(Failure::invalid("the file has no entries"));
    }
    if entries > IMPORT_ENTRIES_MAX {
        return Err(Failure::invalid(format!("an import takes {IMPORT_ENTRIES_MAX} secrets at most; split the file")));
    }
    Ok(all)
}

/// Shows what was stored and what was not.
fn tell(report: &Report, secrets: &[TotpSecret], session: &mut Session) -> Result<Ending, Failure> {
    if !session.console.is_json() && !report.dry_run {
        let now = session.service.now();
        view::table(secrets, None, now, &mut session.console)?;
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
    Ok(if report.counts.skipped == 0 { Ending::Done } else { Ending::No })
}

impl File<'_> {
    /// Puts what a picture's QR codes hold in its place, as a list has it: a link a line.
    async fn of_picture(&mut self) -> Result<(), Failure> {
        if import::is_picture(&self.bytes) {
            let texts = qr::read(&self.bytes, Some(&self.name), self.children).await?;
            let lines: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
            self.bytes = Zeroizing::new(lines.join(&b'\n'));
        }
        Ok(())
    }

    /// What is in it.
    async fn contents(&self, console: &mut Console) -> Result<Contents, Failure> {
        match self.read(Keys::default(), console).await? {
            Answer::Read(contents) => Ok(contents),
            Answer::Locked { format, memory } => self.unlocked(format, memory, console).await,
            Answer::Unread { problem, .. } => Err(self.refused(&problem)),
        }
    }

    /// Opens it, if it is encrypted. At a prompt, a person may mistype twice.
    async fn unlocked(&self, format: Format, memory: u64, console: &mut Console) -> Result<Contents, Failure> {
        if memory > IMPORT_MEMORY_ASKED {
            let question = format!("Opening {} takes {} MiB of memory. Go on?", self.name, memory >> 20);
            console.confirm(&question, self.args.yes.into())?;
        }
        let mut tries_left = if self.args.passphrase_file.is_some() { 1 } else { TRIES };
        loop {
            tries_left -= 1;
            let passphrase = passphrase(&self.name, format, self.args, console).await?;
            let keys = Keys { passphrase: Some(&passphrase), key_file: self.key };
            match self.read(keys, console).await? {
                Answer::Read(contents) => return Ok(contents),
                Answer::Unread { wrong_passphrase: true, .. } if tries_left > 0 => {
                    console.note("That did not open it.");
                }
                Answer::Unread { problem, .. } => return Err(self.refused(&problem)),
                // It had its passphrase.
                Answer::Locked { .. } => return Err(self.refused(&ChildError::Answer)),
            }
        }
    }

    /// Has a child read it.
    async fn read(&self, keys: Keys<'_>, console: &mut Console) -> Result<Answer, Failure> {
        let head = keys.head();
        let input = [head.as_slice(), &self.bytes];
        let verb = if keys.passphrase.is_some() { "opening" } else { "reading" };
        let work = self.children.run(Job::Import, &input);
        let answer = watched(console, &format!("{verb} {}", self.name), || Stage::Somewhere, work).await?;
        answer.map_err(|cause| self.refused(&cause))
    }

    fn refused(&self, problem: &impl ToString) -> Failure {
        Failure::invalid(format!("{}: {}", self.name, problem.to_string()))
    }
}

/// The passphrase: the contents of a file without the end of the line, or what is typed.
async fn passphrase(
    file: &str,
    format: Format,
    args: &ImportArgs,
    console: &mut Console,
) -> Result<Zeroizing<String>, Failure> {
    let Some(path) = &args.passphrase_file else {
        let kind = if args.kdbx_key_file.is_some() && format == Format::KeePass {
            ", which the key file opens too; empty if it opens it alone (hidden): ".to_owned()
        } else {
            format!(", an encrypted export of {} (hidden): ", format.name())
        };
        let prompt = format!("Passphrase of {file}{kind}");
        return console.ask_hidden(&prompt, "use --passphrase-file").await;
    };
    console.read_secret("--passphrase-file", path, PASSPHRASE_BYTES_MAX)
}

/// A file's name as it can be shown. The file was opened, so nobody typed a seed in its place.
pub(super) fn shown(path: &Path) -> String {
    if path == Path::new("-") {
        return "standard input".to_owned();
    }
    path.display().to_string().chars().filter(|c| !is_unshowable(*c)).collect()
}

impl All {
    /// Takes the entries of a file.
    fn take(&mut self, contents: Contents, file: Option<&str>) {
        if !self.formats.contains(&contents.format.name()) {
            self.formats.push(contents.format.name());
        }
        self.parts.extend(contents.parts);
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

    /// Whether nothing is stored before somebody agrees.
    fn are_only_looked_at(&self, args: &ImportArgs, console: &Console) -> bool {
        let lacks_consent = console.can_ask() || (self.skipped > 0 && !console.is_json());
        args.dry_run || (!args.yes && !self.agreed && lacks_consent)
    }

    /// What is or would be done. Secrets with the name of another and another seed are doubtful: a person may have two.
    fn report(&mut self, imported: &Imported, dry_run: bool, there: &[TotpSecret]) -> Report {
        let added: HashSet<_> = imported.secrets.iter().map(|secret| secret.id).collect();
        let others = there.iter().filter(|secret| !added.contains(&secret.id));
        let mut names: HashSet<_> = others.map(|secret| name(&secret.metadata)).collect();
        let present: HashSet<usize> = imported.present.iter().copied().collect();
        let places = self.places.iter().enumerate().filter(|(index, _)| !present.contains(index));
        for (secret, (_, (file, place))) in imported.secrets.iter().zip(places) {
            if !names.insert(name(&secret.metadata)) {
                let SecretMetadata { label, issuer, .. } = &secret.metadata;
                let name = issuer.as_ref().map_or_else(|| label.to_string(), |issuer| format!("{issuer}: {label}"));
                self.remarks.push(Remark {
                    place: stands(file.as_deref(), *place),
                    name: Some(name),
                    kind: Kind::Doubtful,
                    message: SAME_NAME.to_owned(),
                });
            }
        }
        let missing = import::missing_parts(&self.parts).into_iter();
        let missing =
            missing.map(|(part, of)| format!("part {part} of {of} of Google Authenticator's export")).collect();
        Report {
            counts: Counts::of(imported, self.skipped),
            formats: self.formats.clone(),
            remarks: std::mem::take(&mut self.remarks),
            missing,
            dry_run,
        }
    }
}

/// Where an entry stands, as a person is told.
fn stands(file: Option<&str>, place: Place) -> String {
    file.map_or_else(|| place.to_string(), |file| format!("{file}, {place}"))
}

/// Says that a name is not unique.
const SAME_NAME: &str = "another secret has this issuer and label, with another seed; both are kept";

#[cfg(all(test, unix))]
mod tests {
    use std::io;

    use super::*;
    use crate::transport::cli::{
        output::{Answers, Looks, Stream},
        prompt::Questions,
    };

    /// What the command prints about a file that this script reads in the place of the child.
    async fn told_by(script: &str) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/children");
        let stream = Stream { terminal: false, colour: false };
        let streams = (Box::new(io::sink()) as Box<dyn io::Write>, Box::new(io::sink()) as Box<dyn io::Write>);
        let looks = Looks { out: stream, notes: stream };
        let mut console = Console::new(Answers::Text, looks, streams, Questions::scripted("", false));
        let args = ImportArgs {
            files: Vec::new(),
            dry_run: false,
            yes: true,
            passphrase_file: Some("/dev/null".into()),
            kdbx_key_file: None,
        };
        let (name, bytes) = ("aegis.json".to_owned(), Zeroizing::new(b"{}".to_vec()));
        let children = Children::of(folder.join(script));
        let file = File { name, bytes, args: &args, key: None, children: &children };
        let told = file.contents(&mut console).await;
        told.map_or_else(|failure| failure.to_string(), |contents| format!("{} entries", contents.entries.len()))
    }

    #[tokio::test]
    async fn a_wrong_answer_of_the_child_is_an_error_that_names_the_file() {
        let senseless = "aegis.json: the process that read it gave an answer that makes no sense";
        for script in ["senseless", "import-hostile-name", "import-locked-again"] {
            assert_eq!(told_by(script).await, senseless, "{script}");
        }
        assert!(told_by("killed").await.starts_with("aegis.json: it can't be read within its limits"));
        assert!(told_by("missing").await.starts_with("aegis.json: no process could be started to read it"));
    }
}
