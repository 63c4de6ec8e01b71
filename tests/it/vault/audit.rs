//! The audit log: pages, anchors, and everything that an attacker without the key can do to it.

use std::time::Duration;

use countersign::{
    domain::{
        audit::{Action, AuditCursor, AuditEntry, AuditFilter, ChainHead},
        ids::SecretId,
        totp::Step,
    },
    vault::{AuditAsk, Finding, Outcome},
};

use super::kit::{Folder, NOW, World};

/// A vault with rows 1 to 12, closed, so that its file can be changed.
async fn twelve_rows() -> World {
    let world = World::new().await;
    for step in 2..=12 {
        world.row_at(step, NOW.plus(Duration::from_secs(step))).await;
    }
    world
}

async fn finding(world: &World) -> Option<Finding> {
    world.vault.verify(&[]).await.unwrap().finding.map(|(_, finding)| finding)
}

#[tokio::test]
async fn every_edit_cut_swap_and_insertion_is_found() {
    let changes: [(&str, Finding); 10] = [
        (
            "UPDATE audit SET body = CAST(substr(body, 1, length(body) - 1) || 'x' AS BLOB) WHERE place = 5",
            Finding::Changed(5),
        ),
        ("UPDATE audit SET at = at + 1 WHERE place = 5", Finding::Changed(5)),
        ("UPDATE audit SET mac = zeroblob(32) WHERE place = 5", Finding::Changed(5)),
        ("DELETE FROM audit WHERE place = 5", Finding::Gap(6)),
        ("DELETE FROM audit WHERE place >= 11", Finding::Cut(12)),
        ("DELETE FROM audit WHERE place = 1", Finding::Gap(2)),
        ("DELETE FROM audit", Finding::Cut(12)),
        (
            "UPDATE audit SET (body, mac, at) = (SELECT body, mac, at FROM audit WHERE place = 6) WHERE place = 5",
            Finding::Changed(5),
        ),
        (
            "INSERT INTO audit SELECT 13, at, mac, account, actor_key, key, seat, secret, action, body FROM audit WHERE place = 12",
            Finding::Changed(13),
        ),
        ("DELETE FROM record WHERE kind = 11", Finding::Head),
    ];
    for (change, expected) in changes {
        let world = twelve_rows().await;
        assert_eq!(finding(&world).await, None);
        assert!(world.folder.edit(change) > 0, "{change}");
        assert_eq!(finding(&world).await, Some(expected), "{change}");
    }
}

#[tokio::test]
async fn a_head_that_was_changed_or_put_back_is_found() {
    let world = twelve_rows().await;
    world.folder.edit("UPDATE record SET body = CAST(replace(CAST(body AS TEXT), '12', '11') AS BLOB) WHERE kind = 11");
    assert_eq!(finding(&world).await, Some(Finding::Head));
}

#[tokio::test]
async fn a_cut_tail_stays_found_although_rows_come_after_it() {
    let world = twelve_rows().await;
    world.vault.close().await.unwrap();
    world.folder.edit("DELETE FROM audit WHERE place >= 11");
    // On another machine, without a state file of the vault.
    std::fs::remove_dir_all(world.folder.root.join("state")).unwrap();
    let again = World::of(Folder::shared(&world.folder.root)).await;
    again.row(100).await;
    again.row(101).await;
    assert_eq!(finding(&again).await, Some(Finding::Changed(12)));
    again.row(102).await;
    assert_eq!(finding(&again).await, Some(Finding::Changed(12)), "later rows don't cover it up");
}

#[tokio::test]
async fn rows_below_a_pruned_base_are_neither_read_nor_sound() {
    let world = twelve_rows().await;
    let before = world.vault.verify(&[]).await.unwrap();
    let old = "INSERT INTO audit SELECT * FROM saved";
    world.folder.edit("CREATE TABLE saved AS SELECT * FROM audit WHERE place = 3");
    let entry = world.entry(Action::AuditPrune);
    let pruned = world.vault.prune(NOW.plus(Duration::from_secs(7)), &entry, None).await.unwrap();
    assert_eq!((before.rows, pruned), (12, 6));
    let report = world.vault.verify(&[]).await.unwrap();
    assert_eq!((report.finding, report.rows, report.spans), (None, 7, vec![(0, 7, 13)]));
    let told = AuditFilter { action: Some(Action::AuditPrune), ..AuditFilter::default() };
    let told = world.vault.audit_page(&told, &AuditAsk { limit: 9, ..AuditAsk::default() }).await.unwrap();
    assert_eq!(told.rows.iter().map(|row| row.entry.count).collect::<Vec<_>>(), [Some(6)]);

    world.folder.edit("UPDATE saved SET action = 'forged'");
    assert_eq!(world.folder.edit(old), 1);
    assert_eq!(finding(&world).await, Some(Finding::Pruned(3)));
    let all = AuditFilter::default();
    let page = world.vault.audit_page(&all, &AuditAsk { limit: 100, ..AuditAsk::default() }).await.unwrap();
    assert!(page.rows.iter().all(|row| row.seq > 6));
    let newest = AuditAsk { limit: 100, newest: true, ..AuditAsk::default() };
    let page = world.vault.audit_page(&AuditFilter::default(), &newest).await.unwrap();
    assert!(page.rows.iter().all(|row| row.seq > 6));
    let from = Some(AuditCursor(vec![(0, 1)]));
    let page = world.vault.audit_page(&all, &AuditAsk { from, limit: 100, newest: false }).await.unwrap();
    assert!(page.rows.iter().all(|row| row.seq > 6));
    assert!(
        world.vault.prune(NOW.plus(Duration::from_secs(9)), &entry, None).await.is_err(),
        "it would remove what shows it"
    );
}

#[tokio::test]
async fn the_first_row_says_for_which_account_the_vault_was_made() {
    let world = World::new().await;
    let first = AuditAsk { limit: 1, ..AuditAsk::default() };
    let page = world.vault.audit_page(&AuditFilter::default(), &first).await.unwrap();
    let told: Vec<_> = page.rows.iter().map(|row| (row.entry.action, row.entry.account)).collect();
    assert_eq!(told, [(Action::VaultCreate, Some(world.account()))]);
}

#[tokio::test]
async fn more_rows_than_go_at_once_are_pruned_in_parts() {
    let world = World::new().await;
    world.vault.record(vec![world.entry(Action::Call); 10_010]).await.unwrap();
    // The index entries are examined in parts, too.
    world.check_sound().await;

    let pruned = world.vault.prune(NOW.plus(Duration::from_secs(1)), &world.entry(Action::AuditPrune), None).await;

    assert_eq!(pruned, Ok(10_011));
    let report = world.vault.verify(&[]).await.unwrap();
    assert_eq!((report.finding, report.spans), (None, vec![(0, 10_012, 10_013)]));
}

#[tokio::test]
async fn a_head_from_before_the_pruned_rows_is_found() {
    let world = World::new().await;
    world.folder.edit("CREATE TABLE saved AS SELECT * FROM record WHERE kind = 11");
    for step in 2..=12 {
        world.row_at(step, NOW.plus(Duration::from_secs(step))).await;
    }
    world.vault.prune(NOW.plus(Duration::from_secs(7)), &world.entry(Action::AuditPrune), None).await.unwrap();
    assert_eq!(finding(&world).await, None);
    world.folder.edit("DELETE FROM record WHERE kind = 11");
    assert_eq!(world.folder.edit("INSERT INTO record SELECT * FROM saved"), 1);
    assert_eq!(finding(&world).await, Some(Finding::Head));
}

#[tokio::test]
async fn a_base_that_was_changed_or_removed_is_found() {
    for (change, expected) in [
        ("UPDATE record SET body = CAST(replace(CAST(body AS TEXT), '6', '5') AS BLOB) WHERE kind = 12", Finding::Base),
        ("DELETE FROM record WHERE kind = 12", Finding::Gap(7)),
    ] {
        let world = twelve_rows().await;
        world.vault.prune(NOW.plus(Duration::from_secs(7)), &world.entry(Action::AuditPrune), None).await.unwrap();
        assert_eq!(world.folder.edit(change), 1);
        assert_eq!(finding(&world).await, Some(expected), "{change}");
    }
}

#[tokio::test]
async fn a_broken_chain_is_not_pruned() {
    let world = twelve_rows().await;
    world.folder.edit("UPDATE audit SET at = at + 1 WHERE place = 4");
    let refused = world.vault.prune(NOW.plus(Duration::from_secs(9)), &world.entry(Action::AuditPrune), None).await;
    assert!(refused.is_err());
    assert_eq!(finding(&world).await, Some(Finding::Changed(4)));
}

#[tokio::test]
async fn everything_can_be_pruned_and_the_chain_goes_on() {
    let world = twelve_rows().await;
    let entry = world.entry(Action::AuditPrune);
    assert_eq!(world.vault.prune(NOW.plus(Duration::from_hours(1)), &entry, None).await.unwrap(), 12);
    let report = world.vault.verify(&[]).await.unwrap();
    assert_eq!((report.finding, report.spans), (None, vec![(0, 13, 13)]));
    assert_eq!(world.vault.prune(NOW.minus(Duration::from_hours(1)), &entry, None).await.unwrap(), 0);
    world.row(1).await;
    world.vault.close().await.unwrap();
    let again = World::of(Folder::shared(&world.folder.root)).await;
    again.row(2).await;
    assert_eq!(again.vault.verify(&[]).await.unwrap().rows, 3);
}

#[tokio::test]
async fn an_anchor_vouches_for_its_row() {
    let world = twelve_rows().await;
    let anchors = world.vault.anchor().await.unwrap();
    assert_eq!(anchors.iter().map(|anchor| (anchor.chain, anchor.seq)).collect::<Vec<_>>(), [(0, 12)]);
    world.row(99).await;
    let report = world.vault.verify(&anchors).await.unwrap();
    assert_eq!((report.finding, report.anchors), (None, 1));
    let wrong = ChainHead { mac: [0; 32], ..anchors[0] };
    assert_eq!(world.vault.verify(&[wrong]).await.unwrap().finding, Some((0, Finding::Anchor(12))));
    let beyond = ChainHead { seq: 99, ..anchors[0] };
    assert_eq!(world.vault.verify(&[beyond]).await.unwrap().finding, Some((0, Finding::Cut(99))));
    let elsewhere = ChainHead { chain: 3, ..anchors[0] };
    assert_eq!(world.vault.verify(&[elsewhere]).await.unwrap().finding, Some((3, Finding::Cut(12))));
}

/// A head never names rows that are not durable yet; an anchor makes them durable first. (The store's tests prove that
/// the sync reaches the disk.)
#[tokio::test]
async fn heads_name_only_what_is_durable() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    let in_use = world.vault.in_use(world.account(), id, &[], NOW).await.unwrap().unwrap();
    let soon = || world.vault.draft(world.entry(Action::CodeGet)).used(&in_use, None).soon();
    assert_eq!(soon().commit().await.unwrap(), Outcome::Done);
    assert_eq!(head_in_file(&world), 2, "the row of the registration");
    world.row(1).await;
    assert_eq!(head_in_file(&world), 4);
    assert_eq!(soon().commit().await.unwrap(), Outcome::Done);
    assert_eq!(head_in_file(&world), 4);
    assert_eq!(world.vault.anchor().await.unwrap()[0].seq, 5);
    world.check_sound().await;
}

fn head_in_file(world: &World) -> u64 {
    let conn = rusqlite::Connection::open(world.folder.file()).unwrap();
    let body: Vec<u8> = conn.query_row("SELECT body FROM record WHERE kind = 11", [], |row| row.get(0)).unwrap();
    serde_json::from_slice::<serde_json::Value>(&body).unwrap()["seq"].as_u64().unwrap()
}

#[tokio::test]
async fn pages_go_on_where_the_last_one_ended_in_either_direction() {
    let world = twelve_rows().await;
    for newest in [false, true] {
        let (mut from, mut seqs) = (None, Vec::new());
        loop {
            let ask = AuditAsk { from, limit: 5, newest };
            let page = world.vault.audit_page(&AuditFilter::default(), &ask).await.unwrap();
            seqs.extend(page.rows.iter().map(|row| row.seq));
            // Callers pass the position on as text.
            let Some(next) = page.next else { break };
            from = Some(next.to_string().parse().unwrap());
        }
        let expected: Vec<u64> = if newest { (1..=12).rev().collect() } else { (1..=12).collect() };
        assert_eq!(seqs, expected);
    }
}

#[tokio::test]
async fn filters_find_rows_by_what_is_in_them_and_not_by_what_is_written_beside() {
    let world = World::new().await;
    let secret = SecretId::new(world.uuid());
    let entry = AuditEntry { secret: Some(secret), step: Some(Step(1)), ..world.entry(Action::CodeGet) };
    world.vault.record(vec![entry.clone(), world.entry(Action::SeatAdd)]).await.unwrap();
    let rows = async |filter: AuditFilter| -> Vec<u64> {
        let page = world.vault.audit_page(&filter, &AuditAsk { limit: 9, ..AuditAsk::default() }).await.unwrap();
        page.rows.iter().map(|row| row.seq).collect()
    };
    let of = |secret| AuditFilter { secret: Some(secret), ..AuditFilter::default() };
    assert_eq!(rows(of(secret)).await, [2]);
    assert_eq!(rows(AuditFilter { action: Some(Action::SeatAdd), ..AuditFilter::default() }).await, [3]);
    let granted = AuditFilter { secrets: Some(vec![secret]), ..AuditFilter::default() };
    assert_eq!(rows(granted.clone()).await, [2]);
    let other = SecretId::new(world.uuid());
    assert!(rows(AuditFilter { secret: Some(other), ..granted }).await.is_empty());
    world.folder.edit("UPDATE audit SET secret = X'00' WHERE place = 2");
    world.folder.edit(&format!("UPDATE audit SET secret = X'{}' WHERE place = 3", other.uuid().simple()));
    assert!(rows(of(other)).await.is_empty(), "a row that says something else");
}

#[tokio::test]
async fn the_time_of_rows_never_falls_although_the_clock_does() {
    let world = twelve_rows().await;
    world.row_at(50, NOW.minus(Duration::from_hours(99))).await;
    world.row_at(51, NOW.plus(Duration::from_hours(1))).await;
    let since = AuditFilter { since: Some(NOW.plus(Duration::from_secs(12))), ..AuditFilter::default() };
    let page = world.vault.audit_page(&since, &AuditAsk { limit: 9, ..AuditAsk::default() }).await.unwrap();
    assert_eq!(page.rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [12, 13, 14]);
    assert_eq!(page.rows[1].entry.at, NOW.minus(Duration::from_hours(99)), "it says what the clock said");
    world.check_sound().await;
}
