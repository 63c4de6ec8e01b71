//! A web login with a second factor: a form that accepts each code once.

use std::{
    collections::BTreeSet,
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Form, Router, extract::State, http::StatusCode, response::Html, routing::get};
use countersign::clock::{Clock as _, SystemClock};
use serde::Deserialize;

/// The login, running in this process on a loopback address.
pub(crate) struct Login {
    url: String,
    period: u64,
}

/// The server's data of the account.
struct Account {
    totp: totp_rs::Totp,
    /// Steps whose code was accepted.
    used: Mutex<BTreeSet<u64>>,
}

/// The fields of the form.
#[derive(Deserialize)]
struct Attempt {
    code: String,
}

impl Login {
    /// Opens the login of an account with this seed.
    pub(crate) async fn open(seed: &str, period: u64) -> Result<Self, Box<dyn Error>> {
        let seed = data_encoding::BASE32_NOPAD.decode(seed.as_bytes())?;
        // One step before and one after are accepted, for clocks that differ and for people who type.
        let totp =
            totp_rs::Builder::new().with_secret(seed).with_step_duration(period).with_skew(1).build_noncompliant();
        let account = Arc::new(Account { totp, used: Mutex::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/login", listener.local_addr()?);
        let app = Router::new().route("/login", get(form).post(attempt)).with_state(account);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { url, period })
    }

    /// Sends the form, and returns whether the code was accepted.
    pub(crate) async fn enter(&self, code: &str) -> Result<bool, Box<dyn Error>> {
        let (url, code) = (self.url.clone(), code.to_owned());
        let sent = tokio::task::spawn_blocking(move || ureq::post(&url).send_form([("code", code.as_str())])).await?;
        match sent {
            Ok(_) => Ok(true),
            Err(ureq::Error::StatusCode(401)) => Ok(false),
            Err(cause) => Err(cause.into()),
        }
    }

    /// The time until the next step, and 20 ms more.
    pub(crate) fn until_next_step(&self) -> Duration {
        let millis = u64::try_from(SystemClock.now().millis()).unwrap_or(0);
        Duration::from_millis(self.period * 1000 - millis % (self.period * 1000) + 20)
    }
}

async fn form() -> Html<&'static str> {
    Html(
        r#"<form method="post"><label>Code <input name="code" inputmode="numeric"></label><button>Log in</button></form>"#,
    )
}

async fn attempt(State(account): State<Arc<Account>>, Form(attempt): Form<Attempt>) -> (StatusCode, &'static str) {
    let step = account.totp.check_current(&attempt.code);
    let new = step.is_some_and(|step| account.used.lock().is_ok_and(|mut used| used.insert(step)));
    if new { (StatusCode::OK, "welcome") } else { (StatusCode::UNAUTHORIZED, "wrong or used code") }
}
