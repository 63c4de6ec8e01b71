//! Prompts: tasks that a person may give to an agent, as hosts offer them in their menus.

use rmcp::model::{GetPromptResult, JsonObject, Prompt, PromptArgument, PromptMessage, Role};

use crate::{
    domain::{principal::Principal, text::ShownText},
    operations::{EnrollSecret, Entry, ListSecrets, Operation as _, Refusal},
};

/// The argument of every prompt.
const SERVICE: &str = "service";

/// A prompt.
struct Kind {
    name: &'static str,
    title: &'static str,
    description: &'static str,
    /// The tool that the prompt needs.
    tool: &'static str,
    /// The prompt's text, for one service if it is given.
    text: fn(Option<&str>) -> String,
}

static KINDS: [Kind; 2] = [
    Kind {
        name: "add_a_secret",
        title: "Add a secret",
        description: "Adds the second factor of a service to Countersign, on a page where the seed passes no chat.",
        tool: EnrollSecret::SPEC.name,
        text: |service| {
            let which = service.map_or_else(
                || "a service: ask me which, and for which account.".to_owned(),
                |service| format!("this service: \u{201c}{service}\u{201d}."),
            );
            format!(
                "Have me add the second factor of {which} Call enroll_totp_secret with its issuer, and with a label that says \
                 which account it is. Give me the link and the two words, and have me compare the words on the page. Then call \
                 it again with the enrollment_id until it says how it ended. Never ask me for the seed or for a code here."
            )
        },
    },
    Kind {
        name: "which_code_was_used",
        title: "Which code was used",
        description: "Tells when the codes of a service were last used, and where to see by whom and why.",
        tool: ListSecrets::SPEC.name,
        text: |service| {
            let which = service.map_or_else(
                || "all of my secrets".to_owned(),
                |service| format!("the secrets of this service: \u{201c}{service}\u{201d}"),
            );
            format!(
                "Tell me when codes were last used of {which}. Call list_totp_secrets, and give me issuer, label and \
                 last_used_at of each, the newest first. By whom, for which seat and why stands in the audit log, which you \
                 can't read: I can see it with `countersign audit list --secret` and the secret's id."
            )
        },
    },
];

/// The prompts for a caller.
pub(super) fn listed(caller: &Principal) -> Vec<Prompt> {
    KINDS.iter().filter(|kind| kind.is_for(caller)).map(Kind::prompt).collect()
}

/// A prompt with its argument.
///
/// # Errors
/// `invalid_argument` for an unknown prompt, or an argument that is not text to be shown.
pub(super) fn filled(
    caller: &Principal,
    name: &str,
    arguments: Option<&JsonObject>,
) -> Result<GetPromptResult, Refusal> {
    let kind = KINDS.iter().find(|kind| kind.name == name && kind.is_for(caller));
    let kind = kind.ok_or_else(|| Refusal::invalid("params.name", "is no prompt's name; prompts/list shows them"))?;
    let refused = |problem: String| Refusal::invalid(SERVICE, problem);
    let service = match arguments.and_then(|given| given.get(SERVICE)) {
        None => None,
        Some(value) => match value.as_str() {
            Some(text) if text.trim().is_empty() => None,
            Some(text) => Some(ShownText::parse(text).map_err(|problem| refused(problem.to_string()))?),
            None => return Err(refused("must be a text".to_owned())),
        },
    };
    let text = (kind.text)(service.as_ref().map(ShownText::as_str));
    Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)]).with_description(kind.description))
}

impl Kind {
    fn is_for(&self, caller: &Principal) -> bool {
        Entry::tool(self.tool).is_some_and(|entry| entry.spec.works_for(caller))
    }

    fn prompt(&self) -> Prompt {
        let service = PromptArgument::new(SERVICE)
            .with_title("Service")
            .with_description("The service, such as GitHub; leave it out to be asked.")
            .with_required(false);
        Prompt::new(self.name, Some(self.description), Some(vec![service])).with_title(self.title)
    }
}
