//! Several processes on one vault: each writes its own chain.

use std::{path::Path, sync::Arc};

use countersign::{
    domain::audit::{Action, AuditFilter},
    random::SystemRandom,
    vault::{self, AuditAsk, Finding, OpenRequest, Source, Ties, Vault, VaultRequest, Writes},
};

use super::carry_out;
use crate::{
    store::runtime,
    vault::kit::{NOW, World},
};

/// A request for the vault in a database, whose key is in a folder.
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

        // A node that ends gives its chain back, and the next one continues it.
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

/// The finding of a verification, with its chain.
async fn finding(vault: &Vault) -> Option<(u32, Finding)> {
    vault.verify(&[]).await.unwrap().finding
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn an_older_end_of_a_chain_that_is_put_back_is_found_by_the_knots_of_another() {
    let (url, folder) = (super::fresh(), tempfile::tempdir().unwrap());
    runtime(Writes::Thread).block_on(async {
        let one = node(&url, folder.path()).await;
        let two = node(&url, folder.path()).await;
        let [first, second] = [&one, &two].map(|vault| World::over(crate::vault::kit::Folder::new(), vault.clone()));
        first.row(1).await;
        second.row(1).await;
        carry_out(&url, "CREATE TABLE saved AS SELECT * FROM record WHERE kind = 11 AND id = '\\x00000001'");
        second.row(2).await;
        second.row(3).await;
        let mut ties = Ties::default();
        for _ in 0..2 {
            assert_eq!(one.tie(&mut ties, &first.entry(Action::AuditKnot)).await.unwrap(), []);
        }
        second.row(4).await;
        let report = one.verify(&[]).await.unwrap();
        assert_eq!((report.finding, report.knots), (None, 1));
        assert_eq!(one.tie(&mut ties, &first.entry(Action::AuditKnot)).await.unwrap(), []);
        two.close().await.unwrap();

        // The chain alone can't show this change: no row after the first, and the head that was right then.
        let cut = "DELETE FROM audit WHERE place > (1::bigint << 40) + 1;
                   UPDATE record SET (version, mac, body) = (SELECT version, mac, body FROM saved)
                   WHERE kind = 11 AND id = '\\x00000001'";
        carry_out(&url, cut);
        assert_eq!(finding(&one).await, Some((1, Finding::Cut(3))));
        let gone = one.tie(&mut ties, &first.entry(Action::AuditKnot)).await.unwrap();
        assert_eq!(gone.iter().map(|head| (head.chain, head.seq)).collect::<Vec<_>>(), [(1, 4)]);

        // A node without knowledge of the loss continues from there, on another machine.
        std::fs::remove_dir_all(folder.path().join("state")).unwrap();
        let three = node(&url, folder.path()).await;
        let third = World::over(crate::vault::kit::Folder::new(), three.clone());
        for step in 5..9 {
            third.row(step).await;
        }
        assert_eq!(finding(&three).await, Some((1, Finding::Knot(3))));
        three.close().await.unwrap();
        one.close().await.unwrap();
    });
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn one_who_pages_through_the_log_while_nodes_write_sees_each_row_once() {
    let (url, folder) = (super::fresh(), tempfile::tempdir().unwrap());
    runtime(Writes::Thread).block_on(async {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(node(&url, folder.path()).await);
        }
        let writing: Vec<_> = nodes
            .iter()
            .zip([0, 90, 3])
            .map(|(vault, ahead)| {
                let world = World::over(crate::vault::kit::Folder::new(), vault.clone());
                tokio::spawn(async move {
                    for step in 0..60 {
                        // The clocks of the nodes differ, and are set back every 20 steps.
                        let at = NOW.plus(std::time::Duration::from_secs(ahead + step % 20));
                        world.row_at(step, at).await;
                    }
                })
            })
            .collect();
        let (mut seen, mut ask) = (Vec::new(), AuditAsk { limit: 7, ..AuditAsk::default() });
        let mut is_last = false;
        loop {
            let page = nodes[0].audit_page(&AuditFilter::default(), &ask).await.unwrap();
            let is_empty = page.rows.is_empty();
            for row in page.rows {
                match ask.from.get_or_insert_default().0.iter_mut().find(|(chain, _)| *chain == row.chain) {
                    Some((_, seq)) => *seq = row.seq,
                    None => ask.from.get_or_insert_default().0.push((row.chain, row.seq)),
                }
                seen.push((row.chain, row.seq));
            }
            if is_empty && is_last {
                break;
            }
            is_last = writing.iter().all(tokio::task::JoinHandle::is_finished);
            tokio::task::yield_now().await;
        }
        for written in writing {
            written.await.unwrap();
        }
        for (chain, last) in [(0, 61), (1, 60), (2, 60)] {
            let rows: Vec<_> = seen.iter().filter(|row| row.0 == chain).map(|row| row.1).collect();
            assert_eq!(rows, (1..=last).collect::<Vec<_>>(), "chain {chain}");
        }
        assert_eq!(finding(&nodes[0]).await, None);
        for vault in nodes {
            vault.close().await.unwrap();
        }
    });
}
