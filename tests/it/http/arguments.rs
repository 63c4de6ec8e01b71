//! Errors of bodies and queries, which name fields as the caller wrote them.

use serde_json::{Value, json};

use super::{
    kit::{Answer, Server, written},
    matrix::call_2026,
};

#[test]
fn what_is_not_known_is_named_with_its_place() {
    let server = Server::start();
    let (token, id) = (server.token(), server.secret("a"));
    let said = |answer: Answer| {
        assert_eq!(answer.refusal(), (400, "invalid_argument".to_owned()));
        answer.json()["message"].as_str().unwrap().to_owned()
    };
    let verify = format!("/api/v2/totp/code/{id}/verify");
    let post = |path: &str, body: &str| said(server.post(path, &token, body));

    assert_eq!(
        post(&verify, r#"{"code":"123456","seat":"x"}"#),
        "`body` has a field `seat` that is not known; did you mean `seat_id`? The known ones are `code`, `seat_id`"
    );
    assert!(post(&verify, r#"{"secret_id":"x"}"#).starts_with("`secret_id` stands in the path"));
    assert!(post(&verify, r#"{"code":123456}"#).starts_with("`code` must be"));
    let registered = post("/api/v2/totp/secrets", r#"{"lable":"a"}"#);
    assert!(registered.starts_with(
        "`body` has a field `lable` that is not known; did you mean `label`? The known ones are `algorithm`"
    ));
    let hidden = post("/api/v2/totp/secrets", r#"{"JBSWY3DPEHPK3PXP":"a"}"#);
    assert!(hidden.starts_with("`body` has a field that is not known; the known ones are `algorithm`"), "{hidden}");
    let query = |path: &str| said(server.get(path, &token));
    assert_eq!(
        query("/api/v2/seats?email=a@example.com&limt=1"),
        "`query` has a parameter `limt` that is not known; did you mean `limit`? The known ones are `email`, `limit`, `offset`"
    );
    assert!(query("/api/v2/seats?JBSWY3DPEHPK3PXP=1").starts_with("`query` has a parameter that is not known;"));
    assert_eq!(
        said(server.delete(&format!("/api/v2/totp/secrets/{id}?force=1"), &token)),
        "`query` has a parameter `force` that is not known; this route takes none"
    );
}

#[test]
fn null_and_the_empty_text_leave_an_optional_field_out() {
    let server = Server::start();
    let (token, id) = (server.token(), server.secret("a"));
    for path in [
        "/api/v2/seats?email=&limit=&offset=",
        "/api/v2/seats/count?email=",
        "/api/v2/totp/secrets?query=&limit=&offset",
        "/api/v2/audit?seat_id=&secret_id=&key=&action=&since=&until=&limit=&after=",
        &format!("/api/v2/totp/code/{id}?min_validity=&single_use=&max_wait=&seat_id=&purpose="),
    ] {
        assert_eq!(server.get(path, &token).status, 200, "{path}");
    }
    for empty in [json!(""), Value::Null] {
        let mut fields = json!({"label": "b"});
        for name in ["uri", "secret", "issuer", "algorithm", "digits", "period", "single_use"] {
            fields[name] = empty.clone();
        }
        let post = |path: &str, body: Value| server.post(path, &token, &body.to_string());
        let made = post("/api/v2/totp/secrets", fields).json();
        let secret = &made["totp_secret"];
        assert_eq!(
            (&secret["issuer"], &secret["digits"], &secret["period"], &secret["algorithm"]),
            (&Value::Null, &json!(6), &json!(30), &json!("SHA1")),
            "{made}"
        );
        let verify = format!("/api/v2/totp/code/{id}/verify");
        assert_eq!(post(&verify, json!({"code": "123456", "seat_id": empty})).status, 200);
        let required = post(&verify, json!({"code": empty}));
        assert!(required.json()["message"].as_str().unwrap().starts_with("`code` is required"), "{required:?}");
        let label = post("/api/v2/totp/secrets", json!({"label": empty}));
        assert!(label.json()["message"].as_str().unwrap().starts_with("`label` is required"), "{label:?}");
    }
    // Only over MCP are numbers accepted as text: REST is unchanged.
    assert_eq!(server.post("/api/v2/totp/secrets", &token, r#"{"label":"c","digits":"6"}"#).status, 400);
    assert_eq!(server.post("/api/v2/totp/secrets", &token, r#"{"label":"c","toolCallId":"x"}"#).status, 400);
}

#[test]
fn the_document_says_that_a_body_holds_no_other_fields_and_which_words_may_be_empty() {
    let document = Server::start().raw(written("GET", "/openapi.json", &[], None).as_bytes()).json();
    let bodies = document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let bodies: Vec<_> = bodies.filter_map(|operation| operation.get("requestBody")).collect();
    assert_eq!(bodies.len(), 5);
    for body in bodies {
        let schema = &body["content"]["application/json"]["schema"];
        assert_eq!(schema["additionalProperties"], false, "{schema}");
        assert!(!schema.to_string().contains("writeOnly"), "{schema}");
    }
    let empty_last = |words: &Value| words.as_array().unwrap().last() == Some(&json!(""));
    let body = &document["paths"]["/api/v2/totp/secrets"]["post"]["requestBody"]["content"]["application/json"];
    assert!(empty_last(&body["schema"]["properties"]["algorithm"]["enum"]), "{body}");
    let parameters = document["paths"]["/api/v2/audit"]["get"]["parameters"].as_array().unwrap();
    let action = parameters.iter().find(|parameter| parameter["name"] == "action").unwrap();
    assert!(empty_last(&action["schema"]["enum"]), "{action}");
}

#[test]
fn what_stands_beside_a_calls_arguments_is_bounded_as_well() {
    let server = Server::start();
    let token = server.token();
    let nested = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({"a": inner}));
    let ask = |place: &str, levels: usize| {
        let (headers, body) = call_2026(&token, "get_seat_count", &json!({}));
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut message: Value = serde_json::from_str(&body).unwrap();
        message["params"][place]["x.y/z"] = nested(levels - 1);
        server.raw(written("POST", "/mcp", &headers, Some(&message.to_string())).as_bytes())
    };

    assert_eq!(ask("_meta", 32).json()["result"]["structuredContent"]["count"], 0);
    for levels in [33, 60, 100] {
        assert_eq!(ask("_meta", levels).refusal(), (400, "invalid_argument".to_owned()));
        let refused = ask("arguments", levels).json();
        assert!(
            refused["result"]["content"][0]["text"].as_str().unwrap().contains("are nested too deeply"),
            "{refused}"
        );
    }
    for (levels, words) in [(32, "`label` must be a text of 1 to 256 characters"), (33, "`body` is nested too deeply")]
    {
        let body = json!({"label": nested(levels - 1)}).to_string();
        assert_eq!(server.post("/api/v2/totp/secrets", &token, &body).json()["message"], words);
    }
    let deep = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": nested(33)}}).to_string();
    let stream = super::sse::try_open(&server, &token).unwrap();
    assert_eq!(server.post(stream.endpoint(), &token, &deep).refusal(), (400, "invalid_argument".to_owned()));
}
