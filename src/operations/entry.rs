//! The entries of the table of operations: MCP's tools, REST's routes, the `OpenAPI` document, the counters and the
//! tests are made from them.

use std::sync::LazyLock;

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{
    Access, Called, Effect, ErrorCode, Operation, Patience, Refusal, Service, Spec, TABLE,
    arguments::Fields,
    schema::{for_document, for_tool, input_schema, output_schema},
};
use crate::{
    domain::{principal::Principal, scope::Scope},
    vault::ListRest,
};

/// An operation available over MCP or REST. Its own fields are its arguments, with bounds in their types.
pub trait ApiOperation: Operation + DeserializeOwned + JsonSchema + 'static {
    /// Its appearance to callers.
    const API: Api;
    /// The answer.
    type Answer: Serialize + JsonSchema + From<Self::Output> + Send + 'static;
    /// The answer over REST, if the mirrored API has another form.
    type RestAnswer: Serialize + JsonSchema + From<Self::Output> + Send + 'static;

    /// Applies the transport's additions to the arguments.
    #[must_use]
    fn over(self, _: &Surface) -> Self {
        self
    }

    /// Takes from an output the call for the rest of the list, of which the output is a part. Only over REST is a list
    /// answered part by part.
    fn rest(_: &mut Self::Output) -> Option<Self> {
        None
    }

    /// Removes a seed from an answer that would show it.
    fn conceal(_: &mut Self::Answer) {}
}

/// The appearance of an operation to callers.
#[derive(Debug, Clone, Copy)]
pub struct Api {
    /// A summary in one line: a tool's title, a route's summary.
    pub title: &'static str,
    /// The tool's description for models: what it does, changes and returns, and how it fails. `None`: it is not a
    /// tool.
    pub words: Option<&'static str>,
    /// Its route's method.
    pub method: Method,
    /// Its route's path, in the notation of routers and `OpenAPI`. The name in braces is an argument.
    pub path: &'static str,
    /// Its name in generated clients.
    pub id: &'static str,
    /// The group in which its route is listed.
    pub tag: &'static str,
    /// The description of its route.
    pub description: &'static str,
    /// The description of its route's answer.
    pub answer: &'static str,
    /// Whether a call may wait for a code.
    pub waits: bool,
    /// Refusals of this operation, besides those of every operation.
    pub refusals: &'static [ErrorCode],
}

/// A route's method. The arguments of a POST are in a JSON body, those of others in the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
    /// DELETE.
    Delete,
}

impl Api {
    /// The argument in the path.
    pub fn in_path(&self) -> Option<&'static str> {
        let (_, rest) = self.path.split_once('{')?;
        rest.split_once('}').map(|(name, _)| name)
    }

    /// The part of a request that holds the other arguments: `body` or `query`.
    pub const fn place(&self) -> &'static str {
        match self.method {
            Method::Post => "body",
            Method::Get | Method::Delete => "query",
        }
    }
}

/// Whether the answer to a registration shows the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reveal {
    /// Once, as in the mirrored API.
    #[default]
    Once,
    /// Never: the seed stays out of the model's context.
    Never,
}

/// The transport of a call, and its additions to the arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Surface {
    /// MCP.
    Mcp {
        /// Whether a new seed is shown.
        reveal: Reveal,
    },
    /// REST.
    Rest {
        /// The `Idempotency-Key` header.
        idempotency_key: Option<String>,
    },
}

/// An operation with its type erased.
pub struct Entry {
    /// The properties that hold for every call.
    pub spec: Spec,
    /// Its appearance to callers.
    pub api: Api,
    input: LazyLock<Map<String, Value>>,
    /// The schema of the tool's answer.
    pub tool_answer: fn() -> Map<String, Value>,
    /// The schema of the route's answer.
    pub route_answer: fn() -> Map<String, Value>,
    /// Reads the arguments of a call and carries it out. A refusal is in the audit log, unless that can't be written.
    pub perform: for<'a> fn(&'static Entry, ApiCall<'a>) -> BoxFuture<'a, Result<Answer, Refusal>>,
}

/// A part of a whole list that is answered part by part.
#[derive(Debug, Clone)]
pub enum Part {
    /// The first part.
    First,
    /// A later part: the beginning of this rest.
    Next(ListRest),
}

/// One call of an entry.
pub struct ApiCall<'a> {
    /// The service that carries out the call.
    pub service: &'a Service,
    /// The caller.
    pub caller: &'a Principal,
    /// The transport.
    pub surface: Surface,
    /// The arguments, as sent.
    pub arguments: Map<String, Value>,
    /// Notified while the call waits.
    pub patience: &'a dyn Patience,
}

/// An operation's answer.
pub struct Answer {
    /// JSON, with fields in the order of the documents.
    pub json: String,
    /// The rest of the list, if this is a part of one.
    pub rest: Option<Rest>,
}

/// The rest of a list, of which an answer is a part.
pub struct Rest(Box<dyn Ask + Send>);

trait Ask {
    fn ask<'a>(self: Box<Self>, service: &'a Service, caller: &'a Principal) -> BoxFuture<'a, Result<Answer, Refusal>>;
}

impl<O: ApiOperation> Ask for O {
    fn ask<'a>(self: Box<Self>, service: &'a Service, caller: &'a Principal) -> BoxFuture<'a, Result<Answer, Refusal>> {
        Box::pin(async move { over_rest::<O>(service, service.perform(caller, *self).await?) })
    }
}

impl Rest {
    /// Reads the next part, through the door: the caller's rights may have ended meanwhile.
    ///
    /// # Errors
    /// [`Refusal`]; it is in the audit log, unless that can't be written.
    pub async fn next(self, service: &Service, caller: &Principal) -> Result<Answer, Refusal> {
        self.0.ask(service, caller).await
    }
}

impl Entry {
    pub(super) const fn of<O: ApiOperation>() -> Self {
        Self {
            spec: O::SPEC,
            api: O::API,
            input: LazyLock::new(input_schema::<O>),
            tool_answer: output_schema::<O::Answer>,
            route_answer: output_schema::<O::RestAnswer>,
            perform: |entry, call| Box::pin(perform::<O>(entry, call)),
        }
    }

    /// The operation of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|entry| entry.spec.name == name)
    }

    /// The tool of this name.
    pub fn tool(name: &str) -> Option<&'static Self> {
        Self::named(name).filter(|entry| entry.api.words.is_some())
    }

    /// Whether a repeat with the same `Idempotency-Key` header gets the first answer.
    pub fn is_repeatable(&self) -> bool {
        self.spec.effect == Effect::Add
    }

    /// Whether it changes nothing.
    pub fn only_reads(&self) -> bool {
        self.spec.effect == Effect::Read
    }

    /// The scope that a caller needs.
    pub const fn scope(&self) -> Option<Scope> {
        match self.spec.access {
            Access::Scope(scope) => Some(scope),
            Access::Codes => Some(Scope::CodesRead),
            Access::Key | Access::Person => None,
        }
    }

    /// The schema of the tool's arguments.
    pub fn tool_input(&self) -> Map<String, Value> {
        for_tool(&self.input)
    }

    /// The schema of the route's arguments, including the one in the path.
    pub fn route_input(&self) -> Map<String, Value> {
        for_document(&self.input)
    }

    /// The arguments in a request's query or body.
    pub fn route_fields(&'static self) -> Fields {
        Fields::of(&self.input, self.api.in_path())
    }
}

/// Carries out a call, and reports it to the observer.
async fn perform<O: ApiOperation>(entry: &'static Entry, call: ApiCall<'_>) -> Result<Answer, Refusal> {
    let Some(observer) = call.service.shared.observer.get() else { return carry_out::<O>(entry, call).await };
    let (service, surface, trace) = (call.service, call.surface.clone(), call.caller.client().trace);
    let (began, clock) = (service.now(), Instant::now());
    let answer = carry_out::<O>(entry, call).await;
    let refused = answer.as_ref().err().map(Refusal::code);
    observer.called(&Called { entry, surface: &surface, refused, began, took: clock.elapsed(), trace });
    answer
}

async fn carry_out<O: ApiOperation>(entry: &'static Entry, call: ApiCall<'_>) -> Result<Answer, Refusal> {
    let ApiCall { service, caller, surface, mut arguments, patience } = call;
    let read = match &surface {
        Surface::Mcp { .. } => {
            let fields = Fields::of(&entry.input, None);
            fields.put_right(&mut arguments);
            fields.read::<O>("arguments", arguments)
        }
        Surface::Rest { .. } => entry.route_fields().read::<O>(entry.api.place(), arguments),
    };
    let operation = match read {
        Ok(operation) => operation.over(&surface),
        Err(refusal) => return Err(service.refuse_arguments(caller, &entry.spec, refusal).await),
    };
    let output = service.perform_for(caller, operation, patience).await?;
    match surface {
        Surface::Rest { .. } => over_rest::<O>(service, output),
        Surface::Mcp { reveal } => {
            let mut answer = O::Answer::from(output);
            if reveal == Reveal::Never {
                O::conceal(&mut answer);
            }
            Ok(Answer { json: written(service, &answer)?, rest: None })
        }
    }
}

fn over_rest<O: ApiOperation>(service: &Service, mut output: O::Output) -> Result<Answer, Refusal> {
    let rest = O::rest(&mut output).map(|rest| Rest(Box::new(rest)));
    Ok(Answer { json: written(service, &O::RestAnswer::from(output))?, rest })
}

fn written(service: &Service, answer: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(answer).map_err(|cause| service.bug(&cause))
}
