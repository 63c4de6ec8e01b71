//! Several processes on one vault: each writes a chain of its own.

use std::{path::Path, sync::Arc};

use countersign::{
    random::SystemRandom,
    vault::{self, OpenRequest, Source, Vault, VaultRequest, Writes},
};

use crate::{
    store::runtime,
    vault::kit::{NOW, World},
};

/// A request for the vault in a database, whose key lies in a folder.
fn request(url: &str, folder: &Path) -> VaultRequest {
    VaultRequest {
        store: OpenRequest { url: url.to_owned(), data_dir: folder.join("data"), writes: Writes::Thread, make: true },
        source: Arc::new(Source::file(Some(folder.join("vault.key")), folder.join("keys"))),
        state_dir: Some(folder.join("state")),
        now: NOW,
    }
}

pub(super) async fn node(url: &str, folder: &Path) -> Vault {
    vault::open(&request(url, folder), Arc::new(SystemRandom)).await.unwrap()
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn two_nodes_write_two_chains_that_both_verify() {
    let (url, folder) = (super::fresh(), tempfile::tempdir().unwrap());
    runtime(Writes::Thread).block_on(async {
        let one = node(&url, folder.path()).await;
        let two = node(&url, folder.path()).await;
        let worlds = [&one, &two].map(|vault| World::over(crate::vault::kit::Folder::new(), vault.clone()));
        for world in &worlds {
            world.row(1).await;
        }
        for vault in [&one, &two] {
            let report = vault.verify(&[]).await.unwrap();
            assert_eq!(report.finding, None);
            assert_eq!(report.spans.iter().map(|span| span.0).collect::<Vec<_>>(), [0, 1]);
        }
        let anchors = one.anchor().await.unwrap();
        assert_eq!(anchors.len(), 2);

        // A node that leaves gives its chain back, and the next one goes on with it.
        two.close().await.unwrap();
        let three = node(&url, folder.path()).await;
        World::over(crate::vault::kit::Folder::new(), three.clone()).row(2).await;
        let report = three.verify(&anchors).await.unwrap();
        assert_eq!(report.finding, None);
        assert_eq!(report.spans.len(), 2, "no third chain: {:?}", report.spans);
        three.close().await.unwrap();
        one.close().await.unwrap();
    });
}
