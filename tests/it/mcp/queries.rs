//! Finds a secret by the text that a model types.

use std::fs;

use serde_json::{Value, json};

use super::Wire;

async fn with_secrets() -> Wire {
    let mut wire = Wire::open().await;
    wire.ok("register_totp_secret", json!({"label": "ada@example.com", "issuer": "GitHub"})).await;
    wire.ok("register_totp_secret", json!({"label": "bob@example.com", "issuer": "Google"})).await;
    let decomposed: Value =
        serde_json::from_str(&fs::read_to_string("tests/fixtures/mcp/label-nfd.json").unwrap()).unwrap();
    wire.ok("register_totp_secret", decomposed["params"]["arguments"].clone()).await;
    wire
}

#[tokio::test]
async fn a_secret_is_found_by_any_words_of_its_issuer_and_label() {
    let mut wire = with_secrets().await;
    for (query, label) in [
        ("GitHub ada", "ada@example.com"),
        ("github.com", "ada@example.com"),
        ("GitHub: ada@example.com", "ada@example.com"),
        ("ADA github", "ada@example.com"),
        ("https://github.com/login", "ada@example.com"),
        ("accounts.google.com", "bob@example.com"),
        ("M\u{fc}ller", "Mu\u{308}ller"),
        ("mu\u{308}LLER", "Mu\u{308}ller"),
    ] {
        let page = wire.ok("list_totp_secrets", json!({"query": query})).await;
        assert_eq!((&page["total"], &page["totp_secrets"][0]["label"]), (&json!(1), &json!(label)), "{query}: {page}");
        assert!(page.get("note").is_none(), "{page}");
    }
    assert_eq!(wire.ok("list_totp_secrets", json!({"query": "example"})).await["total"], 2);
    assert_eq!(wire.ok("list_totp_secrets", json!({"query": ""})).await["total"], 3);
}

#[tokio::test]
async fn where_nothing_matches_the_answer_says_how_many_exist() {
    let mut wire = Wire::open().await;
    let none = wire.ok("list_totp_secrets", json!({"query": "GitLab"})).await;
    assert_eq!(none, json!({"status": "OK", "total": 0, "totp_secrets": []}));

    let mut wire = with_secrets().await;
    let page = wire.ok("list_totp_secrets", json!({"query": "GitLab"})).await;
    assert_eq!((&page["total"], &page["totp_secrets"]), (&json!(0), &json!([])));
    assert_eq!(page["note"], "Nothing matches. Secrets stored in all: 3. Leave out query, or use fewer words.");
    let beyond = wire.ok("list_totp_secrets", json!({"offset": 10})).await;
    assert!(beyond["total"] == 3 && beyond.get("note").is_none(), "{beyond}");
}
