//! Messages of hosts, agent frameworks and models that differ from the schemas: every field filled in, text for
//! numbers, fields of the host's own, and incomplete greetings. The files in `tests/fixtures/mcp` are recordings of
//! real ones.

use std::fs;

use countersign::{
    domain::{
        audit::{Action, AuditFilter},
        scope::{Scope, ScopeSet},
    },
    operations::{AddSeat, SeatChanges},
    transport::mcp::{Reveal, listed},
};
use serde_json::{Map, Value, json};

use super::Wire;
use crate::kit::RFC_SEED;

/// Sends a host's recorded messages line by line, and returns the answers.
async fn answers_to(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(format!("tests/fixtures/mcp/{file}.jsonl")).unwrap();
    let mut wire = Wire::connect(ScopeSet::ALL, Reveal::Once);
    for line in text.lines() {
        wire.send(line).await;
    }
    wire.hang_up().await;
    let mut answers = wire.last_words().await;
    answers.sort_by_key(|answer| answer["id"].as_i64());
    answers
}

/// A vault with a secret and a seat, and the arguments about them for each tool.
struct World {
    wire: Wire,
    secret: String,
    seat: String,
}

impl World {
    async fn new() -> Self {
        let mut wire = Wire::open().await;
        let registered = wire.ok("register_totp_secret", json!({"label": "A", "secret": RFC_SEED})).await;
        let email = Some("ada@example.com".to_owned());
        let profile = SeatChanges { email, ..SeatChanges::default() };
        let seat = wire.vault.service.perform(&wire.vault.person, AddSeat { profile }).await.unwrap().id.to_string();
        let secret = registered["totp_secret"]["id"].as_str().unwrap().to_owned();
        Self { wire, secret, seat }
    }

    /// The required arguments of a tool. Sets a new time, so that a code is valid once more.
    async fn needed(&mut self, tool: &str, round: i64) -> Map<String, Value> {
        self.wire.vault.clock.set_seconds(1_795_305_600 + 60 * round);
        let arguments = match tool {
            "register_totp_secret" => json!({"label": "B"}),
            "delete_totp_secret" => {
                let registered = self.wire.ok("register_totp_secret", json!({"label": "C"})).await;
                json!({"secret_id": registered["totp_secret"]["id"]})
            }
            "get_totp_code" | "fill_totp_code" => json!({"secret_id": self.secret}),
            "verify_totp_code" => {
                let code = self.wire.ok("get_totp_code", json!({"secret_id": self.secret})).await["code"].clone();
                json!({"secret_id": self.secret, "code": code})
            }
            "get_seat" => json!({"seat_id": self.seat}),
            "list_totp_secrets" | "enroll_totp_secret" | "list_seats" | "get_seat_count" => json!({}),
            _ => Value::Null,
        };
        arguments.as_object().expect("what a new tool can't do without is said above").clone()
    }
}

/// The arguments that a strict mode makes a model send: every property of the schema, with `fill` for those without a
/// value.
fn every_property(schema: &Value, needed: &Map<String, Value>, fill: fn(&Value) -> Value) -> Value {
    let properties = schema["properties"].as_object().unwrap();
    let fields = properties
        .iter()
        .map(|(name, property)| (name.clone(), needed.get(name).cloned().unwrap_or_else(|| fill(property))));
    Value::Object(fields.collect())
}

#[tokio::test]
async fn what_a_strict_mode_sends_works_for_every_tool() {
    let fills: [fn(&Value) -> Value; 3] = [
        |_| json!(""),
        |_| Value::Null,
        // Numbers and booleans as text, and the empty text.
        |property| match property["type"].as_str().unwrap() {
            "integer" => {
                json!(property["minimum"].to_string())
            }
            "boolean" => json!("false"),
            _ => property.get("enum").map_or(json!(""), |words| words[0].clone()),
        },
    ];
    let mut world = World::new().await;
    for (fill, round) in fills.into_iter().zip(1..) {
        for tool in listed() {
            let needed = world.needed(&tool.name, round).await;
            let schema = serde_json::to_value(&tool.input_schema).unwrap();
            let arguments = every_property(&schema, &needed, fill);
            if tool.name == "fill_totp_code" {
                // The arguments are valid, but there is no browser.
                assert_eq!(world.wire.refused(&tool.name, arguments).await["error"], "unavailable");
                continue;
            }
            let answer = world.wire.ok(&tool.name, arguments.clone()).await;
            assert!(answer["valid"] != false, "{} {arguments}: {answer}", tool.name);
        }
    }
    // An empty or null address is no filter: the seat is found.
    assert_eq!(world.wire.ok("list_seats", json!({"email": ""})).await["seats"].as_array().unwrap().len(), 1);
    assert_eq!(world.wire.ok("get_seat_count", json!({"email": null})).await["count"], 1);
}

#[tokio::test]
async fn fields_that_hosts_add_are_ignored_for_every_tool() {
    let mut world = World::new().await;
    for tool in listed() {
        let mut arguments = world.needed(&tool.name, 1).await;
        for (name, value) in [
            ("toolCallId", json!("call_1")),
            ("sessionId", json!("s")),
            ("action", json!("sendMessage")),
            ("chatInput", json!("get me a code")),
            ("task_progress", json!("- [ ] log in")),
        ] {
            arguments.insert(name.to_owned(), value);
        }
        if tool.name == "fill_totp_code" {
            let body = world.wire.refused(&tool.name, Value::Object(arguments.clone())).await;
            assert_eq!(body["error"], "unavailable", "{body}");
        } else {
            world.wire.ok(&tool.name, Value::Object(arguments.clone())).await;
        }
        arguments.insert("tool_call_id".to_owned(), json!("call_1"));
        let body = world.wire.refused(&tool.name, Value::Object(arguments)).await;
        assert!(body["message"].as_str().unwrap().contains("`tool_call_id` that is not known"), "{body}");
    }
}

#[tokio::test]
async fn what_is_required_may_not_be_left_empty() {
    let mut world = World::new().await;
    for tool in listed() {
        let required = serde_json::to_value(&tool.input_schema).unwrap()["required"].clone();
        for name in required.as_array().into_iter().flatten().map(|name| name.as_str().unwrap()) {
            for empty in [json!(""), Value::Null] {
                let mut arguments = world.needed(&tool.name, 1).await;
                arguments.insert(name.to_owned(), empty);
                let body = world.wire.refused(&tool.name, Value::Object(arguments)).await;
                let message = body["message"].as_str().unwrap();
                assert!(message.starts_with(&format!("`{name}` is required: ")), "{message}");
            }
        }
    }
}

#[tokio::test]
async fn text_stays_text_where_text_is_asked_for() {
    let mut wire = Wire::open().await;
    for (label, digits) in [("123456", "6"), ("true", "8")] {
        let registered = wire.ok("register_totp_secret", json!({"label": label, "digits": digits})).await;
        assert_eq!(registered["totp_secret"]["label"], label);
        assert_eq!(registered["totp_secret"]["digits"], digits.parse::<u8>().unwrap());
    }
    for (tool, arguments) in [
        ("list_totp_secrets", json!({"limit": "5 "})),
        ("list_totp_secrets", json!({"limit": "five"})),
        ("list_totp_secrets", json!({"limit": "5.5"})),
        ("list_totp_secrets", json!({"limit": true})),
        ("register_totp_secret", json!({"label": "A", "single_use": "yes"})),
        ("register_totp_secret", json!({"label": "A", "single_use": 1})),
        ("register_totp_secret", json!({"label": 5})),
    ] {
        assert_eq!(wire.refused(tool, arguments.clone()).await["error"], "invalid_argument", "{arguments}");
    }
}

#[tokio::test]
async fn what_real_hosts_sent_is_served() {
    for file in ["n8n-fields", "cline-fields", "number-as-text", "tools-list"] {
        let answers = answers_to(file).await;
        assert!(answers.len() >= 2, "{file}: {answers:?}");
        for answer in answers {
            assert!(answer["result"].is_object() && answer["result"]["isError"] != true, "{file}: {answer}");
        }
    }
    let answers = answers_to("empty-optional-code").await;
    let text = answers[1]["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("not_found"), "it gets as far as the secret, which does not exist: {text}");
}

#[tokio::test]
async fn an_initialize_that_lacks_something_is_told_what() {
    for (file, lacks) in [
        (
            "initialize-flat-client",
            "`initialize` lacks `params.capabilities` (an object, which may be empty), `params.clientInfo` (an object with \
             `name` and `version`)",
        ),
        ("initialize-no-version", "`initialize` lacks `params.clientInfo.version` (a text)"),
    ] {
        let answers = answers_to(file).await;
        assert_eq!((&answers[0]["id"], &answers[0]["error"]["code"]), (&json!(0), &json!(-32602)), "{file}");
        assert_eq!(answers[0]["error"]["message"], lacks, "{file}");
    }

    let mut wire = Wire::connect(ScopeSet::ALL, Reveal::Once);
    let whole =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    for (path, lacks) in [
        ("/protocolVersion", "`params.protocolVersion`"),
        ("/capabilities", "`params.capabilities`"),
        ("/clientInfo", "`params.clientInfo`"),
        ("/clientInfo/name", "`params.clientInfo.name`"),
        ("/clientInfo/version", "`params.clientInfo.version`"),
    ] {
        for wrong in [Value::Null, json!(7)] {
            let mut params = whole.clone();
            *params.pointer_mut(path).unwrap() = wrong;
            let answer = wire.request("initialize", params).await;
            assert_eq!(answer["error"]["code"], -32602, "{answer}");
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(message.starts_with(&format!("`initialize` lacks {lacks} (")), "{message}");
            assert_eq!(message.matches("`params.").count(), 1, "{message}");
        }
    }
    let answer = wire.request("initialize", Value::Null).await;
    assert_eq!(answer["error"]["message"].as_str().unwrap().matches("`params.").count(), 3, "{answer}");
    // The client may try again.
    assert_eq!(wire.request("initialize", whole).await["result"]["protocolVersion"], "2025-11-25");
    assert_eq!(wire.ok("get_seat_count", json!({})).await["count"], 0);
}

#[tokio::test]
async fn a_purpose_never_costs_the_code_and_holds_no_secret() {
    let mut wire = Wire::open().await;
    let id =
        wire.ok("register_totp_secret", json!({"label": "A", "secret": RFC_SEED})).await["totp_secret"]["id"].clone();
    let cut = "é".repeat(127) + "…";
    let said = [
        ("log in for ticket 123456", "log in for ticket [masked]"),
        ("release 20261127", "release [masked]"),
        ("see https://github.com", "see [masked]"),
        ("JIRA OPS-204817", "JIRA OPS-[masked]"),
        ("nightly release 2026-11-27 of v2.13.4", "nightly release 2026-11-27 of v2.13.4"),
        ("for ada@example.com", "for [masked]"),
        ("code 123 456", "code [masked]"),
        (RFC_SEED, "[masked]"),
        ("gezd gnbv gy3t qojq gezd gnbv gy3t qojq", "[masked]"),
        ("line\nbreak\u{202e}", "line break"),
        (&"é".repeat(200), &cut),
    ];
    for (purpose, _) in said {
        let code = wire.ok("get_totp_code", json!({"secret_id": id, "purpose": purpose})).await;
        assert_eq!(code["status"], "OK", "{purpose}");
    }
    let filter = AuditFilter { action: Some(Action::CodeGet), ..AuditFilter::default() };
    let rows = wire.vault.rows(filter).await;
    let kept: Vec<_> = rows.iter().map(|row| row.entry.purpose.as_ref().unwrap().as_str()).collect();
    assert_eq!(kept, said.map(|(_, kept)| kept));
}

#[tokio::test]
async fn no_text_names_a_tool_that_is_not_listed() {
    let names: Vec<String> = listed().iter().map(|tool| tool.name.to_string()).collect();
    for scope in Scope::ALL {
        let mut wire = Wire::connect(ScopeSet::default().with(scope), Reveal::Once);
        let hello =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let greeted = wire.request("initialize", hello).await;
        let instructions = greeted["result"]["instructions"].as_str().unwrap().to_owned();
        let tools = wire.request("tools/list", json!({})).await["result"]["tools"].clone();
        let is_listed = |name: &str| tools.as_array().unwrap().iter().any(|tool| tool["name"] == name);
        for name in names.iter().filter(|name| !is_listed(name)) {
            assert!(!instructions.contains(name.as_str()), "{scope}: {instructions}");
            assert!(!tools.to_string().contains(&format!("`{name}`")), "{scope}: {name}");
        }
        assert!(instructions.contains("Never ask a person for the seed"), "{instructions}");
        assert_eq!(
            instructions.contains("get_totp_code"),
            matches!(scope, Scope::CodesRead | Scope::CodesDecoy),
            "{instructions}"
        );
    }

    let mut wire = Wire::connect(ScopeSet::default().with(Scope::CodesRead), Reveal::Once);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let found = wire.request("server/discover", json!({"_meta": meta})).await;
    let instructions = found["result"]["instructions"].as_str().unwrap();
    assert!(instructions.contains("get_totp_code") && !instructions.contains("list_totp_secrets"), "{found}");
}
