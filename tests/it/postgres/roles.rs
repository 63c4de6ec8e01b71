//! A role for nodes beside the owner of the tables: the rights that docs/operate.md grants are sufficient, and with
//! them the audit log can't be changed.

use super::{carry_out, fresh, people::Node};
use crate::{
    cli::{Person, text_of},
    kit::RFC_SEED,
};

const GUIDE: &str = include_str!("../../../docs/operate.md");

/// The statements of the guide, with another name for the role.
fn granted_to(role: &str) -> String {
    let block = GUIDE.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(block.contains("CREATE ROLE nodes LOGIN"), "{block}");
    block.replace("nodes", role)
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn the_role_of_the_guide_serves_every_call_and_can_t_change_the_audit_log_or_the_tables() {
    let (person, url) = (Person::new(), fresh());
    person.at(&url, &["vault", "create"]).ok();
    let role = format!("r{}", uuid::Uuid::new_v4().simple());
    carry_out(&url, &granted_to(&role));
    let own = url.replacen("countersign@", &format!("{role}@"), 1);

    let add = ["--store", &own, "secret", "add", "--label", "ada", "--stdin", "--json"];
    let id = text_of(&person.fed(&format!("{RFC_SEED}\n"), &add).json(), "/totp_secret/id").to_owned();
    let token = text_of(&person.at(&own, &["key", "create", "--name", "ci", "--json"]).json(), "/token").to_owned();
    let node = Node::start(&person, &own);
    assert_eq!(node.get(&format!("/api/v2/totp/code/{id}"), &token)["status"], "OK");
    drop(node);
    for command in [
        ["secret", "update", "ada", "--label", "ida"].as_slice(),
        &["seat", "add", "--email", "ada@example.com"],
        &["seat", "rm", "ada@example.com", "--yes"],
        &["key", "revoke", "ci", "--yes"],
        &["secret", "rm", "ida", "--now", "--yes"],
        &["vault", "rotate"],
        &["vault", "rotate", "--key", "0", "--yes"],
        &["vault", "backup", "backup"],
        &["audit", "verify"],
        &["vault", "doctor"],
    ] {
        person.at(&own, command).ok();
    }
    let said = person.at(&own, &["vault", "doctor"]).out;
    assert!(
        said.contains("all that the vault needs; pruning the audit log needs the role that made the vault"),
        "{said}"
    );

    let moved = person.at(&own, &["vault", "move", "--to", "sqlite:", "--yes"]).refused(78);
    assert!(moved.contains("use the role that made the vault"), "{moved}");
    for sql in [
        "UPDATE audit SET at = 0",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "ALTER TABLE audit ADD COLUMN extra bigint",
        "DROP TABLE record",
        "CREATE TABLE extra (one bigint)",
        "UPDATE vault SET format = 9",
    ] {
        assert_eq!(refused(&own, sql).as_deref(), Some("42501"), "{sql}");
    }
}

/// The code with which the server refuses a statement.
fn refused(address: &str, sql: &str) -> Option<String> {
    let (address, sql) = (address.to_owned(), sql.to_owned());
    let tried = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&address, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute(&sql).await.err().and_then(|cause| Some(cause.code()?.code().to_owned()))
        })
    });
    tried.join().unwrap()
}
