//! One connection to a browser: commands of the `DevTools` protocol and their answers, by number. No events are
//! requested; of those that arrive, only the one for a closed page is used.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{Sink, SinkExt as _, Stream, StreamExt as _, future::ready};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    task::{AbortHandle, spawn_blocking},
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{
    connect_async_with_config,
    tungstenite::{self, Message, Utf8Bytes, protocol::WebSocketConfig},
};

#[cfg(unix)]
use super::pipe;
#[cfg(unix)]
use crate::random::{Random as _, SystemRandom};
use crate::{domain::browser_address::BrowserAddress, fetch};

/// How long a browser may take to accept a connection.
const OPENS_WITHIN: Duration = Duration::from_secs(3);
/// The most bytes of an answer: a list of all pages holds their addresses, and some addresses hold a whole page.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The most bytes of a browser's answer about its version.
const VERSION_BYTES_MAX: u64 = 16 * 1024;
/// The file in a profile's folder into which a browser writes the address at which it takes commands.
const PORT_FILE: &str = "DevToolsActivePort";
/// The event that ends a session.
const PAGE_CLOSED: &str = "Target.detachedFromTarget";

type Waiting = Arc<Mutex<HashMap<u64, Call>>>;

/// The error of a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LinkError {
    /// There is no connection, or it ended.
    #[error("{0}")]
    Gone(&'static str),
    /// The browser refuses the command: its object does not exist any more.
    #[error("the browser refused")]
    Refused {
        /// Whether the object did not exist from the start, so that nothing was carried out.
        before: bool,
    },
    /// No answer in time.
    #[error("the browser does not answer")]
    Late,
}

/// A command that is not answered yet.
struct Call {
    session: Option<String>,
    answer: oneshot::Sender<Answer>,
}

/// A connection. Dropping it ends every session that was opened over it.
pub(super) struct Link {
    commands: mpsc::UnboundedSender<Utf8Bytes>,
    waiting: Waiting,
    next: AtomicU64,
    task: AbortHandle,
    /// The session for commands to the browser itself, if that is not the connection's own.
    root: Arc<OnceLock<String>>,
    /// Sessions that are open, by their targets.
    pub(super) sessions: Mutex<HashMap<String, String>>,
}

/// A message from a browser.
#[derive(Deserialize)]
struct Answer {
    id: Option<u64>,
    result: Option<Value>,
    error: Option<Problem>,
    /// The name of an event.
    method: Option<String>,
    params: Option<Ended>,
}

/// The session of a page that was closed.
#[derive(Deserialize)]
struct Ended {
    #[serde(rename = "sessionId")]
    session: Option<String>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "webSocketDebuggerUrl")]
    url: String,
}

impl Link {
    /// Connects to a browser. If other programs use its pipes, waits for them for at most `within`.
    pub(super) async fn open(address: &BrowserAddress, within: Duration) -> Result<Arc<Self>, LinkError> {
        let late = |_| LinkError::Gone("it does not answer; is it a browser with --remote-debugging-port?");
        let until = Instant::now() + OPENS_WITHIN;
        let url = match address {
            BrowserAddress::Whole(url) => url.clone(),
            BrowserAddress::Port(base) => timeout_at(until, said_by(base.clone())).await.map_err(late)??,
            BrowserAddress::Profile(path) => written_in(path)?,
            BrowserAddress::Pipes(folder) => return Self::take(folder, within).await,
        };
        timeout_at(until, Self::connect(&url)).await.map_err(late)?
    }

    async fn connect(url: &str) -> Result<Arc<Self>, LinkError> {
        let limits = WebSocketConfig::default().max_message_size(Some(ANSWER_BYTES_MAX)).max_frame_size(None);
        let (socket, _) = connect_async_with_config(url, Some(limits), true)
            .await
            .map_err(|_| LinkError::Gone("nothing takes commands there; was the browser closed?"))?;
        let (to, from) = socket.split();
        let texts = from.filter_map(|message| {
            ready(match message {
                Ok(Message::Text(text)) => Some(Ok(text)),
                Ok(_) => None,
                Err(cause) => Some(Err(cause)),
            })
        });
        let commands = to.with(|text| ready(Ok::<_, tungstenite::Error>(Message::Text(text))));
        Ok(Self::over(commands, texts, 1, Arc::default(), ()))
    }

    /// Takes the pipes of a browser.
    #[cfg(unix)]
    async fn take(folder: &Path, within: Duration) -> Result<Arc<Self>, LinkError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Attached {
            session_id: String,
        }
        let (commands, answers, turn) = pipe::open(folder, within, ANSWER_BYTES_MAX).await.map_err(LinkError::Gone)?;
        let root = Arc::clone(&turn.session);
        // The pipes may still hold answers to another program.
        let link = Self::over(commands, answers, unused_number(), Arc::clone(&root), turn);
        let attached = link.call(None, "Target.attachToBrowserTarget", json!({}), OPENS_WITHIN).await?;
        let Attached { session_id } = answer(attached)?;
        let _ = root.set(session_id);
        Ok(link)
    }

    #[cfg(not(unix))]
    #[expect(clippy::unused_async, reason = "as on the other platforms")]
    async fn take(_: &Path, _: Duration) -> Result<Arc<Self>, LinkError> {
        Err(LinkError::Gone("pipes have no names here; start the browser with --remote-debugging-port"))
    }

    /// A connection over these two directions, whose commands are numbered from `first`. `held` is dropped after both.
    fn over<Cause: Send>(
        commands: impl Sink<Utf8Bytes, Error: Send> + Send + 'static,
        answers: impl Stream<Item = Result<impl AsRef<[u8]> + Send, Cause>> + Send + 'static,
        first: u64,
        root: Arc<OnceLock<String>>,
        held: impl Send + 'static,
    ) -> Arc<Self> {
        let (queue, queued) = mpsc::unbounded_channel();
        let waiting = Waiting::default();
        let carried = Arc::clone(&waiting);
        let task = tokio::spawn(async move {
            let _held = held;
            carry(Box::pin(commands), Box::pin(answers), queued, carried).await;
        });
        let next = AtomicU64::new(first);
        Arc::new(Self { commands: queue, waiting, next, task: task.abort_handle(), root, sessions: Mutex::default() })
    }

    /// Sends a command, in a session or to the browser itself, and returns its result.
    pub(super) async fn call(
        &self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
        within: Duration,
    ) -> Result<Value, LinkError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        lock(&self.waiting).insert(id, Call { session: session.map(str::to_owned), answer });
        let mut command = json!({"id": id, "method": method, "params": parameters});
        let session = session.or_else(|| self.root.get().map(String::as_str));
        if let (Some(session), Some(command)) = (session, command.as_object_mut()) {
            command.insert("sessionId".to_owned(), session.into());
        }
        let gone = LinkError::Gone("it was closed");
        self.commands.send(command.to_string().into()).map_err(|_| gone.clone())?;
        let answered = timeout(within, answered).await;
        lock(&self.waiting).remove(&id);
        let answer = answered.map_err(|_| LinkError::Late)?.map_err(|_| gone)?;
        match answer.error {
            None => Ok(answer.result.unwrap_or_default()),
            Some(Problem { message }) => Err(LinkError::Refused { before: was_before(&message) }),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads an answer. An answer of another shape is an error.
pub(super) fn answer<T: DeserializeOwned>(value: Value) -> Result<T, LinkError> {
    serde_json::from_value(value).map_err(|_| LinkError::Gone("it answers as no browser does that this program knows"))
}

/// A command number that other programs have most likely not used.
#[cfg(unix)]
fn unused_number() -> u64 {
    let mut bytes = [0; 4];
    // Without randomness, only an answer that was left in the pipes may be mistaken.
    let _ = SystemRandom.fill(&mut bytes);
    // Browsers accept 31 bits, and later commands have higher numbers.
    u64::from(u32::from_le_bytes(bytes) >> 2)
}

/// Whether the object of the command did not exist from the start. The browser's other refusals mean that it went away
/// meanwhile.
fn was_before(message: &str) -> bool {
    ["Could not find object with given id", "Cannot find context with specified id", "Session with given id not found."]
        .iter()
        .any(|known| message.starts_with(known))
}

/// Sends commands and hands out answers until either side ends. Then no call is left waiting.
async fn carry<Cause>(
    mut to: impl Sink<Utf8Bytes> + Unpin,
    mut from: impl Stream<Item = Result<impl AsRef<[u8]>, Cause>> + Unpin,
    mut queue: mpsc::UnboundedReceiver<Utf8Bytes>,
    waiting: Waiting,
) {
    loop {
        tokio::select! {
            command = queue.recv() => {
                let Some(command) = command else { break };
                if to.send(command).await.is_err() {
                    break;
                }
            }
            message = from.next() => {
                let Some(Ok(message)) = message else { break };
                let Ok(answer) = serde_json::from_slice::<Answer>(message.as_ref()) else { continue };
                match answer.id {
                    Some(id) => {
                        let call = lock(&waiting).remove(&id);
                        drop(call.map(|call| call.answer.send(answer)));
                    }
                    // The commands to a closed page will not be answered any more.
                    None if answer.method.as_deref() == Some(PAGE_CLOSED) => {
                        let ended = answer.params.and_then(|ended| ended.session);
                        lock(&waiting).retain(|_, call| call.session.is_none() || call.session != ended);
                    }
                    None => {}
                }
            }
        }
    }
    lock(&waiting).clear();
}

/// The address that a browser on this machine reports. Only the path is taken from it: the browser may use another host
/// name for itself.
async fn said_by(base: String) -> Result<String, LinkError> {
    let ask = {
        let base = base.clone();
        move || -> Option<Version> {
            let mut answer = fetch::agent(true, 0, OPENS_WITHIN).get(format!("{base}/json/version")).call().ok()?;
            let text = answer.body_mut().with_config().limit(VERSION_BYTES_MAX).read_to_string().ok()?;
            serde_json::from_str(&text).ok()
        }
    };
    let none =
        LinkError::Gone("nothing says there where it takes commands; start the browser with --remote-debugging-port");
    let version = spawn_blocking(ask).await.ok().flatten().ok_or(none.clone())?;
    let path = version.url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).ok_or(none)?.1;
    Ok(format!("{}/{path}", base.replacen("http://", "ws://", 1)))
}

/// The address that a browser has written into its profile's folder.
fn written_in(path: &Path) -> Result<String, LinkError> {
    let file = if path.is_dir() { path.join(PORT_FILE) } else { path.to_owned() };
    let none =
        || LinkError::Gone("its profile does not say where it takes commands; start it with --remote-debugging-port=0");
    let text = fs::read_to_string(file).map_err(|_| none())?;
    let mut lines = text.lines();
    let port: u16 = lines.next().and_then(|line| line.trim().parse().ok()).ok_or_else(none)?;
    let path = lines.next().map(str::trim).filter(|path| path.starts_with('/')).ok_or_else(none)?;
    Ok(format!("ws://127.0.0.1:{port}{path}"))
}
