//! Every operation of the table, over REST and as a tool: each bound in a schema is the bound that is checked, and both
//! transports refuse in the same words.

use countersign::{
    domain::principal::Principal,
    operations::{AddSeat, ApiCall, Effect, Entry, Reveal, SeatChanges, Surface, TABLE},
};
use serde_json::{Map, Value, json};

use super::kit::{Server, needed, request_of, with_user_header};

/// A server with a secret and a seat, for the required arguments of each operation.
struct World {
    server: Server,
    token: String,
    secret: String,
    seat: String,
}

impl World {
    fn new() -> Self {
        let server = Server::with(with_user_header());
        let (token, secret) = (server.token(), server.secret("bounds").to_string());
        let profile = SeatChanges { email: Some("ada@example.com".to_owned()), ..SeatChanges::default() };
        let seat = server.wait(server.vault.service.perform(&server.vault.person, AddSeat { profile })).unwrap();
        Self { server, token, secret, seat: seat.id.to_string() }
    }

    fn needed(&self, entry: &Entry) -> Map<String, Value> {
        let mut needed = needed(entry, &self.secret, &self.seat, "000000");
        if entry.spec.name == "get_totp_enrollment" {
            let body = json!({"seat_id": self.seat}).to_string();
            let begun = self.server.post("/api/v2/totp/enrollments", &self.token, &body).json();
            needed.insert("enrollment_id".to_owned(), begun["enrollment_id"].clone());
        }
        if entry.spec.name == "revoke_token" {
            let made = self.server.post("/v3/auth/tokens", &self.token, "{}").json();
            needed.insert("token_id".to_owned(), made["token_id"].clone());
        }
        needed
    }

    /// Calls a route, and returns `OK`, or the refusal's code and message.
    fn rest(&self, entry: &Entry, arguments: &Map<String, Value>) -> (String, String) {
        ended(&self.server.raw(request_of(entry, &self.token, arguments.clone()).as_bytes()).json())
    }

    /// Calls a tool, and returns `OK`, or the refusal's code and message.
    fn tool(&self, entry: &'static Entry, arguments: &Map<String, Value>) -> (String, String) {
        let (service, caller) = (&self.server.vault.service, Principal::person(self.server.vault.account));
        let surface = Surface::Mcp { reveal: Reveal::Once };
        let call = ApiCall { service, caller: &caller, surface, arguments: arguments.clone(), patience: &() };
        match self.server.wait((entry.perform)(entry, call)) {
            Ok(answer) => ended(&serde_json::from_str(&answer.json).unwrap()),
            Err(refusal) => (refusal.code().as_str().to_owned(), refusal.to_string()),
        }
    }
}

fn ended(answer: &Value) -> (String, String) {
    let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    (text("error").unwrap_or_else(|| "OK".to_owned()), text("message").unwrap_or_default())
}

/// For each bound of a field's schema: a value at the bound, a value one past it, and the bound.
fn around(field: &Value) -> Vec<(Value, Value, u64)> {
    let bound = |name: &str| field.get(name).and_then(Value::as_u64);
    let mut cases = Vec::new();
    if let Some(least) = bound("minimum") {
        cases.push((json!(least), json!(i64::try_from(least).unwrap() - 1), least));
    }
    if let Some(most) = bound("maximum") {
        cases.push((json!(most), json!(most + 1), most));
    }
    if let Some(most) = bound("maxLength") {
        let text = |count: u64| json!("x".repeat(usize::try_from(count).unwrap()));
        cases.push((text(most), text(most + 1), most));
    }
    cases
}

#[test]
fn each_bound_of_a_schema_is_the_bound_that_is_checked_and_named() {
    let world = World::new();
    let mut bounds = 0;
    for entry in &TABLE {
        let input = Value::Object(entry.route_input());
        for (name, field) in input["properties"].as_object().unwrap() {
            for (within, beyond, bound) in around(field) {
                let mut arguments = world.needed(entry);
                let mut answers = |value: &Value| {
                    arguments.insert(name.clone(), value.clone());
                    let rest = world.rest(entry, &arguments);
                    let tool = entry.api.words.is_some().then(|| world.tool(entry, &arguments));
                    [Some(rest), tool].into_iter().flatten().collect::<Vec<_>>()
                };
                let place = format!("{}, {name}, {bound}", entry.spec.name);
                for (code, message) in answers(&within) {
                    // A code with a period of 30 seconds is never valid for 3600 seconds, but only its secret has the
                    // period.
                    let of_the_secret = name == "min_validity" && message.contains("this secret's period");
                    let lacks_browser = entry.spec.effect == Effect::Fill && code == "unavailable";
                    assert!(code == "OK" || of_the_secret || lacks_browser, "{place}: {code} {message}");
                }
                for (code, message) in answers(&beyond) {
                    assert_eq!(code, "invalid_argument", "{place}: {message}");
                    assert!(message.starts_with(&format!("`{name}` ")), "{place}: {message}");
                    assert!(message.contains(&bound.to_string()), "{place}: {message}");
                }
                bounds += 1;
            }
        }
    }
    assert!(bounds >= 19, "{bounds} bounds");
}

#[test]
fn every_operation_answers_over_rest_and_as_a_tool_and_both_refuse_in_the_same_words() {
    let world = World::new();
    for entry in &TABLE {
        let name_of = entry.spec.name;
        let needed = world.needed(entry);
        let refused_alike = |arguments: &Map<String, Value>, case: &str| {
            let rest = world.rest(entry, arguments);
            let tool = if entry.api.words.is_some() { world.tool(entry, arguments) } else { rest.clone() };
            assert_eq!(tool, rest, "{name_of}, {case}");
            rest.0
        };
        let input = Value::Object(entry.route_input());
        let in_path = entry.api.in_path();
        for (name, field) in input["properties"].as_object().unwrap().iter().filter(|(name, _)| in_path != Some(*name))
        {
            let mut arguments = needed.clone();
            arguments.insert(name.clone(), json!("x"));
            let ended = refused_alike(&arguments, name);
            let any_text =
                field["type"] == "string" && ["format", "enum", "pattern"].iter().all(|key| field.get(key).is_none());
            assert!(any_text || ended == "invalid_argument", "{name_of}, {name}: {ended}");
            if input["required"].as_array().into_iter().flatten().any(|required| required == name) {
                arguments.remove(name);
                assert_eq!(refused_alike(&arguments, name), "invalid_argument", "{name_of} without {name}");
            }
        }
        let rest = world.rest(entry, &needed);
        // The tool that types codes has no browser here.
        let fine = if entry.spec.effect == Effect::Fill { "unavailable" } else { "OK" };
        assert_eq!(rest.0, fine, "{name_of}: {rest:?}");
        if entry.api.words.is_some() {
            let tool = world.tool(entry, &needed);
            let expected = if name_of == "delete_totp_secret" { "not_found" } else { fine };
            assert_eq!(tool.0, expected, "{name_of}: {tool:?}");
        }
    }
}
