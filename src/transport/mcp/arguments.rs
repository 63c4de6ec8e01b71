//! A tool's arguments as hosts and models send them: with fields of the host's own beside ours, and with text in place of
//! numbers and truth values.

use serde_json::{Map, Value};

use crate::{
    service::Refusal,
    transport::wire::{Input, read_in},
};

/// Fields that hosts are known to add to the arguments of every tool, and who does. They say nothing to us.
const HOST_FIELDS: [(&str, &str); 5] =
    [("toolCallId", "n8n"), ("sessionId", "n8n"), ("action", "n8n"), ("chatInput", "n8n"), ("task_progress", "Cline")];

/// Reads arguments. A text that is exactly a number, or `true` or `false`, is taken as that where one is asked for: some
/// hosts make every value a text, and a model that is told that `"5"` is no number sends it again.
///
/// # Errors
/// `invalid_argument`, which names the field and the accepted values.
pub(super) fn read<T: Input>(mut arguments: Map<String, Value>) -> Result<T, Refusal> {
    arguments.retain(|name, value| match T::field(name) {
        Some(field) => {
            if let Some(meant) = value.as_str().and_then(|text| field.kind.of_text(text)) {
                *value = meant;
            }
            true
        }
        None => !HOST_FIELDS.iter().any(|(of_host, _)| name == of_host),
    });
    read_in("arguments", "", arguments)
}
