//! Calls of tools, and what their answers must contain.

use std::io;

use serde_json::{Value, json};

use crate::oracle::Oracle;

/// One call, ready to send except for its id, and what its answer must contain.
#[derive(Clone)]
pub(crate) struct Call {
    /// The text of the message after its id.
    pub(crate) rest: String,
    pub(crate) expect: Expect,
}

#[derive(Clone)]
pub(crate) enum Expect {
    /// The text `ok`.
    Ok,
    /// A code of this seed at this JSON pointer.
    Code(&'static str, Box<Oracle>),
    /// Any value at this JSON pointer.
    Pointer(&'static str),
}

impl Call {
    pub(crate) fn new(tool: &str, arguments: &Value, expect: Expect) -> Self {
        let params = json!({"name": tool, "arguments": arguments});
        Self { rest: format!(r#","method":"tools/call","params":{params}}}"#), expect }
    }

    /// A call for a code.
    pub(crate) fn code(arguments: &Value, oracle: &Oracle) -> Self {
        Self::new("get_totp_code", arguments, Expect::code(oracle))
    }
}

impl Expect {
    /// A code in a tool's answer.
    pub(crate) fn code(oracle: &Oracle) -> Self {
        Self::Code("/result/structuredContent/code", Box::new(oracle.clone()))
    }

    /// Fails unless the answer to a call that was sent at the Unix time `since` is right.
    pub(crate) fn check(&mut self, answer: &Value, since: u64) -> io::Result<()> {
        let text = |place| answer.pointer(place).and_then(Value::as_str);
        let right = match self {
            Self::Ok => text("/result/content/0/text") == Some("ok"),
            Self::Code(place, oracle) => text(place).is_some_and(|code| oracle.accepts(code, since)),
            Self::Pointer(place) => answer.pointer(place).is_some(),
        };
        if right { Ok(()) } else { Err(io::Error::other(format!("a wrong answer: {answer}"))) }
    }
}
