//! Prompts, which hosts offer to people, and the skill, which agents load.

use countersign::{
    domain::{
        audit::{AuditFilter, Outcome},
        scope::{Scope, ScopeSet},
    },
    transport::mcp::Reveal,
};
use serde_json::{Value, json};

use super::Wire;

const SKILL: &str = "skill://log-in-with-a-second-factor/SKILL.md";

fn names(answer: &Value, list: &str) -> Vec<String> {
    let items = answer["result"][list].as_array().unwrap().iter();
    items.map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_person_is_offered_what_the_tools_of_the_host_can_do() {
    let mut wire = Wire::open().await;
    let listed = wire.request("prompts/list", json!({})).await;
    assert_eq!(names(&listed, "prompts"), ["add_a_secret", "which_code_was_used"]);
    assert!(listed["result"].get("ttlMs").is_none(), "a field that the revision does not have");

    let got = wire.request("prompts/get", json!({"name": "add_a_secret", "arguments": {"service": "GitHub"}})).await;
    let text = got["result"]["messages"][0]["content"]["text"].as_str().unwrap();
    assert!(text.contains("GitHub") && text.contains("enroll_totp_secret"), "{text}");
    let unsaid = wire.request("prompts/get", json!({"name": "add_a_secret", "arguments": {"service": ""}})).await;
    assert!(unsaid["result"]["messages"][0]["content"]["text"].as_str().unwrap().contains("ask me which"), "{unsaid}");

    let mut reader =
        Wire::open_with([Scope::SecretsRead].into_iter().collect::<ScopeSet>(), Reveal::Once, "2025-11-25").await;
    let listed = reader.request("prompts/list", json!({})).await;
    assert_eq!(names(&listed, "prompts"), ["which_code_was_used"]);
    let refused = reader.request("prompts/get", json!({"name": "add_a_secret"})).await;
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
}

#[tokio::test]
async fn what_is_no_prompt_or_no_argument_is_refused_without_repeating_it_and_is_in_the_audit_log() {
    let mut wire = Wire::open().await;
    for params in [
        json!({"name": "JBSWY3DPEHPK3PXP"}),
        json!({"name": "add_a_secret", "arguments": {"service": "a\u{202e}b"}}),
        json!({"name": "add_a_secret", "arguments": {"service": "x".repeat(257)}}),
        json!({"name": "add_a_secret", "arguments": {"service": 7}}),
    ] {
        let answer = wire.request("prompts/get", params).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        assert!(!answer.to_string().contains("JBSWY3DP"), "{answer}");
    }
    let rows = wire.vault.all_rows(AuditFilter::default()).await;
    assert_eq!(rows.iter().filter(|row| row.entry.outcome == Outcome::InvalidArgument).count(), 4);
}

#[tokio::test]
async fn the_skill_is_listed_described_and_read() {
    let mut wire = Wire::open().await;
    let listed = wire.request("skills/list", json!({})).await;
    let skill = &listed["result"]["skills"][0];
    assert_eq!((&skill["uri"], &skill["frontmatter"]["name"]), (&json!(SKILL), &json!("log-in-with-a-second-factor")));
    let got = wire.request("skills/get", json!({"uri": SKILL})).await;
    assert_eq!(&got["result"]["skill"], skill);
    let resources = wire.request("resources/list", json!({})).await;
    assert_eq!(resources["result"]["resources"][0]["uri"], SKILL);
    assert_eq!(wire.request("resources/templates/list", json!({})).await["result"]["resourceTemplates"], json!([]));
    let read = wire.request("resources/read", json!({"uri": SKILL})).await;
    let text = read["result"]["contents"][0]["text"].as_str().unwrap();
    assert!(text.contains("get_totp_code"));
    assert_eq!(skill["resources"][0]["size"], text.len());
    for (method, uri) in [
        ("skills/get", "skill://other/SKILL.md"),
        ("skills/get", "file:///etc/passwd"),
        ("resources/read", "file:///etc/passwd"),
    ] {
        let refused = wire.request(method, json!({"uri": uri})).await;
        assert_eq!(refused["error"]["code"], -32602, "{method} {uri}: {refused}");
        assert!(method == "skills/get" || !refused.to_string().contains("passwd"), "{refused}");
    }
}

#[tokio::test]
async fn discovery_says_all_that_is_served() {
    let mut wire = Wire::connect(ScopeSet::ALL, Reveal::Once);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let told = wire.request("server/discover", json!({"_meta": meta})).await;
    let result = &told["result"];
    let capabilities = result["capabilities"].as_object().unwrap();
    assert_eq!(capabilities.keys().collect::<Vec<_>>(), ["extensions", "prompts", "resources", "tools"]);
    assert_eq!(capabilities["extensions"], json!({"io.modelcontextprotocol/skills": {}}));
    assert!(result["instructions"].is_string() && result["supportedVersions"].as_array().unwrap().len() >= 5, "{told}");
    let info = if result["serverInfo"].is_object() {
        &result["serverInfo"]
    } else {
        &result["_meta"]["io.modelcontextprotocol/serverInfo"]
    };
    let icon = info["icons"][0]["src"].as_str().unwrap();
    assert!(icon.starts_with("data:image/svg+xml;base64,") && info["description"].is_string(), "{info}");
    let listed = wire.request("prompts/list", json!({"_meta": meta})).await;
    assert!(listed["result"]["ttlMs"].is_u64() && listed["result"]["cacheScope"] == "private", "{listed}");
}

#[tokio::test]
async fn a_call_keeps_its_place_in_the_agents_trace_on_its_row() {
    let mut wire = Wire::open().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
    for traceparent in [json!(trace), json!("00-JBSWY3DPEHPK3PXP-01"), json!(7)] {
        let call = json!({"name": "list_seats", "arguments": {"seat": 1}, "_meta": {"traceparent": traceparent}});
        assert_eq!(wire.request("tools/call", call).await["result"]["isError"], true);
    }
    let rows = wire.vault.all_rows(AuditFilter::default()).await;
    let traces: Vec<_> = rows.iter().filter_map(|row| row.entry.client.trace).map(|trace| trace.to_string()).collect();
    assert_eq!(traces, [trace]);
}
