//! `countersign setup`: adds Countersign's entry to the file of a host. A person sees first what would change, the file
//! as it was is kept beside it, and nothing is written that would lose something.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum as _};
use serde::Serialize;
use similar::TextDiff;

use super::{Console, Ending, Failure, audit_table::harmless, file_names::shown_path, prompt::Consent, table::Table};
use crate::{
    domain::time::Timestamp,
    hosts::{Folders, Host, Launch, Place},
    operations::answers::OK,
};

/// The largest file of a host, in bytes. Claude Code keeps its history in the same file.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The number of lines around a change that are shown with it.
const CONTEXT: usize = 2;

/// What `setup` takes.
#[derive(Debug, Args)]
pub struct SetupArgs {
    /// The host; without one, they are listed
    #[arg(value_enum, value_name = "HOST")]
    host: Option<Host>,
    /// Print what belongs into the host's file, and write nothing
    #[arg(long)]
    print: bool,
    /// Don't ask
    #[arg(long, short = 'y', conflicts_with = "print")]
    yes: bool,
}

/// The state of Countersign's entry in a host's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// The entry is there, as this command would write it.
    SetUp,
    /// The entry is not there, or differs.
    NotSetUp,
    /// Neither the host's file nor its folder is there.
    NotFound,
}

/// A host, as the list shows it.
#[derive(Serialize)]
struct HostView {
    host: String,
    name: &'static str,
    state: State,
    file: String,
}

/// The result, as JSON.
#[derive(Serialize)]
struct Done {
    status: &'static str,
    host: String,
    file: String,
    changed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<String>,
}

/// Carries out the command.
///
/// # Errors
/// [`Failure`].
pub fn set_up(
    args: &SetupArgs,
    folders: &Folders,
    launch: &Launch,
    now: Timestamp,
    console: &mut Console,
) -> Result<Ending, Failure> {
    let Some(host) = args.host else { return list(folders, launch, console) };
    let file = place_of(host, folders).file;
    let mut done = Done {
        status: OK,
        host: word(host),
        file: file.display().to_string(),
        changed: false,
        backup: None,
        entry: None,
    };
    if args.print {
        let example = host.example(launch).map_err(|problem| Failure::invalid(problem.to_string()))?;
        console.note(&format!("This belongs into {}; nothing was written.", shown_path(&file)));
        done.entry = Some(example.clone());
        console.answer(&done, |console| console.text(&example))?;
        console.flush()?;
        return Ok(Ending::Done);
    }
    let before = read(&file)?;
    let after = host.with_entry(before.as_deref().unwrap_or_default(), launch).map_err(|problem| {
        Failure::invalid(format!(
            "{}: {problem}; nothing was changed. Mend it, or put the entry in by hand: `countersign setup {} --print`",
            shown_path(&file),
            word(host)
        ))
    })?;
    if before.as_deref() == Some(&after) {
        console
            .answer(&done, |console| console.line(&format!("{} has it already: {}", host.name(), shown_path(&file))))?;
        console.flush()?;
        return Ok(Ending::Done);
    }
    show(&file, before.as_deref(), &after, console);
    console.confirm(&format!("Write this for {}?", host.name()), Consent::from(args.yes))?;
    let unwritten = |cause: io::Error| {
        Failure::invalid(format!("{} can't be written: {cause}; nothing was changed in it", shown_path(&file)))
    };
    if read(&file)? != before {
        return Err(Failure::invalid(format!("{} was changed meanwhile; run this again", shown_path(&file))));
    }
    let backup = before.is_some().then(|| keep(&file, now)).transpose().map_err(unwritten)?;
    write(&file, &after).map_err(unwritten)?;
    done.changed = true;
    done.backup = backup.as_ref().map(|path| path.display().to_string());
    console.answer(&done, |console| {
        console.line(&format!("{} starts `countersign` now: {}", host.name(), shown_path(&file)))?;
        if let Some(backup) = &backup {
            console.line(&format!("The file as it was: {}", shown_path(backup)))?;
        }
        console.line(host.next())
    })?;
    console.flush()?;
    Ok(Ending::Done)
}

fn list(folders: &Folders, launch: &Launch, console: &mut Console) -> Result<Ending, Failure> {
    let views: Vec<HostView> = Host::value_variants()
        .iter()
        .map(|host| {
            let Place { file, folder } = place_of(*host, folders);
            let state = if let Ok(Some(text)) = read(&file)
                && host.with_entry(&text, launch).is_ok_and(|same| same == text)
            {
                State::SetUp
            } else if file.exists() || folder.is_dir() {
                State::NotSetUp
            } else {
                State::NotFound
            };
            HostView { host: word(*host), name: host.name(), state, file: file.display().to_string() }
        })
        .collect();
    if console.is_json() {
        let mut items = console.items("hosts")?;
        for view in &views {
            console.item(&mut items, view)?;
        }
        console.end_items(&items)?;
    } else {
        let mut table = Table::new(&["host", "here", "file"]);
        for view in &views {
            let here = match view.state {
                State::SetUp => "set up",
                State::NotSetUp => "not set up",
                State::NotFound => "not found",
            };
            table.row(vec![view.host.clone(), here.to_owned(), harmless(&view.file)]);
        }
        console.table(&table)?;
        console.note("`countersign setup HOST` sets one up.");
    }
    console.flush()?;
    Ok(Ending::Done)
}

/// The word for a host on the command line.
fn word(host: Host) -> String {
    host.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// The place of a host's servers: the newest whose file exists, or else the newest whose folder exists, or else the
/// newest.
fn place_of(host: Host, folders: &Folders) -> Place {
    let mut places = host.places(folders);
    let is = |is_there: fn(&Place) -> bool| places.iter().rposition(is_there);
    let chosen = is(|place| place.file.exists()).or_else(|| is(|place| place.folder.is_dir()));
    let last = places.len().saturating_sub(1);
    places.swap_remove(chosen.unwrap_or(last))
}

/// The text of a host's file, if there is one.
fn read(file: &Path) -> Result<Option<String>, Failure> {
    let refused = |problem: &str| Failure::invalid(format!("{} {problem}; nothing was changed", shown_path(file)));
    match fs::metadata(file) {
        Ok(facts) if !facts.is_file() => Err(refused("is no file")),
        Ok(facts) if facts.len() > FILE_BYTES_MAX => Err(refused("is too large")),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(_) | Err(_) => {
            fs::read_to_string(file).map(Some).map_err(|cause| refused(&format!("can't be read: {cause}")))
        }
    }
}

/// Shows what would change.
fn show(file: &Path, before: Option<&str>, after: &str, console: &mut Console) {
    let diff = TextDiff::from_lines(before.unwrap_or_default(), after);
    let name = shown_path(file);
    let old = if before.is_some() { name.as_str() } else { "(no file)" };
    let mut lines = diff.unified_diff();
    let text = lines.context_radius(CONTEXT).header(old, &name).to_string();
    for line in text.lines() {
        console.note(&harmless(line));
    }
}

/// Copies a file to a new one beside it, and returns the path of the copy.
fn keep(file: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let time = now.to_string().replace(|c: char| !c.is_ascii_digit(), "");
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.bak", time.get(..14).unwrap_or(&time)));
    let backup = file.with_file_name(name);
    fs::copy(file, &backup)?;
    Ok(backup)
}

/// Writes a file beside its place, and renames it, so that it is never there in part. A link stays a link.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let folder = target.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".countersign-new");
    let beside = folder.join(name);
    let written = (|| {
        fs::write(&beside, text)?;
        if let Ok(facts) = fs::metadata(&target) {
            fs::set_permissions(&beside, facts.permissions())?;
        }
        fs::File::open(&beside)?.sync_all()?;
        fs::rename(&beside, &target)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}
