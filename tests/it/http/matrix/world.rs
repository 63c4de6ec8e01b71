//! The fixtures of the matrix's cases.

use countersign::{
    domain::{api_key::KeyId, ids::SecretId, principal::Principal, scope::Scope, time::Timestamp},
    operations::{AddAccount, AddSeat, CreateKey, DeleteSecret, MintedKey, Registration, RevokeKey, SeatChanges},
};
use serde_json::{Map, Value, json};

use super::{Asked, Carrier, Key, Target};
use crate::http::{
    kit::{Answer, Client, Server, needed, request, request_of, settings, token_of, written},
    mcp, sse,
};
use crate::kit::registration_of;

const NOW: i64 = 1_795_305_600;

/// The vault and the connection for the cases.
pub(super) struct World {
    pub(super) server: Server,
    client: Client,
    /// The session and the stream of the token that was used last.
    held: Held,
    pub(super) own: SecretId,
    ungranted: SecretId,
    foreign: SecretId,
    deleted: SecretId,
    code: String,
    pub(super) seats: [String; 2],
    pub(super) foreign_seat: String,
}

/// The state that a client keeps between calls.
#[derive(Default)]
struct Held {
    token: String,
    session: Option<String>,
    stream: Option<sse::Stream>,
}

impl World {
    pub(super) fn new() -> Self {
        let mut settings = settings();
        settings.auth_failures = None;
        // Otherwise the counters would be open to every local client.
        settings.behind_proxy = true;
        settings.user_header = Some(http::HeaderName::from_static("x-user"));
        let server = Server::with(settings);
        let service = &server.vault.service;
        let account =
            server.wait(service.perform(&server.vault.person, AddAccount { name: "other".to_owned() })).unwrap();
        let other = Principal::person(account.id);
        let seat = |person: &Principal, email: &str| {
            let changes = SeatChanges { email: Some(email.to_owned()), ..SeatChanges::default() };
            server.wait(service.perform(person, AddSeat { profile: changes })).unwrap().id.to_string()
        };
        let seats = [seat(&server.vault.person, "ada@example.com"), seat(&server.vault.person, "bob@example.com")];
        let foreign_seat = seat(&other, "eve@example.com");
        let [own, ungranted, deleted] = ["own", "ungranted", "deleted"].map(|label| server.secret(label));
        server.wait(service.perform(&server.vault.person, DeleteSecret { secret_id: deleted })).unwrap();
        let registration = Registration { label: Some("foreign".to_owned()), ..Registration::default() };
        let foreign = server.wait(service.perform(&other, registration_of(registration))).unwrap().secret.id;
        let admin = server.token();
        let code = server.get(&format!("/api/v2/totp/code/{own}"), &admin).json()["code"].as_str().unwrap().to_owned();
        let client = server.client();
        Self { server, client, held: Held::default(), own, ungranted, foreign, deleted, code, seats, foreign_seat }
    }

    pub(super) fn token(&self, scopes: &[Scope], key: Key, granted: SecretId) -> String {
        token_of(&self.key(scopes, key, granted))
    }

    fn key(&self, scopes: &[Scope], key: Key, granted: SecretId) -> MintedKey {
        let wanted = CreateKey {
            secrets: (key == Key::Limited).then(|| vec![granted]),
            seat: (key == Key::OfASeat).then(|| self.seats[0].clone()),
            expires_at: (key == Key::Expired).then(|| Timestamp::from_seconds(NOW + 1)),
            ..request(scopes.iter().copied())
        };
        self.server.key_as(&self.server.vault.person, wanted)
    }

    /// A key that is valid until [`Self::end`].
    pub(super) fn short_lived(&self, scopes: &[Scope], key: Key) -> (KeyId, String) {
        let made = self.key(scopes, key, self.own);
        (made.plain.id(), token_of(&made))
    }

    pub(super) fn end(&self, key: Key, id: KeyId) {
        if key == Key::Expired {
            self.server.vault.clock.set_seconds(NOW + 1);
        } else {
            self.server.wait(self.server.vault.service.perform(&self.server.vault.person, RevokeKey { id })).unwrap();
        }
    }

    /// Every route that requires a key, with a value in its path.
    pub(super) fn keyed_routes(&self) -> Vec<(String, String)> {
        let document = self.server.raw(written("GET", "/openapi.json", &[], None).as_bytes()).json();
        let mut routes: Vec<_> =
            [("POST", "/mcp"), ("GET", "/mcp"), ("DELETE", "/mcp"), ("GET", "/sse"), ("POST", "/messages")]
                .map(|(method, path)| (method.to_owned(), path.to_owned()))
                .into();
        for (path, methods) in document["paths"].as_object().unwrap() {
            let path = path
                .replace("{secret_id}", &self.own.to_string())
                .replace("{seat_id}", &self.seats[0])
                .replace("{token_id}", &self.own.to_string())
                .replace("{enrollment_id}", &self.own.to_string());
            let keyed = methods.as_object().unwrap().iter().filter(|(_, route)| route["security"] != json!([]));
            routes.extend(keyed.map(|(method, _)| (method.to_uppercase(), path.clone())));
        }
        assert!(routes.len() >= 15, "{routes:?}");
        routes
    }

    pub(super) fn secret(&self, target: Target) -> String {
        match target {
            Target::Own => self.own.to_string(),
            Target::Ungranted => self.ungranted.to_string(),
            Target::Foreign => self.foreign.to_string(),
            Target::Deleted => self.deleted.to_string(),
            Target::Unknown => "01a2008d-7400-7000-8000-000000000000".to_owned(),
        }
    }

    pub(super) fn seat(&self, target: Target) -> String {
        match target {
            Target::Own => self.seats[0].clone(),
            Target::Ungranted => self.seats[1].clone(),
            Target::Foreign => self.foreign_seat.clone(),
            Target::Deleted | Target::Unknown => "01a2008d-7400-7000-8000-000000000000".to_owned(),
        }
    }

    /// Runs a case, and returns its outcome: `OK`, or the code of the refusal.
    pub(super) fn ask(&mut self, (asked, carrier): (Asked, Carrier), token: &str, secret: &str, seat: &str) -> String {
        let arguments = asked.entry().map(|entry| needed(entry, secret, seat, &self.code)).unwrap_or_default();
        let answer = match carrier {
            Carrier::Rest => self.ask_rest(asked, token, arguments),
            Carrier::Mcp => self.call(token, asked.0, &arguments.into()),
            Carrier::Session | Carrier::Sse => self.call_held(carrier, token, asked.0, &arguments.into()),
        };
        let text = String::from_utf8_lossy(&answer.body);
        assert!(!text.contains("foreign") && !text.contains("eve@example.com"), "{asked:?}: {text}");
        if (asked, answer.status) == (Asked::METRICS, 200) {
            return "OK".to_owned();
        }
        let body = answer.json();
        let body = match (body["result"]["content"][0]["text"].as_str(), answer.status) {
            (Some(text), 200) => serde_json::from_str(text).unwrap(),
            _ => body,
        };
        body["error"].as_str().unwrap_or("OK").to_owned()
    }

    fn ask_rest(&mut self, asked: Asked, token: &str, arguments: Map<String, Value>) -> Answer {
        let bearer = format!("Bearer {token}");
        let request = match asked.entry() {
            Some(entry) => request_of(entry, token, arguments),
            None => written("GET", "/metrics", &[("authorization", &bearer)], None),
        };
        self.client.write(request.as_bytes());
        self.client.read()
    }

    /// A call without a session.
    fn call(&mut self, token: &str, tool: &str, arguments: &Value) -> Answer {
        let (headers, body) = call_2026(token, tool, arguments);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.client.write(written("POST", "/mcp", &headers, Some(&body)).as_bytes());
        self.client.read()
    }

    /// A call in this token's session or on its stream, which is opened if necessary.
    fn call_held(&mut self, carrier: Carrier, token: &str, tool: &str, arguments: &Value) -> Answer {
        if self.held.token != token {
            self.forget();
            token.clone_into(&mut self.held.token);
        }
        let message = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": tool, "arguments": arguments}});
        let answered = if carrier == Carrier::Session {
            let opened = self.held.session.take().map_or_else(|| mcp::try_open(&self.server, token), Ok);
            opened.and_then(|session| {
                let answer = mcp::post(&self.server, token, Some(&session), &message);
                self.held.session = Some(session);
                if answer.status == 200 { Ok(mcp::message(&answer)) } else { Err(answer) }
            })
        } else {
            let opened = self.held.stream.take().map_or_else(|| sse::try_open(&self.server, token), Ok);
            opened.and_then(|mut stream| {
                let answered = stream.try_ask(&self.server, &message);
                self.held.stream = Some(stream);
                answered
            })
        };
        match answered {
            Ok(message) => Answer { status: 200, headers: Vec::new(), body: message.to_string().into_bytes() },
            Err(answer) => answer,
        }
    }

    /// Ends the session and the stream.
    pub(super) fn forget(&mut self) {
        let Held { token, session, stream } = std::mem::take(&mut self.held);
        if let Some(session) = session {
            mcp::delete(&self.server, &token, &session);
        }
        drop(stream);
    }
}

/// A tool call of the revision that needs no handshake.
pub(crate) fn call_2026(token: &str, tool: &str, arguments: &Value) -> (Vec<(&'static str, String)>, String) {
    let headers = vec![
        ("authorization", format!("Bearer {token}")),
        ("accept", "application/json, text/event-stream".to_owned()),
        ("mcp-protocol-version", "2026-07-28".to_owned()),
        ("mcp-method", "tools/call".to_owned()),
        ("mcp-name", tool.to_owned()),
    ];
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
    (headers, json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string())
}
