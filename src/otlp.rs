//! Traces and metrics for a collector that speaks OTLP over HTTP: a span for each call, by the conventions for MCP servers, and the
//! counters of this process. Off unless an address is configured.
//!
//! Never here: anything that a caller sent. A span has the operation's name, its outcome and its times.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use async_trait::async_trait;
use opentelemetry::{
    Context, Key, KeyValue,
    metrics::{AsyncInstrument, Histogram, MeterProvider as _},
    trace::{
        Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
        Tracer as _, TracerProvider as _,
    },
};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    metrics::SdkMeterProvider,
    trace::{SdkTracer, SdkTracerProvider},
};

use crate::{
    domain::trace::TraceParent,
    fetch,
    operations::{Called, ErrorCode, Method, Observer, Service, Surface},
};

/// The timeout of one request to the collector.
const WAIT: Duration = Duration::from_secs(5);
/// Bounds of the durations' buckets in seconds, as the conventions recommend them.
const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The export, as long as this process runs.
pub struct Export {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
}

impl Export {
    /// Starts to send the traces and metrics of a service to the collector at this address, such as
    /// `http://127.0.0.1:4318`.
    ///
    /// # Errors
    /// The address, or a setting of the export in the environment, can't be used.
    pub fn start(service: &Service, endpoint: &str) -> Result<Self, ExporterBuildError> {
        let endpoint = endpoint.trim_end_matches('/');
        let resource = resource();
        let spans = SpanExporter::builder()
            .with_http()
            .with_http_client(Client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{endpoint}/v1/traces"))
            .with_timeout(WAIT)
            .build()?;
        let points = MetricExporter::builder()
            .with_http()
            .with_http_client(Client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{endpoint}/v1/metrics"))
            .with_timeout(WAIT)
            .build()?;
        let traces = SdkTracerProvider::builder().with_batch_exporter(spans).with_resource(resource.clone()).build();
        let metrics = SdkMeterProvider::builder().with_periodic_exporter(points).with_resource(resource).build();
        count(service, &metrics);
        service.observe(Arc::new(Watch::of(&traces, &metrics)));
        Ok(Self { traces, metrics })
    }

    /// Sends the remaining traces and metrics. Blocks for as long as the collector takes, at most twice the timeout.
    pub fn finish(self) {
        for ended in [self.traces.shutdown_with_timeout(WAIT), self.metrics.shutdown_with_timeout(WAIT)] {
            if let Err(cause) = ended {
                tracing::warn!(%cause, "the last traces and metrics could not be sent");
            }
        }
    }
}

/// Describes this process, by the name that the environment gives it, if it gives one.
fn resource() -> Resource {
    let name = Resource::builder().build().get(&Key::from_static_str("service.name"));
    let is_named = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if is_named { resource.build() } else { resource.with_service_name("countersign").build() }
}

/// Turns calls into spans and durations.
struct Watch {
    tracer: SdkTracer,
    over_mcp: Histogram<f64>,
    over_rest: Histogram<f64>,
}

impl Watch {
    fn of(traces: &SdkTracerProvider, metrics: &SdkMeterProvider) -> Self {
        let meter = metrics.meter("countersign");
        let durations = |name: &'static str, about: &'static str| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(about);
            histogram.with_boundaries(BUCKETS.to_vec()).build()
        };
        Self {
            tracer: traces.tracer("countersign"),
            over_mcp: durations("mcp.server.operation.duration", "Durations of tools' calls."),
            over_rest: durations("http.server.request.duration", "Durations of the operations of REST's routes."),
        }
    }
}

impl Observer for Watch {
    fn called(&self, call: &Called<'_>) {
        let (name, mut attributes, durations) = match call.surface {
            Surface::Mcp { .. } => {
                let tool = call.entry.spec.name;
                let attributes = vec![
                    KeyValue::new("mcp.method.name", "tools/call"),
                    KeyValue::new("gen_ai.operation.name", "execute_tool"),
                    KeyValue::new("gen_ai.tool.name", tool),
                ];
                (format!("tools/call {tool}"), attributes, &self.over_mcp)
            }
            Surface::Rest { .. } => {
                let (method, path) = (method_of(call.entry.api.method), call.entry.api.path);
                let attributes = vec![KeyValue::new("http.request.method", method), KeyValue::new("http.route", path)];
                (format!("{method} {path}"), attributes, &self.over_rest)
            }
        };
        attributes.extend(call.refused.map(|code| KeyValue::new("error.type", code.as_str())));
        durations.record(call.took.as_secs_f64(), &attributes);
        let began = UNIX_EPOCH + Duration::from_micros(call.began.micros().try_into().unwrap_or_default());
        let parent = call.trace.map_or_else(Context::new, parent_of);
        let span = self.tracer.span_builder(name).with_kind(SpanKind::Server).with_start_time(began);
        let mut span = span.with_attributes(attributes).start_with_context(&self.tracer, &parent);
        // A caller's mistake is not an error of this server.
        if let Some(code) = call.refused
            && matches!(code, ErrorCode::Unavailable | ErrorCode::Internal)
        {
            span.set_status(Status::error(code.as_str()));
        }
        span.end_with_timestamp(began + call.took);
    }
}

const fn method_of(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Delete => "DELETE",
    }
}

fn parent_of(trace: TraceParent) -> Context {
    let flags = if trace.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (id, span) = (TraceId::from_bytes(trace.trace()), SpanId::from_bytes(trace.span()));
    Context::new().with_remote_span_context(SpanContext::new(id, span, flags, true, TraceState::default()))
}

/// Has the service's counters read whenever metrics are sent.
fn count(service: &Service, metrics: &SdkMeterProvider) {
    let meter = metrics.meter("countersign");
    let codes = service.clone();
    let read = move |sink: &dyn AsyncInstrument<u64>| sink.observe(codes.tally().codes_issued, &[]);
    meter.u64_observable_counter("countersign.codes.issued").with_callback(read).build();
    let refusals = service.clone();
    let read = move |sink: &dyn AsyncInstrument<u64>| {
        for (code, count) in refusals.tally().refused {
            sink.observe(count, &[KeyValue::new("error.type", code.as_str())]);
        }
    };
    meter.u64_observable_counter("countersign.refusals").with_callback(read).build();
    let limits = service.clone();
    let read = move |sink: &dyn AsyncInstrument<u64>| {
        for (limit, count) in limits.tally().limited {
            sink.observe(count, &[KeyValue::new("countersign.limit", limit.as_str())]);
        }
    };
    meter.u64_observable_counter("countersign.limit.refusals").with_callback(read).build();
    let callers = service.clone();
    let read = move |sink: &dyn AsyncInstrument<u64>| sink.observe(callers.tally().waiting as u64, &[]);
    meter.u64_observable_gauge("countersign.waiting").with_callback(read).build();
}

/// Sends requests to the collector, from the exporter's own threads.
#[derive(Debug)]
struct Client;

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let in_clear = request.uri().scheme_str() == Some("http");
        let (parts, body) = request.into_parts();
        let sent = fetch::agent(in_clear, 0, WAIT).run(Request::from_parts(parts, body.as_ref()))?;
        // The collector's answer is not used, except for its status.
        Ok(sent.map(|_| Bytes::new()))
    }
}
