//! `countersign vault rotate`: new keys for a vault that is in use.

use std::{pin::pin, sync::Arc, time::Duration};

use clap::Args;
use serde::Serialize;
use tokio::{sync::watch, time::Instant};

use super::{Ending, Failure, Session, audit_table::harmless, numbers::counted, vault_key};
use crate::{
    domain::key_source::KeySource,
    operations::{Resealed, RotateDataKey, RotateRootKey, RotateVaultKey, Rotation, answers::OK},
};

/// How often progress is shown.
const TELLING: Duration = Duration::from_secs(1);
/// The status of a rotation that can't finish because of damaged records.
const UNFINISHED: &str = "ERROR";

/// What a rotation takes.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// Replace the root key, too: after a key that opened the vault became known. All keys that open it are needed
    #[arg(long)]
    root: bool,
    /// Another key that opens the vault, as for --key-source
    #[arg(long, value_name = "SOURCE", requires = "root")]
    with: Vec<KeySource>,
    /// Give this way to open the vault a new key instead: its number in `vault key list`
    #[arg(long, value_name = "ID", conflicts_with = "root")]
    key: Option<u8>,
    /// The source of that key, as for --key-source [default: the one that opens the vault]. A file or keyring gets a new key
    #[arg(long, value_name = "SOURCE", requires = "key")]
    to: Option<KeySource>,
    /// Don't ask
    #[arg(long, short = 'y')]
    yes: bool,
}

impl RotateArgs {
    /// The sources of the other keys that open the vault.
    pub(super) fn more_keys(&self) -> &[KeySource] {
        &self.with
    }

    /// The source of a new key, if it is named.
    pub(super) const fn new_key(&self) -> Option<&KeySource> {
        self.to.as_ref()
    }

    /// Whether the new key comes from the source that opens the vault.
    pub(super) const fn renews_own_key(&self) -> bool {
        self.key.is_some() && self.to.is_none()
    }
}

/// The state of a rotation, as JSON.
#[derive(Serialize)]
struct RotationAnswer<'a> {
    /// The number of the data key under which everything is sealed now.
    epoch: u32,
    root_epoch: u32,
    /// The number of sealed records, two for each secret.
    records: u64,
    /// The number of records that still need an older data key.
    left: u64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    problems: &'a [String],
    status: &'static str,
}

pub(super) async fn run(args: &RotateArgs, session: &mut Session) -> Result<Ending, Failure> {
    if let Some(id) = args.key {
        let question = "Give this way to open the vault a new key? Copies of the vault that were made before still open by the old one.";
        session.console.confirm(question, args.yes.into())?;
        let source = session.sources.as_ref().and_then(|sources| sources.new.clone());
        let source = source.ok_or_else(|| Failure::Usage("name the source of the new key".to_owned()))?;
        let key = session.perform(RotateVaultKey { id, source }).await?;
        let ending = vault_key::shown(&key, session)?;
        if args.to.is_some() {
            session.console.note(
                "Name that source from now on, by --key-source or COUNTERSIGN_KEY_SOURCE, to open the vault by it.",
            );
        }
        return Ok(ending);
    }
    if args.root {
        replace_root(args.yes, session).await?;
    } else if !session.perform(RotateDataKey).await? {
        session.console.note("Going on with a rotation that was begun before.");
    }
    let rotation = finish(session).await?;
    let answer = RotationAnswer {
        epoch: rotation.epoch,
        root_epoch: rotation.root_epoch,
        records: rotation.records,
        left: rotation.left,
        problems: &rotation.problems,
        status: if rotation.finished { OK } else { UNFINISHED },
    };
    session.console.answer(&answer, |console| {
        for problem in answer.problems {
            console.line(&format!("problem: {}", harmless(problem)))?;
        }
        let records = counted(rotation.records.saturating_sub(rotation.left), "record");
        let root = if args.root { format!(", root key {}", rotation.root_epoch) } else { String::new() };
        console.line(&format!("rotated: {records} sealed under data key {}{root}", rotation.epoch))
    })?;
    if rotation.finished {
        session
            .console
            .note("The older data keys are gone. Backups that were made before still need them, and have them.");
        return Ok(Ending::Done);
    }
    session.console.note(&format!(
        "{} can't be sealed anew, so the older data keys stay. Repair or erase what `countersign vault doctor` names, then run \
         this again.",
        counted(rotation.left, "record")
    ));
    Ok(Ending::No)
}

async fn replace_root(yes: bool, session: &mut Session) -> Result<(), Failure> {
    let Some(sources) = &session.sources else {
        return Err(Failure::Usage("the vault was not opened for this".to_owned()));
    };
    let sources = std::iter::once(&sources.opens).chain(&sources.more).map(Arc::clone).collect();
    let question = "Replace the root key? Processes that were started with a passphrase, recovery words or a variable have to be \
                    restarted. Copies of the vault that were made before still open by the keys of then.";
    session.console.confirm(question, yes.into())?;
    Ok(session.perform(RotateRootKey { sources }).await?)
}

/// Finishes the rotation, and shows its progress.
async fn finish(session: &mut Session) -> Result<Rotation, Failure> {
    let (report, mut progress) = watch::channel(Resealed { done: 0, of: 0 });
    let mut report = |resealed| {
        let _ = report.send(resealed);
    };
    let mut work = pin!(session.service.finish_rotation(Some(&session.caller), &mut report));
    let mut shown = Instant::now();
    loop {
        tokio::select! {
            biased;
            ended = &mut work => return Ok(ended?),
            Ok(()) = progress.changed() => {
                let Resealed { done, of } = *progress.borrow_and_update();
                if shown.elapsed() >= TELLING {
                    shown = Instant::now();
                    session.console.note(&format!("{} of {of} records looked at", done.min(of)));
                }
            }
        }
    }
}
