//! Many callers in several processes, which are killed at random, with a clock that jumps in both directions and is up
//! to 4 seconds off in each process: no step is given twice, and a linearizability checker accepts the history.
//!
//! `COUNTERSIGN_FLEET=full` runs the test at full size: 8 processes of 8 callers, 100,000 requests. A number sets the
//! number of requests, for 4 processes of 16 callers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    ops::RangeInclusive,
    os::unix::fs::FileExt as _,
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    time::Duration,
};

use async_trait::async_trait;
use countersign::{
    clock::Clock,
    domain::{
        audit::{Action, AuditFilter, Outcome},
        ids::SecretId,
        principal::Principal,
        time::Timestamp,
    },
    operations::{ErrorCode, GetCode, Registration, Service, VerifyAudit},
    random::SystemRandom,
};
use serde::{Deserialize, Serialize};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

use crate::kit::{HandClock, Vault, alone_at_once, open_in};

const START: i64 = 1_795_305_600;
const PERIOD: i64 = 30;
const WORKER: &str = "COUNTERSIGN_FLEET_WORKER";

/// The size of a run.
struct Size {
    processes: usize,
    callers: usize,
    secrets: usize,
    requests: usize,
}

const SMALL: Size = Size { processes: 4, callers: 8, secrets: 40, requests: 2_000 };
const FULL: Size = Size { processes: 8, callers: 8, secrets: 2_000, requests: 100_000 };

#[expect(clippy::disallowed_methods, reason = "a setting of the test")]
fn size() -> Size {
    let asked = std::env::var("COUNTERSIGN_FLEET").unwrap_or_default();
    match asked.parse::<usize>() {
        Ok(requests) => Size { processes: 4, callers: 16, secrets: requests / 50, requests },
        Err(_) if asked == "full" => FULL,
        Err(_) => SMALL,
    }
}

/// The instructions for a worker.
#[derive(Serialize, Deserialize)]
struct Orders {
    dir: std::path::PathBuf,
    secrets: Vec<String>,
    callers: usize,
    seed: u64,
    /// Seconds by which the worker's clock is ahead of the fleet's.
    ahead: i64,
}

/// One line of a worker's output: a call begins or ends. Times are the machine's, not the fleet's.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Event {
    at: i64,
    caller: u64,
    secret: usize,
    ask: Ask,
    /// The call's result; `None` at its beginning.
    end: Option<End>,
    /// The worker's clock when the line was written, and the seconds by which it is ahead of the fleet's.
    clock: i64,
    ahead: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Ask {
    Plain,
    SingleUse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum End {
    Given(u64),
    Busy,
}

/// A move of the fleet's clock to `clock`, which happened between the times `before` and `after`.
struct Move {
    before: i64,
    after: i64,
    clock: i64,
}

/// The fleet's clock: eight bytes in a file, which the test sets; and the seconds by which a worker's clock is ahead of
/// it.
struct FileClock(File, i64);

impl FileClock {
    fn set(&self, seconds: i64) {
        self.0.write_all_at(&seconds.to_le_bytes(), 0).unwrap();
    }

    fn seconds(&self) -> i64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, 0).unwrap();
        i64::from_le_bytes(bytes)
    }
}

#[async_trait]
impl Clock for FileClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.seconds() + self.1)
    }

    async fn wait(&self, _moment: Timestamp, _at_most: Duration) {
        unreachable!("the fleet's callers don't wait");
    }
}

/// The guarantees for one secret: a single-use step goes to one caller, and never after a plain call got it.
#[derive(Debug, Clone, Default, PartialEq)]
struct Promise {
    taken: BTreeSet<u64>,
    given: Option<u64>,
}

impl SequentialSpec for Promise {
    type Op = Ask;
    type Ret = End;

    /// Used only for calls that never returned; they may have had no effect.
    fn invoke(&mut self, _ask: &Ask) -> End {
        End::Busy
    }

    fn is_valid_step(&mut self, ask: &Ask, end: &End) -> bool {
        match (ask, end) {
            (_, End::Busy) => true,
            (Ask::SingleUse, End::Given(step)) => {
                let fresh = self.taken.last().is_none_or(|last| last < step) && self.given < Some(*step);
                self.taken.insert(*step);
                fresh
            }
            (Ask::Plain, End::Given(step)) => {
                self.given = self.given.max(Some(*step));
                !self.taken.contains(step)
            }
        }
    }
}

#[test]
fn no_step_goes_to_two_callers() {
    let size = size();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let vault = Vault::at(tempfile::tempdir().unwrap(), HandClock::at_seconds(START));
    let ids = runtime.block_on(register(&vault, size.secrets));
    let (events, moves) = run(&vault, &ids, &size);

    let returned = events.iter().filter(|event| event.end.is_some()).count();
    let given = events.iter().filter(|event| matches!(event.end, Some(End::Given(_)))).count();
    assert!(returned >= size.requests && given > size.secrets, "{returned} requests, {given} codes");
    println!("fleet: {returned} requests came back, {given} with a code");
    let mut by_secret: BTreeMap<usize, Vec<Event>> = BTreeMap::new();
    for event in events {
        by_secret.entry(event.secret).or_default().push(event);
    }
    for (secret, events) in by_secret {
        check_history(secret, &events);
        check_busy(secret, &events, &moves);
    }
    runtime.block_on(check_audit_log(&vault));
}

async fn register(vault: &Vault, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for nth in 0..count {
        let registration = Registration { label: Some(format!("secret {nth}")), ..Registration::default() };
        ids.push(vault.register_as(registration).await.secret.id.to_string());
    }
    ids
}

/// Runs the fleet, moving its clock and killing its processes, until enough requests have returned.
fn run(vault: &Vault, ids: &[String], size: &Size) -> (Vec<Event>, Vec<Move>) {
    let path = vault.dir.path().join("clock");
    let clock = FileClock(File::options().create(true).truncate(true).write(true).read(true).open(path).unwrap(), 0);
    clock.set(START);
    let (lines, heard) = mpsc::channel::<Event>();
    let start = |seed: usize| {
        let orders = Orders {
            dir: vault.dir.path().to_owned(),
            secrets: ids.to_vec(),
            callers: size.callers,
            seed: seed as u64,
            ahead: [0, 4, -4, 2, -1][seed % 5],
        };
        start_worker(&orders, lines.clone())
    };
    let mut workers: Vec<Child> = (0..size.processes).map(&start).collect();
    let mut dice = Dice(42);
    let (mut events, mut moves) = (Vec::new(), Vec::new());
    let (mut returned, mut born, mut now) = (0, size.processes, START);
    while returned < size.requests {
        let event: Event = heard.recv().unwrap();
        returned += usize::from(event.end.is_some());
        events.push(event);
        if dice.one_in(40) {
            // Mostly forwards, sometimes far ahead, sometimes back.
            now += [1, 7, 30, 31, 65, -1, -29, -31, -300, 600][dice.below(10)];
            let before = micros();
            clock.set(now);
            moves.push(Move { before, after: micros(), clock: now });
        }
        if dice.one_in(size.requests / 12) {
            let victim = dice.below(workers.len());
            workers[victim].kill().unwrap();
            workers[victim].wait().unwrap();
            workers[victim] = start(born);
            born += 1;
        }
    }
    for mut worker in workers {
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
    drop(lines);
    events.extend(heard.try_iter());
    // A call that began at the same instant as another ended may overlap it, so beginnings are sorted first.
    events.sort_by_key(|event| (event.at, event.end.is_some()));
    (events, moves)
}

fn start_worker(orders: &Orders, lines: mpsc::Sender<Event>) -> Child {
    // The instructions are in a file, because the ids of many secrets are too long for a variable.
    let file = orders.dir.join(format!("orders-{}", orders.seed));
    serde_json::to_writer(File::create(&file).unwrap(), orders).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["fleet::worker", "--exact", "--nocapture"])
        .env(WORKER, &file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if let Ok(event) = serde_json::from_str(&line) {
                // Sending fails once the test has read enough and closes the channel.
                let _ = lines.send(event);
            }
        }
    });
    child
}

/// The program of the fleet's processes; not a test of its own.
#[test]
fn worker() {
    let Some(orders) = std::env::var_os(WORKER) else { return };
    let orders: Orders = serde_json::from_reader(BufReader::new(File::open(orders).unwrap())).unwrap();
    let clock = Arc::new(FileClock(File::options().read(true).open(orders.dir.join("clock")).unwrap(), orders.ahead));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let opened = open_in(&orders.dir, clock.now());
        let caller = Principal::person(opened.status().default_account);
        let service = Service::new(opened, clock.clone(), Arc::new(SystemRandom));
        let ids: Arc<Vec<SecretId>> = Arc::new(orders.secrets.iter().map(|id| id.parse().unwrap()).collect());
        let mut callers = tokio::task::JoinSet::new();
        for nth in 0..orders.callers {
            let number = orders.seed * 1000 + nth as u64;
            callers.spawn(call_for_ever(service.clone(), caller.clone(), ids.clone(), clock.clone(), number));
        }
        callers.join_all().await;
    });
}

async fn call_for_ever(
    service: Service,
    person: Principal,
    ids: Arc<Vec<SecretId>>,
    clock: Arc<FileClock>,
    caller: u64,
) {
    let mut dice = Dice(caller + 1);
    loop {
        let secret = dice.below(ids.len());
        let ask = if dice.one_in(6) { Ask::Plain } else { Ask::SingleUse };
        let event = |end, clock: &FileClock| {
            let (clock, ahead) = (clock.seconds() + clock.1, clock.1);
            Event { at: micros(), caller, secret, ask, end, clock, ahead }
        };
        say(&event(None, &clock));
        let request = GetCode { single_use: ask == Ask::SingleUse, ..alone_at_once(ids[secret]) };
        let end = match service.perform(&person, request).await {
            Ok(issued) => End::Given(issued.step.0),
            Err(refusal) => {
                assert_eq!(refusal.code(), ErrorCode::Busy, "{refusal}");
                End::Busy
            }
        };
        say(&event(Some(end), &clock));
    }
}

fn say(event: &Event) {
    let mut line = serde_json::to_string(event).unwrap();
    line.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).unwrap();
    out.flush().unwrap();
}

#[expect(clippy::disallowed_methods, reason = "processes are ordered by the machine's clock, not by the fleet's")]
fn micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}

/// Runs the checker on one secret's history.
fn check_history(secret: usize, events: &[Event]) {
    let mut tester = LinearizabilityTester::new(Promise::default());
    for event in events {
        match event.end {
            None => tester.on_invoke(event.caller, event.ask).unwrap(),
            Some(end) => tester.on_return(event.caller, end).unwrap(),
        };
    }
    assert!(tester.is_consistent(), "secret {secret} is not linearizable: {events:#?}");
}

/// Checks that no request was refused without cause: the step of that moment was taken.
fn check_busy(secret: usize, events: &[Event], moves: &[Move]) {
    for (nth, refused) in events.iter().enumerate().filter(|(_, event)| event.end == Some(End::Busy)) {
        let before = &events[..nth];
        let current = *steps_during(before, refused, moves).start();
        let open: BTreeSet<u64> = before.iter().map(|event| event.caller).collect();
        let taken = before.iter().any(|event| matches!(event.end, Some(End::Given(given)) if given >= current));
        // Or it was taken by a call that was killed, or whose end was not read yet.
        let unheard = open.iter().any(|caller| {
            let last = before.iter().rev().find(|event| event.caller == *caller);
            last.is_some_and(|event| event.end.is_none() && event.caller != refused.caller)
        });
        // Or it was taken while the clock advanced: a code whose step ends before its row is committed is requested
        // again.
        let outlived = (0..=nth).filter(|nth| events[*nth].end.is_some()).any(|nth| {
            let steps = steps_during(&events[..nth], &events[nth], moves);
            steps.start() < steps.end() && *steps.end() >= current
        });
        assert!(taken || unheard || outlived, "secret {secret}: busy without cause at {refused:?}: {events:#?}");
    }
}

/// The first and the last step that may have been current during a call: the call was decided at some moment of it, and
/// the clock may have had any value in between.
fn steps_during(before: &[Event], ended: &Event, moves: &[Move]) -> RangeInclusive<u64> {
    let begun = before.iter().rev().find(|event| event.caller == ended.caller).unwrap();
    let from = moves.partition_point(|moved| moved.after < begun.at);
    let during = moves[from..].iter().take_while(|moved| moved.before <= ended.at);
    let clocks = during.map(|moved| moved.clock + ended.ahead).chain([begun.clock, ended.clock]);
    let steps: Vec<u64> = clocks.map(|clock| u64::try_from(clock / PERIOD).unwrap()).collect();
    *steps.iter().min().unwrap()..=*steps.iter().max().unwrap()
}

/// Checks that the audit log is intact after all the kills.
async fn check_audit_log(vault: &Vault) {
    let report = vault.service.perform(&vault.person, VerifyAudit::default()).await.unwrap();
    assert_eq!(report.finding, None);
    let filter = AuditFilter { action: Some(Action::CodeGet), ..AuditFilter::default() };
    let rows = vault.rows(filter).await;
    assert!(rows.iter().any(|row| row.entry.outcome == Outcome::Ok));
}

/// A small random generator with the same sequence in every run (Knuth's constants).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    pub(crate) fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}
