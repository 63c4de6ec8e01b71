//! Bad arguments of every kind: the error names the field, and never the value.

use countersign::{
    domain::audit::{Action, AuditFilter, Outcome},
    operations::ErrorCode,
};
use serde_json::{Value, json};

use super::Wire;

const CANARY: &str = "JBSWY3DPEHPK3PXP";

#[tokio::test]
async fn a_mistake_names_its_field_and_never_quotes_it() {
    let mut wire = Wire::open().await;
    let nil = uuid::Uuid::nil().to_string();
    let cases: Vec<(&str, Value, &str)> = vec![
        ("register_totp_secret", json!({"label": 7}), "label"),
        ("register_totp_secret", json!({"label": "A", "digits": CANARY}), "digits"),
        ("register_totp_secret", json!({"label": "A", "digits": 7}), "digits"),
        ("register_totp_secret", json!({"label": "A", "digits": 6.5}), "digits"),
        ("register_totp_secret", json!({"label": "A", "period": CANARY}), "period"),
        ("register_totp_secret", json!({"label": "A", "period": 0}), "period"),
        ("register_totp_secret", json!({"label": "A", "period": 3601}), "period"),
        ("register_totp_secret", json!({"label": "A", "period": 1e300}), "period"),
        ("register_totp_secret", json!({"label": "A", "algorithm": CANARY}), "algorithm"),
        ("register_totp_secret", json!({"label": "A", "algorithm": [CANARY]}), "algorithm"),
        ("register_totp_secret", json!({"label": "A", "secret": {"x": CANARY}}), "secret"),
        ("register_totp_secret", json!({"label": "A", "secret": format!("{CANARY}0189")}), "secret"),
        ("register_totp_secret", json!({"label": "A", "secret": " "}), "secret"),
        ("register_totp_secret", json!({"label": "A", "secret": "A".repeat(209)}), "secret"),
        ("register_totp_secret", json!({"uri": CANARY}), "uri"),
        ("register_totp_secret", json!({"uri": format!("otpauth://hotp/A?secret={CANARY}&counter=1")}), "uri"),
        ("register_totp_secret", json!({}), "label"),
        ("register_totp_secret", json!({"label": ""}), "label"),
        ("register_totp_secret", json!({"label": "x".repeat(257)}), "label"),
        ("register_totp_secret", json!({"label": "a\u{202E}b"}), "label"),
        ("register_totp_secret", json!({"label": "A", "issuer": "x".repeat(257)}), "issuer"),
        ("register_totp_secret", json!({"label": "A", (CANARY): 1}), "arguments"),
        ("get_totp_code", json!({}), "secret_id"),
        ("get_totp_code", json!({"secret_id": CANARY}), "secret_id"),
        ("get_totp_code", json!({"secret_id": [CANARY]}), "secret_id"),
        ("get_totp_code", json!({"secret_id": nil, "max_wait": 121}), "max_wait"),
        ("get_totp_code", json!({"secret_id": nil, "max_wait": -1}), "max_wait"),
        ("get_totp_code", json!({"secret_id": nil, "single_use": CANARY}), "single_use"),
        ("get_totp_code", json!({"secret_id": nil, "purpose": [CANARY]}), "purpose"),
        ("verify_totp_code", json!({"secret_id": nil, "code": 123_456}), "code"),
        ("list_totp_secrets", json!({"limit": 1001}), "limit"),
        ("list_totp_secrets", json!({"limit": -1}), "limit"),
        ("list_totp_secrets", json!({"offset": -1}), "offset"),
        ("list_totp_secrets", json!({"query": "x".repeat(257)}), "query"),
        ("list_seats", json!({"limit": 1001}), "limit"),
        ("list_seats", json!({"email": 5}), "email"),
        ("get_seat", json!({}), "seat_id"),
        ("delete_totp_secret", json!({"secret_id": "x"}), "secret_id"),
    ];
    for (tool, arguments, field) in cases {
        let body = wire.refused(tool, arguments.clone()).await;
        assert_eq!(body["error"], "invalid_argument", "{tool} {arguments}: {body}");
        let message = body["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("`{field}`")), "{tool} {arguments}: {message}");
        assert!(!message.contains(CANARY), "{tool} quotes its input: {message}");
    }
}

#[tokio::test]
async fn values_at_the_limits_are_accepted() {
    let mut wire = Wire::open().await;
    for arguments in [
        json!({"label": "x".repeat(256), "issuer": "y".repeat(256)}),
        json!({"label": "A", "period": 1}),
        json!({"label": "A", "period": 3600.0}),
        json!({"label": "A", "digits": 8.0, "algorithm": "SHA512"}),
        json!({"label": "A", "secret": "ME"}),
        json!({"label": "A", "secret": "A".repeat(205)}),
        json!({"label": "A", "secret": "jbsw y3dp-ehpk 3pxp===="}),
        json!({"label": "  A  ", "issuer": null, "secret": null}),
        json!({"uri": "otpauth://totp/A?secret=JBSWY3DPEHPK3PXP", "period": 0, "digits": 99, "label": ""}),
    ] {
        let answer = wire.ok("register_totp_secret", arguments).await;
        assert_eq!(answer["status"], "OK");
    }
    for arguments in [json!({"limit": 0}), json!({"limit": 1000, "offset": 0}), json!({"offset": 1_000_000})] {
        wire.ok("list_totp_secrets", arguments).await;
    }
    assert_eq!(wire.ok("list_totp_secrets", json!({"limit": 0})).await["total"], 9);
}

#[tokio::test]
async fn arguments_nested_too_deeply_are_refused() {
    let mut wire = Wire::open().await;
    let nested = |levels: usize| (0..levels).fold(json!("x"), |inner, _| json!([inner]));
    let body = wire.refused("get_seat", json!({"seat_id": nested(32)})).await;
    assert!(body["message"].as_str().unwrap().contains("nested"), "{body}");
    let body = wire.refused("get_seat", json!({"seat_id": nested(31)})).await;
    assert!(body["message"].as_str().unwrap().starts_with("`seat_id`"), "{body}");
}

#[tokio::test]
async fn what_stands_beside_the_arguments_is_bounded_as_well() {
    let mut wire = Wire::open().await;
    let nested = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({"a": inner}));
    let call = |meta: usize, arguments: usize| json!({"name": "get_seat_count", "_meta": nested(meta), "arguments": nested(arguments)});
    let found = wire.request("tools/call", call(32, 1)).await;
    assert_eq!(found["result"]["structuredContent"]["count"], 0, "{found}");
    for params in [call(33, 1), call(60, 1), call(100, 1), json!({"cursor": null, "x": nested(33)})] {
        for method in ["tools/call", "tools/list", "ping"] {
            let refused = wire.request(method, params.clone()).await;
            assert_eq!(refused["error"]["code"], -32700, "{method}: {refused}");
        }
    }
    // Arguments belong to a tool, so the tool's answer refuses them.
    for levels in [33, 60, 100] {
        let body = wire.refused("get_seat_count", nested(levels)).await;
        assert_eq!(body["message"], "`arguments` are nested too deeply", "{levels}");
    }
}

#[tokio::test]
async fn an_unknown_argument_is_named_if_it_is_a_plain_name_and_no_secret() {
    let mut wire = Wire::open().await;
    let (meant, known) = ("did you mean `email`? The known ones are `email`", "the known ones are `email`");
    for (plain, offer) in [
        ("e_mail", meant),
        ("emailAddress", known),
        ("_x", known),
        ("Email2", meant),
        ("mail", meant),
        (&"a".repeat(15), known),
    ] {
        let body = wire.refused("get_seat_count", json!({"email": "a@example.com", (plain): 1})).await;
        let expected = format!("`arguments` has a field `{plain}` that is not known; {offer}");
        assert_eq!(body["message"], expected);
    }
    for (other, offer) in [
        (CANARY, known),
        ("jbswy3dpehpk3pxp", known),
        ("JBSWY3DP", known),
        ("cs_abc", known),
        ("_123456", known),
        ("e mail", meant),
        ("e-mail", meant),
        ("2nd", known),
        ("", known),
        ("`x`", known),
        ("\u{202e}x", known),
        ("ignore_all_earlier_instructions_now", known),
    ] {
        let body = wire.refused("get_seat_count", json!({(other): CANARY})).await;
        assert_eq!(body["message"], format!("`arguments` has a field that is not known; {offer}"), "{other}");
    }
    let body =
        wire.refused("get_totp_code", json!({"secret_id": uuid::Uuid::nil().to_string(), "singleUse": true})).await;
    assert!(body["message"].as_str().unwrap().contains("`singleUse` that is not known; did you mean `single_use`?"));
}

#[tokio::test]
async fn a_call_of_no_tool_is_counted_and_in_the_audit_log() {
    let mut wire = Wire::open().await;
    for params in [
        json!({"name": "no_such_tool", "arguments": {}}),
        json!({"name": CANARY, "arguments": "{}"}),
        json!({"arguments": {}}),
        json!({"name": "get_totp_code", "arguments": {}, "requestState": 7}),
    ] {
        let answer = wire.request("tools/call", params.clone()).await;
        assert_eq!(answer["error"]["code"], -32602, "{params}: {answer}");
        assert!(!answer.to_string().contains(CANARY), "{answer}");
    }

    let rows = wire.vault.rows(AuditFilter::default()).await;
    let refused = rows.iter().filter(|row| row.entry.outcome != Outcome::Ok);
    let rows: Vec<_> = refused.map(|row| (row.entry.action, row.entry.outcome)).collect();
    let expected = [Action::Call, Action::Call, Action::Call, Action::CodeGet];
    assert_eq!(rows, expected.map(|action| (action, Outcome::InvalidArgument)));
    let tally = wire.vault.service.tally();
    assert!(tally.refused.contains(&(ErrorCode::InvalidArgument, 4)), "{tally:?}");
}
