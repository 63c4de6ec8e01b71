//! `countersign plugin agent-browser`: answers the one request on standard input that agent-browser makes of a plugin
//! (`agent-browser.plugin.v1`), and ends. Every answer is an object on one line, errors too: agent-browser reads
//! nothing else.

use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Console, Ending, Failure, Session,
    names::{self, Among},
    seat,
};
use crate::{
    domain::origin::Origin,
    operations::{FillCode, FillResponse, GetCode, Refusal, Seconds, Text},
    transport::ErrorBody,
};

const PROTOCOL: &str = "agent-browser.plugin.v1";
/// The most bytes of a request.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// The longest wait for a page and a code, in seconds: agent-browser ends a plugin that fills after 60.
const FILL_WAIT_MAX: u32 = 45;
/// The longest wait for a code, in seconds: agent-browser ends a plugin that resolves a credential after 15.
const CREDENTIAL_WAIT: u32 = 12;
/// The fields that a code may be typed into by agent-browser itself, as one selector.
const FIELDS: &str = "input[autocomplete=\"one-time-code\"], input[name*=\"otp\" i], input[id*=\"otp\" i], \
                      input[name*=\"2fa\" i], input[name*=\"code\" i], input[id*=\"code\" i]";

/// The programs that have plugins.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer a request of agent-browser on standard input; docs/browsers.md shows its configuration
    #[command(
        after_help = "Examples:\n  countersign plugin agent-browser --browser http://127.0.0.1:9222\nIn agent-browser's configuration (~/.agent-browser/config.json):\n  {\"plugins\": [{\"name\": \"countersign\", \"command\": \"countersign\",\n    \"args\": [\"plugin\", \"agent-browser\", \"--browser\", \"http://127.0.0.1:9222\"],\n    \"capabilities\": [\"totp.fill\", \"command.run\"]}]}\nThen:\n  agent-browser plugin run countersign totp.fill --payload '{\"secret\": \"github\"}'"
    )]
    AgentBrowser,
}

#[derive(Deserialize)]
struct Request {
    r#type: String,
    #[serde(default)]
    request: Value,
}

/// A request to type a code: the arguments of the tool, but the secret may be given by its name too.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fill {
    #[serde(alias = "secret_id")]
    secret: String,
    page: Option<String>,
    selector: Option<String>,
    submit: Option<bool>,
    min_validity: Option<u32>,
    max_wait: Option<u32>,
    seat_id: Option<String>,
    purpose: Option<String>,
}

/// A request for the credential that agent-browser logs in with. Other fields are ignored, as agent-browser ignores
/// them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credential {
    item_ref: Option<String>,
    profile_name: Option<String>,
    url: Option<String>,
}

pub(super) async fn answer(session: &mut Session) -> Result<Ending, Failure> {
    let answered = match session.console.read_stdin(REQUEST_BYTES_MAX) {
        Ok(text) => asked(&text, session).await,
        Err(failure) => Err(failure),
    };
    match answered {
        Ok(mut answer) => {
            if let Some(answer) = answer.as_object_mut() {
                answer.extend([("protocol".to_owned(), PROTOCOL.into()), ("success".to_owned(), true.into())]);
            }
            session.console.line(&answer.to_string())?;
        }
        Err(failure) => refuse(&mut session.console, &failure.body())?,
    }
    Ok(Ending::Done)
}

/// Answers with an error. agent-browser shows a single text, which therefore includes the candidates.
///
/// # Errors
/// [`Failure::Output`]: the answer can't be written.
pub fn refuse(console: &mut Console, body: &ErrorBody) -> Result<(), Failure> {
    let mut text = format!("{}: {}", body.error, body.message);
    for candidate in &body.candidates {
        text.push(' ');
        text.push_str(&json!([candidate.page, candidate.origin, candidate.title]).to_string());
    }
    console.line(&json!({"protocol": PROTOCOL, "success": false, "error": text}).to_string())?;
    console.flush()
}

async fn asked(text: &str, session: &mut Session) -> Result<Value, Failure> {
    let Request { r#type, request } = serde_json::from_str(text)
        .map_err(|_| Failure::invalid("standard input must be one request of agent-browser, in JSON"))?;
    match r#type.as_str() {
        "plugin.manifest" => Ok(json!({"manifest": {
            "name": "countersign",
            "capabilities": ["totp.fill", "command.run", "credential.read"],
            "description": "Types the codes of two-factor logins into their pages without showing them",
        }})),
        "totp.fill" => Ok(json!({"data": fill(request, session).await?})),
        "credential.resolve" => Ok(json!({"credential": credential(request, session).await?})),
        _ => Err(Failure::invalid("the request's `type` must be totp.fill, credential.resolve or plugin.manifest")),
    }
}

async fn fill(request: Value, session: &mut Session) -> Result<FillResponse, Failure> {
    let fill: Fill = serde_json::from_value(request).map_err(|_| {
        Failure::invalid(
            "the payload must be an object with `secret`, and perhaps `page`, `selector`, `submit`, `min_validity`, `max_wait`, \
             `seat_id` and `purpose`",
        )
    })?;
    let wrong = |field: &'static str| move || Refusal::invalid(field, "is not within its bounds");
    let secret = names::secret(session, &fill.secret, Among::Live).await?;
    let request = FillCode {
        page: fill.page,
        selector: fill.selector.map(|text| Text::new(&text).ok_or_else(wrong("selector"))).transpose()?,
        submit: fill.submit,
        min_validity: fill.min_validity.map(|n| Seconds::new(n).ok_or_else(wrong("min_validity"))).transpose()?,
        max_wait: Seconds::new(fill.max_wait.unwrap_or(FILL_WAIT_MAX).min(FILL_WAIT_MAX)),
        seat_id: seat::id_for_use(session, fill.seat_id).await?,
        purpose: fill.purpose,
        ..FillCode::of(secret.id)
    };
    Ok(session.perform(request).await?.into())
}

/// A credential whose name and password are the code. agent-browser types it by itself, wherever its caller directs it,
/// so this is refused for secrets whose codes must not be shown, and for addresses that are not the secret's.
async fn credential(request: Value, session: &mut Session) -> Result<Value, Failure> {
    let Credential { item_ref, profile_name, url } =
        serde_json::from_value(request).map_err(|_| Failure::invalid("the request must name a credential"))?;
    let name = item_ref.or(profile_name).filter(|name| !name.trim().is_empty());
    let name = name.ok_or_else(|| Failure::invalid("name the secret by --item"))?;
    let secret = names::secret(session, &name, Among::Live).await?;
    let origins = &secret.metadata.origins;
    let origin = match (url.as_deref(), origins.as_slice()) {
        (_, []) => return Err(Refusal::NoOrigins.into()),
        (None, [only]) if only.below().is_none() => only.to_string(),
        (None, _) => return Err(Failure::invalid("say by --url which of the secret's origins is meant")),
        (Some(url), origins) => {
            let wanted = origin_of(url).filter(|wanted| origins.iter().any(|origin| origin.covers(wanted)));
            wanted.ok_or_else(|| Refusal::WrongOrigin(origins.to_vec()))?.to_string()
        }
    };
    let request = GetCode { single_use: true, max_wait: Seconds::new(CREDENTIAL_WAIT), ..GetCode::of(secret.id) };
    let issued = session.perform(request).await?;
    let code = issued.code.digits();
    Ok(json!({
        "username": code,
        "password": code,
        "url": origin,
        "usernameSelector": FIELDS,
        "passwordSelector": FIELDS,
    }))
}

/// The origin of an address.
fn origin_of(url: &str) -> Option<Origin> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().filter(|host| !host.contains('@'))?;
    let host = match scheme {
        "https" => host.strip_suffix(":443").unwrap_or(host),
        _ => host.strip_suffix(":80").unwrap_or(host),
    };
    format!("{scheme}://{host}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_of_an_address_is_its_scheme_host_and_port() {
        let origin = |url: &str| origin_of(url).map(|origin| origin.to_string());
        for (url, expected) in [
            ("https://a.example/login?x#y", Some("https://a.example")),
            ("https://a.example:443/", Some("https://a.example")),
            ("http://localhost:80", Some("http://localhost")),
            ("https://a.example:8443", Some("https://a.example:8443")),
            ("https://a.example@evil.example/", None),
            ("javascript:alert(1)", None),
            ("http://a.example", None),
        ] {
            assert_eq!(origin(url).as_deref(), expected, "{url}");
        }
    }
}
