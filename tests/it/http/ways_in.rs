//! Every known way to open the link of an enrolment without the proof, or as another person. Each is refused with an
//! error and a row in the audit log.

use std::{io::BufReader, net::TcpStream};

use countersign::{
    domain::audit::{Action, AuditFilter, AuditRow, Outcome},
    operations::{EnrolmentPhrase, SetSeatPin},
};
use futures::future::BoxFuture;
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    enrol::{Open, PIN, hidden, text},
    enrol_local::{self, form, send},
    kit::{Answer, Client, with_user_header},
    oauth::NOW,
    sign_in::{Site, Twist, cookie_of},
};
use crate::kit::{RFC_SEED, Vault};

const BOBS_PIN: &str = "857203";
const WHO: &str = "<h1>Who are you?</h1>";
const ANOTHERS: &str = "<h1>For somebody else</h1>";
const AGAIN: &str = "<h1>Open the link again</h1>";
const NOWHERE: &str = "<h1>No such link</h1>";
const NOT: &str = "<h1>Not signed in</h1>";
const CANCELLED: &str = "<h1>Cancelled</h1>";
const DENIED: &str = "\"error\":\"permission_denied\"";

/// A way: its name, a text of the answer, and the function that tries it.
type Way<W, O> = (&'static str, &'static str, fn(&W, &O) -> Answer);

fn proof(site: &Site, open: &Open, typed: &str) -> Answer {
    site.world.form(open, &[("step", "prove"), ("proof", typed)])
}

fn step(site: &Site, open: &Open, step: &str, ticket: &str) -> Answer {
    let fields =
        [("step", step), ("ticket", ticket), ("key", RFC_SEED), ("label", "x"), ("entry", "00"), ("code", "1")];
    site.world.form(open, &fields)
}

fn by_proxy(site: &Site, open: &Open, headers: &[(&str, &str)]) -> Answer {
    site.world.send("GET", open, headers, None)
}

fn as_page(site: &Site, open: &Open, header: (&str, &str)) -> Answer {
    site.world.form_with(open, &[header], &[("step", "prove"), ("proof", PIN)])
}

/// The ticket of another open enrolment of the same person.
fn ticket_of_another(site: &Site) -> String {
    site.world.ticket(&site.begin())
}

fn token_of(open: &Open) -> &str {
    open.path.rsplit('/').next().unwrap()
}

/// The path with a token that has another end, or is shorter.
fn changed(token: &str, keep: usize, end: &str) -> String {
    format!("/enroll/{}{end}", &token[..keep])
}

/// Ways on a server where people have a PIN, sign in at an identity provider, or are signed in by a proxy.
const ON_A_SERVER: &[Way<Site, Open>] = &[
    ("nothing but the link", WHO, |site, open| site.world.get(open)),
    ("a browser's look ahead", WHO, |site, open| by_proxy(site, open, &[("sec-purpose", "prefetch")])),
    ("a chat's preview", WHO, |site, open| by_proxy(site, open, &[("user-agent", "Slackbot-LinkExpanding 1.0")])),
    ("the agent's own key", WHO, |site, open| {
        by_proxy(site, open, &[("authorization", &format!("Bearer {}", site.world.token))])
    }),
    ("the fifth wrong PIN", CANCELLED, |site, open| {
        (0..4).for_each(|_| drop(proof(site, open, "111112")));
        proof(site, open, "111112")
    }),
    ("a wrong PIN", "Tries left: 4", |site, open| proof(site, open, "111112")),
    ("an empty PIN", "Tries left: 4", |site, open| proof(site, open, "")),
    ("a PIN with a space", "Tries left: 4", |site, open| proof(site, open, "492 039")),
    ("the PIN's beginning", "Tries left: 4", |site, open| proof(site, open, &PIN[..5])),
    ("another person's PIN", "Tries left: 4", |site, open| proof(site, open, BOBS_PIN)),
    ("the two words as the PIN", "Tries left: 4", |site, open| {
        proof(site, open, open.answer["words"].as_str().unwrap())
    }),
    ("the link as the PIN", "Tries left: 4", |site, open| proof(site, open, token_of(open))),
    ("the agent's key as the PIN", "Tries left: 4", |site, open| proof(site, open, &site.world.token)),
    ("the right PIN after too many wrong ones", "Too many were wrong lately", |site, open| {
        let other = site.begin();
        (0..5).for_each(|_| drop(proof(site, &other, "111112")));
        proof(site, open, PIN)
    }),
    ("the PIN as JSON", WHO, |site, open| {
        let body = json!({"step": "prove", "proof": PIN}).to_string();
        site.world.send("POST", open, &[("origin", "http://localhost")], Some(&body))
    }),
    ("the PIN as plain text", WHO, |site, open| {
        let headers = [("content-type", "text/plain"), ("origin", "http://localhost")];
        site.world.send("POST", open, &headers, Some(&format!("step=prove&proof={PIN}")))
    }),
    ("the PIN in the URL", WHO, |site, open| site.at(&format!("{}?step=prove&proof={PIN}", open.path), &[])),
    ("two PINs", WHO, |site, open| site.world.form(open, &[("step", "prove"), ("proof", PIN), ("proof", "111112")])),
    ("an invented ticket", WHO, |site, open| step(site, open, "look", &"A".repeat(43))),
    ("the ticket of another link", WHO, |site, open| step(site, open, "look", &ticket_of_another(site))),
    ("the ticket of another link as a cookie", WHO, |site, open| {
        by_proxy(site, open, &[("cookie", &format!("countersign={}", ticket_of_another(site)))])
    }),
    ("an invented cookie", WHO, |site, open| {
        by_proxy(site, open, &[("cookie", &format!("countersign={}", "A".repeat(43)))])
    }),
    ("the key, without a proof", WHO, |site, open| step(site, open, "look", "")),
    ("\"Add\", without a proof", WHO, |site, open| step(site, open, "add", "")),
    ("\"Decline\", without a proof", WHO, |site, open| step(site, open, "decline", "")),
    ("\"Check\", without a proof", WHO, |site, open| step(site, open, "check", "")),
    ("the current code, without a proof", WHO, |site, open| step(site, open, "code", "")),
    ("the proxy names another person", ANOTHERS, |site, open| by_proxy(site, open, &[("x-user", "bob@example.com")])),
    ("the proxy names another person's id", ANOTHERS, |site, open| {
        by_proxy(site, open, &[("x-user", "idp|bob@example.com")])
    }),
    ("the proxy names nobody", ANOTHERS, |site, open| by_proxy(site, open, &[("x-user", "")])),
    ("the proxy names two persons", ANOTHERS, |site, open| {
        by_proxy(site, open, &[("x-user", "ada@example.com"), ("x-user", "ada@example.com")])
    }),
    ("the proxy names a list of persons", ANOTHERS, |site, open| {
        by_proxy(site, open, &[("x-user", "ada@example.com,bob@example.com")])
    }),
    ("another person with the first one's form", ANOTHERS, |site, open| {
        let ticket = site.world.ticket(open);
        let fields = [("step", "decline"), ("ticket", ticket.as_str())];
        site.world.form_with(open, &[("x-user", "bob@example.com")], &fields)
    }),
    ("another header that names the person", WHO, |site, open| {
        by_proxy(site, open, &[("x-forwarded-user", "ada@example.com")])
    }),
    ("a form that the signed-in person did not send", AGAIN, |site, open| {
        site.world.form_with(open, &[("x-user", "ada@example.com")], &[("step", "decline")])
    }),
    ("a form of another site", DENIED, |site, open| as_page(site, open, ("origin", "https://evil.example"))),
    ("a form of a page without an origin", DENIED, |site, open| as_page(site, open, ("origin", "null"))),
    ("a form that a browser calls cross-site", DENIED, |site, open| {
        as_page(site, open, ("sec-fetch-site", "cross-site"))
    }),
    ("a picture of another site", DENIED, |site, open| {
        by_proxy(site, open, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")])
    }),
    ("a name that points here", DENIED, |site, open| {
        let rebound = format!("GET {} HTTP/1.1\r\nhost: evil.example\r\n\r\n", open.path);
        site.world.server.raw(rebound.as_bytes())
    }),
    ("a link that was cut short", NOWHERE, |site, open| site.at(&changed(token_of(open), 40, ""), &[])),
    ("a changed link", NOWHERE, |site, open| site.at(&changed(token_of(open), 41, "__"), &[])),
    ("the enrolment's id as the link", NOWHERE, |site, open| site.at(&format!("/enroll/{}", open.id), &[])),
    ("another person signs in", ANOTHERS, |site, open| site.sign_in(open, "idp|bob@example.com")),
    ("somebody without a seat signs in", ANOTHERS, |site, open| site.sign_in(open, "idp|eve@example.com")),
    ("a sign-in is refused", NOT, |site, open| {
        let away = site.leave(open);
        let query = site.grant(&away, "idp|ada@example.com");
        site.come_back(&away.cookie, &query.replace("code=", "error=access_denied&x="))
    }),
    ("a sign-in at another client", NOT, |site, open| {
        site.twist(Twist::Claims(json!({"aud": "another"})));
        let answer = site.sign_in(open, "idp|ada@example.com");
        site.twist(Twist::None);
        answer
    }),
    ("a sign-in that began in another browser", AGAIN, |site, open| {
        let away = site.leave(open);
        site.come_back("x=y", &site.grant(&away, "idp|ada@example.com"))
    }),
    ("a sign-in that never began", AGAIN, |site, _| site.at("/enroll/callback?code=x&state=x", &[])),
    ("a sign-in that came before", AGAIN, |site, open| {
        let away = site.leave(open);
        let query = site.grant(&away, "idp|ada@example.com");
        let back = site.come_back(&away.cookie, &query);
        site.come_back(&cookie_of(&back), &query)
    }),
];

/// A header with which a request does not count as one of the user who runs the sidecar.
const THROUGH: (&str, &str) = ("via", "1.1 tunnel");

fn phrase(world: &enrol_local::World, open: &enrol_local::Open) -> (String, String) {
    let service = &world.vault.service;
    world.runtime.block_on(service.perform(&world.vault.person, EnrolmentPhrase { id: open.id })).unwrap()
}

fn typed(open: &enrol_local::Open, phrase: &str) -> Answer {
    form(open, &[THROUGH], &[("step", "prove"), ("proof", phrase)])
}

fn sent(open: &enrol_local::Open, header: (&str, &str)) -> Answer {
    send(open, "GET", &[header], None)
}

fn at(open: &enrol_local::Open, path: String) -> Answer {
    send(&enrol_local::Open { path, ..*open }, "GET", &[THROUGH], None)
}

fn local_token(open: &enrol_local::Open) -> &str {
    open.path.rsplit('/').next().unwrap()
}

/// Ways on the page of a sidecar.
const ON_A_MACHINE: &[Way<enrol_local::World, enrol_local::Open>] = &[
    ("through a tunnel", WHO, |_, open| sent(open, THROUGH)),
    ("through a proxy", WHO, |_, open| sent(open, ("x-forwarded-for", "192.0.2.1"))),
    ("through a proxy of the standard's kind", WHO, |_, open| sent(open, ("forwarded", "for=192.0.2.1"))),
    ("through a provider's tunnel", WHO, |_, open| sent(open, ("cf-connecting-ip", "192.0.2.1"))),
    ("through a proxy that names the user", WHO, |_, open| {
        send(open, "GET", &[THROUGH, ("x-user", "ada@example.com")], None)
    }),
    ("a name that points here", DENIED, |_, open| {
        let mut client = Client { stream: BufReader::new(TcpStream::connect(open.address).unwrap()) };
        client.write(format!("GET {} HTTP/1.1\r\nhost: evil.example\r\n\r\n", open.path).as_bytes());
        client.read()
    }),
    ("a wrong phrase", "Tries left: 4", |_, open| typed(open, "acorn agate alder alley")),
    ("an empty phrase", "Tries left: 4", |_, open| typed(open, "")),
    ("half the phrase", "Tries left: 4", |world, open| {
        let (phrase, _) = phrase(world, open);
        typed(open, &phrase.split('-').take(2).collect::<Vec<_>>().join("-"))
    }),
    ("the two words as the phrase", "Tries left: 4", |world, open| typed(open, &phrase(world, open).1)),
    ("the phrase of another link", "Tries left: 4", |world, open| typed(open, &phrase(world, &world.begin()).0)),
    ("the fifth wrong phrase", CANCELLED, |_, open| {
        (0..4).for_each(|_| drop(typed(open, "x")));
        typed(open, "x")
    }),
    ("the phrase in the URL", WHO, |world, open| {
        at(open, format!("{}?step=prove&proof={}", open.path, phrase(world, open).0))
    }),
    ("an invented ticket", WHO, |_, open| {
        form(open, &[THROUGH], &[("step", "look"), ("ticket", &"A".repeat(43)), ("key", RFC_SEED)])
    }),
    ("the ticket of another link", WHO, |world, open| {
        let other = world.begin();
        let (phrase, _) = phrase(world, &other);
        let ticket = hidden(&typed(&other, &phrase), "ticket");
        form(open, &[THROUGH], &[("step", "decline"), ("ticket", &ticket)])
    }),
    ("\"Decline\", without a proof", WHO, |_, open| form(open, &[THROUGH], &[("step", "decline")])),
    ("a sign-in, which a sidecar has not", WHO, |_, open| at(open, format!("{}?sign-in", open.path))),
    ("the answer of a sign-in", NOWHERE, |_, open| at(open, "/enroll/callback?code=x&state=x".to_owned())),
    ("a form of another site", DENIED, |_, open| {
        form(open, &[("origin", "https://evil.example")], &[("step", "decline")])
    }),
    ("a form of a page without an origin", DENIED, |_, open| form(open, &[("origin", "null")], &[("step", "decline")])),
    ("a link that was cut short", NOWHERE, |_, open| at(open, changed(local_token(open), 40, ""))),
    ("a changed link", NOWHERE, |_, open| at(open, changed(local_token(open), 41, "__"))),
    #[cfg(target_os = "linux")]
    ("a program of the same user without the page's ticket", AGAIN, |_, open| form(open, &[], &[("step", "decline")])),
];

/// The outcomes of all proofs so far.
fn proofs(vault: &Vault, runtime: impl Fn(BoxFuture<'_, Vec<AuditRow>>) -> Vec<AuditRow>) -> Vec<Outcome> {
    let filter = AuditFilter { action: Some(Action::EnrolProve), ..AuditFilter::default() };
    runtime(Box::pin(vault.all_rows(filter))).iter().map(|row| row.entry.outcome).collect()
}

/// Tries a way, and checks the answer and the audit log.
fn judge((name, says): (&str, &str), words: &str, proofs: impl Fn() -> Vec<Outcome>, way: impl FnOnce() -> Answer) {
    let before = proofs().len();
    let answer = way();
    let said = text(&answer);
    assert!((400..=429).contains(&answer.status), "{name}: {}", answer.status);
    assert!(said.contains(says), "{name} does not say so: {said}");
    for hidden in ["Acme", "name=\"ticket\"", words] {
        assert!(!said.contains(hidden), "{name} shows {hidden}: {said}");
    }
    let rows = proofs();
    assert!(rows.len() > before && rows.last() != Some(&Outcome::Ok), "{name} is not in the audit log: {rows:?}");
}

#[test]
fn fifty_ways_to_open_a_servers_link_without_the_proof_are_refused_and_in_the_audit_log() {
    let site = Site::with(&with_user_header(), None);
    let server = &site.world.server;
    let of_bob = SetSeatPin { seat: site.world.bob.clone(), pin: Some(Zeroizing::new(BOBS_PIN.to_owned())) };
    server.wait(server.vault.service.perform(&server.vault.person, of_bob)).unwrap();
    assert!(ON_A_SERVER.len() >= 50);
    for (nth, (name, says, way)) in (0..).zip(ON_A_SERVER) {
        // The previous links have expired.
        server.vault.clock.set_seconds(NOW + nth * 1_000);
        let open = site.begin();
        let words = open.answer["words"].as_str().unwrap();
        judge((name, says), words, || proofs(&server.vault, |rows| server.wait(rows)), || way(&site, &open));
    }
    assert_eq!(site.world.secrets(), 0);
}

#[test]
fn twenty_ways_to_open_a_sidecars_link_without_the_proof_are_refused_and_in_the_audit_log() {
    let world = enrol_local::World::new();
    assert!(ON_A_MACHINE.len() >= 20);
    for (nth, (name, says, way)) in (0..).zip(ON_A_MACHINE) {
        world.vault.clock.set_seconds(NOW + nth * 1_000);
        let open = world.begin();
        let (_, words) = phrase(&world, &open);
        judge(
            (name, says),
            &words,
            || proofs(&world.vault, |rows| world.runtime.block_on(rows)),
            || way(&world, &open),
        );
    }
}
