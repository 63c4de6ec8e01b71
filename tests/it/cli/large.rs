//! Large vaults: the cost of a list and of its page, and the memory of whole lists.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Stdio},
};

use super::{Person, text_of};

/// The number of secrets in the large vault; `.ci/run` sets the full number, which a user may have.
fn many() -> usize {
    if std::env::var_os("COUNTERSIGN_LARGE").is_some() { 100_000 } else { 10_000 }
}

/// Writes a file with this many secrets.
fn list_of(person: &Person, count: usize) {
    let links = (0..count).map(|n| {
        let seed = data_encoding::BASE32.encode(format!("seed number {n:08}").as_bytes());
        format!("otpauth://totp/Service%20{n}:ada{n}@example.com?secret={seed}&issuer=Service%20{n}\n")
    });
    person.file("many.txt", &links.collect::<String>());
}

/// A person with this many secrets, and the token of a key.
fn with_secrets(count: usize) -> (Person, String) {
    let person = Person::with_vault();
    list_of(&person, count);
    person.run(&["secret", "import", "many.txt", "--yes", "--json"]).ok();
    let key = person.run(&["key", "create", "--name", "ci", "--json"]).json();
    (person, text_of(&key, "/token").to_owned())
}

/// A server in its own process.
struct Served {
    process: Child,
    address: String,
    token: String,
}

impl Served {
    fn start(person: &Person, token: String) -> Self {
        let mut command = person.command(&["serve", "--listen", "127.0.0.1:0"]);
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let address = said.find_map(|line| line.strip_prefix("listening on http://").map(str::to_owned)).unwrap();
        Self { process, address, token }
    }

    /// Returns the whole answer of a request.
    fn get(&self, query: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let (address, token) = (&self.address, &self.token);
        let head = format!("GET /api/v2/totp/secrets{query} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
        stream.write_all(format!("{head}authorization: Bearer {token}\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:.200}");
        answer
    }

    /// The peak of its memory, in KiB.
    fn peak(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let fact = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        fact.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    /// The processor time of all its threads, in nanoseconds.
    fn cpu(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let taken = |path: std::path::PathBuf| fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        tasks.filter_map(|task| taken(task.unwrap().path()).split(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// The lowest cost of a request in several spans, in nanoseconds. A span has many requests: the kernel may count up to
    /// one tick of a thread that runs in the next span.
    fn cost(&self, query: &str) -> u64 {
        /// The requests of a span.
        const REQUESTS: u64 = 50;
        let span = || {
            let before = self.cpu();
            (0..REQUESTS).for_each(|_| drop(self.get(query)));
            (self.cpu() - before) / REQUESTS
        };
        (0..4).map(|_| span()).min().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_list_costs_its_page_and_eight_whole_lists_at_once_take_the_memory_of_their_parts() {
    /// KiB beyond the server's peak before: the parts of eight lists, however long the lists are.
    const MOST: usize = 24 * 1024;

    let (few, token) = with_secrets(100);
    let few = Served::start(&few, token);
    let (large, token) = with_secrets(many());
    let large = Served::start(&large, token);
    let (of_few, of_many) = (few.cost("?limit=50"), large.cost("?limit=50"));
    assert!(of_many <= 2 * of_few, "{of_many} ns for a page of {}, {of_few} ns for one of 100", many());

    let before = large.peak();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8).map(|_| scope.spawn(|| large.get(""))).collect();
        for caller in callers {
            let answer = caller.join().unwrap();
            assert_eq!(answer.matches("\"created_at\"").count(), many());
            assert!(answer.ends_with("]}\r\n0\r\n\r\n"), "the list has its end");
        }
    });
    let grown = large.peak() - before;
    assert!(grown <= MOST, "{grown} KiB");
}

/// The most memory of a command in this build, in MiB. It is not optimised: its code and stacks take more than an
/// optimised build's.
#[cfg(target_os = "linux")]
const MIB_OF_UNOPTIMISED: usize = 40;

/// The peak of a command's memory, in KiB.
#[cfg(target_os = "linux")]
fn peak_of(person: &Person, arguments: &[&str]) -> usize {
    let mut command = person.command(arguments);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Not every command reads its input.
    let _ = process.stdin.take().unwrap().write_all(b"492039\n");
    let (status, mut peak) = (format!("/proc/{}/status", process.id()), 0);
    // The peak only grows, so the last value that is read before the end counts.
    while process.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let fact = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak = peak.max(fact.map_or(0, |fact| fact.parse().unwrap()));
        std::thread::yield_now();
    }
    peak
}

#[cfg(target_os = "linux")]
#[test]
fn trace_export_and_verify_take_memory_that_does_not_grow_with_the_audit_log() {
    use countersign::domain::audit::{Action, Actor, AuditEntry};

    let rows = if std::env::var_os("COUNTERSIGN_LARGE").is_some() { 1_000_000 } else { 40_000 };
    let (small, large) = (Person::with_alice(), Person::with_alice());
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let vault = large.open().await;
        let account = Some(vault.status().default_account);
        let entry = AuditEntry { account, ..AuditEntry::by(Actor::Person, Action::CodeGet, crate::vault::kit::NOW) };
        for _ in 0..rows / 5000 {
            vault.record(vec![entry.clone(); 5000]).await.unwrap();
        }
        vault.close().await.unwrap();
    });
    for arguments in [["audit", "trace", "--stdin"].as_slice(), &["audit", "export"], &["audit", "verify"]] {
        // A short run on a busy machine may end between two readings.
        let of_few = (0..8).map(|_| peak_of(&small, arguments)).max().unwrap();
        let of_many = peak_of(&large, arguments);
        assert!(of_many <= MIB_OF_UNOPTIMISED * 1024, "{arguments:?}: {of_many} KiB");
        assert!(of_many <= of_few + 6 * 1024, "{arguments:?}: {of_many} KiB for {rows} rows, {of_few} KiB for a few");
    }
}

/// Ticks of processor time that an import of `count` secrets takes, including the process that reads the file.
#[cfg(target_os = "linux")]
fn ticks_of_an_import(count: usize) -> u64 {
    let person = Person::with_vault();
    list_of(&person, count);
    let mut command = person.command(&["secret", "import", "many.txt", "--yes", "--json"]);
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (stat, mut ticks) = (format!("/proc/{}/stat", process.id()), 0);
    while process.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&stat).unwrap_or_default();
        // utime, stime, cutime and cstime, after the name in brackets.
        let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11).take(4);
        ticks = ticks.max(fields.filter_map(|field| field.parse::<u64>().ok()).sum());
        std::thread::yield_now();
    }
    ticks
}

#[cfg(target_os = "linux")]
#[test]
fn an_import_of_ten_thousand_takes_no_more_time_than_ten_of_a_thousand() {
    // A short run on a busy machine may end between two readings.
    let one = (0..3).map(|_| ticks_of_an_import(1_000)).max().unwrap();
    let ten = ticks_of_an_import(10_000);
    assert!(ten <= 15 * one.max(1), "{ten} ticks for 10,000, {one} for 1,000");
}

#[cfg(target_os = "linux")]
#[test]
fn a_list_of_secrets_takes_memory_that_does_not_grow_with_their_number() {
    let ((few, _), (large, _)) = (with_secrets(1_000), with_secrets(many()));
    let listed = large.run(&["secret", "list", "--json"]).json();
    assert_eq!(listed["totp_secrets"].as_array().map(Vec::len), Some(many()));
    let lines = large.run(&["secret", "list"]).ok();
    assert_eq!(lines.lines().count(), many() + 1);
    for arguments in
        [["secret", "list", "--json"].as_slice(), &["secret", "list"], &["secret", "list", "--query", "ada7"]]
    {
        // A short run on a busy machine may end between two readings.
        let of_few = (0..4).map(|_| peak_of(&few, arguments)).max().unwrap();
        let of_many = peak_of(&large, arguments);
        assert!(of_many <= MIB_OF_UNOPTIMISED * 1024, "{arguments:?}: {of_many} KiB for {}", many());
        assert!(of_many <= of_few + 3 * 1024, "{arguments:?}: {of_many} KiB for {}, {of_few} KiB for 1,000", many());
    }
}
