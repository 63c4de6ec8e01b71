//! Limits that hold over all nodes: by the store, and over four servers behind a balancer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use countersign::{
    domain::{principal::Principal, rate::Rate},
    operations::{ErrorCode, GetCode, Registration, Service},
    random::SystemRandom,
    store::{Kind, Paced, SharedStore, Writes},
};

use serde_json::json;

use super::{
    carry_out,
    commits::opened,
    fresh,
    nodes::node,
    people::{Node, bearer},
    proxy::Proxy,
};
use crate::{
    cli::{Person, text_of},
    http::matrix::call_2026,
    kit::{HandClock, Patience, registration_of, until},
    store::{read, runtime},
};

const BUCKET: [u8; 16] = [7; 16];

/// A call that was counted: when its request was sent, and when its answer arrived.
type Call = (Instant, Instant);

/// Checks that no window has more calls than a rate allows: those of a whole span at once, and one more for each
/// interval. Each call was counted between its request and its answer.
#[track_caller]
fn hold_in_every_window(mut calls: Vec<Call>, at_once: usize, interval: Duration) {
    calls.sort();
    for (nth, (begin, _)) in calls.iter().enumerate() {
        let mut ends: Vec<_> = calls[nth..].iter().map(|(_, answered)| *answered).collect();
        ends.sort();
        for (more, end) in ends.iter().enumerate() {
            let (count, window) = (more + 1, end.duration_since(*begin));
            let earned = interval * u32::try_from(count.saturating_sub(at_once)).unwrap();
            // The server's clock may be adjusted meanwhile, by a thousandth at most.
            assert!(earned <= window + window / 1000, "{count} calls in {window:?}");
        }
    }
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_rate_is_never_exceeded_over_four_nodes_that_restart() {
    let (url, rate) = (fresh(), "50/s".parse::<Rate>().unwrap());
    runtime(Writes::Thread).block_on(async {
        opened(&url).await.close().await.unwrap();
        let nodes: Vec<_> = (0..4)
            .map(|_| {
                let url = url.clone();
                tokio::spawn(async move {
                    let (mut counted, mut early) = (Vec::new(), 0);
                    for _ in 0..5 {
                        let store = opened(&url).await;
                        for _ in 0..80 {
                            let sent = Instant::now();
                            match store.pace(BUCKET, rate).await.unwrap() {
                                Paced::Counted => counted.push((sent, Instant::now())),
                                Paced::Early(after) => {
                                    early += 1;
                                    assert!(!after.is_zero() && after <= rate.interval(), "{after:?}");
                                }
                                Paced::Alone => panic!("a server counts"),
                            }
                        }
                        store.close().await.unwrap();
                    }
                    (counted, early)
                })
            })
            .collect();
        let (mut counted, mut early) = (Vec::new(), 0);
        for node in nodes {
            let (theirs, refused) = node.await.unwrap();
            counted.extend(theirs);
            early += refused;
        }
        assert!(counted.len() >= 50 && early > 0, "{} counted, {early} refused", counted.len());
        hold_in_every_window(counted, 50, rate.interval());
    });
}

/// The rows of a database's table of limits: for each bucket, by how many seconds its time is ahead.
async fn kept(url: &str) -> Vec<i64> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql = "SELECT due / 1000000 - extract(epoch FROM clock_timestamp())::bigint FROM pace ORDER BY bucket";
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_call_that_comes_too_early_changes_nothing_and_hears_when_it_may_come() {
    let url = fresh();
    runtime(Writes::Thread).block_on(async {
        let store = opened(&url).await;
        let counted = async |rate: &str| store.pace(BUCKET, rate.parse().unwrap()).await.unwrap();
        assert_eq!([counted("2/h").await, counted("2/h").await], [Paced::Counted; 2]);
        for _ in 0..3 {
            let Paced::Early(after) = counted("2/h").await else { panic!("it is too early") };
            assert!((1790..=1800).contains(&after.as_secs()), "{after:?}");
        }
        assert!((3590..=3600).contains(&kept(&url).await[0]));
        // Another bucket has its own limit.
        assert_eq!(store.pace([8; 16], Rate::per_minute(1)).await, Ok(Paced::Counted));
        // A time that no call can have caused comes from a clock that ran ahead: it refuses no call.
        carry_out(&url, "UPDATE pace SET due = due + 7200000000");
        assert_eq!([counted("2/h").await, counted("2/h").await], [Paced::Counted; 2]);
        assert!(matches!(counted("2/h").await, Paced::Early(_)));
        store.close().await.unwrap();
    });
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn limits_that_are_over_are_removed_and_others_are_kept() {
    let url = fresh();
    runtime(Writes::Thread).block_on(async {
        let store = opened(&url).await;
        carry_out(&url, "INSERT INTO pace SELECT decode(md5(n::text), 'hex'), n FROM generate_series(1, 25000) AS n");
        carry_out(&url, "INSERT INTO pace VALUES ('\\x00', 9000000000000000)");
        assert_eq!(store.pace(BUCKET, Rate::per_minute(1)).await, Ok(Paced::Counted));
        let patience = Patience::new();
        while kept(&url).await.len() > 2 {
            patience.turn().await;
        }
        store.close().await.unwrap();
    });
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn counting_does_not_wait_for_the_disk_or_a_standby_and_nothing_else_is_less_durable() {
    let url = fresh();
    runtime(Writes::Thread).block_on(async {
        let store = opened(&url).await;
        // Records the settings in effect when a row is written, and so when its transaction ends.
        carry_out(
            &url,
            "CREATE TABLE seen (of text, setting text); \
             CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN \
             INSERT INTO seen VALUES (TG_TABLE_NAME, current_setting(''synchronous_commit'')); RETURN NULL; END'; \
             CREATE TRIGGER see AFTER INSERT OR UPDATE ON pace EXECUTE FUNCTION see(); \
             CREATE TRIGGER see AFTER INSERT OR UPDATE ON record EXECUTE FUNCTION see(); \
             CREATE TRIGGER see AFTER INSERT OR UPDATE ON heartbeat EXECUTE FUNCTION see()",
        );
        for number in 0..3 {
            store.pace(BUCKET, Rate::per_minute(9)).await.unwrap();
            crate::store::done(
                &store,
                crate::store::putting([crate::store::put(crate::store::record(Kind::Use, &[number]))]),
            )
            .await;
        }
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let rows = client.query("SELECT DISTINCT of, setting FROM seen WHERE of <> 'heartbeat' ORDER BY of", &[]).await;
        let seen: Vec<(String, String)> = rows.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
        let seen: Vec<_> = seen.iter().map(|(of, setting)| (of.as_str(), setting.as_str())).collect();
        assert_eq!(seen, [("pace", "off"), ("record", "on")]);
        store.close().await.unwrap();
    });
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_call_during_an_outage_waits_for_the_server_and_is_not_refused() {
    let direct = fresh();
    runtime(Writes::Thread).block_on(async {
        let proxy = Proxy::start().await;
        let store = opened(&proxy.address(&direct)).await;
        assert_eq!(read(&store, Kind::Use, b"a").await, None);
        let before = proxy.tried();
        proxy.close(true);
        let calls: Vec<_> = (0..10)
            .map(|_| {
                let store: SharedStore = store.clone();
                tokio::spawn(async move { store.pace(BUCKET, Rate::per_minute(60)).await })
            })
            .collect();
        let patience = Patience::new();
        while proxy.tried() < before + 4 {
            patience.turn().await;
        }
        proxy.close(false);
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(Paced::Counted));
        }
        store.close().await.unwrap();
    });
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn uses_of_a_secret_are_limited_over_nodes() {
    let (url, folder) = (fresh(), tempfile::tempdir().unwrap());
    runtime(Writes::Thread).block_on(async {
        let mut services = Vec::new();
        for _ in 0..2 {
            let vault = node(&url, folder.path()).await;
            let clock = HandClock::at_seconds(1_795_305_600);
            let service = Service::new(vault.clone(), clock, Arc::new(SystemRandom));
            service.limit_uses(Rate::per_minute(3));
            services.push((service, Principal::person(vault.status().default_account)));
        }
        let [(one, person), (two, _)] = &services[..] else { unreachable!("there are two") };
        let new = Registration { label: Some("a".to_owned()), ..Registration::default() };
        let id = one.perform(person, registration_of(new)).await.unwrap().secret.id;
        let mut codes = Vec::new();
        for service in [one, two, one, two, one] {
            codes.push(service.perform(person, GetCode::of(id)).await.map(|_| ()).map_err(|refusal| refusal.code()));
        }
        let early = Err(ErrorCode::RateLimited);
        assert_eq!(codes, [Ok(()), Ok(()), Ok(()), early, early]);
        for (service, _) in &services {
            service.close().await.unwrap();
        }
    });
}

/// A vault on a server, and the token of a key.
fn prepared(url: &str) -> (Person, String) {
    let person = Person::new();
    person.at(url, &["vault", "create"]).ok();
    let token = text_of(&person.at(url, &["key", "create", "--name", "ci", "--json"]).json(), "/token").to_owned();
    (person, token)
}

const COUNT: &str = "/api/v2/seats/count";

fn status_of(node: &Node, token: &str) -> u16 {
    node.answer("GET", COUNT, &bearer(token), None).unwrap().0
}

/// Calls four nodes in turn, each of which is killed and restarted twice meanwhile. Returns the calls with this status.
fn through_a_balancer(person: &Person, url: &str, flags: &[&str], token: &str, status: u16) -> Vec<Call> {
    let start = || std::sync::RwLock::new(Some(Node::with(person, url, flags)));
    let nodes: Vec<_> = (0..4).map(|_| start()).collect();
    let (is_over, turn) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut calls = Vec::new();
                    while !is_over.load(Ordering::SeqCst) {
                        let node = &nodes[turn.fetch_add(1, Ordering::SeqCst) % nodes.len()];
                        let sent = Instant::now();
                        // A node that is being killed or started does not answer.
                        let Ok(node) = node.try_read() else { continue };
                        let answer = node.as_ref().and_then(|node| node.answer("GET", COUNT, &bearer(token), None));
                        match answer {
                            Some((told, _)) if told == status => calls.push((sent, Instant::now())),
                            Some((told, _)) => assert_eq!(told, 429),
                            None => {}
                        }
                    }
                    calls
                })
            })
            .collect();
        for node in nodes.iter().chain(&nodes) {
            let asked = turn.load(Ordering::SeqCst);
            until(|| turn.load(Ordering::SeqCst) > asked + 100);
            *node.write().unwrap() = None;
            *node.write().unwrap() = Some(Node::with(person, url, flags));
        }
        is_over.store(true, Ordering::SeqCst);
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    })
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn four_servers_that_restart_let_no_more_calls_of_a_key_through_than_one() {
    let url = fresh();
    let (person, token) = prepared(&url);
    let calls = through_a_balancer(&person, &url, &["--rate-per-key", "60/min"], &token, 200);
    assert!(calls.len() >= 60, "{} calls", calls.len());
    hold_in_every_window(calls, 60, Duration::from_secs(1));
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn four_servers_that_restart_look_at_no_more_wrong_keys_of_an_address_than_one() {
    let url = fresh();
    let (person, token) = prepared(&url);
    let calls = through_a_balancer(&person, &url, &["--auth-failures", "30/min"], "cs_wrong", 401);
    assert!(calls.len() >= 30, "{} calls", calls.len());
    hold_in_every_window(calls, 30, Duration::from_secs(2));
    let node = Node::with(&person, &url, &["--auth-failures", "1/h"]);
    assert_eq!(status_of(&node, &token), 200, "a right key is let in");
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn who_guesses_a_key_does_not_use_up_its_calls_and_every_way_to_call_counts_once() {
    let url = fresh();
    let (person, token) = prepared(&url);
    let flags = ["--rate-per-key", "6/h", "--auth-failures", "off"];
    let nodes = [Node::with(&person, &url, &flags), Node::with(&person, &url, &flags)];
    // A token with the same id and another secret.
    let guess = format!("{}{}", &token[..token.len() - 4], if token.ends_with("AAAA") { "BBBB" } else { "AAAA" });
    for node in nodes.iter().cycle().take(12) {
        assert_eq!(status_of(node, &guess), 401);
    }
    let (headers, call) = call_2026(&token, "get_seat_count", &json!({}));
    let (call, escaped) = (call.as_str(), call.replace("tools/call", r"tools\/call"));
    let calls = |node: &Node, body: &str| {
        let (status, answer) = node.answer("POST", "/mcp", &headers, Some(body)).unwrap();
        assert_eq!(status, 200, "{answer}");
        if answer.contains("rate_limited") { 429 } else { status }
    };
    let [one, two] = &nodes;
    let statuses = [calls(one, call), calls(two, call), calls(one, &escaped), calls(two, &escaped)];
    assert_eq!(statuses, [200; 4]);
    assert_eq!([one, two].map(|node| status_of(node, &token)), [200; 2]);
    assert_eq!([calls(one, call), calls(two, &escaped), status_of(one, &token)], [429; 3]);
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_call_that_can_not_be_counted_is_answered_as_an_outage_and_not_as_one_too_many() {
    let url = fresh();
    let (person, token) = prepared(&url);
    let node = Node::with(&person, &url, &["--rate-per-key", "600/min"]);
    assert_eq!(status_of(&node, &token), 200);
    carry_out(&url, "DROP TABLE pace");
    for token in [&token, "cs_wrong"] {
        let (status, body) = node.answer("GET", COUNT, &bearer(token), None).unwrap();
        assert!(status == 503 && body.contains("unavailable"), "{status}: {body}");
    }
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_call_is_counted_while_its_key_is_looked_up_and_costs_no_trip_of_its_own() {
    let direct = fresh();
    let (person, token) = prepared(&direct);
    let runtime = runtime(Writes::Thread);
    let proxy = runtime.block_on(Proxy::start());
    // Statements are sent as text, so that the proxy can recognise them.
    let url = format!("{}?prepare=never", proxy.address(&direct));
    let node = Node::with(&person, &url, &["--rate-per-key", "600/min"]);
    let (headers, call) = call_2026(&token, "get_seat_count", &json!({}));
    for (method, path, body, counts) in [("GET", COUNT, None, 1), ("POST", "/mcp", Some(call.as_str()), 2)] {
        let headers = if body.is_some() { &headers[..] } else { &bearer(&token) };
        assert_eq!(node.answer(method, path, headers, body).unwrap().0, 200);
        proxy.hold("INTO pace", counts);
        std::thread::scope(|scope| {
            let answer = scope.spawn(|| node.answer(method, path, headers, body).unwrap().0);
            // No answer arrives until all of the statements have been sent.
            assert_eq!(answer.join().unwrap(), 200, "{path}");
        });
        assert!(!proxy.is_holding(), "{path}");
    }
}
