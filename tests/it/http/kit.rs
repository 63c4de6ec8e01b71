//! A server on a real vault, on its own port, and a client that can send any bytes.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use countersign::{
    child::Children,
    domain::{
        ids::SecretId,
        principal::Principal,
        scope::{Scope, ScopeSet},
    },
    operations::{CreateKey, Entry, Method, MintedKey, Service},
    random::{NoRandomness, Random, SystemRandom},
    transport::http::{HttpSettings, Orders, Place, ServeError, serve},
};
use http::HeaderName;
use serde_json::{Map, Value};
use tokio::{runtime::Runtime, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::kit::Vault;

/// A running server.
pub(crate) struct Server {
    pub(crate) vault: Vault,
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    runtime: Runtime,
    running: Option<JoinHandle<Result<(), ServeError>>>,
}

/// A random source that blocks once, until the test releases it: a call that uses it is in progress that long.
pub(crate) struct Dice {
    thrown: Arc<AtomicBool>,
    in_the_air: mpsc::Receiver<()>,
    fall: mpsc::Sender<()>,
}

struct DiceOfServer {
    thrown: Arc<AtomicBool>,
    in_the_air: mpsc::Sender<()>,
    fall: Mutex<mpsc::Receiver<()>>,
}

/// A complete answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A persistent connection.
pub(crate) struct Client {
    pub(crate) stream: BufReader<TcpStream>,
}

/// Settings of a server behind a proxy that signs people in.
pub(crate) fn with_user_header() -> HttpSettings {
    HttpSettings { behind_proxy: true, user_header: Some(HeaderName::from_static("x-user")), ..settings() }
}

pub(crate) fn settings() -> HttpSettings {
    // This executable is the tests', so the children run the real program.
    let children = Children::of(env!("CARGO_BIN_EXE_countersign").into());
    HttpSettings { children, ..HttpSettings::listening_on("127.0.0.1:0".parse().unwrap()) }
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(settings())
    }

    pub(crate) fn with(settings: HttpSettings) -> Self {
        let vault = Vault::new();
        let service = vault.service.clone();
        Self::of(vault, service, settings)
    }

    /// A server whose calls for single-use codes use this random source.
    pub(crate) fn with_dice() -> (Self, Dice) {
        let vault = Vault::new();
        let thrown = Arc::new(AtomicBool::new(true));
        let ((in_the_air, seen), (fall, fallen)) = (mpsc::channel(), mpsc::channel());
        let theirs = DiceOfServer { thrown: Arc::clone(&thrown), in_the_air, fall: Mutex::new(fallen) };
        let service = vault.service_with(vault.clock.clone(), Arc::new(theirs));
        (Self::of(vault, service, settings()), Dice { thrown, in_the_air: seen, fall })
    }

    /// A server on this service, which may differ from the vault's own.
    pub(crate) fn of(vault: Vault, service: Service, mut settings: HttpSettings) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        if let Some(oauth) = &mut settings.oauth {
            oauth.account = vault.account;
        }
        let stop = CancellationToken::new();
        let orders = Orders { stop: stop.clone(), ..Orders::default() };
        let (tell, told) = mpsc::channel();
        let place = runtime.block_on(async { Place::take(&settings) }).expect("the server can listen");
        let serving = serve(service, settings, place, orders, move |at| tell.send(at).unwrap());
        let running = runtime.spawn(serving);
        let port = told.recv().expect("the server starts").address.port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Self { vault, address, stop, runtime, running: Some(running) }
    }

    /// The error with which a server with these settings does not start.
    pub(crate) fn refused(settings: &HttpSettings) -> ServeError {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { Place::take(settings) }).err().expect("the server does not start")
    }

    /// Runs a future to its end.
    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Signals the server to stop.
    pub(crate) fn tell_to_stop(&self) {
        self.stop.cancel();
    }

    /// Stops the server, and waits until it has ended.
    pub(crate) fn stop(&mut self) {
        self.tell_to_stop();
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running).unwrap().unwrap();
        }
    }

    /// A key with these scopes.
    pub(crate) fn key(&self, scopes: impl IntoIterator<Item = Scope>) -> MintedKey {
        self.key_as(&self.vault.person, request(scopes))
    }

    pub(crate) fn key_as(&self, person: &Principal, request: CreateKey) -> MintedKey {
        self.wait(self.vault.service.perform(person, request)).unwrap()
    }

    /// The token of a key with every scope.
    pub(crate) fn token(&self) -> String {
        token_of(&self.key(Scope::ALL))
    }

    /// Registers a secret.
    pub(crate) fn secret(&self, label: &str) -> SecretId {
        self.wait(self.vault.register(label)).secret.id
    }

    pub(crate) fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream: BufReader::new(stream) }
    }

    /// Sends bytes on a new connection, and reads the answer.
    pub(crate) fn raw(&self, request: &[u8]) -> Answer {
        let mut client = self.client();
        client.write(request);
        client.read()
    }

    /// Sends bytes, and reads all data until the server closes the connection.
    pub(crate) fn raw_until_closed(&self, request: &[u8]) -> Vec<u8> {
        let mut client = self.client();
        client.write(request);
        let mut answer = Vec::new();
        let _ = client.stream.read_to_end(&mut answer);
        answer
    }

    /// Sends a request with a token.
    pub(crate) fn send(&self, method: &str, path: &str, token: &str, body: Option<&str>) -> Answer {
        self.raw(written(method, path, &[("authorization", &format!("Bearer {token}"))], body).as_bytes())
    }

    pub(crate) fn get(&self, path: &str, token: &str) -> Answer {
        self.send("GET", path, token, None)
    }

    pub(crate) fn post(&self, path: &str, token: &str, body: &str) -> Answer {
        self.send("POST", path, token, Some(body))
    }

    pub(crate) fn delete(&self, path: &str, token: &str) -> Answer {
        self.send("DELETE", path, token, None)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Dice {
    /// Calls `ask`, which must start a call that uses the random source, and returns while that call is blocked.
    pub(crate) fn throw(&self, ask: impl FnOnce()) {
        self.thrown.store(false, Ordering::SeqCst);
        ask();
        self.in_the_air.recv().unwrap();
    }

    pub(crate) fn fall(&self) {
        self.fall.send(()).unwrap();
    }
}

impl Random for DiceOfServer {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        if !self.thrown.swap(true, Ordering::SeqCst) {
            self.in_the_air.send(()).unwrap();
            // Release the source even if the test failed.
            let _ = self.fall.lock().unwrap().recv();
        }
        SystemRandom.fill(bytes)
    }
}

impl Client {
    /// Whether nothing arrives for this long, not even the end of the connection.
    pub(crate) fn hears_nothing(&self, long: Duration) -> bool {
        let stream = self.stream.get_ref();
        let before = stream.read_timeout().unwrap();
        stream.set_read_timeout(Some(long)).unwrap();
        let nothing = self.stream.buffer().is_empty() && stream.peek(&mut [0]).is_err();
        stream.set_read_timeout(before).unwrap();
        nothing
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Reads one answer.
    pub(crate) fn read(&mut self) -> Answer {
        self.try_read().expect("the server answers")
    }

    /// Reads one answer; returns `None` if the server closed the connection instead.
    pub(crate) fn try_read(&mut self) -> Option<Answer> {
        let (status, headers) = self.head()?;
        self.rest(status, headers)
    }

    /// Reads the rest of an answer.
    pub(crate) fn rest(&mut self, status: u16, headers: Vec<(String, String)>) -> Option<Answer> {
        let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let mut body = Vec::new();
        if header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                body.extend(chunk);
            }
        } else if let Some(count) = header("content-length") {
            body.resize(count.parse().unwrap(), 0);
            self.stream.read_exact(&mut body).ok()?;
        }
        Some(Answer { status, headers, body })
    }

    /// Reads the head of an answer, and leaves its body unread.
    pub(crate) fn head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        let first = self.line()?;
        let status = first.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some((status, headers));
            }
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Reads one chunk of a body; returns `None` at its end.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let count = usize::from_str_radix(&self.line()?, 16).unwrap();
        let mut chunk = vec![0; count + 2];
        self.stream.read_exact(&mut chunk).ok()?;
        chunk.truncate(count);
        (count > 0).then_some(chunk)
    }

    /// Reads a line; returns `None` if the connection has ended.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(count) if count > 0 => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
            _ => None,
        }
    }
}

impl Answer {
    pub(crate) fn header(&self, wanted: &str) -> Option<&str> {
        self.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the answer is JSON")
    }

    /// `OK`, or the code of the refusal.
    pub(crate) fn refusal_or_ok(&self) -> String {
        self.json()["error"].as_str().unwrap_or("OK").to_owned()
    }

    /// The status, and the code of the refusal.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let body = self.json();
        assert_eq!(body["status"], "ERROR", "{body}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
        (self.status, body["error"].as_str().unwrap().to_owned())
    }
}

pub(crate) fn request(scopes: impl IntoIterator<Item = Scope>) -> CreateKey {
    CreateKey {
        name: "test".to_owned(),
        scopes: scopes.into_iter().collect::<ScopeSet>(),
        seat: None,
        secrets: None,
        codes_per_hour: None,
        expires_at: None,
    }
}

pub(crate) fn token_of(key: &MintedKey) -> String {
    key.plain.expose_token().as_str().to_owned()
}

/// The text of an HTTP/1.1 request to this server, on a persistent connection.
pub(crate) fn written(method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        text = text + name + ": " + value + "\r\n";
    }
    if let Some(body) = body {
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            text.push_str("content-type: application/json\r\n");
        }
        text = format!("{text}content-length: {}\r\n", body.len());
    }
    text + "\r\n" + body.unwrap_or_default()
}

/// The id of an enrolment and of a token that do not exist.
const NO_ENROLMENT: &str = "01a2008d-7400-7000-8000-000000000000";

/// The required arguments of an operation, by its schema.
pub(crate) fn needed(entry: &Entry, secret: &str, seat: &str, code: &str) -> Map<String, Value> {
    let input = Value::Object(entry.route_input());
    let known = [
        ("secret_id", secret),
        ("seat_id", seat),
        ("code", code),
        ("enrollment_id", NO_ENROLMENT),
        ("token_id", NO_ENROLMENT),
    ];
    let value_of = |name: &str| known.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let required = input["required"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap());
    let mut needed: Map<_, _> =
        required.map(|name| (name.to_owned(), value_of(name).expect("a field that is known here").into())).collect();
    if entry.spec.name == "register_totp_secret" {
        needed.insert("label".to_owned(), "made".into());
    }
    if entry.spec.name == "enroll_totp_secret" {
        needed.insert("seat_id".to_owned(), seat.into());
    }
    needed
}

/// The text of a request for an operation's route.
pub(crate) fn request_of(entry: &Entry, token: &str, mut arguments: Map<String, Value>) -> String {
    let (route, bearer) = (&entry.api, format!("Bearer {token}"));
    let mut path = route.path.to_owned();
    if let Some(name) = route.in_path() {
        let named = arguments.remove(name).unwrap();
        path = path.replace(&format!("{{{name}}}"), named.as_str().unwrap());
    }
    let headers = [("authorization", bearer.as_str())];
    let method = match route.method {
        Method::Post => return written("POST", &path, &headers, Some(&Value::Object(arguments).to_string())),
        Method::Get => "GET",
        Method::Delete => "DELETE",
    };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let query: Vec<_> = arguments.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
    written(method, &format!("{path}?{}", query.join("&")), &headers, None)
}
