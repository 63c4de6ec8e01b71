//! The authorisation matrix: every operation, over REST and as an MCP tool × every set of scopes × keys of the whole
//! account, keys limited to one secret, revoked and expired ones × secrets of the caller's own, outside its grants, of
//! another account, deleted, and unknown. Each case is worked out from the contract and then tried.

use countersign::{
    domain::{ids::SecretId, principal::Principal, scope::Scope, time::Timestamp},
    service::{KeyRequest, Registration, SeatChanges},
};
use serde_json::{Value, json};

use super::kit::{Answer, Client, Server, request, settings, token_of, written};

const NOW: i64 = 1_795_305_600;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    List,
    Register,
    Delete,
    Code,
    Verify,
    Seats,
    CountSeats,
    Seat,
}

/// How it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Rest,
    Mcp,
}

/// Of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Own,
    Ungranted,
    Foreign,
    Deleted,
    Unknown,
}

/// With which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    OfTheAccount,
    Limited,
    Revoked,
    Expired,
}

const ASKED: [Asked; 8] = [
    Asked::List,
    Asked::Register,
    Asked::Delete,
    Asked::Code,
    Asked::Verify,
    Asked::Seats,
    Asked::CountSeats,
    Asked::Seat,
];
const TARGETS: [Target; 5] = [Target::Own, Target::Ungranted, Target::Foreign, Target::Deleted, Target::Unknown];

impl Asked {
    fn scope(self) -> Scope {
        match self {
            Self::List => Scope::SecretsRead,
            Self::Register | Self::Delete => Scope::SecretsWrite,
            Self::Code => Scope::CodesRead,
            Self::Verify => Scope::CodesVerify,
            Self::Seats | Self::CountSeats | Self::Seat => Scope::SeatsRead,
        }
    }

    fn tool(self) -> &'static str {
        match self {
            Self::List => "list_totp_secrets",
            Self::Register => "register_totp_secret",
            Self::Delete => "delete_totp_secret",
            Self::Code => "get_totp_code",
            Self::Verify => "verify_totp_code",
            Self::Seats => "list_seats",
            Self::CountSeats => "get_seat_count",
            Self::Seat => "get_seat",
        }
    }

    fn has_target(self) -> bool {
        !matches!(self, Self::List | Self::Register | Self::Seats | Self::CountSeats)
    }
}

/// What the contract says.
fn expected(asked: Asked, scopes: &[Scope], key: Key, target: Target) -> &'static str {
    if matches!(key, Key::Revoked | Key::Expired) {
        return "unauthenticated";
    }
    if !scopes.contains(&asked.scope()) {
        return "permission_denied";
    }
    match (asked, key, target) {
        // What it registers a limited key could not see.
        (Asked::Register, Key::Limited, _) => "permission_denied",
        (Asked::List | Asked::Register | Asked::Seats | Asked::CountSeats, ..)
        | (_, _, Target::Own)
        // A key's grants are about secrets, not seats.
        | (_, Key::OfTheAccount, Target::Ungranted) | (Asked::Seat, _, Target::Ungranted) => "OK",
        _ => "not_found",
    }
}

/// The vault and the connection that the cases are tried on.
struct World {
    server: Server,
    client: Client,
    other: Principal,
    own: SecretId,
    ungranted: SecretId,
    foreign: SecretId,
    deleted: SecretId,
    code: String,
    seats: [String; 2],
    foreign_seat: String,
}

impl World {
    fn new() -> Self {
        let mut settings = settings();
        settings.auth_failures = None;
        let server = Server::with(settings);
        let service = &server.vault.service;
        let account = server.wait(service.add_account(&server.vault.person, "other")).unwrap();
        let other = Principal::person(account.id);
        let seat = |person: &Principal, email: &str| {
            let changes = SeatChanges { email: Some(email.to_owned()), ..SeatChanges::default() };
            server.wait(service.add_seat(person, &changes)).unwrap().id.to_string()
        };
        let seats = [seat(&server.vault.person, "ada@example.com"), seat(&server.vault.person, "bob@example.com")];
        let foreign_seat = seat(&other, "eve@example.com");
        let [own, ungranted, deleted] = ["own", "ungranted", "deleted"].map(|label| server.secret(label));
        server.wait(service.delete_secret(&server.vault.person, deleted)).unwrap();
        let registration = Registration { label: Some("foreign".to_owned()), ..Registration::default() };
        let foreign = server.wait(service.register_secret(&other, registration)).unwrap().secret.id;
        let admin = server.token();
        let code = server.get(&format!("/api/v2/totp/code/{own}"), &admin).json()["code"].as_str().unwrap().to_owned();
        let client = server.client();
        Self { server, client, other, own, ungranted, foreign, deleted, code, seats, foreign_seat }
    }

    fn token(&self, scopes: &[Scope], key: Key, granted: SecretId) -> String {
        let wanted = KeyRequest {
            secrets: (key == Key::Limited).then(|| vec![granted]),
            expires_at: (key == Key::Expired).then(|| Timestamp::from_seconds(NOW + 1)),
            ..request(scopes.iter().copied())
        };
        let person = &self.server.vault.person;
        let made = self.server.key_as(person, wanted);
        if key == Key::Revoked {
            self.server.wait(self.server.vault.service.revoke_key(person, made.plain.id())).unwrap();
        }
        token_of(&made)
    }

    fn secret(&self, target: Target) -> String {
        match target {
            Target::Own => self.own.to_string(),
            Target::Ungranted => self.ungranted.to_string(),
            Target::Foreign => self.foreign.to_string(),
            Target::Deleted => self.deleted.to_string(),
            Target::Unknown => "01a2008d-7400-7000-8000-000000000000".to_owned(),
        }
    }

    fn seat(&self, target: Target) -> String {
        match target {
            Target::Own => self.seats[0].clone(),
            Target::Ungranted => self.seats[1].clone(),
            Target::Foreign => self.foreign_seat.clone(),
            Target::Deleted | Target::Unknown => "01a2008d-7400-7000-8000-000000000000".to_owned(),
        }
    }

    /// Tries a case and says how it ended: `OK`, or the code of the refusal.
    fn ask(&mut self, (asked, carrier): (Asked, Carrier), token: &str, secret: &str, seat: &str) -> String {
        let answer = match carrier {
            Carrier::Rest => self.ask_rest(asked, token, secret, seat),
            Carrier::Mcp => self.ask_mcp(asked, token, secret, seat),
        };
        let text = String::from_utf8_lossy(&answer.body);
        assert!(!text.contains("foreign") && !text.contains("eve@example.com"), "{asked:?}: {text}");
        let body = answer.json();
        let body = match (body["result"]["content"][0]["text"].as_str(), answer.status) {
            (Some(text), 200) => serde_json::from_str(text).unwrap(),
            _ => body,
        };
        body["error"].as_str().unwrap_or("OK").to_owned()
    }

    fn ask_rest(&mut self, asked: Asked, token: &str, secret: &str, seat: &str) -> Answer {
        let secrets = "/api/v2/totp/secrets";
        let verify = json!({"code": self.code}).to_string();
        let (method, path, body) = match asked {
            Asked::List => ("GET", secrets.to_owned(), None),
            Asked::Register => ("POST", secrets.to_owned(), Some(r#"{"label":"made"}"#)),
            Asked::Delete => ("DELETE", format!("{secrets}/{secret}"), None),
            Asked::Code => ("GET", format!("/api/v2/totp/code/{secret}"), None),
            Asked::Verify => ("POST", format!("/api/v2/totp/code/{secret}/verify"), Some(&*verify)),
            Asked::Seats => ("GET", "/api/v2/seats".to_owned(), None),
            Asked::CountSeats => ("GET", "/api/v2/seats/count".to_owned(), None),
            Asked::Seat => ("GET", format!("/api/v2/seats/{seat}"), None),
        };
        let bearer = format!("Bearer {token}");
        self.client.write(written(method, &path, &[("authorization", &bearer)], body).as_bytes());
        self.client.read()
    }

    fn ask_mcp(&mut self, asked: Asked, token: &str, secret: &str, seat: &str) -> Answer {
        let arguments = match asked {
            Asked::List | Asked::Seats | Asked::CountSeats => json!({}),
            Asked::Register => json!({"label": "made"}),
            Asked::Delete | Asked::Code => json!({"secret_id": secret}),
            Asked::Verify => json!({"secret_id": secret, "code": self.code}),
            Asked::Seat => json!({"seat_id": seat}),
        };
        let (headers, body) = call_2026(token, asked.tool(), &arguments);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.client.write(written("POST", "/mcp", &headers, Some(&body)).as_bytes());
        self.client.read()
    }
}

/// A tool call of the revision that needs no handshake.
pub(super) fn call_2026(token: &str, tool: &str, arguments: &Value) -> (Vec<(&'static str, String)>, String) {
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

#[test]
fn every_case_of_the_authorisation_matrix_is_as_the_contract_says() {
    let mut world = World::new();
    let mut cases = 0;
    for set in 1_u8..64 {
        // One scope, all but one, all: every scope's absence and presence decides something there. A release is tried
        // with every set.
        let every = std::env::var_os("COUNTERSIGN_MATRIX").is_some();
        if !every && !matches!(set.count_ones(), 1 | 5 | 6) {
            continue;
        }
        let scopes: Vec<Scope> =
            Scope::ALL.into_iter().enumerate().filter(|(n, _)| set & (1 << n) != 0).map(|(_, s)| s).collect();
        for key in [Key::OfTheAccount, Key::Limited] {
            let token = world.token(&scopes, key, world.own);
            for (asked, carrier) in ASKED.into_iter().flat_map(|asked| [(asked, Carrier::Rest), (asked, Carrier::Mcp)])
            {
                let targets = if asked.has_target() { &TARGETS[..] } else { &TARGETS[..1] };
                for target in targets {
                    let expected = expected(asked, &scopes, key, *target);
                    let (mut secret, mut token) = (world.secret(*target), token.clone());
                    if asked == Asked::Delete && expected == "OK" {
                        // It is gone afterwards, so each case has one of its own.
                        let fresh = world.server.secret("fresh");
                        secret = fresh.to_string();
                        token = world.token(&scopes, key, fresh);
                    }
                    let ended = world.ask((asked, carrier), &token, &secret, &world.seat(*target));
                    assert_eq!(ended, expected, "{asked:?} over {carrier:?}, {key:?} key of {scopes:?}, {target:?}");
                    cases += 1;
                }
            }
        }
    }
    let tokens = [Key::Revoked, Key::Expired].map(|key| (key, world.token(&Scope::ALL, key, world.own)));
    world.server.vault.clock.set_seconds(NOW + 1);
    for (key, token) in tokens {
        for (asked, carrier) in ASKED.into_iter().flat_map(|asked| [(asked, Carrier::Rest), (asked, Carrier::Mcp)]) {
            let ended = world.ask((asked, carrier), &token, &world.secret(Target::Own), &world.seat(Target::Own));
            assert_eq!(
                ended,
                expected(asked, &Scope::ALL, key, Target::Own),
                "{asked:?} over {carrier:?}, {key:?} key"
            );
            cases += 1;
        }
    }
    assert!(cases >= 1_000, "{cases} cases");
    let _ = &world.other;
}

#[test]
fn a_key_of_a_seat_calls_for_that_seat_alone() {
    let world = World::new();
    let [mine, other] = world.seats.clone();
    let wanted = KeyRequest { seat: Some(mine.clone()), ..request(Scope::ALL) };
    let bound = token_of(&world.server.key_as(&world.server.vault.person, wanted));
    let free = world.server.token();
    let unknown = "01a2008d-7400-7000-8000-000000000000".to_owned();
    let code = |token: &str, seat: &str| {
        let answer = world.server.get(&format!("/api/v2/totp/code/{}?seat_id={seat}", world.own), token).json();
        answer["error"].as_str().unwrap_or("OK").to_owned()
    };

    for (seat, with_bound, with_free) in [
        (&mine, "OK", "OK"),
        (&other, "permission_denied", "OK"),
        (&world.foreign_seat, "permission_denied", "not_found"),
        (&unknown, "permission_denied", "not_found"),
    ] {
        assert_eq!((code(&bound, seat).as_str(), code(&free, seat).as_str()), (with_bound, with_free), "{seat}");
    }
    let answer = world.server.get(&format!("/api/v2/totp/code/{}", world.own), &bound);
    assert_eq!(answer.status, 200);
}
