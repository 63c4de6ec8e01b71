//! `countersign fill` without a browser, the origins of secrets, and keys and secrets that show no codes. Real browsers
//! are in `tests/interop`.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use serde_json::Value;

use super::{Person, text_of};

const ORIGIN: &str = "https://login.example.com";

/// A person with a secret whose codes are only typed into pages.
fn with_fill_only() -> Person {
    let person = Person::new();
    let seed = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let add = ["secret", "add", "--label", "alice", "--stdin", "--origin", ORIGIN, "--fill-only"];
    let added = person.fed(seed, &add);
    assert!(added.err.contains("countersign fill"), "{added:?}");
    added.ok();
    person
}

#[test]
fn the_origins_of_a_secret_are_shown_replaced_and_removed() {
    let person = Person::with_alice();
    let origins = |person: &Person| {
        let shown = person.run(&["secret", "show", "alice", "--json"]).json();
        shown["totp_secret"]["origins"].as_array().map(|all| all.iter().map(Value::to_string).collect::<Vec<_>>())
    };
    assert_eq!(origins(&person), None);
    let update = |more: &[&str]| person.run(&[&["secret", "update", "alice"], more].concat());
    update(&["--origin", ORIGIN, "--origin", "http://localhost:3000"]).ok();
    assert_eq!(origins(&person).unwrap(), [format!("\"{ORIGIN}\""), "\"http://localhost:3000\"".to_owned()]);
    assert!(person.run(&["secret", "show", "alice"]).ok().contains(ORIGIN));
    update(&["--label", "ada"]).ok();
    let update = |more: &[&str]| person.run(&[&["secret", "update", "ada"], more].concat());
    update(&["--origin", "https://*.example.com"]).ok();
    let shown = person.run(&["secret", "show", "ada", "--json"]).json();
    assert_eq!(shown["totp_secret"]["origins"].to_string(), r#"["https://*.example.com"]"#);
    update(&["--origin", ""]).ok();
    assert!(person.run(&["secret", "show", "ada", "--json"]).json()["totp_secret"].get("origins").is_none());

    for wrong in ["https://*.co.uk", "http://example.com", "https://example.com/login", "example.com"] {
        let refused = update(&["--origin", wrong]).refused(2);
        assert!(refused.contains("--origin has one that"), "{wrong}: {refused}");
    }
    let refused = update(&["--fill-only"]).refused(2);
    assert!(refused.contains("--origin must name one at least"), "{refused}");
}

#[test]
fn nobody_sees_a_code_that_is_for_pages_alone() {
    let person = with_fill_only();
    let refused = person.run(&["code", "alice", "--json"]).refused(1);
    let body: Value = serde_json::from_str(&refused).unwrap();
    assert_eq!(text_of(&body, "/error"), "permission_denied");
    assert!(text_of(&body, "/message").contains("fill_totp_code"), "{refused}");
    assert_eq!(person.run(&["secret", "show", "alice", "--json"]).json()["totp_secret"]["fill_only"], true);

    person.run(&["secret", "update", "alice", "--fill-only=false"]).ok();
    person.run(&["code", "alice"]).ok();
}

#[test]
fn what_can_not_be_filled_is_refused_with_what_to_do() {
    let person = with_fill_only();
    let refused = |arguments: &[&str], error: &str| {
        let all = [&["fill", "alice", "--json"], arguments].concat();
        let refused = person.run(&all).refused(if error == "invalid_argument" { 2 } else { 1 });
        let body: Value = serde_json::from_str(&refused).unwrap();
        assert_eq!(text_of(&body, "/error"), error, "{refused}");
        text_of(&body, "/message").to_owned()
    };
    assert!(refused(&[], "unavailable").contains("`--browser http://127.0.0.1:9222`"));
    // No program listens on this port.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    assert!(refused(&["--browser", &free], "unavailable").contains("--remote-debugging-port"));
    assert!(
        refused(&["--browser", "ws://127.0.0.1:1/devtools/browser/x"], "unavailable").contains("nothing was typed")
    );
    assert!(refused(&["--browser", "/nowhere"], "unavailable").contains("its profile does not say"));
    assert!(refused(&["--page", "t1"], "invalid_argument").contains("--page must be"));
    for wrong in ["http://10.0.0.5:9222", "https://127.0.0.1:9222", "ws://127.0.0.1:9222"] {
        let refused = person.run(&["fill", "alice", "--browser", wrong]).refused(2);
        assert!(refused.starts_with("error: --browser "), "{refused}");
    }
    let rows = person.run(&["audit", "list", "--action", "code.fill", "--json"]).json();
    let outcomes: Vec<&str> = rows["rows"].as_array().unwrap().iter().map(|row| text_of(row, "/outcome")).collect();
    assert_eq!(outcomes, ["unavailable", "unavailable", "unavailable", "unavailable", "invalid_argument"]);
}

#[test]
fn something_else_than_a_browser_at_its_address_is_told_as_that() {
    let person = with_fill_only();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answers =
        ["HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", ""];
    let stranger = thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    for _ in answers {
        let refused = person.run(&["fill", "alice", "--browser", &port.to_string()]).refused(1);
        assert!(refused.contains("no browser can be reached") && refused.contains("nothing was typed"), "{refused}");
    }
    stranger.join().unwrap();
}

#[test]
fn a_key_for_pages_sees_no_code() {
    let person = Person::with_alice();
    let made = person.run(&["key", "create", "--name", "agent", "--fill-only", "--json"]).json();
    assert_eq!(made["scopes"].to_string(), r#"["codes:fill","secrets:read","seats:read"]"#);
    let made = person.run(&["key", "create", "--name", "robot", "--decoy", "--json"]).json();
    assert_eq!(made["scopes"].to_string(), r#"["codes:decoy","secrets:read","seats:read"]"#);
    let refused = person.run(&["key", "create", "--name", "b", "--fill-only", "--scope", "codes:read"]).refused(2);
    assert!(refused.contains("--fill-only"), "{refused}");
}

#[test]
fn a_plugin_answers_every_request_with_one_object() {
    let person = with_fill_only();
    let asked = |request: &str| {
        let answer = person.fed(request, &["plugin", "agent-browser"]).json();
        assert_eq!(text_of(&answer, "/protocol"), "agent-browser.plugin.v1");
        answer
    };
    let refused = |request: &str| {
        let answer = asked(request);
        assert_eq!(answer["success"], false, "{answer}");
        text_of(&answer, "/error").to_owned()
    };
    let manifest = asked(r#"{"type":"plugin.manifest","request":{}}"#);
    assert_eq!(text_of(&manifest, "/manifest/name"), "countersign");
    let fill = r#"{"type":"totp.fill","request":{"secret":"alice"}}"#;
    assert!(refused(fill).starts_with("unavailable: no browser"), "{}", refused(fill));
    let unknown = refused(r#"{"type":"totp.fill","request":{"secret":"alice","pin":"1"}}"#);
    assert!(unknown.contains("must be an object with `secret`"), "{unknown}");
    assert!(refused("not JSON").starts_with("invalid_argument"));
    assert!(refused(r#"{"type":"vault.read"}"#).contains("`type` must be"));

    let resolve = |more: &str| format!(r#"{{"type":"credential.resolve","request":{{"itemRef":"alice"{more}}}}}"#);
    assert!(refused(&resolve("")).starts_with("permission_denied"), "fill-only");
    person.run(&["secret", "update", "alice", "--fill-only=false"]).ok();
    let there = resolve(&format!(r#","url":"{ORIGIN}/login?next=/""#));
    assert!(refused(&resolve(r#","url":"https://evil.example/""#)).starts_with("wrong_origin"));
    let credential = asked(&there)["credential"].clone();
    assert_eq!((text_of(&credential, "/url"), text_of(&credential, "/password").len()), (ORIGIN, 6));
    assert_eq!(credential["username"], credential["password"]);

    // Without a vault, too, the reason is reported.
    let nobody = Person::new().fed(fill, &["plugin", "agent-browser"]).json();
    assert!(text_of(&nobody, "/error").starts_with("not_found"), "{nobody}");
}
