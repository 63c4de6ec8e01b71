//! A person signs in at an identity provider to open the link of an enrolment, in a browser that keeps a cookie. And
//! every answer of a provider, and every way to bring one, that must be refused.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use aws_lc_rs::digest::{SHA256, digest};
use countersign::{
    domain::{
        audit::{Action, Actor, AuditFilter, Outcome},
        principal::Principal,
        scope::Scope,
    },
    operations::{AddAccount, AddSeat, CreateKey, SeatChanges, SetSeatPin, UpdateSeat},
    transport::http::{ClientSecret, HttpSettings, OAuthClient},
};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    enrol::{Open, PIN, World, hidden, text, title},
    kit::{Answer, request, settings, token_of, with_user_header},
    oauth::{Issuer, NOW, SigningKey, with},
};
use crate::kit::RFC_SEED;

const ADA: &str = "idp|ada@example.com";
const CLIENT: &str = "web: 1";
const SECRET: &str = "s%cr&t";
/// A text of a provider that must never be quoted.
const QUOTE: &str = "<b>quoted</b>";

/// The provider's answer to a code.
#[derive(Clone, Default)]
pub(super) enum Twist {
    /// A valid token.
    #[default]
    None,
    /// A token with other claims.
    Claims(Value),
    /// A token with another header.
    Head(Box<Header>),
    /// A token that is signed with another key.
    OtherKey,
    /// The text of a token.
    Token(String),
    /// A complete response.
    Response(Vec<u8>),
}

/// The data of a sign-in that a code redeems.
struct Grant {
    nonce: String,
    challenge: String,
    callback: String,
    subject: String,
}

#[derive(Default)]
struct Desk {
    grants: HashMap<String, Grant>,
    twist: Twist,
    /// The forms that arrived, each with its client's authentication.
    asked: Vec<(String, HashMap<String, String>)>,
}

/// A provider where people sign in, and a server that is its client.
pub(super) struct Site {
    pub(super) world: World,
    issuer: Issuer,
    desk: Arc<Mutex<Desk>>,
}

/// A browser that was sent to the provider.
pub(super) struct Away {
    /// The query of the provider's page.
    asked: HashMap<String, String>,
    pub(super) cookie: String,
}

fn pairs(text: &str) -> HashMap<String, String> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8().unwrap().into_owned();
    text.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (decode(name), decode(value))).collect()
}

fn response(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

impl Desk {
    /// Redeems a code once, for the client with the verifier.
    fn redeem(&mut self, head: &str, body: &str, key: &SigningKey, issuer: &str) -> Vec<u8> {
        let form = pairs(body);
        let authorization = head.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or_default();
        self.asked.push((authorization.to_owned(), form.clone()));
        let grant = form.get("code").and_then(|code| self.grants.remove(code));
        let verifier = form.get("code_verifier").map(String::as_str).unwrap_or_default();
        let challenge = BASE64URL_NOPAD.encode(digest(&SHA256, verifier.as_bytes()).as_ref());
        let grant = grant.filter(|grant| grant.challenge == challenge && form["redirect_uri"] == grant.callback);
        let Some(grant) = grant.filter(|_| form["grant_type"] == "authorization_code") else {
            return response("400 Bad Request", &format!(r#"{{"error":"{QUOTE}"}}"#));
        };
        let claims =
            json!({"iss": issuer, "aud": CLIENT, "sub": grant.subject, "exp": NOW + 1_000_000, "nonce": grant.nonce});
        let plain = Header { kid: Some("one".to_owned()), typ: None, ..Header::new(Algorithm::ES256) };
        let token = match &self.twist {
            Twist::None => key.sign_as(&plain, &claims),
            Twist::Claims(changes) => key.sign_as(&plain, &with(&claims, changes)),
            Twist::Head(header) => key.sign_as(header, &claims),
            Twist::OtherKey => SigningKey::new("one", Algorithm::ES256).sign_as(&plain, &claims),
            Twist::Token(token) => token.replace("CLAIMS", &BASE64URL_NOPAD.encode(claims.to_string().as_bytes())),
            Twist::Response(whole) => return whole.clone(),
        };
        response("200 OK", &json!({"id_token": token, "access_token": "x", "token_type": "Bearer"}).to_string())
    }
}

impl Site {
    pub(super) fn new() -> Self {
        Self::with(&settings(), None)
    }

    pub(super) fn with(http: &HttpSettings, secret: Option<&str>) -> Self {
        let key = SigningKey::new("one", Algorithm::ES256);
        let issuer = Issuer::start(&[&key]);
        let url = issuer.url();
        *issuer.more.lock().unwrap() = json!({
            "authorization_endpoint": format!("{url}/authorize?tenant=1"),
            "token_endpoint": format!("{url}/token"),
        });
        let desk = Arc::new(Mutex::new(Desk::default()));
        let theirs = Arc::clone(&desk);
        *issuer.form.lock().unwrap() =
            Box::new(move |head, body| theirs.lock().unwrap().redeem(head, body, &key, &url));
        let mut http = issuer.settings(http);
        let secret = secret.map(|secret| Arc::new(ClientSecret::new(Zeroizing::new(secret.to_owned()))));
        http.oauth.as_mut().unwrap().client = Some(OAuthClient { id: CLIENT.to_owned(), secret });
        Self { world: World::with(http), issuer, desk }
    }

    pub(super) fn begin(&self) -> Open {
        self.world.begin(&json!({"issuer": "Acme"}))
    }

    /// Presses "Sign in" on the page.
    pub(super) fn press(&self, open: &Open) -> Answer {
        let path = format!("{}?sign-in", open.path);
        self.at(&path, &[])
    }

    pub(super) fn at(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let open = Open { id: String::new(), path: path.to_owned(), answer: Value::Null };
        self.world.send("GET", &open, headers, None)
    }

    /// Presses "Sign in", and follows the redirect to the provider's page.
    pub(super) fn leave(&self, open: &Open) -> Away {
        let sent = self.press(open);
        assert_eq!(sent.status, 303, "{}", text(&sent));
        let to = sent.header("location").unwrap();
        let query = to.strip_prefix(&format!("{}/authorize?", self.issuer.url())).expect("it is the provider's page");
        Away { asked: pairs(query), cookie: cookie_of(&sent) }
    }

    /// Signs in on the provider's page, and returns the query with which the browser returns.
    pub(super) fn grant(&self, away: &Away, subject: &str) -> String {
        let asked = |name: &str| away.asked[name].clone();
        let mut desk = self.desk.lock().unwrap();
        let code = format!("code{}", desk.grants.len() + desk.asked.len());
        let grant = Grant {
            nonce: asked("nonce"),
            challenge: asked("code_challenge"),
            callback: asked("redirect_uri"),
            subject: subject.to_owned(),
        };
        desk.grants.insert(code.clone(), grant);
        format!("code={code}&state={}", asked("state"))
    }

    pub(super) fn come_back(&self, cookie: &str, query: &str) -> Answer {
        self.at(&format!("/enroll/callback?{query}"), &[("cookie", cookie)])
    }

    /// Signs in completely.
    pub(super) fn sign_in(&self, open: &Open, subject: &str) -> Answer {
        let away = self.leave(open);
        let query = self.grant(&away, subject);
        self.come_back(&away.cookie, &query)
    }

    pub(super) fn twist(&self, twist: Twist) {
        self.desk.lock().unwrap().twist = twist;
    }

    /// Checks that nothing was opened, that the page reports that and quotes nothing, and the outcome in the audit log.
    pub(super) fn refused(&self, what: &str, answer: &Answer, page: (u16, &str), outcome: Outcome) {
        assert_eq!((answer.status, title(answer).as_str()), page, "{what}");
        assert!(!text(answer).contains("quoted") && !text(answer).contains("Acme"), "{what}: {}", text(answer));
        assert!(!cookie_of(answer).contains('.') && cookie_of(answer).ends_with('='), "{what}: a cookie is kept");
        let filter = AuditFilter { action: Some(Action::EnrolProve), ..AuditFilter::default() };
        let rows = self.world.server.wait(self.world.server.vault.all_rows(filter));
        assert_eq!(rows.last().map(|row| row.entry.outcome), Some(outcome), "{what}");
        assert_eq!(rows.last().map(|row| row.entry.actor), Some(Actor::Unknown), "{what}");
    }
}

/// The cookie that an answer sets, in the form that a browser sends.
pub(super) fn cookie_of(answer: &Answer) -> String {
    answer.header("set-cookie").map_or("=", |set| set.split(';').next().unwrap()).to_owned()
}

#[test]
fn a_person_signs_in_at_the_identity_provider_and_adds_a_secret() {
    for (secret, ways) in [(None, json!([])), (Some(SECRET), json!([])), (Some(SECRET), json!(["client_secret_post"]))]
    {
        let site = Site::with(&settings(), secret);
        site.issuer.more.lock().unwrap()["token_endpoint_auth_methods_supported"] = ways.clone();
        let open = site.begin();
        let asked = site.world.get(&open);
        assert!(text(&asked).contains(r#"<a class="button" href="?sign-in">"#), "{}", text(&asked));
        assert!(text(&asked).contains("Or type the PIN"), "a PIN goes as well");

        let pressed = site.press(&open);
        let set = pressed.header("set-cookie").unwrap();
        assert!(set.ends_with("; Path=/enroll; HttpOnly; SameSite=Lax; Max-Age=600"), "{set}");
        let away = site.leave(&open);
        let callback = format!("http://{}/enroll/callback", site.world.server.address);
        for (name, value) in [
            ("tenant", "1"),
            ("response_type", "code"),
            ("scope", "openid"),
            ("client_id", CLIENT),
            ("redirect_uri", &callback),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(away.asked[name], value, "{name}");
        }
        let query = site.grant(&away, ADA);
        let back = site.come_back(&away.cookie, &query);

        assert_eq!(back.status, 303, "{}", text(&back));
        assert_eq!(back.header("location").unwrap(), open.answer["enrollment_url"].as_str().unwrap());
        let cookie = cookie_of(&back);
        let page = site.at(&open.path, &[("cookie", &cookie)]);
        assert_eq!((page.status, title(&page).as_str()), (200, "Add a secret"));
        let ticket = hidden(&page, "ticket");
        let handle = hidden(&site.world.look(&open, &ticket, RFC_SEED), "entry");
        let added = site.world.form(&open, &[("step", "add"), ("ticket", &ticket), ("entry", &handle)]);
        assert_eq!(title(&added), "Added");
        assert_eq!(site.world.status(&open)["status"], "OK");
        assert_eq!(site.world.rows(Action::EnrolProve), [Outcome::Unauthenticated, Outcome::Ok]);
        let (authorization, form) = site.desk.lock().unwrap().asked.pop().unwrap();
        let basic = format!("Basic {}", BASE64.encode(b"web%3A%201:s%25cr%26t"));
        let field = |name: &str| form.get(name).map(String::as_str);
        let client = (authorization.as_str(), field("client_id"), field("client_secret"));
        match (secret, ways == json!([])) {
            (Some(_), true) => assert_eq!(client, (basic.as_str(), None, None)),
            (None, _) | (_, false) => assert_eq!(client, ("", Some(CLIENT), secret)),
        }
    }
}

#[test]
fn a_look_at_the_callbacks_head_does_not_use_up_the_providers_code() {
    let site = Site::new();
    let open = site.world.begin(&json!({}));
    let away = site.leave(&open);
    let query = site.grant(&away, ADA);

    let path = format!("/enroll/callback?{query}");
    let mut client = site.world.server.client();
    client.write(super::kit::written("HEAD", &path, &[("cookie", &away.cookie)], None).as_bytes());
    assert_eq!(client.head().unwrap().0, 405);

    assert_eq!(site.come_back(&away.cookie, &query).status, 303);
}

#[test]
fn a_person_who_can_sign_in_needs_no_pin() {
    let site = Site::new();
    let free = site.world.server.token();
    let body = json!({"seat_id": site.world.bob}).to_string();
    let begun = site.world.server.post("/api/v2/totp/enrollments", &free, &body);
    assert_eq!(begun.status, 200, "{}", text(&begun));
    let url = begun.json()["enrollment_url"].as_str().unwrap().to_owned();
    let open = Open { id: String::new(), path: url[url.find("/enroll/").unwrap()..].to_owned(), answer: begun.json() };

    let asked = site.world.get(&open);
    assert!(text(&asked).contains("?sign-in") && !text(&asked).contains(">PIN<"), "{}", text(&asked));
    let typed = site.world.form(&open, &[("step", "prove"), ("proof", PIN)]);
    assert_eq!((typed.status, title(&typed).as_str()), (403, "Who are you?"), "another person's PIN");
    let ada = site.sign_in(&open, ADA);
    site.refused("ada", &ada, (403, "For somebody else"), Outcome::PermissionDenied);
    // The provider would confirm Ada again and again without a login prompt.
    let other = text(&ada).split_once("class=\"button\" href=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
    assert!(other.ends_with("?sign-in=other") && open.path.ends_with(other.split('?').next().unwrap()), "{other}");
    let pressed = site.at(&format!("/enroll/{other}"), &[]);
    assert_eq!(pressed.status, 303);
    assert!(pressed.header("location").unwrap().ends_with("&prompt=login"));
    assert!(!site.at(&format!("{}?sign-in", open.path), &[]).header("location").unwrap().contains("prompt"));
    assert_eq!(site.sign_in(&open, "idp|bob@example.com").status, 303);
}

#[test]
fn over_tls_only_this_server_can_set_the_cookie_and_a_proxys_path_is_kept() {
    for (url, expected) in [
        ("https://totp.example", "__Host-countersign="),
        ("https://example.com/codes", "__Host-countersign="),
        ("http://example.com/codes", "countersign="),
    ] {
        let site = Site::with(&HttpSettings { public_urls: vec![url.parse().unwrap()], ..settings() }, None);
        let open = site.begin();
        let path = &open.path[open.path.find("/enroll").unwrap()..];
        let pressed = site.at(&format!("{path}?sign-in"), &[]);
        let set = pressed.header("set-cookie").unwrap();
        assert!(set.starts_with(expected), "{set}");
        let place = if url.starts_with("https") { "; Path=/; Secure; " } else { "; Path=/codes/enroll; " };
        assert!(set.contains(place), "{set}");
        let to = pairs(pressed.header("location").unwrap().split_once('?').unwrap().1);
        assert_eq!(to["redirect_uri"], format!("{url}/enroll/callback"));
    }
}

/// A name for the fault, and the provider's token or answer with that fault.
type Twisted = (&'static str, Twist);

fn claims(changes: Value) -> Twist {
    Twist::Claims(changes)
}

fn head(algorithm: Algorithm, typ: Option<&str>, kid: &str) -> Header {
    Header { typ: typ.map(str::to_owned), kid: Some(kid.to_owned()), ..Header::new(algorithm) }
}

fn es256(typ: Option<&str>, kid: &str) -> Twist {
    Twist::Head(Box::new(head(Algorithm::ES256, typ, kid)))
}

/// Signs in with each answer, and checks that it is refused and that the page has a link to try again.
fn nobody_gets_in(cases: Vec<Twisted>, status: u16, outcome: Outcome) {
    let site = Site::with(&settings(), Some(SECRET));
    let open = site.begin();
    for (what, twist) in cases {
        site.twist(twist);
        let answer = site.sign_in(&open, ADA);
        site.refused(what, &answer, (status, "Not signed in"), outcome);
        let link = open.path.rsplit('/').next().unwrap();
        assert!(text(&answer).contains(&format!("href=\"{link}\"")), "{what}: no way back");
    }
}

#[test]
fn every_other_token_of_the_provider_lets_nobody_in() {
    let shared = EncodingKey::from_secret(SECRET.as_bytes());
    let shared = encode(&head(Algorithm::HS256, None, "one"), &json!({}), &shared).unwrap();
    let unsigned = format!("{}.CLAIMS.", BASE64URL_NOPAD.encode(br#"{"alg":"none","kid":"one"}"#));
    let cases = vec![
        ("another nonce", claims(json!({"nonce": "x"}))),
        ("no nonce", claims(json!({"nonce": null}))),
        ("a nonce in a list", claims(json!({"nonce": ["x"]}))),
        ("another audience", claims(json!({"aud": "x"}))),
        ("the audience of access tokens", claims(json!({"aud": "http://localhost:8787/mcp"}))),
        ("no audience", claims(json!({"aud": null}))),
        ("several audiences and nobody named", claims(json!({"aud": [CLIENT, "x"]}))),
        ("several audiences and another named", claims(json!({"aud": [CLIENT, "x"], "azp": "x"}))),
        ("another party", claims(json!({"azp": "x"}))),
        ("another issuer", claims(json!({"iss": "https://evil.example"}))),
        ("no issuer", claims(json!({"iss": null}))),
        ("expired", claims(json!({"exp": NOW - 30}))),
        ("no expiry", claims(json!({"exp": null}))),
        ("not yet valid", claims(json!({"nbf": NOW + 31}))),
        ("no subject", claims(json!({"sub": null}))),
        ("an empty subject", claims(json!({"sub": ""}))),
        ("another key", Twist::OtherKey),
        ("an unknown key", es256(None, "two")),
        ("an access token", es256(Some("at+jwt"), "one")),
        ("a logout token", es256(Some("logout+jwt"), "one")),
        ("signed by the shared secret", Twist::Token(shared)),
        ("not signed", Twist::Token(unsigned)),
        ("no token at all", Twist::Token(QUOTE.to_owned())),
    ];
    nobody_gets_in(cases, 403, Outcome::Unauthenticated);
}

#[test]
fn a_provider_that_does_not_redeem_the_code_lets_nobody_in_and_is_quoted_nowhere() {
    let quoting = format!(r#"{{"error":"{QUOTE}","error_description":"{QUOTE}"}}"#);
    let answer = |status: &str, body: &str| Twist::Response(response(status, body));
    let cases = vec![
        ("an error", answer("400 Bad Request", &quoting)),
        ("a fault", answer("500 Internal Server Error", QUOTE)),
        ("no such field", answer("200 OK", &quoting)),
        ("no JSON", answer("200 OK", QUOTE)),
        ("a large answer", answer("200 OK", &format!("\"{}\"", "x".repeat(300_000)))),
        ("somewhere else", answer("307 Temporary Redirect\r\nlocation: /token", "")),
        ("nothing", Twist::Response(Vec::new())),
    ];
    nobody_gets_in(cases, 503, Outcome::Unavailable);
}

#[test]
fn only_the_seats_own_subject_is_its_person() {
    let site = Site::new();
    let open = site.begin();
    for subject in ["idp|bob@example.com", "ada@example.com", " idp|ada@example.com", "IDP|ada@example.com", "x"] {
        let answer = site.sign_in(&open, subject);
        site.refused(subject, &answer, (403, "For somebody else"), Outcome::PermissionDenied);
    }
    for (what, twist) in [
        ("as it should be", Twist::None),
        ("several audiences, ours named", claims(json!({"aud": [CLIENT, "x"], "azp": CLIENT}))),
        ("one audience in a list", claims(json!({"aud": [CLIENT]}))),
        ("a type", es256(Some("JWT"), "one")),
        ("a skewed clock", claims(json!({"exp": NOW - 29, "nbf": NOW + 30}))),
    ] {
        site.twist(twist);
        assert_eq!(site.sign_in(&open, ADA).status, 303, "{what}");
    }
}

/// Changes the cookie and the query that a browser brings.
type Change = fn(&str, &str) -> (String, String);

#[test]
fn an_answer_is_taken_once_and_only_from_the_browser_that_asked() {
    let site = Site::new();
    let open = site.begin();
    let other = site.begin();
    let nowhere = (403, "Open the link again");
    let cases: [(&str, Change); 9] = [
        ("another browser", |_, query| ("x=y".to_owned(), query.to_owned())),
        ("an invented cookie", |_, query| (format!("countersign={}", "A".repeat(43)), query.to_owned())),
        ("a changed cookie", |cookie, query| (format!("{}AA", &cookie[..cookie.len() - 2]), query.to_owned())),
        ("two cookies", |cookie, query| (format!("{cookie}; {cookie}"), query.to_owned())),
        ("no state", |cookie, query| (cookie.to_owned(), query.split('&').next().unwrap().to_owned())),
        ("another state", |cookie, query| (cookie.to_owned(), query.replace("state=", "state=A"))),
        ("an empty state", |cookie, query| {
            (cookie.to_owned(), query.split("state").next().unwrap().to_owned() + "state=")
        }),
        ("two states", |cookie, query| (cookie.to_owned(), format!("{query}&state=x"))),
        ("nothing", |cookie, _| (cookie.to_owned(), String::new())),
    ];
    for (what, change) in cases {
        let away = site.leave(&open);
        let (cookie, query) = change(&away.cookie, &site.grant(&away, ADA));
        site.refused(what, &site.come_back(&cookie, &query), nowhere, Outcome::Unauthenticated);
    }
    let [one, two] = [&open, &other].map(|open| site.leave(open));
    let crossed = site.come_back(&two.cookie, &site.grant(&one, ADA));
    site.refused("another sign-in's cookie", &crossed, nowhere, Outcome::Unauthenticated);
    assert!(site.desk.lock().unwrap().asked.is_empty(), "the provider is asked for none of these");

    let bad = (403, "Not signed in");
    for (what, query) in [
        ("the person refused", "error=access_denied&error_description=%3Cb%3Equoted".to_owned()),
        ("a code and an error", "code=code0&error=x".to_owned()),
        ("no code", String::new()),
        ("two codes", "code=code0&code=code1".to_owned()),
        ("another issuer", "code=code0&iss=https%3A%2F%2Fevil.example".to_owned()),
        ("two issuers", format!("code=code0&iss={0}&iss={0}", site.issuer.url())),
    ] {
        let away = site.leave(&open);
        site.grant(&away, ADA);
        let answer = site.come_back(&away.cookie, &format!("{query}&state={}", away.asked["state"]));
        site.refused(what, &answer, bad, Outcome::Unauthenticated);
    }

    let away = site.leave(&open);
    let query = site.grant(&away, ADA);
    let back = site.come_back(&away.cookie, &query);
    assert_eq!(back.status, 303);
    site.refused("again", &site.come_back(&cookie_of(&back), &query), nowhere, Outcome::Unauthenticated);
    let kept = site.come_back(&away.cookie, &query);
    site.refused("again, with the cookie of before", &kept, (503, "Not signed in"), Outcome::Unavailable);
}

#[test]
fn a_provider_that_names_itself_in_every_answer_is_held_to_it() {
    let site = Site::new();
    site.issuer.more.lock().unwrap()["authorization_response_iss_parameter_supported"] = json!(true);
    let open = site.begin();
    let away = site.leave(&open);
    let query = site.grant(&away, ADA);
    let silent = site.come_back(&away.cookie, &query);
    site.refused("no issuer", &silent, (403, "Not signed in"), Outcome::Unauthenticated);
    let away = site.leave(&open);
    let query = format!("{}&iss={}", site.grant(&away, ADA), site.issuer.url());
    assert_eq!(site.come_back(&away.cookie, &query).status, 303);
}

#[test]
fn a_sign_in_is_too_late_when_its_enrolment_has_ended() {
    let site = Site::new();
    let [expired, declined] = [site.begin(), site.begin()];
    let ticket = site.world.ticket(&declined);
    let [one, two] = [&expired, &declined].map(|open| site.leave(open));
    let [late, done] = [&one, &two].map(|away| site.grant(away, ADA));
    site.world.form(&declined, &[("step", "decline"), ("ticket", &ticket)]);
    assert_eq!(title(&site.come_back(&two.cookie, &done)), "Declined");
    site.world.server.vault.clock.set_seconds(NOW + 600);

    let answer = site.come_back(&one.cookie, &late);

    assert_eq!((answer.status, title(&answer).as_str()), (410, "Too late"));
    assert_eq!(title(&site.press(&expired)), "Too late", "nobody is sent away for it");
    assert!(site.desk.lock().unwrap().asked.is_empty(), "the provider is not asked");
}

#[test]
fn a_provider_that_is_away_or_has_no_page_is_told_on_ours() {
    let site = Site::new();
    let open = site.begin();
    let url = site.issuer.url();
    for (what, more) in [
        ("no page", json!({"token_endpoint": format!("{url}/token")})),
        ("a page in clear", json!({"authorization_endpoint": "http://id.example/", "token_endpoint": url})),
        ("a page of another kind", json!({"authorization_endpoint": "javascript:alert(1)", "token_endpoint": url})),
        ("a page with a fragment", json!({"authorization_endpoint": format!("{url}/#x"), "token_endpoint": url})),
        ("no end for codes", json!({"authorization_endpoint": format!("{url}/authorize")})),
        ("an end for codes in clear", json!({"authorization_endpoint": url, "token_endpoint": "http://id.example/"})),
    ] {
        let strange = Site::new();
        *strange.issuer.more.lock().unwrap() = more;
        let open = strange.begin();
        strange.refused(what, &strange.press(&open), (503, "Not signed in"), Outcome::Unavailable);
    }
    // A provider does not answer in time, and other requests are served meanwhile.
    let (busy, waits) = std::sync::mpsc::channel::<()>();
    *site.issuer.form.lock().unwrap() = Box::new(move |_, _| {
        let _ = waits.recv();
        Vec::new()
    });
    let away = site.leave(&open);
    let query = site.grant(&away, ADA);
    let slow = std::thread::scope(|scope| {
        let slow = scope.spawn(|| site.come_back(&away.cookie, &query));
        site.world.ticket(&open);
        slow.join().unwrap()
    });
    site.refused("no answer in time", &slow, (503, "Not signed in"), Outcome::Unavailable);
    drop(busy);
}

#[test]
fn nobody_is_sent_away_who_could_not_come_back() {
    let without = World::new();
    let open = without.begin(&json!({}));
    let there = |path: String| {
        let open = Open { id: String::new(), path, answer: Value::Null };
        without.send("GET", &open, &[], None)
    };
    assert_eq!(title(&there(format!("{}?sign-in", open.path))), "Who are you?");
    assert_eq!(there("/enroll/callback?code=x&state=x".to_owned()).refusal(), (404, "not_found".to_owned()));

    let site = Site::new();
    let (server, person) = (&site.world.server, &site.world.server.vault.person);
    let changes = SeatChanges { auth_subject: Some(String::new()), ..SeatChanges::default() };
    server.wait(server.vault.service.perform(person, UpdateSeat { seat: site.world.ada.clone(), changes })).unwrap();
    let open = site.begin();
    let page = site.press(&open);
    assert!(text(&page).contains("PIN") && !text(&page).contains("?sign-in"), "{}", text(&page));
    let gone = SetSeatPin { seat: site.world.ada.clone(), pin: None };
    server.wait(server.vault.service.perform(person, gone)).unwrap();
    assert_eq!(title(&site.press(&open)), "No way to prove who you are");
    let body = json!({}).to_string();
    let refused = server.post("/api/v2/totp/enrollments", &site.world.token, &body);
    assert_eq!(refused.refusal(), (403, "permission_denied".to_owned()));
}

#[test]
fn the_provider_signs_in_people_of_its_own_account_alone() {
    let site = Site::new();
    let (server, service) = (&site.world.server, &site.world.server.vault.service);
    let add = AddAccount { name: "other".to_owned() };
    let other = Principal::person(server.wait(service.perform(&server.vault.person, add)).unwrap().id);
    let profile = SeatChanges {
        email: Some("ada@example.com".to_owned()),
        auth_subject: Some(ADA.to_owned()),
        ..SeatChanges::default()
    };
    let seat = server.wait(service.perform(&other, AddSeat { profile })).unwrap().id.to_string();
    let pin = Some(Zeroizing::new(PIN.to_owned()));
    server.wait(service.perform(&other, SetSeatPin { seat: seat.clone(), pin })).unwrap();
    let token = token_of(&server.key_as(&other, CreateKey { seat: Some(seat), ..request(Scope::ALL) }));
    let begun = server.post("/api/v2/totp/enrollments", &token, "{}").json();
    let url = begun["enrollment_url"].as_str().unwrap();

    let page = site.at(&format!("{}?sign-in", &url[url.find("/enroll/").unwrap()..]), &[]);

    assert!(title(&page) == "Who are you?" && !text(&page).contains("?sign-in"), "{}", text(&page));
}

#[test]
fn what_a_browser_keeps_opens_its_own_link_alone_and_sends_no_form() {
    let site = Site::with(&with_user_header(), None);
    let [open, other] = [site.begin(), site.begin()];
    let back = site.sign_in(&open, ADA);
    let cookie = cookie_of(&back);
    let page = |open: &Open, headers: &[(&str, &str)]| title(&site.at(&open.path, headers));

    assert_eq!(page(&open, &[("cookie", &cookie)]), "Add a secret");
    assert_eq!(page(&other, &[("cookie", &cookie)]), "Who are you?");
    assert_eq!(page(&open, &[("cookie", &cookie), ("x-user", "bob@example.com")]), "For somebody else");
    let forged = site.world.form_with(&open, &[("cookie", &cookie)], &[("step", "decline")]);
    assert_eq!((forged.status, title(&forged).as_str()), (403, "Open the link again"));
    assert_eq!(site.world.status(&open)["status"], "PENDING");
}

#[test]
fn who_has_a_link_can_not_flood_the_provider() {
    let site = Site::new();
    let [open, other] = [site.begin(), site.begin()];
    let away = site.leave(&open);
    let junk = format!("code=x&state={}", away.asked["state"]);
    let statuses: Vec<u16> = (0..90).map(|_| site.come_back(&away.cookie, &junk).status).collect();
    let asked = site.desk.lock().unwrap().asked.len();
    assert!(statuses.contains(&429) && asked < 90 && (60..90).contains(&asked), "{asked}: {statuses:?}");
    assert_eq!(site.sign_in(&other, ADA).status, 303, "another link's is taken");
}

#[test]
fn a_long_code_is_brought_back() {
    let site = Site::new();
    let open = site.begin();
    let away = site.leave(&open);
    let query = format!("code={}&state={}", "x".repeat(6_000), away.asked["state"]);
    assert_eq!(title(&site.come_back(&away.cookie, &query)), "Not signed in");
    let query = format!("code={}&state={}", "x".repeat(9_000), away.asked["state"]);
    let refused = site.come_back(&away.cookie, &query);
    assert_eq!(refused.refusal(), (413, "too_large".to_owned()));
    assert_eq!(refused.json()["message"], "the URI is larger than 8 KiB");
}
