//! A restore that is killed at each of its operations on files.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use countersign::{
    domain::{audit::Action, ids::SecretId},
    random::SystemRandom,
    vault::{self, Outcome, Vault},
};
use tempfile::TempDir;

use super::{
    Row, Told,
    disk::{Control, Fault},
    folder, live_in, runtime,
};
use crate::{
    sqlite::{files_in, private_dir},
    vault::kit::{Folder, NOW, World},
};

/// The most kills in a run.
const WHOLE: usize = 2_000;

/// The work of the process that is killed.
pub(super) async fn carry_out(root: &Path) -> Result<(), String> {
    let request = Folder::shared(root).existing();
    let restored = vault::restore(&request, &root.join("backup.db"), Arc::new(SystemRandom), || NOW).await;
    let (vault, _) = restored.map_err(|error| error.to_string())?;
    vault.close().await.map_err(|error| error.to_string())
}

/// A vault that has changed since its backup was made, with the last change in its log. It stays open, so that the log
/// is kept.
struct Changed {
    world: World,
    kept: SecretId,
    late: SecretId,
    told: Told,
}

impl Changed {
    async fn new() -> Self {
        let world = World::new().await;
        let kept = world.secret("Acme", "kept").await;
        let key = world.new_key("0123456789AB", None);
        let draft = world.vault.draft(world.entry(Action::KeyCreate)).add_key(&key);
        assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
        world.vault.back_up(&world.folder.root.join("backup.db"), Vec::new()).await.unwrap();
        let late = world.secret("Acme", "late").await;
        world.row(1).await;
        let added = [kept, late].map(|id| id.to_string());
        Self { world, kept, late, told: Told { added: added.into(), ..Told::default() } }
    }

    /// Copies the folder.
    fn copy(&self) -> (TempDir, PathBuf) {
        let (own, root) = folder();
        private_dir(&root.join("config"));
        for name in ["data", "config/keys", "state"] {
            private_dir(&root.join(name));
            for from in files_in(&self.world.folder.root.join(name)) {
                if !from.to_string_lossy().ends_with("-shm") {
                    fs::copy(&from, root.join(name).join(from.file_name().unwrap())).unwrap();
                }
            }
        }
        fs::copy(self.world.folder.root.join("backup.db"), root.join("backup.db")).unwrap();
        assert!(fs::metadata(root.join("data/vault.db-wal")).unwrap().len() > 0);
        (own, root)
    }

    /// Opens the state that a killed restore has left, with a request that may also create a vault, and follows the
    /// error's instructions. Returns the name of the state.
    async fn after(&self, root: &Path, by_name: bool) -> Result<&'static str, String> {
        let told = match Folder::shared(root).open().await {
            Ok(vault) if vault.status().made => return Err("a new vault was made".to_owned()),
            Ok(vault) => return self.judged(root, vault).await,
            Err(error) => error.to_string(),
        };
        let renames = told.split_once("; or go on with that one: rename ").map(|(_, renames)| renames);
        let Some(renames) = renames.filter(|_| told.contains("Run `countersign vault restore BACKUP` again")) else {
            return Err(told);
        };
        if by_name {
            for rename in renames.split(", and then ") {
                let (from, to) = rename.split_once(" to ").unwrap();
                fs::rename(from, to).map_err(|error| format!("{rename}: {error}"))?;
            }
        } else {
            carry_out(root).await?;
        }
        let vault = Folder::shared(root).open().await.map_err(|error| format!("{told}, and then {error}"))?;
        match self.judged(root, vault).await? {
            "old" if by_name => Ok("half, renamed"),
            "restored" if !by_name => Ok("half, restored again"),
            other => Err(format!("{told}, and then it is {other}")),
        }
    }

    /// Which of the two vaults it is, if everything is in order.
    async fn judged(&self, root: &Path, vault: Vault) -> Result<&'static str, String> {
        let live = live_in(&vault).await?;
        let said = |error: vault::StoreError| error.to_string();
        if live.contains(&self.late.to_string()) {
            vault.close().await.map_err(said)?;
            return self.told.compare(&live).map(|()| "old");
        }
        let account = vault.status().default_account;
        let in_use = vault.in_use(account, self.kept, &[], NOW).await.map_err(said)?.ok_or("the secret is gone")?;
        let closed = in_use.terms().totp.step_at(NOW.plus(Duration::from_mins(2)));
        let keys = vault.keys(account).await.map_err(said)?.sound;
        let is_closed = in_use.state.steps.taken == Some(closed);
        vault.close().await.map_err(said)?;
        if keys.len() != 1 || keys.iter().any(|kept| kept.key.off_since.is_none()) || !is_closed {
            return Err(format!("restored with steps closed: {is_closed}, keys {keys:?}"));
        }
        let (_own, elsewhere) = folder();
        let [data, keys] = ["data", "config/keys"].map(|name| elsewhere.join(name));
        private_dir(&elsewhere.join("config"));
        private_dir(&data);
        private_dir(&keys);
        for key in files_in(&root.join("config/keys")) {
            fs::copy(&key, keys.join(key.file_name().unwrap())).unwrap();
        }
        let aside: Vec<_> = files_in(&root.join("data")).into_iter().filter(|path| is_aside(path)).collect();
        for path in &aside {
            let ending = if path.to_string_lossy().ends_with("-wal") { "-wal" } else { "" };
            fs::copy(path, data.join(format!("vault.db{ending}"))).map_err(|error| error.to_string())?;
        }
        let old = Folder::shared(&elsewhere).open().await.map_err(|error| format!("kept {aside:?}: {error}"))?;
        let live = live_in(&old).await;
        old.close().await.map_err(said)?;
        self.told.compare(&live?).map(|()| "restored")
    }
}

fn is_aside(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    name.starts_with("vault.db.replaced-") && !name.ends_with("-shm")
}

#[test]
fn kill_9_at_each_operation_of_a_restore() {
    let mut row = Row::new("kill -9 at each operation of a restore", 20);
    row.times = row.times.min(WHOLE);
    let run = runtime();
    let changed = run.block_on(Changed::new());
    let control = Control::new();
    // A restore that is not killed counts the operations.
    let most = usize::try_from(i32::MAX).unwrap();
    let (_own, root) = changed.copy();
    let mut process = control.worker(&root);
    control.set(Fault::Killed, most);
    process.tell("restore");
    assert_eq!(process.next().as_deref(), Some("ok"));
    let operations = most - control.left();
    let (first, stride) = (row.dice.below(operations), (operations / row.times).max(1));
    let mut states = BTreeMap::new();
    for nth in 0..row.times {
        let (_own, root) = changed.copy();
        let mut process = control.worker(&root);
        let at = 1 + (first + nth * stride) % operations;
        control.set(Fault::Killed, at);
        process.tell("restore");
        let said = process.next();
        control.set(Fault::None, 0);
        process.process.wait().unwrap();
        let by_name = row.dice.one_in(2);
        match run.block_on(changed.after(&root, by_name)) {
            Ok(state) => *states.entry(state).or_insert(0) += 1,
            Err(lost) => row.lose(format!("killed at operation {at} of {operations}, having said {said:?}: {lost}")),
        }
    }
    println!("torture: {}: {operations} operations; what was there then: {states:?}", row.name);
    row.end();
}
