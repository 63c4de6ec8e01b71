//! The authorisation matrix: every operation of the table, over REST and as an MCP tool, without a session, in one, and
//! on a stream × every set of scopes × keys of the whole account, keys limited to one secret, keys of a seat, revoked
//! and expired ones × secrets of the caller's own, outside its grants, of another account, deleted, and unknown. The
//! expected outcome of each case is derived from the contract, and then compared.

mod world;

use countersign::{
    domain::scope::Scope,
    operations::{CreateKey, Entry, TABLE},
};

use self::world::World;
pub(crate) use self::world::call_2026;
use super::kit::{request, token_of, written};

/// The request: an operation of the table, by its name, or the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked(&'static str);

/// The scope that each operation needs, by the contract.
const NEEDED: [(Asked, Option<Scope>); 15] = [
    (Asked("list_totp_secrets"), Some(Scope::SecretsRead)),
    (Asked("register_totp_secret"), Some(Scope::SecretsWrite)),
    (Asked("enroll_totp_secret"), Some(Scope::SecretsWrite)),
    (Asked("get_totp_enrollment"), Some(Scope::SecretsWrite)),
    (Asked("delete_totp_secret"), Some(Scope::SecretsWrite)),
    (Asked("get_totp_code"), Some(Scope::CodesRead)),
    (Asked("fill_totp_code"), Some(Scope::CodesFill)),
    (Asked("verify_totp_code"), Some(Scope::CodesVerify)),
    (Asked("list_seats"), Some(Scope::SeatsRead)),
    (Asked("get_seat_count"), Some(Scope::SeatsRead)),
    (Asked("get_seat"), Some(Scope::SeatsRead)),
    (Asked("list_audit"), Some(Scope::AuditRead)),
    // The key alone is enough.
    (Asked("create_token"), None),
    (Asked("revoke_token"), None),
    (Asked::METRICS, Some(Scope::AuditRead)),
];

/// The transport of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Rest,
    /// Without a session, as of 2026-07-28.
    Mcp,
    /// In a session of the handshake revisions.
    Session,
    /// On a stream of 2024-11-05.
    Sse,
}

/// The object of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Own,
    Ungranted,
    Foreign,
    Deleted,
    Unknown,
}

/// The key of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    OfTheAccount,
    Limited,
    OfASeat,
    Revoked,
    Expired,
}

const CARRIERS: [Carrier; 4] = [Carrier::Rest, Carrier::Mcp, Carrier::Session, Carrier::Sse];
const TARGETS: [Target; 5] = [Target::Own, Target::Ungranted, Target::Foreign, Target::Deleted, Target::Unknown];

impl Asked {
    const METRICS: Self = Self("metrics");

    /// All operations, and the counters.
    fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|entry| Self(entry.spec.name)).chain([Self::METRICS])
    }

    fn entry(self) -> Option<&'static Entry> {
        Entry::named(self.0)
    }

    fn scope(self) -> Option<Scope> {
        NEEDED.iter().find(|(asked, _)| *asked == self).expect("the contract says what it needs").1
    }

    fn is_tool(self) -> bool {
        self.entry().is_some_and(|entry| entry.api.words.is_some())
    }

    fn has_target(self) -> bool {
        self.entry().is_some_and(|entry| entry.api.in_path().is_some())
    }

    /// The transports that carry this request.
    fn ways(self) -> impl Iterator<Item = (Self, Carrier)> {
        CARRIERS.into_iter().filter(move |way| *way == Carrier::Rest || self.is_tool()).map(move |way| (self, way))
    }
}

/// The expected outcome, by the contract.
fn expected(asked: Asked, scopes: &[Scope], key: Key, target: Target) -> &'static str {
    match (asked, allowed(asked, scopes, key, target)) {
        // The result would be a decoy, and the secret has no origin to which it could be sent.
        (Asked("get_totp_code"), "OK") if !scopes.contains(&Scope::CodesRead) => "invalid_argument",
        // The call is allowed, but there is no browser here.
        (Asked("fill_totp_code"), "OK") => "unavailable",
        (_, allowed) => allowed,
    }
}

fn allowed(asked: Asked, scopes: &[Scope], key: Key, target: Target) -> &'static str {
    if matches!(key, Key::Revoked | Key::Expired) {
        return "unauthenticated";
    }
    let gets_decoys = asked == Asked("get_totp_code") && scopes.contains(&Scope::CodesDecoy);
    if asked.scope().is_some_and(|scope| !scopes.contains(&scope)) && !gets_decoys {
        return "permission_denied";
    }
    match (asked, key, target) {
        // A limited key could not see the secret that it registers.
        (Asked("register_totp_secret" | "enroll_totp_secret"), Key::Limited, _) => "permission_denied",
        // This enrolment or token does not exist.
        (Asked("get_totp_enrollment" | "revoke_token"), ..) => "not_found",
        (_, _, Target::Own) => "OK",
        _ if !asked.has_target() => "OK",
        // A key of a seat may not see any other seat.
        (Asked("get_seat"), Key::OfASeat, _) => "permission_denied",
        // A key's grants are about secrets, not seats.
        (_, Key::OfTheAccount | Key::OfASeat, Target::Ungranted) | (Asked("get_seat"), _, Target::Ungranted) => "OK",
        _ => "not_found",
    }
}

#[test]
fn every_case_of_the_authorisation_matrix_is_as_the_contract_says() {
    let mut world = World::new();
    let mut cases = 0;
    for set in 1..=u8::MAX {
        // One scope, all but one, all: every scope's absence and presence decides an outcome there. A release is tested
        // with two, and all but two, as well.
        let every = std::env::var_os("COUNTERSIGN_MATRIX").is_some();
        let is_tried = matches!(set.count_ones(), 1 | 7 | 8) || every && matches!(set.count_ones(), 2 | 6);
        if !is_tried {
            continue;
        }
        let scopes: Vec<Scope> =
            Scope::ALL.into_iter().enumerate().filter(|(n, _)| set & (1 << n) != 0).map(|(_, s)| s).collect();
        for key in [Key::OfTheAccount, Key::Limited, Key::OfASeat] {
            let token = world.token(&scopes, key, world.own);
            for (asked, carrier) in Asked::all().flat_map(Asked::ways) {
                // The effect of a missing scope does not depend on a session.
                if !every && set.count_ones() == 7 && matches!(carrier, Carrier::Session | Carrier::Sse) {
                    continue;
                }
                let targets = if asked.has_target() { &TARGETS[..] } else { &TARGETS[..1] };
                for target in targets {
                    let expected = expected(asked, &scopes, key, *target);
                    let (mut secret, mut token) = (world.secret(*target), token.clone());
                    if asked.0 == "delete_totp_secret" && expected == "OK" {
                        // The secret is deleted, so each case has its own.
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
    assert!(cases >= 2_500, "{cases} cases");
}

#[test]
fn a_key_that_is_good_no_more_is_taken_nowhere_not_even_where_it_was_before() {
    let mut world = World::new();
    for key in [Key::Revoked, Key::Expired] {
        let (made, token) = world.short_lived(&Scope::ALL, key);
        let (secret, seat) = (world.secret(Target::Own), world.seat(Target::Own));
        for way in Asked("list_totp_secrets").ways() {
            assert_eq!(world.ask(way, &token, &secret, &seat), "OK", "{way:?}, before");
        }

        world.end(key, made);

        for (asked, carrier) in Asked::all().flat_map(Asked::ways) {
            let ended = world.ask((asked, carrier), &token, &secret, &seat);
            let expected = expected(asked, &Scope::ALL, key, Target::Own);
            assert_eq!(ended, expected, "{asked:?} over {carrier:?}, {key:?} key");
        }
        world.forget();
        for (asked, carrier) in Asked::all().flat_map(Asked::ways) {
            let ended = world.ask((asked, carrier), &token, &secret, &seat);
            assert_eq!(ended, "unauthenticated", "{asked:?} over a new {carrier:?}, {key:?} key");
        }
        for (method, path) in world.keyed_routes() {
            let body = (method == "POST").then_some("{}");
            let headers = [("authorization", &*format!("Bearer {token}")), ("accept", "text/event-stream")];
            let answer = world.server.raw(written(&method, &path, &headers, body).as_bytes());
            assert_eq!(answer.refusal(), (401, "unauthenticated".to_owned()), "{method} {path}, {key:?} key");
        }
    }
}

#[test]
fn a_key_of_a_seat_calls_for_that_seat_alone() {
    let world = World::new();
    let [mine, other] = world.seats.clone();
    let wanted = CreateKey { seat: Some(mine.clone()), ..request(Scope::ALL) };
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
