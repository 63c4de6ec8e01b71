//! What an agent does with Countersign, call by call: `cargo run --example agent`.
//!
//! `countersign demo` shows the same calls and needs less compilation; here the client is the SDK's. The example starts
//! the real program as an MCP host would, in a temporary home, and shows each call and its answer.

use std::{
    error::Error,
    io::{self, IsTerminal as _},
    time::Instant,
};

use serde_json::{Value, json};

#[path = "../common/agent.rs"]
mod agent;
#[path = "../common/build.rs"]
mod build;
#[path = "../common/say.rs"]
mod say;

use agent::{Agent, Program};
use build::{Target, build};
use say::{aside, say};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    aside("building countersign…");
    let folder = build(&[Target::Countersign, Target::Example("agent")])?;
    let home = tempfile::tempdir()?;
    let countersign = Program::new(&folder, home.path());
    let style = Style::new();

    style.title("A person adds the user whom the agent works for");
    let add = ["seat", "add", "--email", "ann@example.com", "--first-name", "Ann", "--auth-subject", "ann"];
    style.run(&countersign, &add)?;

    style.title("An MCP host starts the sidecar for that user: countersign stdio --seat ann");
    let agent = countersign.agent("example-agent", &["--seat", "ann"]).await?;
    say(format_args!("  tools: {}", agent.tools().await?.join(", ")));

    style.title("The agent registers the secret that a service showed it");
    let mail = json!({"label": "ann@example.com", "issuer": "Mail", "secret": "JBSW Y3DP EHPK 3PXP"});
    let registered = style.call(&agent, "register_totp_secret", &mail).await?;
    let mail_id = registered.pointer("/totp_secret/id").cloned().unwrap_or_default();
    style.call(&agent, "list_totp_secrets", &json!({"query": "mail"})).await?;

    style.title("It logs in");
    // Ten seconds are enough to type a code and send it; the current code may expire sooner.
    let wish = json!({"secret_id": mail_id, "min_validity": 10, "purpose": "sign in to the mailbox"});
    style.call(&agent, "get_totp_code", &wish).await?;

    style.title("Two agents share an account that accepts each code once: a single-use code goes to one of them only");
    let shared = json!({"label": "deploy-bot", "issuer": "Forge", "period": 5});
    let registered = style.call(&agent, "register_totp_secret", &shared).await?;
    let forge_id = registered.pointer("/totp_secret/id").cloned().unwrap_or_default();
    for _ in 0..2 {
        style.call(&agent, "get_totp_code", &json!({"secret_id": forge_id, "single_use": true})).await?;
    }

    style.title("Whom does it work for?");
    style.call(&agent, "list_seats", &json!({"limit": 10})).await?;
    agent.leave().await?;

    style.title("And who got which code, afterwards");
    style.run(&countersign, &["audit", "list"])?;
    style.run(&countersign, &["audit", "verify"])?;
    Ok(())
}

/// How calls are shown: in bold and dim on a terminal, without styles elsewhere.
struct Style {
    bold: &'static str,
    dim: &'static str,
    plain: &'static str,
}

impl Style {
    fn new() -> Self {
        if io::stdout().is_terminal() {
            Self { bold: "\x1b[1m", dim: "\x1b[2m", plain: "\x1b[0m" }
        } else {
            Self { bold: "", dim: "", plain: "" }
        }
    }

    fn title(&self, text: &str) {
        say(format_args!("\n{}{text}{}", self.bold, self.plain));
    }

    /// Runs a command and shows what it printed.
    fn run(&self, countersign: &Program, arguments: &[&str]) -> io::Result<()> {
        say(format_args!("  $ countersign {}", arguments.join(" ")));
        for line in countersign.run(arguments)?.lines() {
            say(format_args!("  {}{line}{}", self.dim, self.plain));
        }
        Ok(())
    }

    /// Calls a tool and shows the call and its answer, with seeds masked.
    async fn call(&self, agent: &Agent, tool: &str, arguments: &Value) -> Result<Value, Box<dyn Error>> {
        say(format_args!("  → {tool} {}", masked(arguments.clone())));
        let begun = Instant::now();
        let answer = agent.call(tool, arguments).await?;
        let millis = begun.elapsed().as_secs_f64() * 1e3;
        let shown = masked(answer.clone().unwrap_or_else(|refusal| refusal));
        say(format_args!("  {}← {shown}  ({millis:.1} ms){}", self.dim, self.plain));
        answer.map_err(|refusal| refusal.to_string().into())
    }
}

/// Replaces the seeds in a value.
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
