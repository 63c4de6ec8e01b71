//! The tasks that a server carries out by itself while it runs: it erases deleted secrets, removes old rows of the
//! audit log and binds its chains, makes backups, and finishes the rotation of a data key that was begun elsewhere.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    task::spawn_blocking,
    time::{Instant, interval, interval_at},
};

use crate::{
    config::Backups,
    domain::time::Timestamp,
    operations::{BackedUp, Service, Ties},
    store::{OpenError, create_private_dir, refuse_shared_folder},
};

const DAY: Duration = Duration::from_hours(24);
/// How often a server checks the chains of others for rows.
const KNOT: Duration = Duration::from_mins(1);
/// How often a server checks whether a rotation was left unfinished.
const ROTATION: Duration = Duration::from_mins(10);
/// The longest time between a failed backup and the next try.
const AGAIN: Duration = Duration::from_hours(1);

/// Erases secrets past their seven days once a day, because a server runs for long, and removes rows of the audit log
/// that are older than they are to be kept.
pub(super) async fn clean_daily(service: Service, audit_keep: Option<Duration>) {
    let mut days = interval_at(Instant::now(), DAY);
    // Secrets were erased before the server began to serve.
    let mut is_first = true;
    loop {
        days.tick().await;
        if !std::mem::take(&mut is_first)
            && let Err(cause) = service.erase_expired().await
        {
            tracing::warn!(%cause, "deleted secrets could not be erased; the next try is in a day");
        }
        let Some(keep) = audit_keep else { continue };
        match service.prune_audit_unasked(keep).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "old rows of the audit log were removed"),
            Err(cause) => {
                tracing::error!(%cause, "old rows of the audit log could not be removed; the next try is in a day");
            }
        }
    }
}

/// Binds the chains of the audit log, of which each node on a server has one.
pub(super) async fn tie_chains(service: Service) {
    let (mut looks, mut ties) = (interval(KNOT), Ties::default());
    loop {
        looks.tick().await;
        if let Err(cause) = service.tie_audit_unasked(&mut ties).await {
            tracing::warn!(%cause, "the chains of the audit log could not be bound; the next try is in a minute");
        }
    }
}

/// Continues a rotation of the data key that was begun and not finished.
pub(super) async fn finish_rotations(service: Service) {
    let mut looks = interval(ROTATION);
    loop {
        looks.tick().await;
        match service.rotation().await {
            Ok(rotation) if !rotation.finished => {}
            Ok(_) => continue,
            Err(cause) => {
                tracing::warn!(%cause, "it is not known whether a rotation of the data key has to be finished");
                continue;
            }
        }
        match service.finish_rotation(None, &mut |_| {}).await {
            Ok(rotation) if rotation.finished => {
                tracing::info!(epoch = rotation.epoch, "the rotation of the data key was finished");
            }
            Ok(rotation) => {
                let left = rotation.left;
                tracing::error!(
                    left,
                    "damaged records keep an old data key in use: `countersign vault doctor` says which"
                );
            }
            Err(cause) => {
                tracing::warn!(%cause, "the rotation of the data key could not be finished; it goes on later");
            }
        }
    }
}

/// Makes a backup whenever the newest one in the folder is as old as the plan allows.
pub(super) async fn back_up(service: Service, plan: Backups) {
    loop {
        let rest = match due_in(&service, &plan).await {
            Ok(rest) if rest.is_zero() => match make(&service, &plan).await {
                Ok(()) => plan.every,
                Err(cause) => failed(&plan, &cause),
            },
            Ok(rest) => rest,
            Err(cause) => failed(&plan, &cause.to_string()),
        };
        tokio::time::sleep(rest).await;
    }
}

fn failed(plan: &Backups, cause: &str) -> Duration {
    tracing::error!(folder = %plan.dir.display(), %cause, "no backup was made");
    plan.every.min(AGAIN)
}

/// Makes the folder of backups, and refuses one that other users can read or change.
///
/// # Errors
/// [`OpenError`].
pub(super) fn prepare(plan: &Backups) -> Result<(), OpenError> {
    create_private_dir(&plan.dir).map_err(|source| OpenError::Io { path: plan.dir.clone(), source })?;
    refuse_shared_folder(&plan.dir)
}

/// The time until the next backup.
async fn due_in(service: &Service, plan: &Backups) -> io::Result<Duration> {
    let dir = plan.dir.clone();
    let made = spawn_blocking(move || {
        create_private_dir(&dir)?;
        backups_in(&dir)
    });
    let now = service.now();
    // A backup from the future was made by a clock that ran ahead.
    let newest = made.await??.into_iter().map(|(at, _)| at).filter(|at| *at <= now).max();
    Ok(newest.map_or(Duration::ZERO, |at| plan.every.saturating_sub(at.until(now))))
}

async fn make(service: &Service, plan: &Backups) -> Result<(), String> {
    let to = plan.dir.join(name_at(service.now()));
    let BackedUp { bytes, secrets, problems, .. } =
        service.back_up_unasked(&to).await.map_err(|cause| cause.to_string())?;
    if !problems.is_empty() {
        // Older backups may be the last ones without the damage.
        let count = problems.len();
        tracing::error!(count, file = %to.display(), "the vault is damaged, and so is its backup: `countersign vault doctor` says where");
        return Ok(());
    }
    tracing::info!(bytes, secrets, file = %to.display(), "a backup was made");
    let (dir, keep, now) = (plan.dir.clone(), plan.keep, service.now());
    let removed = spawn_blocking(move || remove_old(&dir, keep, now)).await.map_err(io::Error::from).flatten();
    removed.unwrap_or_else(|cause| tracing::warn!(%cause, "old backups could not be removed"));
    Ok(())
}

/// Removes all but the newest backups. A backup from the future was made by a clock that ran ahead, and is not counted.
fn remove_old(dir: &Path, keep: usize, now: Timestamp) -> io::Result<()> {
    let mut made = backups_in(dir)?;
    made.retain(|(at, _)| *at <= now);
    made.sort();
    made.iter().rev().skip(keep).try_for_each(|(_, file)| fs::remove_file(file))
}

/// The name of a backup: the time at which it was begun, without characters that file systems refuse.
fn name_at(at: Timestamp) -> String {
    format!("vault-{}.db", at.to_string().replace(':', "-"))
}

/// The backups in a folder, each with its time. Other files are left alone.
fn backups_in(dir: &Path) -> io::Result<Vec<(Timestamp, PathBuf)>> {
    let mut made = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(at) = entry.file_name().to_str().and_then(time_of) {
            made.push((at, entry.path()));
        }
    }
    Ok(made)
}

fn time_of(name: &str) -> Option<Timestamp> {
    let (date, time) = name.strip_prefix("vault-")?.strip_suffix(".db")?.split_once('T')?;
    format!("{date}T{}", time.replace('-', ":")).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backups_name_says_when_it_was_made() {
        let at = Timestamp::from_seconds(1_800_000_000);
        assert_eq!(name_at(at), "vault-2027-01-15T08-00-00.000Z.db");
        assert_eq!(time_of(&name_at(at)), Some(at));
        for other in ["vault.db", "vault-.db", "vault-2027-01-15.db", "vault-2027-01-15T08-00-00.000Z.db.00ff.new"] {
            assert_eq!(time_of(other), None, "{other}");
        }
    }

    #[test]
    fn the_newest_are_kept_and_other_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<_> = (0..5).map(|day| name_at(Timestamp::from_seconds(1_800_000_000 + day * 86_400))).collect();
        for name in names.iter().rev().map(String::as_str).chain(["notes.txt", "vault.db"]) {
            fs::write(dir.path().join(name), name).unwrap();
        }
        remove_old(dir.path(), 2, Timestamp::from_seconds(4_000_000_000)).unwrap();
        let left = |name: &str| dir.path().join(name).exists();
        assert_eq!(names.iter().map(|name| left(name)).collect::<Vec<_>>(), [false, false, false, true, true]);
        assert!(left("notes.txt") && left("vault.db"));
    }

    #[test]
    fn a_backup_from_the_future_never_costs_the_one_just_made() {
        let dir = tempfile::tempdir().unwrap();
        let today = name_at(Timestamp::from_seconds(1_800_000_000));
        for name in ["vault-2099-01-01T00-00-00.000Z.db", &today] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        remove_old(dir.path(), 1, Timestamp::from_seconds(1_800_000_000)).unwrap();
        assert!(dir.path().join(&today).exists());
    }
}
