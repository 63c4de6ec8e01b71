//! A place for a code in one frame.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    link::{Link, LinkError, answer},
    outcomes::{Typed, Untyped},
};
use crate::domain::totp::Code;

/// The longest time for typing a code into a page, and the least that a page gets: a page that is given up too soon
/// costs its caller a code.
const TYPED_WITHIN: Duration = Duration::from_secs(5);
const TYPED_WITHIN_MIN: Duration = Duration::from_secs(2);
/// How long a page may take to enable the button that submits the code.
const SUBMITTED_WITHIN: Duration = Duration::from_secs(3);
/// How long a submitted page may take to move on, before the digits are removed from it.
const GONE_WITHIN: Duration = Duration::from_secs(3);
/// The pause between two calls to a page.
const ASKS_EVERY: Duration = Duration::from_millis(20);

/// Our script in a frame.
pub(super) struct Place {
    pub(super) link: Arc<Link>,
    pub(super) session: String,
    /// The browser's id of the script's object, which ends with the frame's document.
    pub(super) object: String,
    /// The frame's origin when it was seen.
    pub(super) origin: String,
}

/// A field for a code.
pub struct Field {
    place: Place,
    selector: Option<String>,
}

#[derive(Deserialize)]
struct Outcome {
    outcome: String,
}

impl Place {
    /// Calls a method of the script.
    pub(super) async fn call(&self, method: &str, arguments: Value, within: Duration) -> Result<Value, LinkError> {
        #[derive(Deserialize)]
        struct Answer {
            result: Value,
            #[serde(rename = "exceptionDetails")]
            exception: Option<Value>,
        }
        let given = arguments.as_array().into_iter().flatten();
        let given: Vec<_> =
            given.map(|value| if value.is_null() { json!({}) } else { json!({"value": value}) }).collect();
        let parameters = json!({
            "objectId": self.object,
            "functionDeclaration": format!("function(...given) {{ return this.{method}(...given); }}"),
            "arguments": given,
            "returnByValue": true,
            "awaitPromise": true,
        });
        let answered = self.link.call(Some(&self.session), "Runtime.callFunctionOn", parameters, within).await?;
        let mut answered: Answer = answer(answered)?;
        if answered.exception.is_some() {
            return Err(LinkError::Refused { before: false });
        }
        Ok(answered.result.get_mut("value").map(Value::take).unwrap_or_default())
    }
}

impl Field {
    pub(super) fn new(place: Place, selector: Option<&str>) -> Self {
        Self { place, selector: selector.map(str::to_owned) }
    }

    /// The origin that the code goes to.
    pub fn origin(&self) -> &str {
        &self.place.origin
    }

    /// Types a code if the frame still has its origin, and submits it. A page that has not taken the code in time is
    /// given up.
    ///
    /// # Errors
    /// [`Untyped`]: then no digit was typed.
    pub async fn type_in(&self, code: &Code, submit: bool, until: Instant) -> Result<Typed, Untyped> {
        let arguments = json!([self.place.origin, code.digits(), submit, self.selector]);
        let within = until.saturating_duration_since(Instant::now()).clamp(TYPED_WITHIN_MIN, TYPED_WITHIN);
        let outcome = match self.place.call("fill", arguments, within).await.and_then(answer) {
            Ok(Outcome { outcome }) => outcome,
            Err(LinkError::Refused { before: true }) => return Err(Untyped::Moved),
            Err(_) => return Ok(Typed::Unknown),
        };
        match outcome.as_str() {
            "filled" => Ok(Typed::Filled),
            "submitted" => Ok(Typed::Submitted),
            "pending" => Ok(self.submitted().await),
            "wrong_origin" => Err(Untyped::Moved),
            "no_field" => Err(Untyped::NoField),
            "several_fields" => Err(Untyped::SeveralFields),
            "untyped" => Err(Untyped::Refused),
            _ => Ok(Typed::Unknown),
        }
    }

    /// Submits a code once the page allows that.
    async fn submitted(&self) -> Typed {
        let begun = Instant::now();
        while begun.elapsed() < SUBMITTED_WITHIN {
            match self.place.call("submit", json!([]), TYPED_WITHIN).await.and_then(answer) {
                Ok(Outcome { outcome }) if outcome == "filled" => return Typed::Filled,
                Ok(Outcome { outcome }) if outcome == "pending" => sleep(ASKS_EVERY).await,
                // The page moved on by itself.
                Ok(_) | Err(LinkError::Refused { .. }) => return Typed::Submitted,
                Err(_) => return Typed::Unknown,
            }
        }
        Typed::Filled
    }

    /// Waits until the submitted page has moved on, so that its next viewer does not see the digits; removes them from
    /// a page that does not.
    pub async fn leave(&self) {
        #[derive(Deserialize)]
        struct Rest {
            gone: bool,
        }
        let begun = Instant::now();
        while begun.elapsed() < GONE_WITHIN {
            match self.place.call("rest", json!([]), GONE_WITHIN).await.and_then(answer) {
                Ok(Rest { gone: false }) => sleep(ASKS_EVERY).await,
                Ok(Rest { gone: true }) | Err(_) => return,
            }
        }
        let _ = self.place.call("wipe", json!([]), GONE_WITHIN).await;
    }
}
