//! A link that is opened by another person, or without the proof: every way is refused with an error on the page and a
//! row in the audit log, and the enrolment does not change.

use countersign::{
    domain::{
        audit::{Action, AuditFilter, Outcome},
        scope::Scope,
    },
    operations::{CreateKey, EnrolmentPhrase, SetSeatPin},
};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    enrol::{Open, PIN, encoded, hidden, text, title},
    enrol_local,
    enrol_pictures::in_parts,
    kit::{Answer, request, token_of, with_user_header, written},
    sign_in::{Site, cookie_of},
};
use crate::kit::RFC_SEED;

const NOW: i64 = 1_795_305_600;
const ADA: &str = "idp|ada@example.com";
const BOB: &str = "bob@example.com";
const BOBS_PIN: &str = "718293";
const FORM: &str = "application/x-www-form-urlencoded";

/// A refusal: its status, and the title of the page or the code of the error.
type Says = (u16, &'static str);

const WHO: Says = (403, "Who are you?");
const OTHER: Says = (403, "For somebody else");
const AGAIN: Says = (403, "Open the link again");
const FOREIGN: Says = (403, "permission_denied");
const NOWHERE: Says = (404, "No such link");

/// A link of Ada's on a server where people sign in at a provider or a proxy, or type a PIN.
struct Try<'a> {
    site: &'a Site,
    open: Open,
    /// Another link of Ada's, from the same agent.
    other: Open,
    /// The agent's key.
    token: String,
}

impl<'a> Try<'a> {
    fn new(site: &'a Site) -> Self {
        let server = &site.world.server;
        let wanted = CreateKey { seat: Some(site.world.ada.clone()), ..request(Scope::ALL) };
        let token = token_of(&server.key_as(&server.vault.person, wanted));
        let begin = || site.world.begin_by(&token, &json!({"issuer": "Acme"}));
        Self { site, open: begin(), other: begin(), token: token.clone() }
    }

    fn get(&self, headers: &[(&str, &str)]) -> Answer {
        self.site.at(&self.open.path, headers)
    }

    /// Requests the link with another token or with a query.
    fn at(&self, change: impl Fn(&str) -> String) -> Answer {
        let token = self.open.path.strip_prefix("/enroll/").unwrap();
        self.site.at(&format!("/enroll/{}", change(token)), &[])
    }

    fn head(&self) -> Answer {
        let mut client = self.site.world.server.client();
        client.write(written("HEAD", &self.open.path, &[], None).as_bytes());
        let (status, headers) = client.head().unwrap();
        Answer { status, headers, body: b"<h1>Who are you?</h1>".to_vec() }
    }

    fn form(&self, fields: &[(&str, &str)]) -> Answer {
        self.site.world.form(&self.open, fields)
    }

    fn form_with(&self, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Answer {
        self.site.world.form_with(&self.open, headers, fields)
    }

    fn typed(&self, proof: &str) -> Answer {
        self.form(&[("step", "prove"), ("proof", proof)])
    }

    /// Sends a form of a page behind the proof, with a ticket.
    fn step(&self, step: &str, ticket: &str) -> Answer {
        self.form(&[("step", step), ("ticket", ticket), ("key", RFC_SEED), ("label", "x"), ("entry", "00")])
    }

    fn others_ticket(&self) -> String {
        self.site.world.ticket(&self.other)
    }

    /// Sends Ada's PIN in a body of another content type.
    fn body(&self, kind: &str, body: &str) -> Answer {
        let headers = [("content-type", kind), ("origin", "http://localhost")];
        self.site.world.send("POST", &self.open, &headers, Some(body))
    }

    /// Ada returns from the provider with a changed cookie or query.
    fn come_back(&self, change: impl Fn(&str, &str) -> (String, String)) -> Answer {
        let away = self.site.leave(&self.open);
        let (cookie, query) = change(&away.cookie, &self.site.grant(&away, ADA));
        self.site.come_back(&cookie, &query)
    }

    /// Sends the same request to this server under another host name.
    fn rebound(&self) -> Answer {
        let body = encoded(&[("step", "prove"), ("proof", PIN)]);
        let head = format!("POST {} HTTP/1.1\r\nhost: evil.example\r\ncontent-type: {FORM}\r\n", self.open.path);
        let whole = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        self.site.world.server.raw(whole.as_bytes())
    }
}

type Way = (&'static str, fn(&Try<'_>) -> Answer, Says, Outcome);

/// Without any proof, or with data that the agent, a chat or another link has.
const WITHOUT: [Way; 21] = [
    ("the link alone", |it| it.get(&[]), WHO, Outcome::Unauthenticated),
    ("a look at its head", |it| it.head(), WHO, Outcome::Unauthenticated),
    ("fetched ahead", |it| it.get(&[("sec-purpose", "prefetch")]), WHO, Outcome::Unauthenticated),
    (
        "followed from a chat",
        |it| it.get(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]),
        WHO,
        Outcome::Unauthenticated,
    ),
    (
        "the agent's key",
        |it| it.get(&[("authorization", &format!("Bearer {}", it.token))]),
        WHO,
        Outcome::Unauthenticated,
    ),
    (
        "a key that may do everything",
        |it| it.get(&[("authorization", &format!("Bearer {}", it.site.world.server.token()))]),
        WHO,
        Outcome::Unauthenticated,
    ),
    ("an empty form", |it| it.form(&[]), WHO, Outcome::Unauthenticated),
    ("no PIN", |it| it.form(&[("step", "prove")]), WHO, Outcome::Unauthenticated),
    ("an empty PIN", |it| it.typed(""), WHO, Outcome::Wrong),
    ("another person's PIN", |it| it.typed(BOBS_PIN), WHO, Outcome::Wrong),
    ("one digit more", |it| it.typed(&format!("{PIN}1")), WHO, Outcome::Wrong),
    ("the words of the chat", |it| it.typed(it.open.answer["words"].as_str().unwrap()), WHO, Outcome::Wrong),
    ("the link's token", |it| it.typed(it.open.path.rsplit('/').next().unwrap()), WHO, Outcome::Wrong),
    ("the enrolment's id", |it| it.typed(&it.open.id), WHO, Outcome::Wrong),
    ("a form without a ticket", |it| it.step("look", ""), WHO, Outcome::Unauthenticated),
    ("an invented ticket", |it| it.step("add", &"A".repeat(43)), WHO, Outcome::Unauthenticated),
    ("another link's ticket", |it| it.step("look", &it.others_ticket()), WHO, Outcome::Unauthenticated),
    ("another link's ticket, to decline", |it| it.step("decline", &it.others_ticket()), WHO, Outcome::Unauthenticated),
    (
        "a picture with another link's ticket",
        |it| {
            let fields = [("ticket", it.others_ticket())];
            let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
            it.site.world.server.raw(&in_parts(&it.open.path, &fields, b"x"))
        },
        WHO,
        Outcome::Unauthenticated,
    ),
    (
        "another link's cookie",
        |it| it.get(&[("cookie", &cookie_of(&it.site.sign_in(&it.other, ADA)))]),
        WHO,
        Outcome::Unauthenticated,
    ),
    (
        "an invented cookie",
        |it| it.get(&[("cookie", &format!("countersign={}", "A".repeat(43)))]),
        WHO,
        Outcome::Unauthenticated,
    ),
];

/// With a proof that is in the wrong place, of another site, or of another person.
const AMISS: [Way; 28] = [
    (
        "the PIN in the URL",
        |it| it.at(|token| format!("{token}?step=prove&proof={PIN}")),
        WHO,
        Outcome::Unauthenticated,
    ),
    (
        "the PIN twice",
        |it| it.form(&[("step", "prove"), ("proof", PIN), ("proof", PIN)]),
        WHO,
        Outcome::Unauthenticated,
    ),
    ("the PIN in another field", |it| it.form(&[("step", "prove"), ("pin", PIN)]), WHO, Outcome::Unauthenticated),
    ("the PIN in another step", |it| it.form(&[("step", "look"), ("proof", PIN)]), WHO, Outcome::Unauthenticated),
    (
        "the PIN in JSON",
        |it| it.body("application/json", &format!(r#"{{"step":"prove","proof":"{PIN}"}}"#)),
        WHO,
        Outcome::Unauthenticated,
    ),
    (
        "the PIN in plain text",
        |it| it.body("text/plain", &format!("step=prove&proof={PIN}")),
        WHO,
        Outcome::Unauthenticated,
    ),
    (
        "from another site's page",
        |it| it.form_with(&[("origin", "https://evil.example")], &[("step", "prove"), ("proof", PIN)]),
        FOREIGN,
        Outcome::PermissionDenied,
    ),
    (
        "from a page without an origin",
        |it| it.form_with(&[("origin", "null")], &[("step", "prove"), ("proof", PIN)]),
        FOREIGN,
        Outcome::PermissionDenied,
    ),
    (
        "a form that another site sent",
        |it| it.form_with(&[("sec-fetch-site", "cross-site")], &[("step", "prove"), ("proof", PIN)]),
        FOREIGN,
        Outcome::PermissionDenied,
    ),
    (
        "in a page of another site",
        |it| it.get(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")]),
        FOREIGN,
        Outcome::PermissionDenied,
    ),
    ("under another name of this server", |it| it.rebound(), FOREIGN, Outcome::PermissionDenied),
    ("the proxy says Bob", |it| it.get(&[("x-user", BOB)]), OTHER, Outcome::PermissionDenied),
    ("the proxy says nobody", |it| it.get(&[("x-user", "")]), OTHER, Outcome::PermissionDenied),
    ("the proxy says Ada twice", |it| it.get(&[("x-user", ADA), ("x-user", ADA)]), OTHER, Outcome::PermissionDenied),
    ("Ada and Bob", |it| it.get(&[("x-user", &format!("{ADA},{BOB}"))]), OTHER, Outcome::PermissionDenied),
    ("her subject in capitals", |it| it.get(&[("x-user", &ADA.to_uppercase())]), OTHER, Outcome::PermissionDenied),
    ("her seat's id", |it| it.get(&[("x-user", &it.site.world.ada)]), OTHER, Outcome::PermissionDenied),
    ("a header that no proxy sets", |it| it.get(&[("x-forwarded-user", ADA)]), WHO, Outcome::Unauthenticated),
    (
        "Bob with her PIN",
        |it| it.form_with(&[("x-user", BOB)], &[("step", "prove"), ("proof", PIN)]),
        OTHER,
        Outcome::PermissionDenied,
    ),
    (
        "Bob with her form",
        |it| {
            let ticket = it.site.world.ticket(&it.open);
            it.form_with(&[("x-user", BOB)], &[("step", "decline"), ("ticket", &ticket)])
        },
        OTHER,
        Outcome::PermissionDenied,
    ),
    (
        "a form of another program of hers",
        |it| it.form_with(&[("x-user", ADA)], &[("step", "decline")]),
        AGAIN,
        Outcome::PermissionDenied,
    ),
    ("Bob signs in", |it| it.site.sign_in(&it.open, &format!("idp|{BOB}")), OTHER, Outcome::PermissionDenied),
    (
        "another browser brings her answer",
        |it| it.come_back(|_, query| (String::new(), query.to_owned())),
        AGAIN,
        Outcome::Unauthenticated,
    ),
    (
        "her answer without its state",
        |it| it.come_back(|cookie, query| (cookie.to_owned(), query.split('&').next().unwrap().to_owned())),
        AGAIN,
        Outcome::Unauthenticated,
    ),
    (
        "she does not sign in",
        |it| {
            it.come_back(|cookie, query| {
                (cookie.to_owned(), format!("error=access_denied&{}", query.split('&').next_back().unwrap()))
            })
        },
        (403, "Not signed in"),
        Outcome::Unauthenticated,
    ),
    (
        "another token",
        |it| it.at(|token| format!("{}{token}", &token[token.len() - 1..])[..token.len()].to_owned()),
        NOWHERE,
        Outcome::NotFound,
    ),
    ("a part of the token", |it| it.at(|token| token[..22].to_owned()), NOWHERE, Outcome::NotFound),
    ("the id in the token's place", |it| it.at(|_| it.open.id.clone()), NOWHERE, Outcome::NotFound),
];

/// The status of an answer, and its error.
fn said(answer: &Answer) -> (u16, String) {
    if answer.header("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
        return answer.refusal();
    }
    (answer.status, title(answer))
}

#[test]
fn a_link_without_its_proof_is_refused_in_every_way_says_so_and_is_in_the_audit_log() {
    let site = Site::with(&with_user_header(), None);
    let server = &site.world.server;
    let pin = Some(Zeroizing::new(BOBS_PIN.to_owned()));
    let of_bob = SetSeatPin { seat: site.world.bob.clone(), pin };
    server.wait(server.vault.service.perform(&server.vault.person, of_bob)).unwrap();
    let rows =
        |action| server.wait(server.vault.all_rows(AuditFilter { action: Some(action), ..AuditFilter::default() }));
    let refusals = || -> Vec<Outcome> {
        rows(Action::EnrolProve).iter().map(|row| row.entry.outcome).filter(|outcome| *outcome != Outcome::Ok).collect()
    };
    let ways: Vec<Way> = WITHOUT.into_iter().chain(AMISS).collect();
    assert!(ways.len() >= 30);

    for (nth, (what, way, says, outcome)) in (0..).zip(ways) {
        // A wrong PIN delays the next one.
        server.vault.clock.set_seconds(NOW + 60 * nth);
        let it = Try::new(&site);
        let before = refusals().len();

        let answer = way(&it);

        let told = said(&answer);
        assert_eq!((told.0, told.1.as_str()), says, "{what}");
        let words = it.open.answer["words"].as_str().unwrap();
        for kept in ["Acme", words, "name=\"ticket\""] {
            assert!(!text(&answer).contains(kept), "{what}: {kept} is told");
        }
        assert_eq!(refusals()[before..], [outcome], "{what}: in the audit log");
        let now = server.get(&format!("/api/v2/totp/enrollments/{}", it.open.id), &it.token).json();
        assert_eq!(now["status"], "PENDING", "{what}");
        assert_eq!(site.world.secrets(), 0, "{what}");
    }
}

/// The text that a person types who is not recognised as the machine's user.
type Phrase = (&'static str, fn(&enrol_local::World, &enrol_local::Open) -> String);

fn phrase_of(world: &enrol_local::World, open: &enrol_local::Open) -> (String, String) {
    let ask = EnrolmentPhrase { id: open.id };
    world.runtime.block_on(world.vault.service.perform(&world.vault.person, ask)).unwrap()
}

#[test]
fn a_sidecars_link_without_its_proof_is_refused_in_every_way_says_so_and_is_in_the_audit_log() {
    let world = enrol_local::World::new();
    let typed: [Phrase; 7] = [
        ("nothing", |_, _| String::new()),
        ("the words of the chat", |world, open| phrase_of(world, open).1),
        ("another link's phrase", |world, _| phrase_of(world, &world.begin()).0),
        ("a part of the phrase", |world, open| phrase_of(world, open).0.rsplit_once('-').unwrap().0.to_owned()),
        ("the phrase twice", |world, open| phrase_of(world, open).0.repeat(2)),
        ("the link's token", |_, open| open.path.rsplit('/').next().unwrap().to_owned()),
        ("the enrolment's id", |_, open| open.id.to_string()),
    ];
    let not_here = [
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("via", "1.1 tunnel"),
        ("x-real-ip", "127.0.0.1"),
        ("x-forwarded-host", "localhost"),
    ];
    let refused = |what: &str, open: &enrol_local::Open, answer: &Answer, before: usize, outcome: Outcome| {
        let told = said(answer);
        assert_eq!((told.0, told.1.as_str()), WHO, "{what}");
        assert!(!text(answer).contains(&phrase_of(&world, open).1), "{what}: the words are told");
        assert_eq!(world.rows(Action::EnrolProve)[before..], [outcome], "{what}: in the audit log");
    };
    let fresh = |nth: i64| {
        world.vault.clock.set_seconds(NOW + 600 * nth);
        (world.begin(), world.rows(Action::EnrolProve).len())
    };

    for (nth, header) in (1..).zip(not_here) {
        let (open, before) = fresh(nth);
        refused(header.0, &open, &enrol_local::send(&open, "GET", &[header], None), before, Outcome::Unauthenticated);
    }
    for (nth, (what, proof)) in (11..).zip(typed) {
        let (open, _) = fresh(nth);
        let proof = proof(&world, &open);
        let before = world.rows(Action::EnrolProve).len();
        let fields = [("step", "prove"), ("proof", proof.as_str())];
        let answer = enrol_local::form(&open, &[("via", "1.1 tunnel")], &fields);
        assert!(text(&answer).contains("That was not right. Tries left: 4."), "{what}");
        refused(what, &open, &answer, before, Outcome::Wrong);
    }
    let open = world.begin();
    let page = enrol_local::form(
        &open,
        &[("via", "1.1 tunnel")],
        &[("step", "prove"), ("proof", &phrase_of(&world, &open).0)],
    );
    assert!(!hidden(&page, "ticket").is_empty(), "the right one opens it");
}
