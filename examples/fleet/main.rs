//! Eight agents, one account, a login that takes each code once: `cargo run --example fleet`.
//!
//! The agents are real MCP clients, each with a sidecar of its own on one vault. The login is a web server that checks
//! codes with `totp-rs` and remembers the time steps it has accepted, as RFC 6238 section 5.2 requires of verifiers.
//! With plain codes seven of the eight are turned away; with single-use codes all get in. Steps are two seconds long
//! here, so that the example takes seconds; `--period 30` sets the usual length. The example fails on any other
//! outcome.

use std::{
    env,
    error::Error,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use serde_json::{Value, json};

#[path = "../common/agent.rs"]
mod agent;
#[path = "../common/build.rs"]
mod build;
mod login;
#[path = "../common/say.rs"]
mod say;

use agent::{Agent, Program};
use build::{Target, build};
use login::Login;
use say::{aside, say};

const AGENTS: usize = 8;
/// The seed that the service shows when 2FA is set up.
const SEED: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok((1, AGENTS)) => ExitCode::SUCCESS,
        Ok((plain, single)) => {
            aside(format_args!("expected 1 and {AGENTS} to get in, not {plain} and {single}"));
            ExitCode::FAILURE
        }
        Err(cause) => {
            aside(format_args!("fleet: {cause}"));
            ExitCode::FAILURE
        }
    }
}

/// Returns how many agents got in with plain codes, and how many with single-use codes.
async fn run() -> Result<(usize, usize), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let period = match arguments.as_slice() {
        [] => 2,
        [flag, period] if flag == "--period" => period.parse()?,
        _ => return Err("only --period SECONDS".into()),
    };
    aside("building countersign…");
    let folder = build(&[Target::Countersign, Target::Example("fleet")])?;
    let home = tempfile::tempdir()?;
    let login = Arc::new(Login::open(SEED, period).await?);
    let agents = fleet(&folder, home.path()).await?;
    let registration = json!({"label": "deploy", "issuer": "Forge", "secret": SEED, "period": period});
    let first = agents.first().ok_or("there are no agents")?;
    let registered = ask(first, "register_totp_secret", &registration).await?;
    let secret = registered.pointer("/totp_secret/id").cloned().unwrap_or_default();

    say(format_args!("{AGENTS} agents log in at once, each with the current code:"));
    // All agents start at the beginning of a step, so that they get the code of the same step.
    tokio::time::sleep(login.until_next_step()).await;
    let plain = all_log_in(&agents, &login, &json!({"secret_id": secret})).await?;
    say(format_args!("\nthe same with single_use, where each gets a code of its own and waits for it:"));
    let wish = json!({"secret_id": secret, "single_use": true, "max_wait": 120});
    let single = all_log_in(&agents, &login, &wish).await?;
    say(format_args!("\n{plain} of {AGENTS} got in with plain codes, {single} of {AGENTS} with single-use codes"));
    for agent in agents {
        agent.leave().await?;
    }
    Ok((plain, single))
}

/// Starts the agents, each with its own process.
async fn fleet(folder: &Path, home: &Path) -> Result<Vec<Agent>, Box<dyn Error>> {
    let countersign = Program::new(folder, home);
    let started = (1..=AGENTS).map(|nth| {
        let countersign = &countersign;
        async move { countersign.agent(&format!("agent-{nth}"), &[]).await }
    });
    try_join_all(started).await
}

/// Returns how many agents get in.
async fn all_log_in(agents: &[Agent], login: &Arc<Login>, wish: &Value) -> Result<usize, Box<dyn Error>> {
    let begun = Instant::now();
    let attempts = agents.iter().enumerate().map(|(nth, agent)| async move {
        let code = fresh_code(agent, wish).await?;
        let welcome = login.enter(&code).await?;
        let verdict = if welcome { "welcome" } else { "turned away: the code was used before" };
        say(format_args!("  {:>5.1} s  agent {} {verdict}", begun.elapsed().as_secs_f64(), nth + 1));
        Ok::<_, Box<dyn Error>>(welcome)
    });
    Ok(try_join_all(attempts).await?.into_iter().filter(|welcome| *welcome).count())
}

/// Returns a code; repeats the request after `retry_after` seconds when a refusal has that field.
async fn fresh_code(agent: &Agent, wish: &Value) -> Result<String, Box<dyn Error>> {
    loop {
        match agent.call("get_totp_code", wish).await? {
            Ok(answer) => {
                return Ok(answer.get("code").and_then(Value::as_str).unwrap_or_default().to_owned());
            }
            Err(refusal) => match refusal.get("retry_after").and_then(Value::as_u64) {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => return Err(refusal.to_string().into()),
            },
        }
    }
}

async fn ask(agent: &Agent, tool: &str, arguments: &Value) -> Result<Value, Box<dyn Error>> {
    agent.call(tool, arguments).await?.map_err(|refusal| refusal.to_string().into())
}
