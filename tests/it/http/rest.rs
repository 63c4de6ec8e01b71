//! The mirrored API: the answer of each route, field by field.

use countersign::{
    domain::scope::Scope,
    operations::{AddSeat, CreateKey, Entry, Method, Registration, RevokeKey, SeatChanges, TABLE},
};
use serde_json::{Value, json};

use super::kit::{Server, request, token_of, written};
use crate::kit::RFC_SEED;

const SECRETS: &str = "/api/v2/totp/secrets";

fn add_seat(server: &Server, email: &str, subject: &str) -> String {
    let changes = SeatChanges {
        email: Some(email.to_owned()),
        first_name: Some("Ada".to_owned()),
        auth_subject: Some(subject.to_owned()),
        ..SeatChanges::default()
    };
    server
        .wait(server.vault.service.perform(&server.vault.person, AddSeat { profile: changes }))
        .unwrap()
        .id
        .to_string()
}

#[test]
fn a_registration_shows_the_seed_once() {
    let server = Server::start();
    let token = server.token();

    let answer =
        server.post(SECRETS, &token, &json!({"label": "GitHub", "secret": RFC_SEED, "issuer": "GitHub"}).to_string());

    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let mut body = answer.json();
    let id = body["totp_secret"]["id"].take();
    assert_eq!(id.as_str().unwrap().len(), 36);
    let expected = json!({"status": "OK", "totp_secret": {
        "id": null, "algorithm": "SHA1", "created_at": "2026-11-22T00:00:00.000Z", "digits": 6, "issuer": "GitHub",
        "label": "GitHub", "period": 30, "secret": RFC_SEED,
    }});
    assert_eq!(body, expected);

    let list = server.get(SECRETS, &token);
    let mut expected = expected;
    expected["totp_secret"]["id"] = id;
    expected["totp_secret"].as_object_mut().unwrap().remove("secret");
    assert_eq!(list.json(), json!({"status": "OK", "totp_secrets": [expected["totp_secret"]]}));
}

#[test]
fn a_uri_overrides_everything_and_a_seed_is_made_where_none_is_given() {
    let server = Server::start();
    let token = server.token();
    let uri = format!("otpauth://totp/Example:ada%40example.com?secret={RFC_SEED}&issuer=Example&digits=8&period=60");

    let from_uri = server.post(SECRETS, &token, &json!({"uri": uri, "label": "other", "period": 0}).to_string()).json();
    let made = server.post(SECRETS, &token, r#"{"label":"made"}"#).json();

    let secret = &from_uri["totp_secret"];
    assert_eq!(
        (&secret["label"], &secret["digits"], &secret["period"]),
        (&json!("ada@example.com"), &json!(8), &json!(60))
    );
    assert_eq!(made["totp_secret"]["secret"].as_str().unwrap().len(), 32);
}

#[test]
fn a_repeat_with_an_idempotency_key_gets_the_first_answer_without_the_seed() {
    let server = Server::start();
    let headers = [("authorization", &*format!("Bearer {}", server.token())), ("idempotency-key", "once")];
    let send = |body: &str| server.raw(written("POST", SECRETS, &headers, Some(body)).as_bytes());

    let first = send(r#"{"label":"a"}"#).json();
    let again = send(r#"{"label":"a"}"#).json();
    let other = send(r#"{"label":"b"}"#);

    assert_eq!(first["totp_secret"]["id"], again["totp_secret"]["id"]);
    assert!(first["totp_secret"]["secret"].is_string() && again["totp_secret"]["secret"].is_null());
    assert_eq!(other.refusal(), (400, "invalid_argument".to_owned()));
}

#[test]
fn a_code_is_that_of_the_moment() {
    let server = Server::start();
    let (token, id) = (server.token(), server.secret("a"));
    server.vault.clock.set_seconds(1_111_111_109);

    let answer = server.get(&format!("/api/v2/totp/code/{id}"), &token);

    // RFC 6238, appendix B: the last six digits of 07081804.
    assert_eq!(answer.json(), json!({"code": "081804", "expires_in": 1, "status": "OK"}));
}

#[test]
fn a_code_takes_its_wishes_from_the_query() {
    let server = Server::start();
    let (token, id) = (server.token(), server.secret("a"));
    let get = |query: &str| server.get(&format!("/api/v2/totp/code/{id}?{query}"), &token);

    assert_eq!(get("min_validity=30&purpose=log%20in&seat_id=nobody").refusal().1, "not_found");
    assert_eq!(get("single_use=true&max_wait=0").status, 200);
    let busy = get("single_use=true&max_wait=0");
    assert_eq!(busy.refusal(), (409, "busy".to_owned()));
    let seconds: u64 = busy.header("retry-after").unwrap().parse().unwrap();
    assert!((30..40).contains(&seconds), "{seconds}");
    for bad in ["min_validity=31", "min_validity=x", "max_wait=121", "single_use=yes", "code=1", "secret_id=1"] {
        assert_eq!(get(bad).refusal(), (400, "invalid_argument".to_owned()), "{bad}");
    }
}

#[test]
fn a_code_is_verified_once() {
    let server = Server::start();
    let (token, id) = (server.token(), server.secret("a"));
    server.vault.clock.set_seconds(1_111_111_109);
    let verify = |body: &str| server.post(&format!("/api/v2/totp/code/{id}/verify"), &token, body);

    assert_eq!(verify(r#"{"code":"081 804"}"#).json(), json!({"status": "OK", "valid": true}));
    assert_eq!(verify(r#"{"code":"081804"}"#).json(), json!({"status": "OK", "valid": false}));
    for bad in [
        r#"{"code":"1"}"#,
        r#"{"code":81804}"#,
        "{}",
        r#"{"code":"081804","secret_id":"x"}"#,
        r#"{"code":"081804","x":1}"#,
    ] {
        assert_eq!(verify(bad).refusal(), (400, "invalid_argument".to_owned()), "{bad}");
    }
}

#[test]
fn a_deleted_secret_is_gone() {
    let server = Server::start();
    let (token, id) = (server.token(), server.secret("a"));
    let path = format!("{SECRETS}/{id}");

    assert_eq!(server.delete(&path, &token).json(), json!({"status": "OK"}));

    assert_eq!(server.delete(&path, &token).refusal(), (404, "not_found".to_owned()));
    assert_eq!(server.get(&format!("/api/v2/totp/code/{id}"), &token).refusal().0, 404);
    assert_eq!(server.get(SECRETS, &token).json(), json!({"status": "OK", "totp_secrets": []}));
}

#[test]
fn secrets_are_listed_whole_or_by_page() {
    let server = Server::start();
    let token = server.token();
    for n in 0..60 {
        server.secret(&format!("secret {n}"));
    }
    let listed = |query: &str| {
        server.get(&format!("{SECRETS}{query}"), &token).json()["totp_secrets"].as_array().unwrap().clone()
    };
    let count = |query: &str| listed(query).len();

    // All of the secrets were made in the same millisecond.
    let labels = (0..60).map(|n| json!(format!("secret {n}")));
    assert!(listed("").iter().map(|secret| &secret["label"]).eq(labels.collect::<Vec<_>>().iter()));
    assert_eq!((count(""), count("?limit=7&offset=58"), count("?limit=0"), count("?query=SECRET%205")), (60, 2, 0, 15));
    for bad in ["?limit=1001", "?limit=-1", "?offset=-1", "?limit=1.5", "?page=2", "?limit=1&limit=1"] {
        assert_eq!(server.get(&format!("{SECRETS}{bad}"), &token).refusal().0, 400, "{bad}");
    }
}

#[test]
fn seats_are_a_bare_array_and_one_is_found_by_either_name() {
    let server = Server::start();
    let token = server.token();
    let id = add_seat(&server, "ada@example.com", "auth0|ä/1");
    server.vault.clock.set_seconds(1_795_305_601);
    add_seat(&server, "bob@example.com", "bob");
    let ada = json!({
        "seat_id": id, "account": "default", "created_at": "2026-11-22T00:00:00.000Z", "email": "ada@example.com",
        "first_name": "Ada", "last_name": null, "forwarding_number": null,
    });
    let get = |path: &str| server.get(&format!("/api/v2/seats{path}"), &token).json();

    assert_eq!(get("?email=ada%40example.com"), json!([ada]));
    assert_eq!(get("?limit=1"), json!([ada]));
    assert_eq!(get("").as_array().map(Vec::len), Some(2));
    assert_eq!(get("/count"), json!({"count": 2}));
    assert_eq!(get("/count?email=bob@example.com"), json!({"count": 1}));
    assert_eq!(get(&format!("/{id}")), json!({"seat": ada, "status": "OK"}));
    assert_eq!(get("/auth0%7C%C3%A4%2F1"), json!({"seat": ada, "status": "OK"}));
    assert_eq!(server.get("/api/v2/seats/nobody", &token).refusal(), (404, "not_found".to_owned()));
    assert_eq!(server.get("/api/v2/seats/%FF", &token).refusal().0, 404);
}

#[test]
fn the_trail_is_read_by_filter_and_page() {
    let server = Server::start();
    let (auditor, agent) = (server.key([Scope::AuditRead]), server.key([Scope::CodesRead]));
    let (one, two) = (server.secret("one"), server.secret("two"));
    for id in [one, one, two] {
        assert_eq!(server.get(&format!("/api/v2/totp/code/{id}?purpose=log%20in"), &token_of(&agent)).status, 200);
    }
    server.vault.clock.set_seconds(1_795_305_660);
    server.get(&format!("/api/v2/totp/code/{two}"), &token_of(&agent));
    let get = |query: &str| server.get(&format!("/api/v2/audit{query}"), &token_of(&auditor));
    let count = |query: &str| get(query).json()["rows"].as_array().unwrap().len();

    let rows = get(&format!("?secret_id={one}&action=code.get")).json();
    let row = &rows["rows"][0];
    assert_eq!((&rows["status"], rows["rows"].as_array().unwrap().len()), (&json!("OK"), 2));
    assert_eq!((&row["actor"], &row["key"]), (&json!("key"), &json!(agent.plain.id().to_string())));
    assert_eq!(
        (&row["purpose"], &row["outcome"], &row["secret_id"]),
        (&json!("log in"), &json!("ok"), &json!(one.to_string()))
    );
    assert_eq!(count(&format!("?key={}&action=code.get", agent.plain.id())), 4);
    assert_eq!(count("?action=code.get&since=2026-11-22T00:00:30Z"), 1);
    assert_eq!(count("?action=code.get&until=2026-11-22T00:00:30Z"), 3);
    let all = get("?limit=1000&after=0").json();
    assert_eq!(all["rows"][0]["seq"].as_u64(), Some(1));
    let first = get("?limit=1&after=0").json();
    let then = get(&format!("?limit=2&after={}", first["next"].as_str().unwrap())).json();
    assert_eq!((&first["rows"][0]["seq"], &then["rows"][0]["seq"]), (&json!(1), &json!(2)));
    let newest = get("?limit=3").json();
    let after = get(&format!("?after={}", newest["next"].as_str().unwrap())).json();
    assert_eq!((after["rows"].as_array().unwrap().len(), &after["next"]), (0, &newest["next"]), "there is no more yet");
    // An exporter that begins at a time reads every row after it, page by page.
    let mut page = get("?limit=1&since=2026-11-22T00:00:00Z").json();
    let mut read = Vec::new();
    while let Some(row) = page["rows"].as_array().unwrap().first() {
        read.push(row["seq"].clone());
        page = get(&format!("?limit=1&since=2026-11-22T00:00:00Z&after={}", page["next"].as_str().unwrap())).json();
    }
    let since: Vec<_> = all["rows"].as_array().unwrap().iter().map(|row| row["seq"].clone()).collect();
    assert_eq!(read, since);
    assert_eq!(get("?limit=1").json()["rows"][0]["seq"], all["rows"].as_array().unwrap().last().unwrap()["seq"]);
    for bad in [
        "seat_id=x",
        "secret_id=x",
        "key=x",
        "action=x",
        "since=x",
        "until=x",
        "limit=1001",
        "limit=-1",
        "after=-1",
        "after=1",
        "x=1",
    ] {
        assert_eq!(get(&format!("?{bad}")).refusal().0, 400, "{bad}");
    }
    assert_eq!(server.get("/api/v2/audit", &token_of(&agent)).refusal(), (403, "permission_denied".to_owned()));
}

#[test]
fn the_mirrored_headers_do_as_well_as_a_bearer_key() {
    let server = Server::start();
    let key = server.key(Scope::ALL);
    let (id, secret) = (key.plain.id().to_string(), key.plain.expose_secret().to_owned());
    let send = |headers: &[(&str, &str)]| server.raw(written("GET", SECRETS, headers, None).as_bytes());

    assert_eq!(send(&[("sb-api-key-id", &id), ("sb-api-secret-key", &secret)]).status, 200);
    let token = token_of(&key);
    assert_eq!(send(&[("authorization", &format!("bearer   {token}"))]).status, 200);

    let other = server.key(Scope::ALL);
    for wrong in [
        vec![],
        vec![("sb-api-key-id", &*id)],
        vec![("sb-api-secret-key", &*secret)],
        vec![("sb-api-key-id", other.plain.id().as_str()), ("sb-api-secret-key", &*secret)],
        vec![("sb-api-key-id", &*id), ("sb-api-secret-key", other.plain.expose_secret())],
        vec![("authorization", &*token)],
        vec![("authorization", "Basic Zm9vOmJhcg==")],
        vec![("authorization", "Bearer cs_x")],
    ] {
        let answer = send(&wrong);
        assert_eq!(answer.refusal(), (401, "unauthenticated".to_owned()), "{wrong:?}");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer "), "{answer:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains(&secret));
    }
}

#[test]
fn a_revoked_or_expired_key_is_refused_from_the_next_request_on() {
    let server = Server::start();
    let key = server.key([Scope::SecretsRead]);
    let now = 1_795_305_600;
    let expiring = CreateKey {
        expires_at: Some(countersign::domain::time::Timestamp::from_seconds(now + 60)),
        ..request([Scope::SecretsRead])
    };
    let expiring = token_of(&server.key_as(&server.vault.person, expiring));
    assert_eq!(server.get(SECRETS, &token_of(&key)).status, 200);
    assert_eq!(server.get(SECRETS, &expiring).status, 200);

    server.wait(server.vault.service.perform(&server.vault.person, RevokeKey { id: key.plain.id() })).unwrap();
    server.vault.clock.set_seconds(now + 60);

    assert_eq!(server.get(SECRETS, &token_of(&key)).refusal().0, 401);
    assert_eq!(server.get(SECRETS, &expiring).refusal().0, 401);
}

#[test]
fn no_answer_quotes_what_was_sent() {
    let server = Server::start();
    let token = server.token();
    let canary = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
    let bodies = [
        format!("{{\"{canary}\":1}}"),
        format!("{{\"label\":\"a\",\"algorithm\":\"{canary}\"}}"),
        format!("{{\"label\":\"a\",\"digits\":\"{canary}\"}}"),
        format!("{{\"label\":\"a\",\"secret\":\"{canary}!\"}}"),
        format!("{{\"uri\":\"otpauth://hotp/a?secret={canary}\"}}"),
        format!("{{\"label\":\"{canary}"),
        canary.to_owned(),
    ];
    for body in bodies {
        let answer = server.post(SECRETS, &token, &body);
        assert_eq!(answer.refusal().0, 400, "{body}");
        assert!(!String::from_utf8_lossy(&answer.body).contains(canary), "{body}");
    }
    for path in ["/api/v2/totp/code/", "/api/v2/seats/count?email=a&", "/", "/api/v2/totp/secrets?limit="] {
        let answer = server.get(&format!("{path}{canary}"), &token);
        assert!(answer.status >= 400 && !String::from_utf8_lossy(&answer.body).contains(canary), "{path}");
    }
}

#[test]
fn the_document_has_every_route_and_is_sound() {
    let server = Server::start();
    let answer = server.raw(written("GET", "/openapi.json", &[], None).as_bytes());
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");

    let routes: Vec<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    for route in &routes {
        let (method, path) = route.split_once(' ').unwrap();
        let path = path.replace("{secret_id}", "x").replace("{seat_id}", "x").replace("{enrollment_id}", "x");
        let answered = server.raw(written(method, &path, &[], None).as_bytes());
        // These routes exist only with an identity provider.
        assert!(
            path.starts_with("/.well-known/") || ![404, 405].contains(&answered.status),
            "{route} is served: {}",
            answered.status
        );
    }
    let operations = TABLE.iter().map(|Entry { api, .. }| {
        let method = match api.method {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        };
        format!("{method} {}", api.path)
    });
    let others = ["/healthz", "/metrics", "/openapi.json", "/readyz", "/version"].map(|path| format!("GET {path}"));
    let wanted: Vec<_> = operations.chain(others).collect();
    assert_eq!(wanted.len(), 19);
    for route in wanted {
        assert!(routes.contains(&route), "{route}");
    }
    assert!(!document.to_string().contains("\"default\":null"), "a default that is not of its type");
    let code = &document["paths"]["/api/v2/totp/code/{secret_id}"]["get"];
    let names: Vec<&str> = code["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["secret_id", "decoy", "max_wait", "min_validity", "purpose", "seat_id", "single_use"]);
    assert!(code["responses"]["409"]["headers"]["Retry-After"].is_object());
    assert_eq!(document["paths"]["/healthz"]["get"]["security"], json!([]));
    let body = &document["paths"]["/api/v2/totp/code/{secret_id}/verify"]["post"]["requestBody"]["content"];
    assert_eq!(body["application/json"]["schema"]["properties"]["secret_id"], Value::Null);
}

#[test]
fn a_whole_list_is_answered_part_by_part_and_is_one_document() {
    let server = Server::start();
    let token = server.token();
    let mut wanted: Vec<String> = Vec::new();
    let entry = |n: usize| {
        let registration = Registration { label: Some(format!("label {n}")), ..Registration::default() };
        crate::kit::registration_of(registration)
    };
    // More than two parts, of a thousand each.
    for n in 0..2_100 {
        let stored = server.wait(server.vault.service.perform(&server.vault.person, entry(n))).unwrap();
        wanted.push(stored.secret.id.to_string());
    }
    let listed = |query: &str| {
        let answer = server.get(&format!("{SECRETS}{query}"), &token);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{query}");
        let body = answer.json();
        assert_eq!(body["status"], "OK");
        let ids =
            body["totp_secrets"].as_array().unwrap().iter().map(|secret| secret["id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };

    assert_eq!(listed(""), wanted);
    assert_eq!(listed("?offset=1050"), wanted[1050..]);
    assert_eq!(listed("?query=label%202099"), wanted[2099..], "of the first parts nothing matches");
    assert_eq!(listed("?query=label&offset=2098"), wanted[2098..], "with a query, offset counts what matches");
    assert_eq!(listed("?query=none"), Vec::<String>::new());
}
