//! Making and opening a vault.

use std::sync::Arc;

use countersign::{
    random::SystemRandom,
    vault::{self, Act, OpenError, repair},
};

use super::kit::{Folder, NOW, World};

#[tokio::test]
async fn a_vault_is_made_once_and_opened_again() {
    let folder = Folder::new();
    let first = folder.open().await.unwrap();
    assert!(first.status().made);
    let (id, account) = (first.status().vault, first.status().default_account);
    first.close().await.unwrap();

    let second = folder.open().await.unwrap();
    assert_eq!((second.status().vault, second.status().default_account, second.status().made), (id, account, false));
    assert_eq!(second.status().slots, ["file"]);
    assert_eq!(second.status().store.format, 2);
}

#[tokio::test]
async fn accepting_a_loss_and_repairing_make_no_vault() {
    let folder = Folder::new();
    let request = folder.request();
    assert!(request.store.make, "it would be allowed");
    assert!(vault::accept_loss(&request, Arc::new(SystemRandom)).await.is_err());
    assert!(repair(&request, None, Act::Carry, Arc::new(SystemRandom), || NOW).await.is_err());
    assert!(!folder.file().exists());
}

#[tokio::test]
async fn nothing_is_made_where_nothing_is_wanted() {
    let folder = Folder::new();
    let request = vault::VaultRequest { ..folder.existing() };
    let refused = vault::open(&request, Arc::new(SystemRandom)).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::Store(countersign::store::OpenError::NoVault(_))), "{refused}");
    assert!(!folder.file().exists() && !folder.root.join("config").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_first_starters_make_one_vault() {
    let folder = Folder::new();
    let starters: Vec<_> = (0..16)
        .map(|_| {
            let request = folder.request();
            tokio::spawn(async move { vault::open(&request, Arc::new(SystemRandom)).await.unwrap().status().vault })
        })
        .collect();
    let mut vaults = Vec::new();
    for starter in starters {
        vaults.push(starter.await.unwrap());
    }
    vaults.dedup();
    assert_eq!(vaults.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_starters_with_one_named_key_file_make_one_vault() {
    let folder = Folder::new();
    let starters: Vec<_> = (0..8)
        .map(|_| {
            let request = folder.with_key("keys/my.key", folder.request());
            tokio::spawn(async move { vault::open(&request, Arc::new(SystemRandom)).await.unwrap().status().vault })
        })
        .collect();
    let mut vaults = Vec::new();
    for starter in starters {
        vaults.push(starter.await.unwrap());
    }
    vaults.dedup();
    assert_eq!(vaults.len(), 1);
}

#[tokio::test]
async fn a_wrong_or_missing_key_changes_no_byte() {
    let world = World::new().await;
    world.secret("Acme", "ada").await;
    world.vault.close().await.unwrap();
    let key_file = world.vault.status().key_file.clone().unwrap();
    let other = World::new().await;
    let before = std::fs::read(world.folder.file()).unwrap();

    std::fs::copy(other.vault.status().key_file.as_ref().unwrap(), &key_file).unwrap();
    let refused = world.folder.open().await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::WrongKey { .. }), "{refused}");
    std::fs::remove_file(&key_file).unwrap();
    let refused = world.folder.open().await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::NoKey { .. }), "{refused}");
    assert_eq!(std::fs::read(world.folder.file()).unwrap(), before);
}

#[tokio::test]
async fn a_key_beside_the_vault_is_refused() {
    let folder = Folder::new();
    let request = folder.with_key("data/vault.key", folder.request());
    let refused = vault::open(&request, Arc::new(SystemRandom)).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::KeyBesideVault(_)), "{refused}");
    assert!(!folder.file().exists());
}

#[tokio::test]
async fn a_header_that_was_changed_is_refused() {
    let world = World::new().await;
    world.vault.close().await.unwrap();
    for change in [
        "UPDATE record SET sort = sort + 1 WHERE kind = 1",
        "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), '\"active_epoch\":1', '\"active_epoch\":2') AS BLOB) WHERE kind = 1",
        "UPDATE record SET version = version + 1 WHERE kind = 1",
        "DELETE FROM record WHERE kind = 1",
    ] {
        let copy = Folder::new();
        for part in ["data", "config/keys"] {
            let to = copy.root.join(part);
            std::fs::create_dir_all(&to).unwrap();
            private(&to);
            for file in std::fs::read_dir(world.folder.root.join(part)).unwrap().map(|file| file.unwrap()) {
                std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
        private(&copy.root.join("config"));
        assert!(copy.open().await.is_ok(), "the copy is sound before");
        assert_eq!(copy.edit(change), 1);
        let refused = copy.open().await.map(|_| ()).unwrap_err();
        assert!(matches!(refused, OpenError::Store(countersign::store::OpenError::Damaged { .. })), "{refused}");
    }
}

fn private(folder: &std::path::Path) {
    #[cfg(unix)]
    std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
}
