//! Answers calls of tools that rmcp could not parse, such as those whose arguments a model wrote as text, with the
//! problem.

use rmcp::{
    ErrorData, RoleServer,
    model::{CallToolRequestMethod, ConstString as _, CustomRequest, CustomResult, ErrorCode},
    service::RequestContext,
};
use serde_json::Value;

use super::handler::{McpServer, is_2026, refused};
use crate::operations::{Entry, Refusal};

impl McpServer {
    /// Answers a request of a method that rmcp does not know, or could not parse.
    pub(super) async fn answer_unread(
        &self,
        request: CustomRequest,
        context: &RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let params = request.params.unwrap_or_default();
        if request.method != CallToolRequestMethod::VALUE {
            // rmcp would repeat the method's name, which may hold anything, in its answer and log. The transport writes
            // the row, as for every method that is not served.
            return Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "no such method", None));
        }
        let sent = |name| params.get(name);
        let Some(entry) = Entry::tool(sent("name").and_then(Value::as_str).unwrap_or_default()) else {
            return Err(self.no_tool(context).await);
        };
        let caller = self.caller(context)?;
        let refusal = match (self.counted(context).await, sent("arguments")) {
            (Err(refusal), _) => refusal,
            (Ok(()), Some(Value::String(_))) => {
                Refusal::invalid("arguments", "must be a JSON object, not a text that holds one")
            }
            (Ok(()), Some(Value::Bool(_) | Value::Number(_) | Value::Array(_))) => {
                Refusal::invalid("arguments", "must be a JSON object")
            }
            (Ok(()), None | Some(Value::Null | Value::Object(_))) => {
                let problem = "has a field beside `name` and `arguments` that is not of its form";
                let refusal = Refusal::invalid("params", problem);
                let refusal = self.service().refuse_arguments(&caller, &entry.spec, refusal).await;
                return Err(ErrorData::invalid_params(refusal.to_string(), None));
            }
        };
        let refusal = self.service().refuse_arguments(&caller, &entry.spec, refusal).await;
        let mut result = refused(&refusal);
        if !is_2026(context) {
            // rmcp omits this field from the answers to calls that it could parse; do the same.
            result.result_type = None;
        }
        serde_json::to_value(result)
            .map(CustomResult::new)
            .map_err(|_| ErrorData::internal_error("the answer could not be written", None))
    }
}
