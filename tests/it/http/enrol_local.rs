//! Enrolment by the person who runs a sidecar: on its own page on loopback, which recognises its own user's
//! connections.

use std::{
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use countersign::{
    child::Children,
    domain::{
        audit::{Action, AuditFilter, Outcome},
        ids::EnrolmentId,
        principal::Principal,
        scope::ScopeSet,
    },
    operations::{EnrollResponse, EnrollSecret, Enrolled, EnrolmentPhrase, Refusal, Service},
    transport::http::LocalPage,
};
use tokio::runtime::Runtime;

use super::{
    enrol::{encoded, hidden, text, title},
    enrol_pictures::in_parts,
    kit::{Answer, Client, written},
};
use crate::kit::{RFC_SEED, Vault};

const NOW: i64 = 1_795_305_600;
const LINGER: Duration = Duration::from_millis(100);

/// A sidecar's service, and its host.
pub(super) struct World {
    pub(super) vault: Vault,
    host: Principal,
    pub(super) runtime: Runtime,
}

/// An open enrolment and its page.
pub(super) struct Open {
    pub(super) id: EnrolmentId,
    pub(super) address: SocketAddr,
    pub(super) path: String,
}

impl World {
    pub(super) fn new() -> Self {
        let vault = Vault::new();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let children = Children::of(env!("CARGO_BIN_EXE_countersign").into());
        vault.service.offer_enrolments(Arc::new(LocalPage::lingering(LINGER).read_by(children)));
        let host = Principal::stdio(vault.account, ScopeSet::ALL, None);
        Self { vault, host, runtime }
    }

    fn ask(&self, service: &Service, ask: EnrollSecret) -> Result<Enrolled, Refusal> {
        self.runtime.block_on(service.perform(&self.host, ask))
    }

    pub(super) fn begin(&self) -> Open {
        let ask = EnrollSecret { label: Some("ada".to_owned()), ..EnrollSecret::default() };
        opened(self.ask(&self.vault.service, ask).unwrap())
    }

    pub(super) fn rows(&self, action: Action) -> Vec<Outcome> {
        let filter = AuditFilter { action: Some(action), ..AuditFilter::default() };
        self.runtime.block_on(self.vault.rows(filter)).iter().map(|row| row.entry.outcome).collect()
    }
}

fn opened(enrolled: Enrolled) -> Open {
    let answer = serde_json::to_value(EnrollResponse::from(enrolled)).unwrap();
    let text = |name: &str| answer[name].as_str().expect("it is pending").to_owned();
    let (id, url) = (text("enrollment_id").parse().unwrap(), text("enrollment_url"));
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    Open { id, address: address.parse().unwrap(), path: format!("/{path}") }
}

fn later(id: EnrolmentId) -> EnrollSecret {
    EnrollSecret { enrollment_id: Some(id), ..EnrollSecret::default() }
}

pub(super) fn send(open: &Open, method: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
    let stream = TcpStream::connect(open.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut client = Client { stream: std::io::BufReader::new(stream) };
    client.write(written(method, &open.path, headers, body).as_bytes());
    client.read()
}

pub(super) fn form(open: &Open, more: &[(&str, &str)], fields: &[(&str, &str)]) -> Answer {
    let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
    headers.extend(more);
    send(open, "POST", &headers, Some(&encoded(fields)))
}

/// Adds a secret on the page of a link, as the machine's own user. Returns every page except the one that shows the
/// code.
#[cfg(target_os = "linux")]
pub(crate) fn add_on_page(url: &str, key: &str) -> Vec<Vec<u8>> {
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let id = EnrolmentId::new(uuid::Uuid::nil());
    let open = Open { id, address: address.parse().unwrap(), path: format!("/{path}") };
    let page = send(&open, "GET", &[], None);
    let ticket = hidden(&page, "ticket");
    let review =
        form(&open, &[], &[("step", "look"), ("ticket", &ticket), ("key", key), ("label", ""), ("issuer", "")]);
    let handle = hidden(&review, "entry");
    let added = form(&open, &[], &[("step", "add"), ("ticket", &ticket), ("entry", &handle)]);
    assert_eq!(title(&added), "Added");
    vec![page.body, added.body]
}

#[cfg(target_os = "linux")]
#[test]
fn the_machines_own_user_adds_a_secret_and_the_waiting_call_learns_it_at_once() {
    let world = World::new();
    let open = world.begin();
    let page = send(&open, "GET", &[], None);
    assert_eq!((page.status, title(&page).as_str()), (200, "Add a secret"));
    let ticket = hidden(&page, "ticket");
    let key = [("step", "look"), ("ticket", &*ticket), ("key", RFC_SEED), ("label", "ada"), ("issuer", "")];
    let handle = hidden(&form(&open, &[], &key), "entry");

    let outcome = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| world.ask(&world.vault.service, later(open.id)));
        // The clock stands still, so only a wake-up ends the wait.
        crate::kit::until(|| world.vault.service.tally().waiting != 0);
        let added = form(&open, &[], &[("step", "add"), ("ticket", &ticket), ("entry", &handle)]);
        assert_eq!(title(&added), "Added");
        waiting.join().unwrap()
    });

    let answer = serde_json::to_value(EnrollResponse::from(outcome.unwrap())).unwrap();
    assert_eq!((&answer["status"], &answer["totp_secret"]["label"]), (&"OK".into(), &"ada".into()));
    assert!(!answer.to_string().contains(RFC_SEED));
    assert_eq!(world.rows(Action::EnrolStore), [Outcome::Ok]);
}

#[cfg(target_os = "linux")]
#[test]
fn the_machines_own_user_sends_a_picture() {
    let world = World::new();
    let open = world.begin();
    let ticket = hidden(&send(&open, "GET", &[], None), "ticket");
    let mut client = Client { stream: std::io::BufReader::new(TcpStream::connect(open.address).unwrap()) };
    let picture = std::fs::read("tests/fixtures/qr-one.png").unwrap();
    client.write(&in_parts(&open.path, &[("ticket", &ticket), ("step", "picture")], &picture));
    let review = client.read();
    assert_eq!((review.status, title(&review).as_str()), (200, "Is this right?"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_program_of_the_same_user_sends_no_form_without_the_pages_ticket() {
    let world = World::new();
    let open = world.begin();
    let forged = form(&open, &[], &[("step", "decline")]);
    assert_eq!((forged.status, title(&forged).as_str()), (403, "Open the link again"));
    let wrong = form(&open, &[], &[("step", "decline"), ("ticket", "x")]);
    assert_eq!(wrong.status, 403);
    assert!(world.rows(Action::EnrolDecline).is_empty());
}

#[test]
fn who_is_not_seen_to_be_the_user_types_the_phrase_of_the_terminal() {
    let world = World::new();
    let open = world.begin();
    let phrase = |id| world.runtime.block_on(world.vault.service.perform(&world.vault.person, EnrolmentPhrase { id }));
    let (phrase, words) = phrase(open.id).unwrap();
    // Requests of another person come through a proxy or a tunnel on this machine.
    let through = [("x-forwarded-for", "192.0.2.1")];

    let asked = send(&open, "GET", &through, None);
    assert_eq!((asked.status, title(&asked).as_str()), (403, "Who are you?"));
    assert!(text(&asked).contains(&format!("countersign secret enroll --phrase {}", open.id)));
    assert!(!text(&asked).contains(&words) && !text(&asked).contains(&phrase));
    let wrong = form(&open, &through, &[("step", "prove"), ("proof", "acorn agate alder alley")]);
    assert!(text(&wrong).contains("Tries left: 4"), "{}", text(&wrong));
    let typed = phrase.to_uppercase().replace('-', " ");
    let right = form(&open, &through, &[("step", "prove"), ("proof", &typed)]);
    assert_eq!((right.status, title(&right).as_str()), (200, "Add a secret"));
    let ticket = hidden(&right, "ticket");
    let declined = form(&open, &through, &[("step", "decline"), ("ticket", &ticket)]);
    assert_eq!(title(&declined), "Declined");
    assert_eq!(world.rows(Action::EnrolProve), [Outcome::Unauthenticated, Outcome::Wrong, Outcome::Ok]);
}

/// Only root can become another user; without root the test does nothing.
#[cfg(target_os = "linux")]
#[test]
fn another_user_of_the_machine_is_asked_for_the_phrase_and_noted() {
    use std::{os::unix::process::CommandExt as _, process::Command};

    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new();
    let open = world.begin();
    let script = r#"exec 3<>"/dev/tcp/127.0.0.1/$0"
        printf 'GET %s HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n' "$1" >&3; cat <&3"#;
    let port = open.address.port().to_string();

    let seen = Command::new("bash").args(["-c", script, &port, &open.path]).uid(65_534).gid(65_534).output().unwrap();

    let seen = String::from_utf8(seen.stdout).unwrap();
    assert!(seen.contains("403 Forbidden") && seen.contains("<h1>Who are you?</h1>"), "{seen}");
    assert!(!seen.contains("ticket"), "{seen}");
    assert_eq!(world.rows(Action::EnrolProve), [Outcome::PermissionDenied]);
    assert_eq!(send(&open, "GET", &[], None).status, 200, "the link still works for its own user");
}

#[test]
fn five_wrong_phrases_end_it() {
    let world = World::new();
    let open = world.begin();
    let through = [("via", "1.1 tunnel")];
    let pages: Vec<_> = (0..5).map(|_| form(&open, &through, &[("step", "prove"), ("proof", "x")])).collect();
    assert_eq!((pages[4].status, title(&pages[4]).as_str()), (410, "Cancelled"));
    let mine = send(&open, "GET", &[], None);
    assert_eq!((mine.status, title(&mine).as_str()), (410, "Cancelled"));
}

/// A browser that has shown one page needs nothing but the last answer, and the end of the page waits for that.
#[cfg(target_os = "linux")]
#[test]
fn the_page_ends_at_once_and_its_last_answer_arrives() {
    let world = World::new();
    let page = LocalPage::default();
    let service = world.vault.another_service();
    service.offer_enrolments(Arc::new(page.clone()));
    let open = opened(world.ask(&service, EnrollSecret::default()).unwrap());
    for file in ["style.css", "page.js"] {
        let kept = send(&Open { path: format!("/enroll/{file}"), ..open }, "GET", &[], None);
        assert_eq!((kept.status, kept.header("cache-control")), (200, Some("max-age=600")), "{file}");
    }
    let first = send(&open, "GET", &[], None);
    assert_eq!(first.header("cache-control"), Some("no-store"));
    let ticket = hidden(&first, "ticket");

    let last = std::thread::scope(|scope| {
        let last = scope.spawn(|| form(&open, &[], &[("step", "decline"), ("ticket", &ticket)]));
        world.runtime.block_on(async {
            service.enrolment_over(open.id).await;
            page.end().await;
        });
        assert!(TcpStream::connect(open.address).is_err(), "it still listens");
        last.join().unwrap()
    });

    assert_eq!(title(&last), "Declined");
}

#[test]
fn the_page_is_for_this_host_and_its_own_forms() {
    let world = World::new();
    let open = world.begin();
    let stranger = |request: String| {
        let mut client = Client { stream: std::io::BufReader::new(TcpStream::connect(open.address).unwrap()) };
        client.write(request.as_bytes());
        client.read().status
    };
    assert_eq!(stranger(format!("GET {} HTTP/1.1\r\nhost: evil.example\r\n\r\n", open.path)), 403);
    assert_eq!(stranger(format!("GET {} HTTP/1.1\r\n\r\n", open.path)), 400);
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        assert_eq!(form(&open, &[("origin", origin)], &[("step", "decline")]).status, 403, "{origin}");
    }
    let files = ["style.css", "page.js", "enrol.js", "qr.js"].map(|name| (format!("/enroll/{name}"), 200));
    for (path, status) in files.into_iter().chain([("/".to_owned(), 404), ("/enroll/x".to_owned(), 404)]) {
        let other = Open { path, ..open };
        assert_eq!(send(&other, "GET", &[], None).status, status, "{}", other.path);
    }
}

#[test]
fn the_listener_ends_with_its_last_enrolment_and_another_process_serves_the_same_link() {
    let world = World::new();
    let open = world.begin();
    let another = world.vault.another_service();
    another.offer_enrolments(Arc::new(LocalPage::lingering(LINGER)));
    let there = std::thread::scope(|scope| {
        let asked = scope.spawn(|| opened(world.ask(&another, later(open.id)).unwrap()));
        // The call waits for the person as long as it may.
        crate::kit::until(|| another.tally().waiting != 0 || asked.is_finished());
        // The clock advances until the call has ended, however many of its steps fall into one sleep, and stops before
        // the link expires.
        for second in 1..600 {
            if asked.is_finished() {
                break;
            }
            world.vault.clock.set_seconds(NOW + second);
            std::thread::sleep(Duration::from_millis(20));
        }
        asked.join().unwrap()
    });
    assert_eq!(there.path, open.path, "the token is the same");
    assert_ne!(there.address, open.address);
    assert!(matches!(send(&there, "GET", &[], None).status, 200 | 403));

    world.vault.clock.set_seconds(NOW + 600);

    for page in [&open, &there] {
        let mut tries = 0;
        while TcpStream::connect(page.address).is_ok() {
            tries += 1;
            assert!(tries < 200, "the listener does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A host that restarts its sidecar again and again leaves enrolments that no person can see any more.
#[cfg(target_os = "linux")]
#[test]
fn in_a_sidecar_the_oldest_open_enrolment_that_nobody_has_opened_gives_way() {
    let world = World::new();
    let first = world.begin();
    assert_eq!(send(&first, "GET", &[], None).status, 200);
    let mut all: Vec<Open> = Vec::new();
    for nth in 1..18 {
        world.vault.clock.set_seconds(NOW + nth);
        all.push(world.begin());
    }
    let is_open = |open: &Open| world.runtime.block_on(world.vault.service.is_enrolment_open(open.id)).unwrap();

    assert!(is_open(&first), "its person may be about to answer");
    let open: Vec<bool> = all.iter().map(is_open).collect();
    assert_eq!(open, [&[false; 2][..], &[true; 15]].concat());
    assert_eq!(world.rows(Action::EnrolCancel), [Outcome::Ok; 2]);
    let told = world.ask(&world.vault.service, later(all[0].id)).unwrap();
    assert!(matches!(told, Enrolled::Cancelled));
}
