//! Pictures of QR codes that a person sends to the page of an enrolment: the texts that are read, the proof that comes
//! first, and the limits.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use countersign::{
    child::Children,
    domain::scope::Scope,
    operations::{AddSeat, CreateKey, SeatChanges, SetSeatPin},
    transport::http::HttpSettings,
};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    enrol::{Open, World, code_on, hidden, text, title},
    kit::{Answer, request, settings, token_of},
};

const MOST: usize = 10 * 1024 * 1024;

/// A form with a picture, as browsers send it.
pub(super) fn in_parts(path: &str, fields: &[(&str, &str)], picture: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").into_bytes());
    }
    let file = "Content-Disposition: form-data; name=\"picture\"; filename=\"a.png\"\r\nContent-Type: image/png";
    body.extend(format!("--x\r\n{file}\r\n\r\n").into_bytes());
    body.extend_from_slice(picture);
    body.extend(b"\r\n--x--\r\n");
    let kind = "content-type: multipart/form-data; boundary=x\r\norigin: http://localhost";
    let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.into_bytes(), body].concat()
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new("tests/fixtures").join(name)).unwrap()
}

/// A server that reads pictures with a script from `tests/fixtures/children`.
fn read_by(script: &str) -> World {
    let children = Children::of(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/children").join(script));
    World::with(HttpSettings { children, ..settings() })
}

fn send(world: &World, open: &Open, ticket: &str, picture: &[u8]) -> Answer {
    world.server.raw(&in_parts(&open.path, &[("ticket", ticket), ("step", "picture")], picture))
}

/// The status of the answer to a picture, and the page's error.
fn refused(world: &World, picture: &[u8]) -> (u16, String) {
    let open = world.begin(&json!({}));
    let answer = send(world, &open, &world.ticket(&open), picture);
    assert_eq!(title(&answer), "Add a secret", "the person can try again");
    let page = text(&answer);
    let (_, rest) = page.split_once("role=\"alert\" tabindex=\"-1\" autofocus>").expect("it says what is wrong");
    (answer.status, rest.split_once("</p>").unwrap().0.to_owned())
}

#[test]
fn a_persons_picture_of_a_qr_code_is_read_and_added() {
    let world = World::new();
    let open = world.begin(&json!({"label": "the agent's idea"}));
    let ticket = world.ticket(&open);

    let review = send(&world, &open, &ticket, &fixture("qr-one.png"));

    assert_eq!((review.status, title(&review).as_str()), (200, "Is this right?"));
    for said in ["value=\"Example\"", "value=\"alice@example.com\"", "8 digits"] {
        assert!(text(&review).contains(said), "{said}");
    }
    assert_eq!(code_on(&review).len(), 8);
    assert_eq!(world.secrets(), 0, "nothing is kept before `Add`");
    let add = [("step", "add"), ("ticket", &*ticket), ("entry", &*hidden(&review, "entry"))];
    assert_eq!(title(&world.form(&open, &add)), "Added");
    assert_eq!((world.status(&open)["status"].as_str(), world.secrets()), (Some("OK"), 1));
}

#[test]
fn of_several_codes_in_a_picture_the_person_chooses_one() {
    let world = World::new();
    let open = world.begin(&json!({}));
    let ticket = world.ticket(&open);
    let page = send(&world, &open, &ticket, &fixture("qr-two.png"));
    assert_eq!((page.status, title(&page).as_str()), (200, "Which one?"));
    let page = text(&page);
    let handles: Vec<_> = page.split("name=\"entry\" value=\"").skip(1).map(|rest| &rest[..32]).collect();
    assert_eq!(handles.len(), 2);

    for (handle, label) in handles.iter().zip(["alice@example.com", "bob@example.com"]) {
        let review = text(&world.form(&open, &[("step", "code"), ("ticket", &ticket), ("entry", handle)]));
        assert!(page.contains(label) && review.contains(&format!("value=\"{label}\"")), "{review}");
    }
}

#[test]
fn what_can_not_be_added_is_told_beside_what_can() {
    let world = read_by("mixed");
    let open = world.begin(&json!({}));
    let page = send(&world, &open, &world.ticket(&open), b"x");
    let page = text(&page);
    assert!(page.contains(">Acme (ada)</button>") && page.contains("One of them can’t be added"), "{page}");
    assert!(!page.contains("acme.example") && !page.contains("GEZD"), "{page}");
}

#[test]
fn a_picture_is_not_read_before_its_sender_has_proved_who_they_are() {
    // A child that reads a picture is killed here, and the answer would report that.
    let world = read_by("killed");
    let open = world.begin(&json!({"issuer": "Acme"}));
    for ticket in ["", "x"] {
        let answer = send(&world, &open, ticket, &fixture("qr-one.png"));
        assert_eq!((answer.status, title(&answer).as_str()), (403, "Who are you?"), "{ticket:?}");
        assert!(!text(&answer).contains("Acme"));
    }
    let nowhere = super::kit::written("GET", "/enroll/x", &[], None);
    assert_eq!(world.server.raw(nowhere.as_bytes()).status, 404);
}

#[test]
fn what_is_wrong_with_a_picture_is_told() {
    let world = World::new();
    let cases = [
        (&b""[..], 400, "No picture was chosen; choose one, or paste the key."),
        (b"GIF89a", 400, "The file is no PNG, JPEG or WebP picture that can be read."),
    ];
    for (picture, status, told) in cases {
        assert_eq!(refused(&world, picture), (status, told.to_owned()));
    }
    let (status, told) = refused(&world, &fixture("qr-google-migration.png"));
    assert!(status == 400 && told.contains("is an export of Google Authenticator"), "{told}");
    for (script, status, told) in [
        ("killed", 400, "The picture can’t be read within its limits"),
        ("senseless", 503, "The picture can’t be read: the process that read it gave an answer that makes no sense"),
        ("missing", 503, "The picture can’t be read: no process could be started"),
        ("address", 400, "The QR code in the picture is no link of an authenticator app"),
        ("many", 400, "The picture holds more than 20 such QR codes"),
    ] {
        let (got, said) = refused(&read_by(script), b"x");
        assert!(got == status && said.replace("&#39;", "’").starts_with(told), "{script}: {got} {said}");
    }
}

#[test]
fn a_picture_may_be_just_so_large() {
    let world = read_by("address");
    let (status, told) = refused(&world, &vec![0; MOST]);
    assert!(status == 400 && told.starts_with("The QR code"), "{told}");
    let (status, told) = refused(&world, &vec![0; MOST + 1]);
    assert!(status == 413 && told.starts_with("The picture is larger than 10 MiB"), "{told}");
    let (status, told) = refused(&world, &vec![0; 7 * MOST]);
    assert!(status == 413 && told.starts_with("The picture is larger than 10 MiB"), "{told}");
}

#[test]
fn besides_a_picture_a_form_is_no_larger_than_other_bodies() {
    let world = World::new();
    let open = world.begin(&json!({}));
    let long = "x".repeat(1024 * 1024);
    for fields in [&[("ticket", &*long)][..], &[(&*long, "x")]] {
        let answer = world.server.raw_until_closed(&in_parts(&open.path, fields, b"x"));
        assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    }
    let many: Vec<_> = (0..99).map(|_| ("step", "x")).collect();
    assert_eq!(world.server.raw(&in_parts(&open.path, &many, b"x")).status, 400);
}

#[test]
fn a_form_that_is_cut_short_ends_in_an_answer() {
    let short = HttpSettings {
        limits: countersign::transport::http::Limits { body_wait: Duration::from_millis(200), ..Default::default() },
        ..settings()
    };
    let world = World::with(short);
    let open = world.begin(&json!({}));
    let ticket = world.ticket(&open);
    let whole = in_parts(&open.path, &[("ticket", &ticket), ("step", "picture")], &fixture("qr-one.png"));
    let at_picture = whole.windows(4).position(|bytes| bytes == b"\x89PNG").unwrap();
    for cut in [at_picture - 200, at_picture + 200] {
        let answer = world.server.raw(&whole[..cut]);
        assert!(matches!(answer.status, 400 | 408), "{cut}: {}", text(&answer));
    }
    let unclosed = [&b"--x\r\nContent-Disposition: form-data; name=\"ticket\"\r\n\r\n"[..], ticket.as_bytes()].concat();
    let head = "content-type: multipart/form-data; boundary=x";
    let request = format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\n{head}\r\ncontent-length: {}\r\n\r\n",
        open.path,
        unclosed.len()
    );
    assert_eq!(world.server.raw(&[request.into_bytes(), unclosed].concat()).status, 400);
}

/// Begins an enrolment for a new person.
fn of_another(world: &World, email: &str) -> Open {
    let (service, person) = (&world.server.vault.service, &world.server.vault.person);
    let profile = SeatChanges { email: Some(email.to_owned()), ..SeatChanges::default() };
    let seat = world.server.wait(service.perform(person, AddSeat { profile })).unwrap().id.to_string();
    let pin = Some(Zeroizing::new(super::enrol::PIN.to_owned()));
    world.server.wait(service.perform(person, SetSeatPin { seat: seat.clone(), pin })).unwrap();
    let key = world.server.key_as(person, CreateKey { seat: Some(seat), ..request(Scope::ALL) });
    world.begin_by(&token_of(&key), &json!({}))
}

#[test]
fn a_second_picture_of_a_person_waits_for_the_first_and_is_told_to_come_again_after_five_seconds() {
    let world = World::new();
    let open = world.begin(&json!({}));
    let ticket = world.ticket(&open);
    let whole = in_parts(&open.path, &[("ticket", &ticket), ("step", "picture")], &fixture("qr-one.png"));
    let (begin, rest) = whole.split_at(whole.len() - 20);

    // The first picture may not have arrived when the second one is read.
    let mut first = world.server.client();
    first.write(begin);
    let (busy, waited) = loop {
        let sent = Instant::now();
        let answer = send(&world, &open, &ticket, b"GIF89a");
        if answer.status == 409 {
            break (answer, sent.elapsed());
        }
    };
    assert!(text(&busy).contains("Too many pictures are being read at this moment"));
    assert!(waited >= Duration::from_secs(5) && waited < Duration::from_secs(10), "{waited:?}");
    assert_eq!(busy.header("retry-after"), Some("5"));

    // A picture that waits while the first one arrives is read afterwards.
    let mut late = world.server.client();
    late.write(&in_parts(&open.path, &[("ticket", &ticket), ("step", "picture")], b"GIF89a"));
    first.write(rest);
    assert_eq!(title(&first.read()), "Is this right?");
    assert!(text(&late.read()).contains("The file is no PNG, JPEG or WebP picture"));
}

#[test]
fn slow_pictures_of_one_person_keep_nobody_else_waiting() {
    let world = World::new();
    let open = world.begin(&json!({}));
    let ticket = world.ticket(&open);
    let other = of_another(&world, "grace@example.com");
    let others = world.ticket(&other);
    let whole = in_parts(&open.path, &[("ticket", &ticket), ("step", "picture")], &fixture("qr-one.png"));
    let slow = || {
        let mut client = world.server.client();
        client.write(&whole[..whole.len() - 20]);
        client
    };
    let _slow: Vec<_> = (0..8).map(|_| slow()).collect();

    for _ in 0..8 {
        let sent = Instant::now();
        let answer = send(&world, &other, &others, b"GIF89a");
        assert!(text(&answer).contains("The file is no PNG, JPEG or WebP picture"), "{}", text(&answer));
        assert!(sent.elapsed() < Duration::from_secs(5), "{:?}", sent.elapsed());
    }
}

#[test]
fn four_of_the_largest_pictures_are_in_memory_at_most() {
    let world = World::new();
    let large = vec![0; MOST];
    let mut clients = Vec::new();
    for nth in 0..4 {
        let open = of_another(&world, &format!("p{nth}@example.com"));
        let ticket = world.ticket(&open);
        let whole = in_parts(&open.path, &[("ticket", &ticket), ("step", "picture")], &large);
        let mut client = world.server.client();
        client.write(&whole[..whole.len() - 20]);
        clients.push(client);
    }
    let open = world.begin(&json!({}));
    let ticket = world.ticket(&open);
    // The last of the four may not have arrived yet.
    let busy = loop {
        let answer = send(&world, &open, &ticket, &large);
        if answer.status == 409 {
            break answer;
        }
    };
    assert!(text(&busy).contains("Too many pictures are being read at this moment"));
    drop(clients);
    // A closed connection gives its place back.
    while send(&world, &open, &ticket, b"GIF89a").status == 409 {}
}

#[test]
fn only_the_page_that_asks_for_the_key_may_use_the_camera() {
    let world = World::new();
    let open = world.begin(&json!({}));
    let camera = |answer: &Answer| answer.header("permissions-policy").unwrap().split(',').next().unwrap().to_owned();
    assert_eq!(camera(&world.get(&open)), "camera=()", "it asks for the proof");
    let entry = world.form(&open, &[("step", "prove"), ("proof", super::enrol::PIN)]);
    assert_eq!(camera(&entry), "camera=(self)");
    let ticket = hidden(&entry, "ticket");
    let review = send(&world, &open, &ticket, &fixture("qr-one.png"));
    assert_eq!(camera(&review), "camera=()");
    let policy = review.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe") && !policy.contains("http"),
        "{policy}"
    );
}
