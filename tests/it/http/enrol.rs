//! Enrolment by a person, on a server: an agent requests a secret, a person proves their identity on the page and adds
//! the secret, and the seed passes through neither REST nor MCP. And all requests that must be refused.

use countersign::{
    domain::{
        audit::{Action, AuditFilter, Outcome},
        ids::SecretId,
        scope::Scope,
        time::Timestamp,
    },
    operations::{AddSeat, CreateKey, GetCode, RemoveSeat, RevokeKey, SeatChanges, SetSeatPin},
    transport::http::HttpSettings,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::kit::{Answer, Server, request, settings, token_of, with_user_header, written};
use crate::kit::RFC_SEED;

const NOW: i64 = 1_795_305_600;
const FORM: &str = "application/x-www-form-urlencoded";
pub(super) const PIN: &str = "492039";

/// A server with two people, of whom Ada has a PIN and an agent.
pub(super) struct World {
    pub(super) server: Server,
    /// The token of a key that is bound to Ada.
    pub(super) token: String,
    pub(super) ada: String,
    pub(super) bob: String,
}

/// An open enrolment.
pub(super) struct Open {
    pub(super) id: String,
    pub(super) path: String,
    pub(super) answer: Value,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(settings())
    }

    pub(super) fn with(settings: HttpSettings) -> Self {
        let server = Server::with(settings);
        let seat = |email: &str| {
            let profile = SeatChanges {
                email: Some(email.to_owned()),
                auth_subject: Some(format!("idp|{email}")),
                ..SeatChanges::default()
            };
            server.wait(server.vault.service.perform(&server.vault.person, AddSeat { profile })).unwrap().id.to_string()
        };
        let [ada, bob] = ["ada@example.com", "bob@example.com"].map(seat);
        let pin = Some(Zeroizing::new(PIN.to_owned()));
        let of_ada = SetSeatPin { seat: ada.clone(), pin };
        server.wait(server.vault.service.perform(&server.vault.person, of_ada)).unwrap();
        let wanted = CreateKey { seat: Some(ada.clone()), ..request(Scope::ALL) };
        let token = token_of(&server.key_as(&server.vault.person, wanted));
        Self { server, token, ada, bob }
    }

    pub(super) fn begin(&self, body: &Value) -> Open {
        self.begin_by(&self.token, body)
    }

    /// Begins an enrolment with a key's token.
    pub(super) fn begin_by(&self, token: &str, body: &Value) -> Open {
        let answer = self.server.post("/api/v2/totp/enrollments", token, &body.to_string());
        assert_eq!(answer.status, 200, "{}", text(&answer));
        let answer = answer.json();
        let url = answer["enrollment_url"].as_str().unwrap();
        let (_, path) = url.split_once("//").unwrap().1.split_once('/').unwrap();
        Open { id: answer["enrollment_id"].as_str().unwrap().to_owned(), path: format!("/{path}"), answer }
    }

    pub(super) fn get(&self, open: &Open) -> Answer {
        self.send("GET", open, &[], None)
    }

    pub(super) fn send(&self, method: &str, open: &Open, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
        self.server.raw(written(method, &open.path, headers, body).as_bytes())
    }

    pub(super) fn form(&self, open: &Open, fields: &[(&str, &str)]) -> Answer {
        self.form_with(open, &[], fields)
    }

    /// Sends a form as a browser does from the page itself.
    pub(super) fn form_with(&self, open: &Open, more: &[(&str, &str)], fields: &[(&str, &str)]) -> Answer {
        let mut headers = vec![("content-type", FORM), ("origin", "http://localhost")];
        headers.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        headers.extend(more.iter().copied().filter(|(_, value)| !value.is_empty()));
        self.send("POST", open, &headers, Some(&encoded(fields)))
    }

    /// Sends Ada's PIN as the proof, and returns the ticket of the page.
    pub(super) fn ticket(&self, open: &Open) -> String {
        let page = self.form(open, &[("step", "prove"), ("proof", PIN)]);
        assert_eq!(page.status, 200, "{}", text(&page));
        hidden(&page, "ticket")
    }

    /// Sends the form with a key, and returns the page that shows the entry for review.
    pub(super) fn look(&self, open: &Open, ticket: &str, key: &str) -> Answer {
        let fields = [("step", "look"), ("ticket", ticket), ("key", key), ("label", "ada"), ("issuer", "Acme")];
        self.form(open, &fields)
    }

    pub(super) fn status(&self, open: &Open) -> Value {
        self.server.get(&format!("/api/v2/totp/enrollments/{}", open.id), &self.token).json()
    }

    /// The outcomes of all rows with an action.
    pub(super) fn rows(&self, action: Action) -> Vec<Outcome> {
        let filter = AuditFilter { action: Some(action), ..AuditFilter::default() };
        self.server.wait(self.server.vault.rows(filter)).iter().map(|row| row.entry.outcome).collect()
    }

    pub(super) fn secrets(&self) -> usize {
        self.server.get("/api/v2/totp/secrets", &self.server.token()).json()["totp_secrets"].as_array().unwrap().len()
    }
}

pub(super) fn encoded(fields: &[(&str, &str)]) -> String {
    let escape = |text: &str| {
        text.bytes()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect::<String>()
    };
    fields.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect::<Vec<_>>().join("&")
}

pub(super) fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

pub(super) fn title(answer: &Answer) -> String {
    let text = text(answer);
    let (_, rest) = text.split_once("<h1>").expect("it is a page");
    rest.split_once("</h1>").unwrap().0.to_owned()
}

/// The value of a hidden field.
pub(super) fn hidden(answer: &Answer, name: &str) -> String {
    let text = text(answer);
    let (_, rest) = text.split_once(&format!("name=\"{name}\" value=\"")).expect("the page has this field");
    rest.split_once('"').unwrap().0.to_owned()
}

/// The code on a page.
pub(super) fn code_on(answer: &Answer) -> String {
    let text = text(answer);
    let (_, rest) = text.split_once("<output aria-live=\"off\">").unwrap();
    rest.split_once('<').unwrap().0.replace(' ', "")
}

#[test]
fn a_person_adds_a_secret_and_the_agent_gets_codes_but_never_the_seed() {
    let world = World::new();
    let open = world.begin(&json!({"label": "ada l", "issuer": "Acme", "origins": ["https://acme.example"]}));
    assert_eq!(open.answer["status"], "PENDING");
    assert_eq!(open.answer["expires_in"], 600);
    assert_eq!(world.status(&open)["enrollment_url"], open.answer["enrollment_url"], "a link is made again");

    let asked = world.get(&open);
    assert_eq!((asked.status, title(&asked).as_str()), (403, "Who are you?"));
    let words = open.answer["words"].as_str().unwrap();
    for hidden in [words, "Acme", "ada l"] {
        assert!(!text(&asked).contains(hidden), "{hidden} is shown before the proof");
    }
    let entry = world.form(&open, &[("step", "prove"), ("proof", PIN)]);
    let shown = text(&entry);
    for said in [words, "value=\"Acme\"", "value=\"ada l\"", "ada@example.com", ">test<", "https://acme.example"] {
        assert!(shown.contains(said), "{said} is missing: {shown}");
    }
    let ticket = hidden(&entry, "ticket");
    // A key in the field of a name is refused, and not echoed.
    for (label, issuer) in [(RFC_SEED, "Acme"), ("ada", RFC_SEED)] {
        let fields = [("step", "look"), ("ticket", &ticket), ("key", RFC_SEED), ("label", label), ("issuer", issuer)];
        let refused = world.form(&open, &fields);
        assert!(refused.status == 400 && !text(&refused).contains(RFC_SEED), "{}", text(&refused));
    }
    let review = world.look(&open, &ticket, RFC_SEED);
    assert_eq!((review.status, title(&review).as_str()), (200, "Is this right?"));
    let handle = hidden(&review, "entry");
    let code = code_on(&review);
    let check = |code: &str| {
        let fields = [("step", "check"), ("ticket", &*ticket), ("entry", &*handle), ("code", code)];
        text(&world.form(&open, &fields)).contains("That code is right")
    };
    assert!(check(&code) && !check("000000"));
    assert_eq!(world.status(&open)["status"], "PENDING", "nothing is stored before `Add`");
    assert_eq!(world.secrets(), 0);

    let added = world.form(&open, &[("step", "add"), ("ticket", &ticket), ("entry", &handle)]);
    assert_eq!((added.status, title(&added).as_str()), (200, "Added"));
    let body = json!({"enrollment_id": open.id}).to_string();
    let outcome = world.server.post("/api/v2/totp/enrollments", &world.token, &body).json();
    assert_eq!(outcome["status"], "OK");
    assert_eq!(outcome["totp_secret"]["label"], "ada");
    let id: SecretId = outcome["totp_secret"]["id"].as_str().unwrap().parse().unwrap();
    let issued = world.server.wait(world.server.vault.service.perform(&world.server.vault.person, GetCode::of(id)));
    assert_eq!(issued.unwrap().code.digits(), code);

    for page in [&asked, &entry, &review, &added] {
        assert!(!text(page).contains(RFC_SEED), "a page holds the seed");
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert!(page.header("content-security-policy").unwrap().contains("script-src 'self'"));
        assert_eq!(page.header("x-frame-options"), Some("DENY"));
        assert_eq!(page.header("referrer-policy"), Some("same-origin"), "without it, browsers hide a form's origin");
    }
    assert!(!outcome.to_string().contains(RFC_SEED) && outcome["totp_secret"].get("secret").is_none());
    for action in [Action::EnrolBegin, Action::EnrolOpen, Action::SecretRegister] {
        assert_eq!(world.rows(action), [Outcome::Ok], "{action:?}");
    }
    assert_eq!(world.rows(Action::EnrolStore), [Outcome::InvalidArgument, Outcome::InvalidArgument, Outcome::Ok]);
    assert_eq!(world.rows(Action::EnrolProve), [Outcome::Unauthenticated, Outcome::Ok]);
}

#[test]
fn a_link_that_is_called_by_its_key_takes_the_name_in_the_field() {
    let world = World::new();
    let open = world.begin(&json!({"label": "ada"}));
    let ticket = world.ticket(&open);
    let link = format!("\"otpauth://totp/{RFC_SEED}?secret={RFC_SEED}\"");

    let review = world.look(&open, &ticket, &link);

    assert_eq!(title(&review), "Is this right?", "{}", text(&review));
    assert!(text(&review).contains("value=\"ada\"") && !text(&review).contains(RFC_SEED));
    let short = text(&world.look(&open, &ticket, "MFRG"));
    assert!(short.contains("shorter than any service"), "{short}");
}

#[test]
fn a_name_that_the_link_lacks_is_the_one_that_the_page_shows() {
    let link = |names: &str| format!("otpauth://totp/{names}?secret={RFC_SEED}");
    for (asked, key, label, issuer) in [
        (json!({"label": "ada", "issuer": "GitHub"}), link("eve"), "eve", "GitHub"),
        (json!({"label": "ada", "issuer": "GitHub"}), link(""), "ada", "GitHub"),
        (json!({"label": "ada", "issuer": "GitHub"}), link("GitLab:eve"), "eve", "GitLab"),
        (json!({"issuer": "Slack"}), link(""), "Slack", "Slack"),
        (json!({"label": "ada"}), link(RFC_SEED), "ada", ""),
    ] {
        let world = World::new();
        let open = world.begin(&asked);
        let ticket = world.ticket(&open);
        let shown = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
        let fields = [
            ("step", "look"),
            ("ticket", &*ticket),
            ("key", &key),
            ("label", &shown("label")),
            ("issuer", &shown("issuer")),
        ];
        let page = text(&world.form(&open, &fields));
        let has = |name: &str, value: &str| {
            page.contains(&format!(
                "name=\"{name}\" type=\"text\" autocomplete=\"off\" maxlength=\"256\" value=\"{value}\""
            ))
        };
        assert!(has("label", label) && has("issuer", issuer), "{asked} {key}: {page}");
    }
}

#[test]
fn a_key_is_not_sent_back_from_the_page_that_shows_what_will_be_added() {
    let world = World::new();
    let open = world.begin(&json!({}));
    let ticket = world.ticket(&open);
    // The last letters of the second key make no whole byte, and the third is as short as a word.
    for key in [RFC_SEED, "MFRGGZDFMZTWQ2LKNNXW6YTBOB", "MFRGGZDFMZTWQ2L"] {
        let handle = hidden(&world.look(&open, &ticket, key), "entry");
        for (label, issuer) in [(key, "Acme"), ("ada", &*key.to_lowercase())] {
            for step in ["add", "check", "code"] {
                let fields =
                    [("step", step), ("ticket", &*ticket), ("entry", &*handle), ("label", label), ("issuer", issuer)];
                let page = world.form(&open, &fields);
                let shown = text(&page).to_uppercase();
                assert!(page.status == 400 && !shown.contains(key), "{key} {step}: {shown}");
            }
            let fields = [("step", "look"), ("ticket", &*ticket), ("key", key), ("label", label), ("issuer", issuer)];
            let page = world.form(&open, &fields);
            assert!(page.status == 400 && !text(&page).to_uppercase().contains(key), "{key}");
        }
    }
    assert_eq!(world.secrets(), 0);
}

#[test]
fn a_code_beside_add_is_checked_before() {
    let world = World::new();
    let open = world.begin(&json!({}));
    let ticket = world.ticket(&open);
    let review = world.look(&open, &ticket, RFC_SEED);
    let (handle, right) = (hidden(&review, "entry"), code_on(&review));
    let add =
        |code: &str| world.form(&open, &[("step", "add"), ("ticket", &ticket), ("entry", &handle), ("code", code)]);

    for wrong in ["000000", "12"] {
        assert!(text(&add(wrong)).contains("That code is not right"), "{wrong}");
    }
    assert_eq!(world.secrets(), 0);
    assert_eq!(title(&add(&right)), "Added");
}

#[test]
fn pressing_add_twice_or_reloading_stores_once_and_says_so() {
    let world = World::new();
    let open = world.begin(&json!({}));
    let ticket = world.ticket(&open);
    let handle = hidden(&world.look(&open, &ticket, RFC_SEED), "entry");
    let add = [("step", "add"), ("ticket", ticket.as_str()), ("entry", handle.as_str())];

    let pages: Vec<_> = (0..3).map(|_| world.form(&open, &add)).collect();

    assert_eq!(title(&pages[0]), "Added");
    for later in &pages[1..] {
        assert_eq!((later.status, title(later).as_str()), (410, "Already added"));
    }
    assert_eq!(world.secrets(), 1);
    let again = world.get(&open);
    assert_eq!((again.status, title(&again).as_str()), (410, "Already added"));
    assert!(!text(&again).contains("Acme"), "a link that was used tells nothing");
}

/// The value of a text field.
fn filled(answer: &Answer, name: &str) -> String {
    let text = text(answer);
    let (_, rest) = text.split_once(&format!("<input id=\"{name}\" name=\"{name}\"")).expect("the page has this field");
    rest.split_once("value=\"").unwrap().1.split_once('"').unwrap().0.to_owned()
}

#[test]
fn names_that_came_with_a_link_can_be_changed_before_it_is_added() {
    let world = World::new();
    let open = world.begin(&json!({"issuer": "Acme"}));
    let ticket = world.ticket(&open);
    let link = format!("otpauth://totp/ACME%20GmbH:u-4711?secret={RFC_SEED}&issuer=ACME%20GmbH");
    let review = world.form(&open, &[("step", "look"), ("ticket", &ticket), ("key", &link)]);
    assert_eq!((filled(&review, "issuer").as_str(), filled(&review, "label").as_str()), ("ACME GmbH", "u-4711"));
    assert!(!text(&review).contains("The agent asks for"), "another spelling is no other service");
    let handle = hidden(&review, "entry");
    let send = |step: &str, label: &str, issuer: &str, code: &str| {
        let fields = [
            ("step", step),
            ("ticket", &*ticket),
            ("entry", &*handle),
            ("label", label),
            ("issuer", issuer),
            ("code", code),
        ];
        world.form(&open, &fields)
    };

    // Every button sends the names; Enter in the field of the code presses the first one.
    let checked = send("code", "ada", "Acme", &code_on(&review));
    assert!(text(&checked).contains("That code is right."), "{}", text(&checked));
    assert_eq!((filled(&checked, "issuer").as_str(), filled(&checked, "label").as_str()), ("Acme", "ada"));
    for (label, issuer, told) in [
        (" ", "Acme", "The account is missing"),
        ("a\u{202e}b", "Acme", "The account has a control"),
        ("ada", "\u{7}", "The service has a control"),
    ] {
        let refused = send("add", label, issuer, "");
        assert_eq!((refused.status, title(&refused).as_str()), (400, "Is this right?"));
        assert!(text(&refused).contains(told), "{}", text(&refused));
        assert_eq!(filled(&refused, "label"), label.replace('\u{202e}', ""), "what was typed stays");
    }
    assert_eq!(world.secrets(), 0);
    let added = send("add", "ada", "", "");
    assert_eq!((added.status, title(&added).as_str()), (200, "Added"));
    let outcome = world.status(&open);
    assert_eq!((&outcome["totp_secret"]["label"], &outcome["totp_secret"]["issuer"]), (&json!("ada"), &json!(null)));
    assert_eq!(title(&send("add", "ada", "", "")), "Already added");
}

#[test]
fn a_name_that_is_there_already_or_is_of_another_service_is_warned_of_before_it_is_added() {
    let world = World::new();
    let first = world.begin(&json!({}));
    let ticket = world.ticket(&first);
    let handle = hidden(&world.look(&first, &ticket, RFC_SEED), "entry");
    world.form(&first, &[("step", "add"), ("ticket", &ticket), ("entry", &handle)]);
    let open = world.begin(&json!({"issuer": "GitHub"}));
    let ticket = world.ticket(&open);
    let link = "otpauth://totp/Evil:bob?secret=JBSWY3DPEHPK3PXP&issuer=Evil";
    let review = world.form(&open, &[("step", "look"), ("ticket", &ticket), ("key", link)]);
    assert!(
        text(&review).contains("The agent asks for a secret of GitHub, and this one is of Evil."),
        "{}",
        text(&review)
    );
    let handle = hidden(&review, "entry");
    let add = |label, issuer| {
        world.form(
            &open,
            &[("step", "add"), ("ticket", &ticket), ("entry", &handle), ("label", label), ("issuer", issuer)],
        )
    };

    let told = add("ada", "Acme");

    assert_eq!((told.status, title(&told).as_str()), (200, "Is this right?"));
    assert!(text(&told).contains("Acme (ada) is there already, with another key."), "{}", text(&told));
    assert_eq!(world.secrets(), 1);
    assert_eq!(title(&add("ada", "Acme")), "Added", "whoever presses again has seen it");

    let of = |wanted: &str, issuer: &str| {
        let open = world.begin(&json!({"issuer": wanted}));
        let ticket = world.ticket(&open);
        let link = format!("otpauth://totp/x?secret={RFC_SEED}&issuer={issuer}");
        text(&world.form(&open, &[("step", "look"), ("ticket", &ticket), ("key", &link)]))
            .contains("The agent asks for")
    };
    for (wanted, issuer, warns) in [
        ("GitHub", "github", false),
        ("github.com", "GitHub", false),
        ("Google", "Google%20LLC", false),
        ("Amazon Web Services", "AWS", true),
        ("GitHub", "GitLab", true),
        ("GitHub", "", false),
    ] {
        assert_eq!(of(wanted, issuer), warns, "{wanted} and {issuer}");
    }
}

#[test]
fn a_warning_of_new_names_is_seen_even_if_the_code_was_renewed_or_the_button_pressed_twice() {
    let world = World::new();
    let open = world.begin(&json!({"issuer": "GitHub"}));
    let ticket = world.ticket(&open);
    let link = format!("otpauth://totp/GitHub:ada?secret={RFC_SEED}&issuer=GitHub");
    let page = world.form(&open, &[("step", "look"), ("ticket", &ticket), ("key", &link)]);
    let handle = hidden(&page, "entry");
    let press = |page: &Answer, step| {
        let [label, issuer] = ["shown-label", "shown-issuer"].map(|name| hidden(page, name));
        let known = [("step", step), ("ticket", &*ticket), ("entry", &*handle), ("shown-label", &*label)];
        let names = [("shown-issuer", &*issuer), ("label", "ada"), ("issuer", "Evil")];
        world.form(&open, &[&known[..], &names].concat())
    };
    let warns = |page: &Answer| text(page).contains("The agent asks for a secret of GitHub, and this one is of Evil.");
    assert!(!warns(&page));

    // The page's script sends this request, and uses only the code of the answer.
    press(&page, "code");
    let told = press(&page, "add");

    assert!(warns(&told) && world.secrets() == 0, "{}", text(&told));
    assert!(warns(&press(&page, "add")), "pressed twice, before the answer was seen");
    assert_eq!(title(&press(&told, "add")), "Added");
}

#[test]
fn a_link_opens_nothing_by_itself_and_a_look_ahead_does_not_burn_it() {
    let world = World::new();
    let open = world.begin(&json!({"issuer": "Acme"}));
    let mut head = world.server.client();
    head.write(written("HEAD", &open.path, &[], None).as_bytes());
    assert_eq!(head.head().unwrap().0, 403);
    for headers in [
        &[("sec-purpose", "prefetch;prerender")][..],
        &[("user-agent", "Slackbot-LinkExpanding 1.0")][..],
        &[("purpose", "preview")][..],
    ] {
        let answer = world.send("GET", &open, headers, None);
        assert_eq!(answer.status, 403, "{headers:?}");
        assert!(!text(&answer).contains("Acme"));
    }
    assert!(world.rows(Action::EnrolOpen).is_empty());
    assert_eq!(world.status(&open)["status"], "PENDING");
    world.ticket(&open);
    assert_eq!(world.rows(Action::EnrolOpen), [Outcome::Ok]);
}

#[test]
fn without_the_proof_no_step_is_taken() {
    let world = World::new();
    let open = world.begin(&json!({}));
    let other = world.begin(&json!({}));
    let others_ticket = world.ticket(&other);
    for ticket in ["", "x", others_ticket.as_str()] {
        for step in ["look", "add", "decline", "code", "check", "back", ""] {
            let fields = [("step", step), ("ticket", ticket), ("key", RFC_SEED), ("label", "x"), ("entry", "00")];
            let answer = world.form(&open, &fields);
            assert_eq!((answer.status, title(&answer).as_str()), (403, "Who are you?"), "{step} with {ticket:?}");
        }
    }
    assert_eq!((world.secrets(), &world.status(&open)["status"]), (0, &json!("PENDING")));
}

#[test]
fn the_seed_of_one_enrolment_is_not_reached_from_another() {
    let world = World::new();
    let [one, two] = [world.begin(&json!({})), world.begin(&json!({}))];
    let tickets = [&one, &two].map(|open| world.ticket(open));
    let handle = hidden(&world.look(&one, &tickets[0], RFC_SEED), "entry");

    let answer = world.form(&two, &[("step", "add"), ("ticket", &tickets[1]), ("entry", &handle)]);

    assert_eq!(answer.status, 409, "{}", text(&answer));
    assert_eq!(world.secrets(), 0);
    let own = world.form(&one, &[("step", "add"), ("ticket", &tickets[0]), ("entry", &handle)]);
    assert_eq!(title(&own), "Added");
}

#[test]
fn five_wrong_pins_end_an_enrolment_even_if_many_come_at_once() {
    let world = World::new();
    let open = world.begin(&json!({}));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| world.form(&open, &[("step", "prove"), ("proof", "111112")]));
        }
    });

    let right = world.form(&open, &[("step", "prove"), ("proof", PIN)]);

    assert_eq!((right.status, title(&right).as_str()), (410, "Cancelled"));
    assert_eq!(world.status(&open)["status"], "CANCELLED");
    // The tries after the fifth have to wait, unless the enrolment has ended by then.
    let (wrong, others): (Vec<_>, Vec<_>) =
        world.rows(Action::EnrolProve).into_iter().partition(|outcome| *outcome == Outcome::Wrong);
    assert_eq!(wrong.len(), 5, "no more than five are looked at, and each of them is in the audit log");
    assert!(others.iter().all(|outcome| *outcome == Outcome::RateLimited), "{others:?}");
    assert_eq!(world.rows(Action::EnrolCancel), [Outcome::Ok]);
}

#[test]
fn wrong_pins_slow_down_over_all_enrolments_of_a_seat() {
    let world = World::new();
    let wrong = |open: &Open| world.form(open, &[("step", "prove"), ("proof", "111112")]);
    let one = world.begin(&json!({}));
    (0..5).for_each(|_| drop(wrong(&one)));
    let two = world.begin(&json!({}));

    let held = wrong(&two);

    assert_eq!((held.status, held.header("retry-after")), (429, Some("1")));
    let right = world.form(&two, &[("step", "prove"), ("proof", PIN)]);
    assert_eq!(right.status, 429, "the right one has to wait too, or waiting would tell");
    world.server.vault.clock.set_seconds(NOW + 2);
    world.ticket(&two);
}

#[test]
fn wrong_pins_slow_down_over_all_enrolments_of_a_seat_even_if_many_come_at_once() {
    let world = World::new();
    let open: Vec<Open> = (0..12).map(|_| world.begin(&json!({}))).collect();

    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let wrong = |open| world.form(open, &[("step", "prove"), ("proof", "111112")]).status;
        let tries: Vec<_> = open.iter().map(|open| scope.spawn(move || wrong(open))).collect();
        tries.into_iter().map(|tried| tried.join().unwrap()).collect()
    });

    let looked_at = statuses.iter().filter(|status| **status == 403).count();
    assert_eq!((looked_at, statuses.iter().filter(|status| **status == 429).count()), (5, 7), "{statuses:?}");
    world.server.vault.clock.set_seconds(NOW + 2);
    world.ticket(&open[0]);
}

#[test]
fn sixteen_enrolments_at_once_give_no_more_tries_at_a_pin_than_one() {
    let world = World::new();
    let open: Vec<Open> = (0..16).map(|_| world.begin(&json!({}))).collect();
    std::thread::scope(|scope| {
        for open in &open {
            scope.spawn(|| (0..5).for_each(|_| drop(world.form(open, &[("step", "prove"), ("proof", "111112")]))));
        }
    });

    let wrong = world.rows(Action::EnrolProve).iter().filter(|outcome| **outcome == Outcome::Wrong).count();
    assert!((1..=6).contains(&wrong), "{wrong} wrong tries were looked at");
}

#[test]
fn a_pin_that_was_right_costs_the_next_one_no_wait() {
    let world = World::new();
    for _ in 0..10 {
        world.ticket(&world.begin(&json!({})));
    }
}

#[test]
fn a_flood_from_one_address_hides_nobody_else_who_opens_a_link() {
    let world = World::with(with_user_header());
    let open = world.begin(&json!({}));
    let mut client = world.server.client();
    for _ in 0..150 {
        client.write(written("GET", "/enroll/x", &[("x-forwarded-for", "192.0.2.1")], None).as_bytes());
        assert_eq!(client.read().status, 404);
    }

    world.send("GET", &open, &[("x-forwarded-for", "192.0.2.2")], None);
    world.server.raw(
        written("GET", "/enroll/x", &[("x-forwarded-for", "192.0.2.2"), ("sec-fetch-site", "x")], None).as_bytes(),
    );

    let filter = AuditFilter { action: Some(Action::EnrolProve), ..AuditFilter::default() };
    let rows = world.server.wait(world.server.vault.all_rows(filter));
    let of = |outcome| rows.iter().filter(|row| row.entry.outcome == outcome).count();
    assert_eq!((of(Outcome::NotFound), of(Outcome::Unauthenticated)), (101, 1), "of the two addresses");
}

#[test]
fn what_the_page_refuses_is_counted_and_in_the_audit_log() {
    let world = World::new();
    let open = world.begin(&json!({}));
    let ticket = world.ticket(&open);

    assert_eq!(world.look(&open, &ticket, "1").status, 400);

    assert_eq!(world.rows(Action::EnrolStore), [Outcome::InvalidArgument]);
    let metrics = String::from_utf8(world.server.get("/metrics", &world.server.token()).body).unwrap();
    let counted = metrics.lines().find(|line| line.contains("invalid_argument"));
    assert!(counted.is_some_and(|line| line.ends_with(" 1")), "{counted:?}");
}

#[test]
fn the_origins_that_an_agent_proposed_are_shown_with_the_secret() {
    let world = World::new();
    let open = world.begin(&json!({"origins": ["https://github.com"]}));
    let ticket = world.ticket(&open);
    let handle = hidden(&world.look(&open, &ticket, RFC_SEED), "entry");
    let added = world.form(&open, &[("step", "add"), ("ticket", &ticket), ("entry", &handle)]);
    assert_eq!(title(&added), "Added");

    assert_eq!(world.status(&open)["totp_secret"]["origins"], json!(["https://github.com"]));
    let other = world.server.secret("alice").to_string();
    let listed = world.server.get("/api/v2/totp/secrets", &world.server.token()).json();
    for secret in listed["totp_secrets"].as_array().unwrap() {
        assert_eq!(secret.get("origins").is_some(), secret["id"] != json!(other), "{secret}");
    }
}

#[test]
fn a_link_works_for_ten_minutes() {
    let world = World::new();
    let open = world.begin(&json!({}));
    let ticket = world.ticket(&open);
    let handle = hidden(&world.look(&open, &ticket, RFC_SEED), "entry");
    world.server.vault.clock.set_seconds(NOW + 600);

    let late = world.form(&open, &[("step", "add"), ("ticket", &ticket), ("entry", &handle)]);

    assert_eq!((late.status, title(&late).as_str()), (410, "Too late"));
    assert_eq!(title(&world.get(&open)), "Too late");
    assert_eq!(world.status(&open)["status"], "EXPIRED");
    assert_eq!(world.rows(Action::EnrolExpire), [Outcome::Ok], "one row, however often it is seen");
    assert_eq!(world.secrets(), 0);
}

#[test]
fn what_a_person_declines_stays_declined() {
    let world = World::new();
    let open = world.begin(&json!({}));
    let ticket = world.ticket(&open);
    let handle = hidden(&world.look(&open, &ticket, RFC_SEED), "entry");

    let declined = world.form(&open, &[("step", "decline"), ("ticket", &ticket)]);

    assert_eq!((declined.status, title(&declined).as_str()), (200, "Declined"));
    let add = world.form(&open, &[("step", "add"), ("ticket", &ticket), ("entry", &handle)]);
    assert_eq!((add.status, title(&add).as_str()), (410, "Declined"));
    let waited =
        world.server.post("/api/v2/totp/enrollments", &world.token, &json!({"enrollment_id": open.id}).to_string());
    assert_eq!(waited.json()["status"], "DECLINED");
    assert_eq!((world.rows(Action::EnrolDecline), world.secrets()), (vec![Outcome::Ok], 0));
}

#[test]
fn another_callers_enrolment_does_not_exist() {
    let world = World::new();
    let open = world.begin(&json!({}));
    let another = token_of(
        &world
            .server
            .key_as(&world.server.vault.person, CreateKey { seat: Some(world.ada.clone()), ..request(Scope::ALL) }),
    );
    let body = json!({"enrollment_id": open.id}).to_string();
    for token in [another, world.server.token()] {
        let read = world.server.get(&format!("/api/v2/totp/enrollments/{}", open.id), &token);
        assert_eq!(read.refusal(), (404, "not_found".to_owned()));
        let waited = world.server.post("/api/v2/totp/enrollments", &token, &body);
        assert_eq!(waited.refusal(), (404, "not_found".to_owned()));
    }
}

#[test]
fn a_key_without_a_seat_names_the_person_and_a_person_without_a_proof_is_refused() {
    let world = World::new();
    let free = world.server.token();
    let begin = |token: &str, body: &Value| world.server.post("/api/v2/totp/enrollments", token, &body.to_string());

    let nobody = begin(&free, &json!({}));
    assert_eq!(nobody.refusal(), (400, "invalid_argument".to_owned()));
    assert!(text(&nobody).contains("`seat_id` is required"), "{}", text(&nobody));
    assert_eq!(begin(&free, &json!({"seat_id": "nobody"})).refusal(), (404, "not_found".to_owned()));
    let bare = begin(&free, &json!({"seat_id": world.bob}));
    assert_eq!(bare.refusal(), (403, "permission_denied".to_owned()));
    assert!(text(&bare).contains("--pin"), "{}", text(&bare));
    assert_eq!(begin(&free, &json!({"seat_id": "ada@example.com"})).status, 200);
    assert_eq!(begin(&world.token, &json!({"seat_id": world.bob})).refusal(), (403, "permission_denied".to_owned()));
    let limited = CreateKey { secrets: Some(vec![world.server.secret("x")]), ..request(Scope::ALL) };
    let limited = token_of(&world.server.key_as(&world.server.vault.person, limited));
    assert_eq!(begin(&limited, &json!({"seat_id": world.ada})).refusal(), (403, "permission_denied".to_owned()));
}

#[test]
fn one_caller_has_sixteen_open_enrolments_at_most() {
    let world = World::new();
    let all: Vec<Open> = (0..16).map(|_| world.begin(&json!({}))).collect();

    let more = world.server.post("/api/v2/totp/enrollments", &world.token, "{}");

    assert_eq!(more.refusal(), (429, "rate_limited".to_owned()));
    assert_eq!(more.header("retry-after"), Some("600"));
    let ticket = world.ticket(&all[3]);
    world.form(&all[3], &[("step", "decline"), ("ticket", &ticket)]);
    world.begin(&json!({}));
    world.server.vault.clock.set_seconds(NOW + 600);
    world.begin(&json!({}));
    assert_eq!(world.rows(Action::EnrolExpire).len(), 16);
}

#[test]
fn a_proxy_signs_the_person_in_and_nobody_else() {
    let world = World::with(with_user_header());
    let open = world.begin(&json!({"issuer": "Acme"}));
    for other in
        ["bob@example.com", "idp|bob@example.com", "IDP|ada@example.com", "", "ada@example.com,bob@example.com"]
    {
        let answer = world.send("GET", &open, &[("x-user", other)], None);
        assert_eq!((answer.status, title(&answer).as_str()), (403, "For somebody else"), "{other:?}");
        assert!(!text(&answer).contains("Acme"));
    }
    let twice = world.send("GET", &open, &[("x-user", "ada@example.com"), ("x-user", "ada@example.com")], None);
    assert_eq!(title(&twice), "For somebody else");
    assert_eq!(world.rows(Action::EnrolProve), [Outcome::PermissionDenied; 6]);

    let mut ticket = String::new();
    for name in ["Ada@Example.com", "idp|ada@example.com"] {
        let page = world.send("GET", &open, &[("x-user", name)], None);
        assert_eq!((page.status, title(&page).as_str()), (200, "Add a secret"), "{name}");
        ticket = hidden(&page, "ticket");
    }
    let bob = world.form_with(&open, &[("x-user", "bob@example.com")], &[("step", "decline"), ("ticket", &ticket)]);
    assert_eq!(title(&bob), "For somebody else", "a second person with the first one's form");
    let forged = world.form_with(&open, &[("x-user", "ada@example.com")], &[("step", "decline")]);
    assert_eq!((forged.status, title(&forged).as_str()), (403, "Open the link again"), "a form without our ticket");
    assert_eq!(world.status(&open)["status"], "PENDING");
}

#[test]
fn without_a_proxy_nobody_believes_the_header() {
    let open_to_all = HttpSettings { behind_proxy: false, ..with_user_header() };
    let world = World::with(open_to_all);
    let open = world.begin(&json!({}));
    let page = world.send("GET", &open, &[("x-user", "ada@example.com")], None);
    assert_eq!((page.status, title(&page).as_str()), (403, "Who are you?"));
}

#[test]
fn forms_of_other_sites_and_hosts_get_nowhere() {
    let allowed = HttpSettings { allow_origins: vec!["https://app.example".parse().unwrap()], ..settings() };
    let world = World::with(allowed);
    let open = world.begin(&json!({}));
    let prove = [("step", "prove"), ("proof", PIN)];
    for (header, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost.evil.example"),
        ("origin", "https://app.example"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let answer = world.form_with(&open, &[(header, value)], &prove);
        assert_eq!(answer.refusal(), (403, "permission_denied".to_owned()), "{header}: {value}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let rebound = format!("GET {} HTTP/1.1\r\nhost: evil.example\r\n\r\n", open.path);
    assert_eq!(world.server.raw(rebound.as_bytes()).refusal(), (403, "permission_denied".to_owned()));
    let framed = world.send("GET", &open, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")], None);
    assert_eq!(framed.refusal(), (403, "permission_denied".to_owned()));
    let followed = world.send("GET", &open, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], None);
    assert_eq!(title(&followed), "Who are you?", "a person may follow a link from a chat");
    let json_body = world.send("POST", &open, &[], Some(&format!(r#"{{"step":"prove","proof":"{PIN}"}}"#)));
    assert_eq!(title(&json_body), "Who are you?", "what is no form proves nothing");
    for method in ["PUT", "DELETE", "PATCH"] {
        assert_eq!(world.send(method, &open, &[], None).status, 405, "{method}");
    }
    assert_eq!(world.rows(Action::EnrolProve), [Outcome::Unauthenticated; 2], "the person's, and what is no form");
}

#[test]
fn a_token_that_was_not_given_out_leads_nowhere() {
    let world = World::new();
    let open = world.begin(&json!({}));
    let token = open.path.strip_prefix("/enroll/").unwrap();
    let flipped = |at: usize| {
        let mut bytes = token.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let own_id = &token[..22];
    for guess in
        [&flipped(0), &flipped(25), &flipped(42), own_id, &token[..42], &format!("{token}A"), "x", "%00", &open.id]
    {
        let path = format!("/enroll/{guess}");
        let answer = world.server.raw(written("GET", &path, &[], None).as_bytes());
        assert_eq!((answer.status, title(&answer).as_str()), (404, "No such link"), "{guess}");
    }
}

#[test]
fn whose_seat_is_gone_proves_nothing() {
    // The seat's own key, which began the enrolment, is revoked with the seat.
    let world = World::new();
    let open = world.begin(&json!({}));
    let ticket = world.ticket(&open);
    let service = &world.server.vault.service;
    world.server.wait(service.perform(&world.server.vault.person, RemoveSeat { seat: world.ada.clone() })).unwrap();

    let answer = world.look(&open, &ticket, RFC_SEED);

    assert_eq!((answer.status, title(&answer).as_str()), (410, "Cancelled"));
    assert_eq!(world.secrets(), 0);
}

#[test]
fn what_is_typed_wrong_is_named_and_never_quoted() {
    let world = World::new();
    let open = world.begin(&json!({"label": "ada"}));
    let ticket = world.ticket(&open);
    for (key, problem) in [
        ("", "is empty"),
        ("JBSWY3DPEHPK3PX1", "The key "),
        ("otpauth://hotp/x?secret=JBSWY3DPEHPK3PXP", "counter-based"),
        ("otpauth-migration://offline?data=JBSWY3DPEHPK3PXP", "Google"),
    ] {
        let answer = world.look(&open, &ticket, key);
        assert_eq!(answer.status, 400, "{key}: {}", text(&answer));
        assert!(text(&answer).contains(problem), "{key}: {}", text(&answer));
        assert!(!text(&answer).contains("JBSWY3DP"), "{key}");
    }
    let nameless = [("step", "look"), ("ticket", &*ticket), ("key", RFC_SEED), ("label", ""), ("issuer", "Acme")];
    assert!(text(&world.form(&open, &nameless)).contains("The account is missing"));
    let markup = world.form(
        &open,
        &[("step", "look"), ("ticket", &ticket), ("key", RFC_SEED), ("label", "<script>\"x"), ("issuer", "")],
    );
    assert!(text(&markup).contains("&lt;script&gt;&quot;x") && !text(&markup).contains("<script>\"x"));
}

#[test]
fn an_enrolment_ends_when_the_key_that_began_it_is_revoked() {
    let world = World::new();
    let wanted = CreateKey { seat: Some(world.ada.clone()), ..request(Scope::ALL) };
    let key = world.server.key_as(&world.server.vault.person, wanted);
    let open = world.begin_by(&token_of(&key), &json!({}));
    let ticket = world.ticket(&open);
    let entry = hidden(&world.look(&open, &ticket, RFC_SEED), "entry");
    let vault = &world.server.vault;
    world.server.wait(vault.service.perform(&vault.person, RevokeKey { id: key.plain.id() })).unwrap();

    let added = world.form(&open, &[("step", "add"), ("ticket", &ticket), ("entry", &entry)]);
    assert_eq!((added.status, title(&added).as_str()), (410, "Cancelled"), "{}", text(&added));
    assert!(text(&added).contains("the agent’s key was revoked"), "{}", text(&added));
    assert_eq!(world.secrets(), 0);
    assert_eq!(world.get(&open).status, 410);
    assert_eq!(world.rows(Action::EnrolCancel), [Outcome::Ok], "one row says it");
    assert_eq!(world.rows(Action::EnrolStore), []);
}

#[test]
fn an_enrolment_ends_when_the_key_that_began_it_expires() {
    let world = World::new();
    let expires_at = Some(Timestamp::from_seconds(NOW + 60));
    let wanted = CreateKey { seat: Some(world.ada.clone()), expires_at, ..request(Scope::ALL) };
    let key = world.server.key_as(&world.server.vault.person, wanted);
    let open = world.begin_by(&token_of(&key), &json!({}));
    let ticket = world.ticket(&open);
    let entry = hidden(&world.look(&open, &ticket, RFC_SEED), "entry");
    world.server.vault.clock.set_seconds(NOW + 60);

    let added = world.form(&open, &[("step", "add"), ("ticket", &ticket), ("entry", &entry)]);
    assert_eq!((added.status, title(&added).as_str()), (410, "Cancelled"), "{}", text(&added));
    assert!(text(&added).contains("revoked or has expired"), "{}", text(&added));
    assert_eq!((world.secrets(), world.get(&open).status), (0, 410));
    assert_eq!(world.rows(Action::EnrolCancel), [Outcome::Ok], "one row says it");
}

#[test]
fn a_server_on_loopback_tells_of_the_proof_that_its_page_asks_for() {
    let world = World::new();
    let open = world.begin(&json!({}));
    let note = open.answer["note"].as_str().unwrap();
    assert!(note.contains("ssh -L ") && note.contains("the seat's PIN") && !note.contains("--phrase"), "{note}");
}

#[test]
fn a_link_brings_its_own_names_and_duplicates_are_told() {
    let world = World::new();
    world.server.secret("ada");
    let open = world.begin(&json!({"label": "agent's idea", "issuer": "GitHub"}));
    let ticket = world.ticket(&open);
    let link = format!("otpauth://totp/Acme:bob?secret={RFC_SEED}&issuer=Acme&digits=8");
    let look = |label: &str, issuer: &str| {
        let fields = [("step", "look"), ("ticket", &*ticket), ("key", &*link), ("label", label), ("issuer", issuer)];
        text(&world.form(&open, &fields))
    };

    let untouched = look("agent's idea", "GitHub");
    assert!(
        untouched.contains("value=\"Acme\"") && untouched.contains("value=\"bob\"") && untouched.contains("8 digits")
    );
    assert!(!untouched.contains("is there already"));
    assert!(look("mine", "GitHub").contains("value=\"mine\""), "what the person changed wins");
    let same = text(&world.look(&open, &ticket, RFC_SEED));
    assert!(same.contains("This key is there already, as ada."), "{same}");
    let fields =
        [("step", "look"), ("ticket", &*ticket), ("key", "JBSWY3DPEHPK3PXP"), ("label", "Ada"), ("issuer", "")];
    assert!(text(&world.form(&open, &fields)).contains("ada is there already, with another key."));
}

#[test]
fn a_key_that_may_be_two_and_a_link_that_was_repaired_are_told_as_at_the_command_line() {
    let world = World::new();
    let open = world.begin(&json!({}));
    let ticket = world.ticket(&open);
    let half = "KRSXG5CTMVRXEZLU";
    let doubt = "Doubtful: its secret is in two parts of 16 letters, which may be two secrets";
    for key in [format!("{half} {half}"), format!("{half}\n{half}"), format!("otpauth://totp/x?secret={half}%20{half}")]
    {
        let review = world.look(&open, &ticket, &key);
        assert_eq!((review.status, title(&review).as_str()), (200, "Is this right?"));
        assert!(text(&review).contains(doubt), "{key}: {}", text(&review));
    }
    for key in [RFC_SEED.to_owned(), "gezd gnbv gy3t qojq gezd gnbv gy3t qojq".to_owned()] {
        assert!(!text(&world.look(&open, &ticket, &key)).contains("Doubtful"), "{key}");
    }
    let several = world.look(&open, &ticket, &format!("{half} {half} {half}"));
    assert!(several.status == 400 && text(&several).contains("The key looks like several seeds"), "{}", text(&several));
    let repaired = world.look(&open, &ticket, &format!("otpauth://totp/C#:ada?secret={RFC_SEED}"));
    assert!(text(&repaired).contains("In the URI, a raw `#` was read as a part of the text."), "{}", text(&repaired));
}

#[test]
fn a_page_that_a_pin_opened_asks_again_once_the_pin_is_gone_or_another() {
    let world = World::new();
    let set = |pin: Option<&str>| {
        let set = SetSeatPin { seat: world.ada.clone(), pin: pin.map(|pin| Zeroizing::new(pin.to_owned())) };
        world.server.wait(world.server.vault.service.perform(&world.server.vault.person, set)).unwrap();
    };
    let open = world.begin(&json!({"label": "ada"}));
    let ticket = world.ticket(&open);
    let handle = hidden(&world.look(&open, &ticket, RFC_SEED), "entry");
    let add = || world.form(&open, &[("step", "add"), ("ticket", &ticket), ("entry", &handle)]);
    // Setting the same PIN again replaces it, too.
    for pin in [Some(PIN), Some("771204")] {
        set(pin);
        let refused = add();
        assert_eq!((refused.status, title(&refused).as_str()), (403, "Who are you?"));
    }
    set(None);
    let refused = add();
    assert_eq!(refused.status, 403, "{}", text(&refused));
    assert_eq!((world.status(&open)["status"].as_str(), world.secrets()), (Some("PENDING"), 0));

    set(Some(PIN));
    assert_eq!(add().status, 403);
    world.server.vault.clock.set_seconds(NOW + 60);
    let again = world.ticket(&open);
    assert_eq!(title(&world.look(&open, &again, RFC_SEED)), "Is this right?");
}
