//! Measures how fast a process gives codes of a vault, without HTTP: the rate, and the duration of a call.
//!
//! `COUNTERSIGN_STORE=postgres://… COUNTERSIGN_KEY_FILE=… cargo run --release --example rate -- --callers N --seconds N < IDS`
//!
//! Standard input has the id of a secret in each line. Every caller requests the codes of the secrets in turn, and the
//! output is a line of JSON: the number of calls, the duration of the run and percentiles of a call, in microseconds.

use std::{env, error::Error, io, path::PathBuf, sync::Arc, time::Duration};

use countersign::{
    clock::{Clock as _, SystemClock},
    domain::{ids::SecretId, principal::Principal},
    operations::{GetCode, Service},
    random::SystemRandom,
    vault::{self, OpenRequest, Source, VaultRequest, Writes},
};
use serde_json::json;
use tokio::time::Instant;

#[path = "../common/say.rs"]
mod say;

use say::say;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let after = |flag: &str| {
        let value = arguments.iter().skip_while(|given| *given != flag).nth(1);
        value.and_then(|text| text.parse().ok()).ok_or_else(|| format!("{flag} is followed by a number"))
    };
    let (callers, seconds) = (after("--callers")?, Duration::from_secs(after("--seconds")?));
    let lines = io::read_to_string(io::stdin())?;
    let secrets: Vec<SecretId> = lines.lines().map(str::parse).collect::<Result<_, _>>()?;
    if secrets.is_empty() {
        return Err("standard input has no ids of secrets".into());
    }
    let (service, person) = service().await?;
    let until = Instant::now() + seconds;
    let call = |nth: u64| {
        let (service, person, secrets) = (service.clone(), person.clone(), secrets.clone());
        tokio::spawn(async move {
            let mut took = Vec::new();
            // Each caller begins at another secret.
            let begun = usize::try_from(nth).unwrap_or_default() * 7919 % secrets.len();
            for secret in secrets.iter().cycle().skip(begun) {
                let asked = Instant::now();
                if asked >= until {
                    break;
                }
                service.perform(&person, GetCode::of(*secret)).await.map_err(|refusal| refusal.to_string())?;
                took.push(asked.elapsed().as_micros());
            }
            Ok::<_, String>(took)
        })
    };
    let begun = Instant::now();
    let running: Vec<_> = (0..callers).map(call).collect();
    let mut took = Vec::new();
    for caller in running {
        took.extend(caller.await??);
    }
    let micros = begun.elapsed().as_micros();
    took.sort_unstable();
    let at = |part: usize| took.get((took.len() * part / 1000).min(took.len().saturating_sub(1)));
    let found = json!({
        "calls": took.len(), "micros": micros, "p50": at(500), "p99": at(990), "worst": took.last(), "failed": 0,
    });
    say(found);
    Ok(())
}

/// A node's service, on the vault that the environment names, and a person as its caller.
#[expect(clippy::disallowed_methods, reason = "the settings of a node, as a node gets them")]
async fn service() -> Result<(Service, Principal), Box<dyn Error>> {
    let named = |name: &str| env::var(name).map_err(|_| format!("{name} is not set"));
    let key = PathBuf::from(named("COUNTERSIGN_KEY_FILE")?);
    let folder = key.parent().map(PathBuf::from).unwrap_or_default();
    let request = VaultRequest {
        store: OpenRequest {
            url: named("COUNTERSIGN_STORE")?,
            // Nothing is stored there. It is not the key's own folder, because a key must not be in a vault's folder.
            data_dir: folder.join("data"),
            writes: Writes::Thread,
            make: false,
        },
        source: Arc::new(Source::file(Some(key), folder)),
        state_dir: None,
        now: SystemClock.now(),
    };
    let vault = vault::open(&request, Arc::new(SystemRandom)).await?;
    let person = Principal::person(vault.status().default_account);
    Ok((Service::new(vault, Arc::new(SystemClock), Arc::new(SystemRandom)), person))
}
