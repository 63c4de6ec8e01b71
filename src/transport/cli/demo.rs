//! `countersign demo`: shows what an agent does, call by call, with this program started as an MCP host starts it.
//!
//! The client is written here in a few lines, so that a build of the sidecar alone can show its use too.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Console, Ending, Failure};
use crate::operations::{ErrorCode, answers::OK};

/// The MCP revision that the client requests.
const REVISION: &str = "2025-06-18";
/// The most bytes of a message that are read.
const LINE_BYTES_MAX: u64 = 1024 * 1024;
const SEAT: &str = "ann";

/// The paths that the demo needs.
pub struct Stage {
    /// This program's path.
    pub program: PathBuf,
    /// An empty folder for its vault.
    pub home: PathBuf,
}

/// A command or a call, as JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown {
    Command { command: String, output: String },
    Call { tool: &'static str, arguments: Value, answer: Value },
}

#[derive(Serialize)]
struct DemoAnswer {
    status: &'static str,
    steps: Vec<Shown>,
}

/// Carries out the command.
///
/// # Errors
/// [`Failure`].
pub fn demo(stage: &Stage, console: &mut Console) -> Result<Ending, Failure> {
    let mut show = Show { stage, console, steps: Vec::new() };
    show.title("A person adds the user whom the agent works for")?;
    show.run(&["seat", "add", "--email", "ann@example.com", "--first-name", "Ann", "--auth-subject", SEAT])?;

    show.title("An MCP host starts the sidecar for that user: countersign stdio --seat ann")?;
    let mut agent = Agent::start(stage)?;
    let tools = agent.tools()?;
    show.line(&format!("tools: {}", tools.join(", ")))?;

    show.title("The agent registers the secret that a service showed it")?;
    let mail = json!({"label": "ann@example.com", "issuer": "Mail", "secret": "JBSW Y3DP EHPK 3PXP"});
    let mail = id_of(&show.call(&mut agent, "register_totp_secret", &mail)?);
    show.call(&mut agent, "list_totp_secrets", &json!({"query": "mail"}))?;

    show.title("It logs in")?;
    // Ten seconds are enough to type a code and send it; the current one might be over by then.
    let wish = json!({"secret_id": mail, "min_validity": 10, "purpose": "sign in to the mailbox"});
    show.call(&mut agent, "get_totp_code", &wish)?;

    show.title("Two agents share an account that accepts each code once: a single-use code goes to one of them only")?;
    let shared = json!({"label": "deploy-bot", "issuer": "Forge", "period": 5});
    let forge = id_of(&show.call(&mut agent, "register_totp_secret", &shared)?);
    for _ in 0..2 {
        show.call(&mut agent, "get_totp_code", &json!({"secret_id": forge, "single_use": true}))?;
    }

    show.title("Whom does it work for?")?;
    show.call(&mut agent, "list_seats", &json!({"limit": 10}))?;
    agent.leave()?;

    show.title("And who got which code, afterwards")?;
    show.run(&["audit", "list"])?;
    show.run(&["audit", "verify"])?;
    show.end()
}

/// The output of the demo: lines for a person, one document for a program.
struct Show<'a> {
    stage: &'a Stage,
    console: &'a mut Console,
    steps: Vec<Shown>,
}

impl Show<'_> {
    fn title(&mut self, text: &str) -> Result<(), Failure> {
        if self.console.is_json() {
            return Ok(());
        }
        if !self.steps.is_empty() {
            self.console.line("")?;
        }
        self.console.head(text)?;
        self.console.flush()
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        if self.console.is_json() {
            return Ok(());
        }
        self.console.line(&format!("  {text}"))?;
        self.console.flush()
    }

    /// Runs a command as a person would, and shows what it printed.
    fn run(&mut self, words: &[&str]) -> Result<(), Failure> {
        let command = format!("countersign {}", words.join(" "));
        self.line(&format!("$ {command}"))?;
        // The command's notes are left out: they are for a vault that stays.
        let ran = self.stage.command(words).stdin(Stdio::null()).output().map_err(|cause| broken(&cause))?;
        if !ran.status.success() {
            let errors = String::from_utf8_lossy(&ran.stderr);
            return Err(broken(&format_args!("`{command}` failed: {}", errors.trim_end())));
        }
        let output = String::from_utf8_lossy(&ran.stdout).into_owned();
        for line in output.lines() {
            self.line(line)?;
        }
        self.steps.push(Shown::Command { command, output });
        Ok(())
    }

    /// Calls a tool and shows the call and its answer, a seed as a fixed number of dots.
    fn call(&mut self, agent: &mut Agent, tool: &'static str, arguments: &Value) -> Result<Value, Failure> {
        let typed = masked(arguments.clone());
        self.line(&format!("→ {tool} {typed}"))?;
        let answer = agent.call(tool, arguments)?;
        let shown = masked(answer.clone());
        self.line(&format!("← {shown}"))?;
        self.steps.push(Shown::Call { tool, arguments: typed, answer: shown });
        Ok(answer)
    }

    fn end(self) -> Result<Ending, Failure> {
        if self.console.is_json() {
            self.console.document(&DemoAnswer { status: OK, steps: self.steps })?;
        }
        self.console.flush()?;
        self.console.note("That vault is gone. `countersign setup` gives an agent one that stays.");
        Ok(Ending::Done)
    }
}

impl Stage {
    /// A command of this program. Its vault and key are in the folder, and it inherits no environment variables.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        let place = |name: &str| self.home.join(name);
        command.args(words).arg("--data-dir").arg(place("data")).arg("--key-file").arg(place("key"));
        command.arg("--state-dir").arg(place("state")).env_clear().env("HOME", &self.home);
        command
    }
}

/// A client, with the sidecar as its child.
struct Agent {
    sidecar: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    id: u64,
}

impl Agent {
    /// Starts the sidecar as a host would, and initializes the session.
    fn start(stage: &Stage) -> Result<Self, Failure> {
        let mut command = stage.command(&["stdio", "--seat", SEAT]);
        let sidecar = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
        let mut sidecar = sidecar.map_err(|cause| broken(&cause))?;
        let (Some(to), Some(from)) = (sidecar.stdin.take(), sidecar.stdout.take()) else {
            return Err(broken(&"it has no pipes"));
        };
        let mut agent = Self { sidecar, to, from: BufReader::new(from), id: 0 };
        let about = json!({"name": "countersign-demo", "version": env!("CARGO_PKG_VERSION")});
        agent.ask("initialize", &json!({"protocolVersion": REVISION, "capabilities": {}, "clientInfo": about}))?;
        agent.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(agent)
    }

    fn tools(&mut self) -> Result<Vec<String>, Failure> {
        let listed = self.ask("tools/list", &json!({}))?;
        let tools = listed.get("tools").and_then(Value::as_array).into_iter().flatten();
        Ok(tools.filter_map(|tool| tool.get("name")?.as_str().map(str::to_owned)).collect())
    }

    /// Calls a tool.
    fn call(&mut self, tool: &str, arguments: &Value) -> Result<Value, Failure> {
        let called = self.ask("tools/call", &json!({"name": tool, "arguments": arguments}))?;
        let answer = called.get("structuredContent").filter(|_| called.get("isError") != Some(&Value::Bool(true)));
        answer.cloned().ok_or_else(|| broken(&format_args!("{tool} answered {called}")))
    }

    /// Sends a request, and reads up to its answer.
    fn ask(&mut self, method: &str, params: &Value) -> Result<Value, Failure> {
        self.id += 1;
        self.say(&json!({"jsonrpc": "2.0", "id": self.id, "method": method, "params": params}))?;
        loop {
            let mut line = Vec::new();
            let read = self.from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            if read.map_err(|cause| broken(&cause))? == 0 {
                return Err(broken(&"it ended before its answer"));
            }
            let mut message: Map<String, Value> = serde_json::from_slice(&line).map_err(|cause| broken(&cause))?;
            if message.get("id") != Some(&self.id.into()) {
                continue;
            }
            let refused = || broken(&format_args!("{method} was refused"));
            return message.remove("result").ok_or_else(refused);
        }
    }

    fn say(&mut self, message: &Value) -> Result<(), Failure> {
        writeln!(self.to, "{message}").and_then(|()| self.to.flush()).map_err(|cause| broken(&cause))
    }

    /// Ends the session, and with it the sidecar.
    fn leave(self) -> Result<(), Failure> {
        let Self { mut sidecar, to, .. } = self;
        drop(to);
        sidecar.wait().map(drop).map_err(|cause| broken(&cause))
    }
}

fn broken(cause: &dyn std::fmt::Display) -> Failure {
    Failure::Failed { code: ErrorCode::Internal, message: format!("the demo did not get to its end: {cause}") }
}

fn id_of(registered: &Value) -> Value {
    registered.pointer("/totp_secret/id").cloned().unwrap_or_default()
}

/// Replaces the seeds in a value by dots.
fn masked(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                *field = if name == "secret" && field.is_string() {
                    json!("••••••••")
                } else {
                    masked(field.take())
                };
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = masked(item.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}
